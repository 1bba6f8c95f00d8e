// SPDX-License-Identifier: Apache-2.0

import type { Change, Db, Message, Slot } from './schema'
import { begin } from './write'

/** The writes of files on their way, for the tab that talks to the server; apart from the others because only that needs them. */

/** A file may be put there: kept, so that it is put there again after whatever happens meanwhile. */
export async function setSlot(db: Db, n: number, slot: Slot | undefined): Promise<void> {
  const tx = db.transaction('outbox', 'readwrite')
  const record = await tx.store.get(n)
  if (record?.file) void tx.store.put({ ...record, slot })
  await tx.done
}

/**
 * The file of a message is uploaded: the message is made, and may go. The file
 * stays on this device as one that can be had again.
 */
export async function uploaded(db: Db, n: number, url: string, frameOf: (message: Message) => string, now: number): Promise<Change> {
  const tx = begin(db, true, 'files')
  const record = await tx.objectStore('outbox').get(n)
  const message = record?.file && record.message !== undefined ? await tx.objectStore('messages').get(record.message) : undefined
  if (!record || !message?.file) return { messages: [], removed: [], chats: [] }
  message.file = { ...message.file, url }
  message.rev += 1
  void tx.objectStore('messages').put(message)
  const { file: _file, slot: _slot, ...rest } = record
  void tx.objectStore('outbox').put({ ...rest, frame: frameOf(message) })
  const kept = await tx.objectStore('files').get(message.key)
  if (kept) void tx.objectStore('files').put({ ...kept, used: now })
  await tx.done
  return { messages: [message], removed: [], chats: [] }
}
