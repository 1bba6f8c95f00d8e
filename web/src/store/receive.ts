// SPDX-License-Identifier: Apache-2.0

import type { Contact } from '../wire/contacts'
import type { ChatSettings, Listed } from '../wire/inbox'
import type { Incoming } from '../wire/message'
import { Fold } from './fold'
import { newChat, oldest, PENDING, putChat, Tick, type Change, type Chat, type Db, type GroupEvent, type Message, type Meta, type Sync } from './schema'
import { begin, editMessage, type Frame, type FrameFor } from './write'

/**
 * The writes of what comes in, for the tab that talks to the server. As with
 * the others each function is one transaction, and gives what changed.
 */

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
  /** Out of the archive of that group, not of ours. */
  group?: string | undefined
}

/** Takes messages that are newer than what is in the store: live, or while catching up. */
export async function take(db: Db, batch: Incoming[], options: TakeOptions): Promise<Taken> {
  const tx = begin(db, false, 'files')
  const fold = new Fold(tx, options.complete)
  await fold.prefetch(batch)
  for (const m of batch) await fold.forward(m, options.now)
  for (const [name, peer] of fold.owed) {
    const frame = options.receipt(peer, name.slice(peer.length + 1))
    void tx.objectStore('outbox').add({ ...frame, peer } as never)
  }
  if (options.group !== undefined && options.lastId !== undefined) {
    const chat = await fold.chat(options.group)
    if (chat.group) chat.group.lastId = options.lastId
    fold.touch(chat)
  } else if (options.lastId !== undefined) void tx.objectStore('meta').put({ lastId: options.lastId } satisfies Sync, 'sync')
  const change = await fold.flush()
  return { ...change, settled: fold.settled, queued: fold.owed.size > 0 }
}

/**
 * Takes the list of chats. A device that knew nothing begins with it: of each the last message, and how many are not read. On others it tells what was
 * set for each.
 */
export async function takeList(db: Db, listed: Listed[], options: Pick<TakeOptions, 'lastId' | 'receipt' | 'now'> & { fill: boolean }): Promise<Taken> {
  const tx = begin(db)
  const fold = new Fold(tx, false)
  await fold.prefetch(listed.flatMap((l) => l.last ?? []))
  const known = new Set(listed.map((l) => l.peer))
  for (const chat of await tx.objectStore('chats').getAll()) {
    if (!known.has(chat.peer) && set(chat, {}, chat.tail)) fold.touch(chat)
  }
  for (const l of listed.toReversed()) {
    const chat = await fold.chat(l.peer)
    // Of a group its own archive tells.
    if (options.fill && l.last && !l.room && chat.last === undefined) {
      await fold.forward(l.last, options.now)
      chat.unread = Math.min(l.unread, 999)
      chat.readPos = chat.tail - chat.unread
      fold.touch(chat)
    }
    const here = chat.last !== undefined || chat.group !== undefined || chat.contact
    if (here && set(chat, l.settings, chat.tail)) fold.touch(chat)
  }
  let queued = false
  for (const [name, peer] of fold.owed) {
    if (((await fold.chat(peer)).unread ?? 0) === 0) continue
    queued = true
    void tx.objectStore('outbox').add({ ...options.receipt(peer, name.slice(peer.length + 1)), peer } as never)
  }
  if (options.fill && options.lastId !== undefined) void tx.objectStore('meta').put({ lastId: options.lastId } satisfies Sync, 'sync')
  return { ...(await fold.flush()), settled: fold.settled, queued }
}

/** Takes what was set for a conversation; of a group, the silence stands elsewhere. */
export async function takeSettings(db: Db, peer: string, settings: ChatSettings): Promise<Change> {
  const tx = begin(db)
  const fold = new Fold(tx, false)
  const chat = await fold.chat(peer)
  const named = settings.archived ? await tx.objectStore('messages').index('archive').get(settings.archived) : undefined
  const muted = chat.group ? chat.muted : settings.muted
  if (set(chat, { ...settings, muted }, named?.peer === peer ? named.pos : chat.tail)) fold.touch(chat)
  return fold.flush()
}

/** Another device has read a conversation up to the message with that archive id. */
export async function takeRead(db: Db, peer: string, archiveId: string): Promise<Change> {
  const tx = begin(db)
  const fold = new Fold(tx, false)
  const message = await tx.objectStore('messages').index('archive').get(archiveId)
  if (message?.peer === peer) await fold.readUpTo(message)
  return fold.flush()
}

/** Whether anything is different. */
function set(chat: Chat, settings: ChatSettings, at: number): boolean {
  const archivedAt = settings.archived === undefined ? undefined : Math.max(chat.archivedAt ?? -Infinity, at)
  const next = { pinned: settings.pinned, markedUnread: settings.marked, muted: settings.muted, archivedAt }
  const { pinned, markedUnread, muted } = chat
  if (JSON.stringify({ pinned, markedUnread, muted, archivedAt: chat.archivedAt }) === JSON.stringify(next)) return false
  Object.assign(chat, next)
  return true
}

/**
 * Takes a page of history of one conversation, given oldest first, that ends where the store begins: before the
 * message with that archive id, or "" if it has none that the archive has a name for. Takes nothing, and gives undefined, where the
 * store begins elsewhere by now: what has come in meanwhile is not older than all, and the page may have what comes after it.
 */
export async function takeHistory(db: Db, peer: string, page: Incoming[], complete: boolean, before: string): Promise<Change | undefined> {
  const tx = begin(db, false, 'files')
  if ((await oldest(tx, peer)) !== before) return undefined
  const fold = new Fold(tx, false)
  await fold.prefetch(page)
  // What was said after a message that went out from here, and has its archive's name only now, comes in by itself.
  const known = before === '' ? await fold.firstKnown(page) : -1
  const older = known < 0 ? page : page.slice(0, known + 1)
  for (const m of older.toReversed()) if (m.peer === peer) await fold.backward(m)
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
    const { message: key, act } = c.value
    void c.delete()
    if (act) await fold.acted(act.key, c.value.id)
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

/** Takes what is starred on the server, in all and what of it has changed, each by the archive's names. */
export async function takeStars(db: Db, stars: Meta['stars'], marked: string[], unmarked: string[]): Promise<Change> {
  const tx = begin(db)
  const store = tx.objectStore('messages')
  void tx.objectStore('meta').put(stars, 'stars')
  const messages: Message[] = []
  const look = async (id: string, starred: 1 | undefined): Promise<void> => {
    const message = await store.index('archive').get(id)
    if (!message || message.starred === starred) return
    Object.assign(message, { starred, rev: message.rev + 1 })
    void store.put(message)
    messages.push(message)
  }
  await Promise.all([...marked.map((id) => look(id, 1)), ...unmarked.map((id) => look(id, undefined))])
  await tx.done
  return { messages, removed: [], chats: [], stars: true }
}

/** The archive's name for a message that went out from here is known now. */
export function identify(db: Db, key: number, archiveId: string): Promise<Change> {
  return editMessage(db, key, (m) => (m.archiveId ??= archiveId))
}

/** The server will not take it. */
export async function refuse(db: Db, id: string, error: { condition: string; text: string }, now: number): Promise<Change> {
  const tx = begin(db)
  const fold = new Fold(tx, false)
  const outbox = tx.objectStore('outbox')
  for (let c = await outbox.openCursor(); c; c = await c.continue()) {
    if (c.value.id !== id) continue
    const { message: key, act } = c.value
    void c.delete()
    if (act) await fold.undo(act.key, id, act.undo, error)
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

/** Puts what must arrive, and is no message of a conversation, into the outbox. */
export async function queue(db: Db, records: (Frame & { peer: string })[]): Promise<void> {
  const tx = db.transaction('outbox', 'readwrite', { durability: 'strict' })
  for (const record of records) void tx.store.add(record as never)
  await tx.done
}

/** Writes down what happened in a group, for this device to show. */
export async function note(db: Db, peer: string, events: GroupEvent[], now: number): Promise<Change> {
  const tx = begin(db)
  const chat = (await tx.objectStore('chats').get(peer)) ?? newChat(peer, false)
  const messages: Message[] = []
  for (const event of events) {
    chat.tail += 1
    const fields = { peer, pos: chat.tail, out: false, body: '', time: now, tick: Tick.sent, names: [], event, rev: 1 }
    const key = await tx.objectStore('messages').add(fields as never)
    messages.push({ ...fields, key })
  }
  if (chat.unread === 0) chat.readPos = chat.tail
  putChat(tx, chat)
  await tx.done
  return { messages, removed: [], chats: [chat] }
}

/** Nothing that waits for this conversation will be taken. */
export async function refuseAll(db: Db, peer: string, error: { condition: string; text: string }, now: number): Promise<Change> {
  const ids = (await db.getAll('outbox')).filter((o) => o.peer === peer && o.group).map((o) => o.id)
  const all: Change = { messages: [], removed: [], chats: [] }
  for (const id of ids) {
    const change = await refuse(db, id, error, now)
    all.messages.push(...change.messages)
    all.chats = change.chats
  }
  return all
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
