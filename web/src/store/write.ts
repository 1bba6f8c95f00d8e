// SPDX-License-Identifier: Apache-2.0

import type { Contact } from '../wire/contacts'
import type { Incoming } from '../wire/message'
import { Fold, preview } from './fold'
import { named, newChat, PENDING, putChat, Tick, type Change, type Chat, type Db, type Message, type Sync, type WriteTx } from './schema'

/**
 * Every write to the store: each function is one transaction, so that tabs
 * that write at the same time never see half of it. All give what changed.
 */

/** What goes into the outbox: made by the caller, who knows the wire. */
export interface Frame {
  id: string
  frame: string
}

export type FrameFor = (peer: string, messageId: string) => Frame

function begin(db: Db, strict = false): WriteTx {
  const stores = ['chats', 'messages', 'outbox', 'loose', 'meta'] as const
  return db.transaction(stores, 'readwrite', strict ? { durability: 'strict' } : {}) as unknown as WriteTx
}

/**
 * Puts a message into the conversation and the outbox. Once this has settled
 * the message is on the device's disk.
 */
export async function compose(db: Db, peer: string, body: string, frame: Frame, now: number): Promise<Change> {
  return enqueue(begin(db, true), peer, body, frame, now)
}

/** Puts a refused message into the outbox anew, as another message: in one step, so that it cannot get lost between. */
export async function composeAgain(db: Db, key: number, frame: Frame, now: number): Promise<Change> {
  const tx = begin(db, true)
  const message = await tx.objectStore('messages').get(key)
  if (!message) return { messages: [], removed: [], chats: [] }
  void tx.objectStore('messages').delete(key)
  const change = await enqueue(tx, message.peer, message.body, frame, now)
  return { ...change, removed: [key] }
}

async function enqueue(tx: WriteTx, peer: string, body: string, frame: Frame, now: number): Promise<Change> {
  const chats = tx.objectStore('chats')
  const chat = (await chats.get(peer)) ?? newChat(peer, false)
  chat.composed += 1
  const fields: Omit<Message, 'key'> = {
    peer,
    pos: PENDING + chat.composed,
    out: true,
    body,
    time: now,
    tick: Tick.waiting,
    id: frame.id,
    originId: frame.id,
    names: [named(peer, frame.id)],
    rev: 1,
  }
  const key = await tx.objectStore('messages').add(fields as Message)
  const message: Message = { ...fields, key }
  chat.last = preview(message)
  chat.time = Math.max(chat.time, now)
  chat.unread = 0
  chat.readPos = chat.tail
  putChat(tx, chat)
  void tx.objectStore('outbox').add({ ...frame, peer, message: key } as never)
  await tx.done
  return { messages: [message], removed: [], chats: [chat] }
}

export interface Taken extends Change {
  /** Ids in the outbox that need not be sent any more. */
  settled: string[]
  /** Receipts were put into the outbox. */
  queued: boolean
}

export interface TakeOptions {
  /** The archive up to here is now in the store. */
  lastId: string | undefined
  /** New conversations begin with this message: nothing older is in the archive. */
  complete: boolean
  receipt: FrameFor
  now: number
}

/** Takes messages that are newer than what is in the store: live, or while catching up. */
export async function take(db: Db, batch: Incoming[], options: TakeOptions): Promise<Taken> {
  const tx = begin(db)
  const fold = new Fold(tx, options.complete)
  await fold.prefetch(batch)
  for (const m of batch) await fold.forward(m, options.now)
  for (const [name, peer] of fold.owed) {
    const frame = options.receipt(peer, name.slice(peer.length + 1))
    void tx.objectStore('outbox').add({ ...frame, peer } as never)
  }
  if (options.lastId !== undefined) void tx.objectStore('meta').put({ lastId: options.lastId } satisfies Sync, 'sync')
  const change = await fold.flush()
  return { ...change, settled: fold.settled, queued: fold.owed.size > 0 }
}

/** Takes a page of history of one conversation, given oldest first, that ends where the store begins. */
export async function takeHistory(db: Db, peer: string, page: Incoming[], complete: boolean): Promise<Change> {
  const tx = begin(db)
  const fold = new Fold(tx, false)
  await fold.prefetch(page)
  for (const m of page.toReversed()) if (m.peer === peer) await fold.backward(m)
  if (complete) {
    const chat = await fold.chat(peer)
    chat.complete = true
    fold.touch(chat)
  }
  return fold.flush()
}

/**
 * The server has these. While the archive is being caught up with, the place
 * of a message among those missed is not yet known: it stays last (place is
 * false) until the archive tells it.
 */
export async function acknowledge(db: Db, ids: string[], place: boolean, now: number): Promise<Change> {
  const tx = begin(db)
  const fold = new Fold(tx, false)
  const outbox = tx.objectStore('outbox')
  const wanted = new Set(ids)
  // What is acknowledged is what was sent first.
  for (let c = await outbox.openCursor(); c && wanted.size > 0; c = await c.continue()) {
    if (!wanted.delete(c.value.id)) continue
    const key = c.value.message
    void c.delete()
    const message = key === undefined ? undefined : await tx.objectStore('messages').get(key)
    if (!message) continue
    if (place) await fold.settle(message, Tick.sent, now)
    else await fold.tick(message, Math.max(message.tick, Tick.sent) as Tick)
  }
  return fold.flush()
}

/** Gives messages that were acknowledged while catching up their place, in the order in which they were written. */
export async function place(db: Db, now: number): Promise<Change> {
  const tx = begin(db)
  const fold = new Fold(tx, false)
  for (const chat of await tx.objectStore('chats').getAll()) {
    if (chat.composed === 0 || !chat.last) continue
    const range = IDBKeyRange.bound([chat.peer, PENDING], [chat.peer, Infinity])
    for (const message of await tx.objectStore('messages').index('pos').getAll(range)) {
      if (message.tick !== Tick.waiting) await fold.settle(message, message.tick, now)
    }
  }
  return fold.flush()
}

/** The server will not take it. */
export async function refuse(db: Db, id: string, error: { condition: string; text: string }, now: number): Promise<Change> {
  const tx = begin(db)
  const fold = new Fold(tx, false)
  const outbox = tx.objectStore('outbox')
  for (let c = await outbox.openCursor(); c; c = await c.continue()) {
    if (c.value.id !== id) continue
    const key = c.value.message
    void c.delete()
    const message = key === undefined ? undefined : await tx.objectStore('messages').get(key)
    if (message) {
      message.error = error
      await fold.settle(message, Tick.waiting, now)
      await fold.tick(message, Tick.refused)
    }
    break
  }
  return fold.flush()
}

/** Takes a message off this device, and out of the outbox. */
export async function discard(db: Db, key: number): Promise<Change> {
  const tx = begin(db)
  const messages = tx.objectStore('messages')
  const message = await messages.get(key)
  if (!message) return { messages: [], removed: [], chats: [] }
  void messages.delete(key)
  for (const n of await tx.objectStore('outbox').index('message').getAllKeys(key)) void tx.objectStore('outbox').delete(n)
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

/** The person has seen the conversation to its end. Tells the other side when it asked. */
export async function markRead(db: Db, peer: string, displayed: FrameFor): Promise<Change & { queued: boolean }> {
  const tx = begin(db)
  const chat = await tx.objectStore('chats').get(peer)
  const id = chat?.lastIn?.markable ? chat.lastIn.id : undefined
  const tell = id !== undefined && chat?.marked !== id && (chat?.lastIn?.pos ?? 0) > 0
  if (!chat || (chat.unread === 0 && chat.readPos >= chat.tail && !tell)) {
    return { messages: [], removed: [], chats: [], queued: false }
  }
  chat.unread = 0
  chat.readPos = chat.tail
  if (tell) {
    chat.marked = id
    void tx.objectStore('outbox').add({ ...displayed(peer, id), peer } as never)
  }
  putChat(tx, chat)
  await tx.done
  return { messages: [], removed: [], chats: [chat], queued: tell }
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

/** Takes the roster as the server has it. Conversations with people who left it stay. */
export async function takeContacts(db: Db, contacts: Contact[], complete: boolean): Promise<Change> {
  const tx = begin(db)
  const store = tx.objectStore('chats')
  const known = new Map((await store.getAll()).map((c) => [c.peer, c]))
  const listed = new Map(contacts.map((c) => [c.jid, c]))
  const changed: Chat[] = []
  for (const [peer, chat] of known) {
    if (applyContact(chat, listed.get(peer))) changed.push(chat)
  }
  for (const contact of contacts) {
    if (known.has(contact.jid)) continue
    const chat = newChat(contact.jid, complete)
    applyContact(chat, contact)
    changed.push(chat)
  }
  for (const chat of changed) putChat(tx, chat)
  await tx.done
  return { messages: [], removed: [], chats: changed }
}

/** Takes over what the roster says; gives whether that changed anything. */
export function applyContact(chat: Chat, contact: Contact | undefined): boolean {
  const name = contact?.name || chat.name
  const subscription = contact?.subscription ?? 'none'
  const asks = chat.asks && subscription !== 'from' && subscription !== 'both'
  const wanted = chat.wanted && contact === undefined
  const same =
    chat.wanted === wanted &&
    chat.contact === (contact !== undefined) &&
    chat.name === name &&
    chat.subscription === subscription &&
    chat.asks === asks
  if (same) return false
  Object.assign(chat, { contact: contact !== undefined, name, subscription, wanted, asks })
  return true
}
