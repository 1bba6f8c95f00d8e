// SPDX-License-Identifier: Apache-2.0

import { blank, preview } from './preview'
import { ME, putChat, type Change, type Db, type Message } from './schema'
import { begin, enqueue, type Frame } from './write'

/** The writes of what a person does to messages that there are. As with the others each function is one transaction, and gives what changed. */

/** What can be done to a message. */
export type Act = { kind: 'correct'; body: string; mentions: Message['mentions'] } | { kind: 'react'; emoji: string[] } | { kind: 'retract' }

/**
 * Changes a message, and puts what tells it into the outbox, in one step. The
 * change shows at once, with a clock until it has arrived; it is undone when it
 * is refused.
 */
export async function act(db: Db, key: number, what: Act, frame: Frame): Promise<Change> {
  const tx = begin(db, true, 'files')
  const message = await tx.objectStore('messages').get(key)
  const chat = message && (await tx.objectStore('chats').get(message.peer))
  if (!message || !chat || message.deleted) return { messages: [], removed: [], chats: [] }
  const { body, mentions, unstyled, edited, reactions, reply, starred, file } = message
  const undo: Partial<Message> = { body, mentions, unstyled, edited, reactions, reply, starred, file, deleted: undefined }
  if (what.kind === 'correct') Object.assign(message, { body: what.body, mentions: what.mentions, unstyled: undefined, edited: frame.id })
  else if (what.kind === 'react') message.reactions = { ...reactions, [ME]: what.emoji }
  else {
    blank(message)
    void tx.objectStore('files').delete(key)
  }
  message.acts = [...(message.acts ?? []), frame.id]
  message.undone = undefined
  message.rev += 1
  void tx.objectStore('messages').put(message)
  void tx.objectStore('outbox').add({ ...frame, peer: message.peer, act: { key, undo }, ...(chat.group && { group: true }) } as never)
  const shown = chat.last?.key === key
  if (shown) {
    chat.last = preview(message)
    putChat(tx, chat)
  }
  await tx.done
  return { messages: [message], removed: [], chats: shown ? [chat] : [] }
}

/** Puts a refused message into the outbox anew, as another message: in one step, so that it cannot get lost between. */
export async function composeAgain(db: Db, key: number, frame: Frame, now: number): Promise<Change> {
  const tx = begin(db, true, 'files')
  const message = await tx.objectStore('messages').get(key)
  if (!message) return { messages: [], removed: [], chats: [] }
  const kept = message.file && (await tx.objectStore('files').get(key))
  void tx.objectStore('messages').delete(key)
  if (kept) void tx.objectStore('files').delete(key)
  const change = await enqueue(tx, message.peer, message, frame, now, kept?.data)
  return { ...change, removed: [key] }
}

/**
 * Takes a message off this device, and out of the outbox.
 *
 * @param unsent only if its file is not uploaded yet: once it is made it may be on its way
 */
export async function discard(db: Db, key: number, unsent = false): Promise<Change> {
  const tx = begin(db, false, 'files')
  const messages = tx.objectStore('messages')
  const message = await messages.get(key)
  const records = await tx.objectStore('outbox').index('message').getAll(key)
  if (!message || (unsent && !records.some((r) => r.file))) return { messages: [], removed: [], chats: [] }
  void messages.delete(key)
  void tx.objectStore('files').delete(key)
  for (const { n } of records) void tx.objectStore('outbox').delete(n)
  const chat = await tx.objectStore('chats').get(message.peer)
  if (chat?.last?.key === key) {
    const range = IDBKeyRange.bound([message.peer, -Infinity], [message.peer, Infinity])
    const newest = await messages.index('pos').openCursor(range, 'prev')
    chat.last = newest ? preview(newest.value) : undefined
    putChat(tx, chat)
  }
  await tx.done
  return { messages: [], removed: [key], chats: chat ? [chat] : [] }
}
