// SPDX-License-Identifier: Apache-2.0

import { preview } from './preview'
import { named, newChat, PENDING, putChat, Tick, type Change, type Chat, type Db, type Message, type WriteTx } from './schema'

/**
 * Every write to the store is here or, of what is done to messages, in `act.ts` and, of what comes in, in `receive.ts`: each
 * function is one transaction, so that tabs that write at the same time never
 * see half of it. All give what changed.
 */

/** What goes into the outbox: made by the caller, who knows the wire. */
export interface Frame {
  id: string
  frame: string
}

export type FrameFor = (peer: string, messageId: string) => Frame

export function begin(db: Db, strict = false, ...more: 'files'[]): WriteTx {
  const stores = ['chats', 'messages', 'outbox', 'loose', 'meta', ...more] as const
  return db.transaction(stores, 'readwrite', strict ? { durability: 'strict' } : {}) as unknown as WriteTx
}

/** What is said, as the conversation keeps it. */
export type Draft = Pick<Message, 'body' | 'reply' | 'mentions' | 'unstyled' | 'from' | 'file'>

/**
 * Puts a message into the conversation and the outbox, and its file into the
 * store. Once this has settled all of it is on the device's disk.
 */
export async function compose(db: Db, peer: string, draft: Draft, frame: Frame, now: number, data?: Blob): Promise<Change> {
  return enqueue(begin(db, true, 'files'), peer, draft, frame, now, data)
}

/** Writes a message of ours, with its file, and what sends it; once this has settled all of it is on the device's disk, where the transaction is strict. */
export async function enqueue(tx: WriteTx, peer: string, draft: Draft, frame: Frame, now: number, data?: Blob): Promise<Change> {
  const chats = tx.objectStore('chats')
  const chat = (await chats.get(peer)) ?? newChat(peer, false)
  chat.composed += 1
  const fields: Omit<Message, 'key'> = {
    peer,
    pos: PENDING + chat.composed,
    out: true,
    body: draft.body,
    time: now,
    tick: Tick.waiting,
    id: frame.id,
    originId: frame.id,
    ...(draft.from && { from: draft.from }),
    ...(draft.reply && { reply: draft.reply }),
    ...(draft.mentions && { mentions: draft.mentions }),
    ...(draft.unstyled && { unstyled: true }),
    ...(draft.file && { file: draft.file }),
    names: [named(peer, frame.id)],
    rev: 1,
  }
  const key = await tx.objectStore('messages').add(fields as Message)
  const message: Message = { ...fields, key }
  if (data) void tx.objectStore('files').add({ key, data, size: data.size })
  chat.last = preview(message)
  chat.time = Math.max(chat.time, now)
  chat.unread = 0
  chat.readPos = chat.tail
  if (chat.group) chat.group.mentioned = false
  putChat(tx, chat)
  void tx.objectStore('outbox').add({ ...frame, peer, message: key, ...(chat.group && { group: true }), ...(draft.file && { file: 1 }) } as never)
  await tx.done
  return { messages: [message], removed: [], chats: [chat] }
}

/** Changes what is known of a message on this device only. */
export async function editMessage(db: Db, key: number, edit: (message: Message) => void): Promise<Change> {
  const tx = begin(db)
  const message = await tx.objectStore('messages').get(key)
  if (!message) return { messages: [], removed: [], chats: [] }
  edit(message)
  message.rev += 1
  void tx.objectStore('messages').put(message)
  await tx.done
  return { messages: [message], removed: [], chats: [] }
}

/** What says that a conversation was read. */
export type ReadFor = (peer: string, read: { marker?: string | undefined; archive?: { id: string; by: string } | undefined }) => Frame

const MOST_MARKING = 50

/**
 * The person has seen the conversation up to that position, or to its end. Tells the other side when it asked, unless a person is not to know, and our
 * other devices. Gives the conversation as it is then: a tab that went as it wrote has told nobody.
 */
export async function markRead(db: Db, me: string, peer: string, quiet: boolean, displayed: ReadFor, upTo = Infinity): Promise<Change & { queued: boolean }> {
  const tx = begin(db)
  const chat = await tx.objectStore('chats').get(peer)
  if (!chat) return { messages: [], removed: [], chats: [], queued: false }
  const whole = upTo >= chat.tail
  const { readPos, unread, last } = whole ? { readPos: chat.tail, unread: 0, last: chat.lastIn } : await readTo(tx, chat, upTo)
  // In a large group nobody asks who of all has read.
  const tells = chat.group ? chat.group.state === 'in' && Math.max(chat.group.members.length, chat.group.here?.count ?? 0) <= MOST_MARKING : !quiet
  const marker = tells && last?.markable ? last.id : undefined
  const archive = last?.archiveId === undefined ? undefined : { id: last.archiveId, by: chat.group ? peer : me }
  const id = marker ?? (chat.group ? undefined : archive?.id)
  const queued = id !== undefined && chat.marked !== id && (last?.pos ?? 0) > 0
  if (queued || unread !== chat.unread || readPos > chat.readPos) {
    Object.assign(chat, { readPos, unread })
    if (chat.group && whole) chat.group.mentioned = false
    if (queued) {
      chat.marked = id
      void tx.objectStore('outbox').add({ ...displayed(peer, { marker, archive }), peer, ...(chat.group && { group: true }) } as never)
    }
    putChat(tx, chat)
    await tx.done
  }
  return { messages: [], removed: [], chats: [chat], queued }
}

/** How far a conversation was read whose end was not seen. */
async function readTo(tx: WriteTx, chat: Chat, upTo: number): Promise<Pick<Chat, 'readPos' | 'unread'> & { last: Chat['lastIn'] }> {
  const seen = upTo > chat.readPos ? await tx.objectStore('messages').index('pos').getAll(IDBKeyRange.bound([chat.peer, chat.readPos], [chat.peer, upTo], true)) : []
  const came = seen.filter((m) => !m.out && !m.event)
  const at = came.at(-1)
  return {
    readPos: seen.length > 0 ? upTo : chat.readPos,
    unread: Math.max(0, chat.unread - came.length),
    last: at && { pos: at.pos, id: chat.group ? at.archiveId : at.id, markable: chat.lastIn?.markable ?? false, archiveId: at.archiveId },
  }
}

/** Changes a conversation's record, making it when there is none. */
export async function editChat(db: Db, peer: string, edit: (chat: Chat) => void, complete = false): Promise<Change> {
  const tx = begin(db)
  const chat = (await tx.objectStore('chats').get(peer)) ?? newChat(peer, complete)
  edit(chat)
  putChat(tx, chat)
  await tx.done
  return { messages: [], removed: [], chats: [chat] }
}
