// SPDX-License-Identifier: Apache-2.0

import { makeRoom } from './files'
import { isFull, PENDING, putChat, Tick, type Change, type Chat, type Db, type Message, type Meta, type WriteTx } from './store/schema'
import { begin } from './store/write'

/**
 * The browser has no room left. What the server has, too, goes first: cached files, then old
 * messages, which come back when somebody looks for them. What waits to be sent never goes, nor what is being written.
 */

/** So many of the newest of each conversation stay; when that is not enough, only so many. */
const STAY = [200, 30] as const
/** So many go at a time: browsers write down what goes, too, and need room for that. */
const MOST_GONE = 500
/** Browsers see a while later that there is room again. */
const AGAIN_MS = 500
const TRIES = 5

/**
 * Does again what failed for want of room, having made some, as often as there is some to be made. Rejects with
 * what it failed with in the end.
 *
 * @param whole a conversation that stays as it is: it is being read back
 */
export async function again<T>(db: Db, changed: (change: Change) => void, failed: unknown, work: () => Promise<T>, whole?: string): Promise<T> {
  const makings = [
    async () => (await makeRoom(db, 0)) > 0,
    ...STAY.map((stay) => async () => {
      const change = await forgetOld(db, stay, whole)
      if (change.removed.length > 0) changed(change)
      return change.removed.length > 0
    }),
  ]
  for (const make of makings) {
    while (isFull(failed) && (await make())) {
      for (let i = 0; i < TRIES; i++) {
        if (i > 0) await new Promise((resolve) => setTimeout(resolve, AGAIN_MS))
        try {
          return await work()
        } catch (e) {
          failed = e
          if (!isFull(e)) throw e
        }
      }
    }
  }
  throw failed
}

/** Writes for which room is made, and whether in the end there was none. */
export class Space {
  full = false

  constructor(
    private readonly db: Db,
    private readonly changed: (change: Change) => void,
    private readonly told: () => void,
  ) {}

  async keep<T>(work: () => Promise<T>, whole?: string): Promise<T> {
    try {
      const done = await work().catch((e: unknown) => again(this.db, this.changed, e, work, whole))
      this.set(false)
      return done
    } catch (e) {
      if (isFull(e)) this.set(true)
      throw e
    }
  }

  private set(full: boolean): void {
    if (this.full === full) return
    this.full = full
    this.told()
  }
}

/**
 * Takes old messages off the device, of the longest conversations first, each from its beginning on: what is
 * left has no gap, and what comes before it is asked for as ever. Gives what changed.
 */
export async function forgetOld(db: Db, stay: number, whole?: string, most = MOST_GONE): Promise<Change> {
  const tx = begin(db, false, 'files')
  const old = await oldest(tx, stay, whole, most)
  for (const { chat, gone } of old) {
    remove(tx, gone)
    begins(chat, gone.at(-1)!.pos + 1)
    putChat(tx, chat)
  }
  const removed = old.flatMap(({ gone }) => gone.map((m) => m.key))
  try {
    await tx.done
    return { messages: [], removed, chats: old.map((o) => o.chat) }
  } catch (e) {
    if (!isFull(e)) throw e
  }
  // There is not even room for that, as where there was less and less: what goes goes by itself.
  const going = db.transaction(['messages', 'files'], 'readwrite')
  remove(going as unknown as WriteTx, old.flatMap((o) => o.gone))
  await going.done
  return { messages: [], removed, chats: await mend(db).catch(() => []) }
}

/** Has each conversation begin where it does by now. */
async function mend(db: Db): Promise<Chat[]> {
  const tx = begin(db)
  const mended: Chat[] = []
  for (const chat of await tx.objectStore('chats').getAll()) {
    const first = await tx.objectStore('messages').index('pos').openCursor(IDBKeyRange.bound([chat.peer, -Infinity], [chat.peer, PENDING], false, true))
    if (!chat.complete || !first || first.value.pos <= chat.head + 1) continue
    begins(chat, first.value.pos)
    putChat(tx, chat)
    mended.push(chat)
  }
  await tx.done
  return mended
}

function begins(chat: Chat, pos: number): void {
  chat.head = pos
  chat.complete = false
}

function remove(tx: WriteTx, gone: Message[]): void {
  for (const { key } of gone) {
    void tx.objectStore('messages').delete(key)
    void tx.objectStore('files').delete(key)
  }
}

/** What may go, by conversation. */
async function oldest(tx: WriteTx, stay: number, whole: string | undefined, most: number): Promise<{ chat: Chat; gone: Message[] }[]> {
  const [stars, outbox, all] = await Promise.all([tx.objectStore('meta').get('stars'), tx.objectStore('outbox').getAll(), tx.objectStore('chats').getAll()])
  const starred = (stars ?? {}) as Meta['stars']
  const waiting = new Set(outbox.map((o) => o.message ?? o.act?.key))
  /** It is here alone: not sent, or starred and the server not told. */
  const dear = (m: Message): boolean => waiting.has(m.key) || m.tick === Tick.refused || (m.starred === 1 && !(m.archiveId !== undefined && Object.hasOwn(starred, m.archiveId)))
  // Of a group that we are not in nobody gives us anything any more.
  const given = (c: Chat): boolean => c.peer !== whole && (!c.group || c.group.state === 'in')
  const old: { chat: Chat; gone: Message[] }[] = []
  let left = most
  for (const chat of all.filter(given).sort((a, b) => b.tail - b.head - (a.tail - a.head))) {
    if (left <= 0 || chat.tail - chat.head <= stay) break
    const found = await tx.objectStore('messages').index('pos').getAll(IDBKeyRange.bound([chat.peer, -Infinity], [chat.peer, chat.tail - stay]), left)
    const first = found.findIndex(dear)
    const gone = first < 0 ? found : found.slice(0, first)
    if (gone.length > 0) old.push({ chat, gone })
    left -= gone.length
  }
  return old
}
