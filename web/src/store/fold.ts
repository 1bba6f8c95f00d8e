// SPDX-License-Identifier: Apache-2.0

import type { Incoming } from '../wire/message'
import { named, newChat, PENDING, putChat, Tick, type Change, type Chat, type Message, type WriteTx } from './schema'

/**
 * Folds what came in into the store, within one transaction: each message at
 * most once, ticks only upwards, unread counts as they follow. Reads go
 * through an overlay, so that a batch sees its own writes.
 */
export class Fold {
  private chats = new Map<string, Chat>()
  private touched = new Set<string>()
  private byName = new Map<string, Message | undefined>()
  private byArchive = new Map<string, Message | undefined>()
  private records = new Map<number, Message>()
  private changed = new Set<Message>()
  private loose = new Map<string, Tick>()
  /** Messages whose sender waits for a receipt: the peer's address by the message's id. */
  readonly owed = new Map<string, string>()
  /** Ids of own messages that turned out to have arrived. */
  readonly settled: string[] = []

  constructor(
    private readonly tx: WriteTx,
    /** Whether a conversation that is new to us begins with us. */
    private readonly complete: boolean,
  ) {}

  /** Looks up in parallel what the batch will ask for one by one. */
  async prefetch(batch: Incoming[]): Promise<void> {
    const reads: Promise<unknown>[] = []
    for (const m of batch) {
      if (m.archiveId && m.body !== undefined) reads.push(this.findArchived(m.archiveId))
      for (const id of [m.originId, m.received, m.displayed]) if (id) reads.push(this.findNamed(m.peer, id))
    }
    for (const peer of new Set(batch.map((m) => m.peer))) reads.push(this.chat(peer))
    await Promise.all(reads)
  }

  /** Takes what is newer than all before it. */
  async forward(m: Incoming, now: number): Promise<void> {
    if (m.body !== undefined && m.body !== '') await this.message(m, now)
    if (m.received !== undefined) {
      if (m.mine) this.owed.delete(named(m.peer, m.received))
      else await this.raise(m.peer, m.received, Tick.delivered)
    }
    if (m.displayed !== undefined) {
      if (m.mine) await this.readElsewhere(m.peer, m.displayed)
      else await this.raise(m.peer, m.displayed, Tick.read)
    }
  }

  /** Takes what is older than all before it: a page of history, newest first. */
  async backward(m: Incoming): Promise<void> {
    if (!m.mine && m.displayed !== undefined) await this.raise(m.peer, m.displayed, Tick.read)
    if (!m.mine && m.received !== undefined) await this.raise(m.peer, m.received, Tick.delivered)
    if (m.body === undefined || m.body === '') return
    const known = await this.find(m)
    if (known) {
      this.identify(known, m)
      return
    }
    const chat = await this.chat(m.peer)
    chat.head -= 1
    const record = this.record(m, chat.head, m.stamp ?? 0)
    if (m.mine) record.tick = await this.tickOf(chat, record)
    await this.add(chat, record)
  }

  async chat(peer: string): Promise<Chat> {
    let chat = this.chats.get(peer)
    if (!chat) {
      const stored = await this.tx.objectStore('chats').get(peer)
      chat = this.chats.get(peer) // another read may have been faster
      if (!chat) this.chats.set(peer, (chat = stored ?? newChat(peer, this.complete)))
    }
    return chat
  }

  /** Marks a conversation as changed by the caller. */
  touch(chat: Chat): void {
    this.chats.set(chat.peer, chat)
    this.touched.add(chat.peer)
  }

  /** Gives a message of ours its place, now that the server has it, and its tick. */
  async settle(message: Message, tick: Tick, time: number): Promise<void> {
    const chat = await this.chat(message.peer)
    message.tick = Math.max(message.tick, tick) as Tick
    if (message.pos >= PENDING) {
      chat.tail += 1
      message.pos = chat.tail
      message.time = time
    }
    this.update(chat, message)
  }

  /** Changes how far a message is, where it stands. */
  async tick(message: Message, tick: Tick): Promise<void> {
    const chat = await this.chat(message.peer)
    message.tick = tick
    this.update(chat, message)
  }

  /** Writes everything out. */
  async flush(): Promise<Change> {
    const { tx } = this
    const messages = [...this.changed]
    for (const m of messages) {
      m.rev += 1
      void tx.objectStore('messages').put(m)
    }
    const chats = [...this.touched].map((peer) => this.chats.get(peer)!)
    for (const c of chats) putChat(tx, c)
    for (const [name, tick] of this.loose) void tx.objectStore('loose').put({ name, tick })
    await tx.done
    return { messages, removed: [], chats }
  }

  private async message(m: Incoming, now: number): Promise<void> {
    const known = await this.find(m)
    if (known) {
      this.identify(known, m)
      if (known.out && (known.pos >= PENDING || known.tick === Tick.waiting)) {
        await this.settle(known, Tick.sent, m.stamp ?? now)
        await this.drop(known)
      }
      return
    }
    const chat = await this.chat(m.peer)
    chat.tail += 1
    const record = this.record(m, chat.tail, m.stamp ?? now)
    if (m.mine) {
      record.tick = await this.tickOf(chat, record)
      chat.readPos = record.pos // who answers has read
      chat.unread = 0
    } else {
      chat.unread += 1
      chat.lastIn = { pos: record.pos, id: m.id, markable: m.markable }
      if (m.asksReceipt && m.id) this.owed.set(named(m.peer, m.id), m.peer)
    }
    await this.add(chat, record)
  }

  private record(m: Incoming, pos: number, time: number): Message {
    const names = new Set([m.id, m.originId].flatMap((id) => (id ? named(m.peer, id) : [])))
    return {
      key: 0,
      peer: m.peer,
      pos,
      out: m.mine,
      body: m.body ?? '',
      time,
      tick: Tick.sent,
      id: m.id,
      originId: m.originId,
      ...(m.archiveId !== undefined && { archiveId: m.archiveId }),
      names: [...names],
      rev: 0,
    }
  }

  private async add(chat: Chat, record: Message): Promise<void> {
    const { key: _, ...fields } = record
    record.key = await this.tx.objectStore('messages').add(fields as Message)
    this.records.set(record.key, record)
    for (const name of record.names) this.byName.set(name, record)
    if (record.archiveId) this.byArchive.set(record.archiveId, record)
    this.update(chat, record)
  }

  private update(chat: Chat, message: Message): void {
    this.changed.add(message)
    if (message.pos < PENDING && message.pos > 0) chat.time = Math.max(chat.time, message.time)
    else if (chat.time === 0) chat.time = message.time
    if (!chat.last || message.pos >= chat.last.pos || chat.last.key === message.key) chat.last = preview(message)
    this.touch(chat)
  }

  /** The archive told the name of a message that we have. */
  private identify(message: Message, m: Incoming): void {
    if (m.archiveId === undefined || message.archiveId === m.archiveId) return
    message.archiveId = m.archiveId
    this.changed.add(message)
  }

  /** A message of ours need not be sent any more: it is in the archive. */
  private async drop(message: Message): Promise<void> {
    const outbox = this.tx.objectStore('outbox')
    for (const n of await outbox.index('message').getAllKeys(message.key)) void outbox.delete(n)
    if (message.originId) this.settled.push(message.originId)
  }

  private async find(m: Incoming): Promise<Message | undefined> {
    const archived = m.archiveId ? await this.findArchived(m.archiveId) : undefined
    if (archived) return archived
    const same = m.originId ? await this.findNamed(m.peer, m.originId) : undefined
    return same?.out === m.mine && same.originId === m.originId ? same : undefined
  }

  private async findArchived(id: string): Promise<Message | undefined> {
    if (!this.byArchive.has(id)) {
      const found = await this.tx.objectStore('messages').index('archive').get(id)
      if (!this.byArchive.has(id)) this.byArchive.set(id, this.one(found))
    }
    return this.byArchive.get(id)
  }

  private async findNamed(peer: string, id: string): Promise<Message | undefined> {
    const name = named(peer, id)
    if (!this.byName.has(name)) {
      const found = await this.tx.objectStore('messages').index('names').get(name)
      if (!this.byName.has(name)) this.byName.set(name, this.one(found))
    }
    return this.byName.get(name)
  }

  /** One object per stored message, whichever way it was found. */
  private one(found: Message | undefined): Message | undefined {
    if (!found) return undefined
    const held = this.records.get(found.key)
    if (held) return held
    this.records.set(found.key, found)
    return found
  }

  /** The peer has, or has read, a message of ours; markers speak for all before it too (XEP-0333 §rules @1.0.0). */
  private async raise(peer: string, id: string, tick: Tick): Promise<void> {
    const message = await this.findNamed(peer, id)
    if (!message?.out) {
      const name = named(peer, id)
      const stored = this.loose.get(name) ?? (await this.tx.objectStore('loose').get(name))?.tick ?? 0
      this.loose.set(name, Math.max(stored, tick) as Tick)
      return
    }
    const chat = await this.chat(peer)
    if (message.tick < tick || message.pos >= PENDING) {
      await this.settle(message, tick, message.time)
      await this.drop(message)
    }
    if (tick === Tick.read) await this.raiseEarlier(chat, message.pos)
    if (tick === Tick.read) chat.peerRead = Math.max(chat.peerRead, message.pos)
    chat.peerGot = Math.max(chat.peerGot, message.pos)
    this.touch(chat)
  }

  private async raiseEarlier(chat: Chat, upTo: number): Promise<void> {
    const from = Math.max(chat.peerRead, chat.head - 1)
    if (upTo <= from) return
    const range = IDBKeyRange.bound([chat.peer, from], [chat.peer, upTo], false, true)
    const earlier = await this.tx.objectStore('messages').index('pos').getAll(range)
    for (const stored of earlier) {
      const message = this.one(stored)!
      if (message.out && message.tick > Tick.refused && message.tick < Tick.read && message.pos < upTo) {
        message.tick = Tick.read
        this.update(chat, message)
      }
    }
    for (const message of this.changed) {
      if (message.peer === chat.peer && message.out && message.pos < upTo && message.tick > Tick.refused) {
        message.tick = Tick.read
      }
    }
  }

  /** What is known about a message of ours that we see for the first time. */
  private async tickOf(chat: Chat, record: Message): Promise<Tick> {
    let tick: Tick = Tick.sent
    const store = this.tx.objectStore('loose')
    for (const name of record.names) {
      const loose = this.loose.get(name) ?? (await store.get(name))?.tick
      if (loose === undefined) continue
      if (loose > tick) tick = loose
      this.loose.delete(name)
      void store.delete(name)
    }
    if (record.pos <= chat.peerRead) return Tick.read
    if (record.pos <= chat.peerGot && tick < Tick.delivered) tick = Tick.delivered
    if (tick >= Tick.delivered) chat.peerGot = Math.max(chat.peerGot, record.pos)
    if (tick === Tick.read) chat.peerRead = Math.max(chat.peerRead, record.pos)
    return tick
  }

  /** Another device of ours showed the conversation up to that message. */
  private async readElsewhere(peer: string, id: string): Promise<void> {
    const message = await this.findNamed(peer, id)
    if (!message || message.out) return
    const chat = await this.chat(peer)
    chat.marked = id
    if (message.pos <= chat.readPos) return
    chat.readPos = message.pos
    const range = IDBKeyRange.bound([peer, message.pos], [peer, PENDING], true, true)
    const later = await this.tx.objectStore('messages').index('pos').getAll(range)
    chat.unread = later.filter((m) => !m.out).length
    this.touch(chat)
  }
}

export function preview(m: Message): NonNullable<Chat['last']> {
  return { key: m.key, pos: m.pos, out: m.out, tick: m.tick, body: m.body.slice(0, 200) }
}
