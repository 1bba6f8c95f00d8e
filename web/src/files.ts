// SPDX-License-Identifier: Apache-2.0

import type { Db, Message } from './store/schema'

/**
 * The files of messages on this device: what was looked at once is there again,
 * also without a connection, as long as there is room for it.
 */

/** Larger files are not kept, but fetched each time. */
const MOST_BYTES = 25 * 1024 * 1024
/** So much is kept in all; what was not needed for longest goes first. */
const MOST_IN_ALL = 200 * 1024 * 1024
/** When something was needed is written down once in so long. */
const USED_MS = 24 * 3_600_000
/** Nothing is larger that this app would have in memory. */
const MOST_FETCHED = 200 * 1024 * 1024

const running = new Map<number, Promise<Blob>>()

/** The file of a message. Rejects when it cannot be had now. */
export function fileOf(db: Db, message: Message): Promise<Blob> {
  const { key } = message
  let work = running.get(key)
  if (!work) {
    work = find(db, message).finally(() => running.delete(key))
    running.set(key, work)
  }
  return work
}

async function find(db: Db, { key, file }: Message): Promise<Blob> {
  const kept = await db.get('files', key)
  const now = Date.now()
  if (kept) {
    if (kept.used !== undefined && now - kept.used > USED_MS) void db.put('files', { ...kept, used: now }).catch(() => undefined)
    return kept.data
  }
  // Threat: addresses elsewhere, which tell their owner who looks and when.
  if (!file?.url || file.foreign) throw new Error('not on this server')
  const answer = await fetch(file.url, { credentials: 'omit', referrerPolicy: 'no-referrer' })
  if (!answer.ok || Number(answer.headers.get('Content-Length') ?? 0) > MOST_FETCHED) throw new Error(`status ${answer.status}`)
  const data = await answer.blob()
  if (data.size <= MOST_BYTES) await keep(db, key, data, now).catch(() => undefined) // without room it is shown all the same
  return data
}

async function keep(db: Db, key: number, data: Blob, now: number): Promise<void> {
  // Not for a message that was taken back meanwhile.
  if ((await db.get('messages', key))?.file === undefined) return
  await db.put('files', { key, data, size: data.size, used: now })
  await makeRoom(db)
}

/** Throws away what was not needed for longest until the rest is no more than that many bytes; what waits to be uploaded stays. Gives how many bytes went. */
export async function makeRoom(db: Db, most = MOST_IN_ALL): Promise<number> {
  const tx = db.transaction('files', 'readwrite')
  let total = 0
  let gone = 0
  for (let c = await tx.store.index('used').openCursor(null, 'prev'); c; c = await c.continue()) {
    total += c.value.size
    if (total <= most) continue
    gone += c.value.size
    void c.delete()
  }
  await tx.done
  return gone
}
