// SPDX-License-Identifier: Apache-2.0

import type { Incoming } from '../wire/message'
import { resource } from '../wire/jid'
import { blank, preview } from './preview'
import { ME, named, newChat, PENDING, putChat, Tick, type Change, type Chat, type Loose, type Message, type Meta, type WriteTx } from './schema'

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
  private loose = new Map<string, Loose>()
  /** Peers for whose messages nothing came that waits for them in the store. */
  private noneLoose = new Set<string>()
  /** The key of the last message that was added, and those that are yet to be written. */
  private lastKey: number | undefined
  private unwritten: Message[] = []
  /** What is starred on the server. */
  private stars: Meta['stars'] = {}
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
    reads.push(this.findAllArchived(batch.flatMap((m) => (m.archiveId && (m.body !== undefined || m.file) ? m.archiveId : []))))
    for (const m of batch) {
      for (const id of [m.originId, m.received, m.displayed, m.reactions?.id, m.replaces, m.retracts, m.reply?.id]) if (id) reads.push(this.findNamed(m.peer, id))
    }
    for (const peer of new Set(batch.map((m) => m.peer))) {
      reads.push(this.chat(peer))
      const first = this.tx.objectStore('loose').getKey(IDBKeyRange.bound(named(peer, ''), `${peer}!`, false, true))
      reads.push(first.then((key) => key === undefined && this.noneLoose.add(peer)))
    }
    const stars = this.tx.objectStore('meta').get('stars') as Promise<Meta['stars'] | undefined>
    reads.push(stars.then((s) => (this.stars = s ?? {})))
    await Promise.all(reads)
  }

  /** Takes what is newer than all before it. */
  async forward(m: Incoming, now: number): Promise<void> {
    if (m.sender && m.mine && m.originId) await this.arrived(m.originId)
    if (!(await this.change(m, true)) && says(m)) await this.message(m, now)
    if (m.received !== undefined) {
      if (m.mine) this.owed.delete(named(m.peer, m.received))
      else await this.raise(m.peer, m.received, Tick.delivered)
    }
    if (m.displayed !== undefined) {
      if (m.mine) await this.readElsewhere(m.peer, m.displayed)
      else if (m.sender) await this.readBy(m.peer, m.displayed, m.sender.who)
      else await this.raise(m.peer, m.displayed, Tick.read)
    }
  }

  /** Takes what is older than all before it: a page of history, newest first. */
  async backward(m: Incoming): Promise<void> {
    if (!m.mine && m.displayed !== undefined) {
      if (m.sender) await this.readBy(m.peer, m.displayed, m.sender.who)
      else await this.raise(m.peer, m.displayed, Tick.read)
    }
    if (!m.mine && m.received !== undefined) await this.raise(m.peer, m.received, Tick.delivered)
    if ((await this.change(m, false)) || !says(m)) return
    const known = await this.find(m)
    if (known) {
      this.identify(known, m)
      return
    }
    const chat = await this.chat(m.peer)
    chat.head -= 1
    const record = await this.record(m, chat.head, m.stamp ?? 0)
    await this.recall(chat, record)
    await this.add(chat, record)
  }

  /** The place of the first message in a batch that is in the store; -1 when none is. */
  async firstKnown(batch: Incoming[]): Promise<number> {
    for (const [i, m] of batch.entries()) if (says(m) && (await this.find(m))) return i
    return -1
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

  /** Writes the messages that were added so far, for who reads them in their order before all is written. */
  write(): void {
    for (const m of this.unwritten.splice(0)) void this.tx.objectStore('messages').put(m)
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
    for (const loose of this.loose.values()) void tx.objectStore('loose').put(loose)
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
      if (m.retracted && !known.deleted) this.blank(await this.chat(m.peer), known)
      return
    }
    const chat = await this.chat(m.peer)
    chat.tail += 1
    const record = await this.record(m, chat.tail, m.stamp ?? now)
    await this.recall(chat, record)
    if (m.mine) {
      chat.readPos = record.pos // who answers has read
      chat.unread = 0
      chat.markedUnread = undefined
      if (chat.group) chat.group.mentioned = false
    } else {
      chat.unread += 1
      chat.lastIn = { pos: record.pos, id: m.sender ? m.archiveId : m.id, markable: m.markable, archiveId: m.archiveId }
      if (chat.group && m.callsMe) chat.group.mentioned = true
      if (m.asksReceipt && m.id && !m.sender) this.owed.set(named(m.peer, m.id), m.peer)
    }
    await this.add(chat, record)
  }

  private async record(m: Incoming, pos: number, time: number): Promise<Message> {
    const ids = [m.id, m.originId, m.sender ? m.archiveId : undefined]
    const names = new Set(ids.flatMap((id) => (id ? named(m.peer, id) : [])))
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
      ...(m.sender && { from: m.sender }),
      ...(m.reply && { reply: await this.quote(m) }),
      ...(m.mentions && { mentions: m.mentions }),
      ...(m.unstyled && { unstyled: true }),
      ...(m.file && { file: m.file }),
      ...(m.encrypted !== undefined && { encrypted: m.encrypted }),
      ...(m.retracted && { deleted: true }),
      ...(this.isStarred(m.archiveId) && { starred: 1 as const }),
      names: [...names],
      rev: 0,
    }
  }

  /** What a message answers: as we know it, or as the sender quotes it. */
  private async quote(m: Incoming): Promise<NonNullable<Message['reply']>> {
    const { id, to, text } = m.reply!
    const known = await this.findNamed(m.peer, id)
    if (known) return { id, text: (known.body || (known.file?.name ?? '')).slice(0, QUOTED), out: known.out, nick: known.from?.nick ?? '' }
    const group = m.sender && (await this.chat(m.peer)).group
    const out = group ? resource(to) === group.nick : !to.startsWith(m.peer)
    return { id, text, out, nick: group ? resource(to) : '' }
  }

  /** A message that changes another, or says something about it; whether it was one. Only its author may, and an admin of the group. */
  private async change(m: Incoming, newest: boolean): Promise<boolean> {
    const id = m.retracts ?? m.reactions?.id ?? m.replaces
    if (id === undefined) return false
    const who = m.mine ? ME : (m.sender?.who ?? m.peer)
    const target = await this.findNamed(m.peer, id)
    if (!target) {
      await this.keepLoose(m, id, who, newest)
      return true
    }
    // What we did since and is still on its way counts, not what we did before.
    if (m.mine && (target.acts?.length ?? 0) > 0) return true
    const chat = await this.chat(m.peer)
    if (m.retracts !== undefined) {
      if ((m.moderated || author(target) === who) && !target.deleted) this.blank(chat, target)
    } else if (m.reactions) {
      if (target.deleted || (!newest && target.reactions?.[who])) return true
      target.reactions = { ...target.reactions, [who]: m.reactions.emoji }
      this.update(chat, target)
    } else if (m.body && author(target) === who && !target.deleted && (newest || !target.edited)) {
      target.body = m.body
      target.mentions = m.mentions
      target.unstyled = m.unstyled
      target.edited = m.id ?? id
      this.update(chat, target)
    }
    return true
  }

  private async keepLoose(m: Incoming, id: string, who: string, newest: boolean): Promise<void> {
    const loose = await this.looseOf(named(m.peer, id))
    if (m.retracts !== undefined) loose.deleted = { who: m.moderated ? '' : who }
    else if (m.reactions) {
      if (newest || !loose.reactions?.[who]) loose.reactions = { ...loose.reactions, [who]: m.reactions.emoji }
    } else if (m.body && (newest || !loose.edit)) {
      loose.edit = { who, id: m.id ?? id, body: m.body, mentions: m.mentions, unstyled: m.unstyled }
    }
  }

  private async looseOf(name: string): Promise<Loose> {
    const held = this.loose.get(name)
    if (held) return held
    const loose = (await this.tx.objectStore('loose').get(name)) ?? { name }
    this.loose.set(name, loose)
    return loose
  }

  private blank(chat: Chat, message: Message): void {
    blank(message)
    void this.tx.objectStore('files').delete(message.key)
    this.update(chat, message)
  }

  /** What we sent to a group came back: it need not be sent any more. */
  private async arrived(id: string): Promise<void> {
    const outbox = this.tx.objectStore('outbox')
    const record = await outbox.index('id').get(id)
    if (!record || record.message !== undefined) return // a message is found by itself
    void outbox.delete(record.n)
    this.settled.push(id)
    if (record.act) await this.acted(record.act.key, id)
  }

  /** A change of a message was refused: it is as before. */
  async undo(key: number, id: string, undo: Partial<Message>, error: { condition: string; text: string }): Promise<void> {
    await this.acted(key, id)
    const message = this.records.get(key)
    if (!message) return
    if ((message.acts?.length ?? 0) === 0) Object.assign(message, undo)
    message.undone = error
    this.update(await this.chat(message.peer), message)
  }

  /** A change of a message has arrived. */
  async acted(key: number, id: string): Promise<void> {
    const message = this.one(this.records.get(key) ?? (await this.tx.objectStore('messages').get(key)))
    if (!message) return
    message.acts = message.acts?.filter((a) => a !== id)
    this.update(await this.chat(message.peer), message)
  }

  private async add(chat: Chat, record: Message): Promise<void> {
    if (this.lastKey === undefined) {
      const { key: _, ...fields } = record
      this.lastKey = await this.tx.objectStore('messages').add(fields as Message)
    } else {
      // The next that the database would give: nobody else writes meanwhile, and nothing has to be waited for.
      this.lastKey++
      this.unwritten.push(record)
    }
    record.key = this.lastKey
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

  private isStarred(id: string | undefined): boolean {
    return id !== undefined && Object.hasOwn(this.stars, id)
  }

  /** The archive told the name of a message that we have. */
  private identify(message: Message, m: Incoming): void {
    if (m.archiveId === undefined || message.archiveId === m.archiveId) return
    message.archiveId = m.archiveId
    if (this.isStarred(m.archiveId)) message.starred = 1
    if (m.sender) {
      message.names = [...new Set([...message.names, named(m.peer, m.archiveId)])]
      this.byName.set(named(m.peer, m.archiveId), message)
    }
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

  /** Mostly none of them is here, and an archive's names are in its order: then one question tells it. */
  private async findAllArchived(ids: string[]): Promise<void> {
    if (ids.length === 0) return
    const inOrder = ids.toSorted()
    const index = this.tx.objectStore('messages').index('archive')
    if ((await index.getKey(IDBKeyRange.bound(inOrder[0], inOrder.at(-1)))) !== undefined) await Promise.all(ids.map((id) => this.findArchived(id)))
    else for (const id of ids) this.byArchive.set(id, undefined)
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
      const loose = await this.looseOf(named(peer, id))
      loose.tick = Math.max(loose.tick ?? 0, tick) as Tick
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

  /** Takes over what came for a message before itself. */
  private async recall(chat: Chat, record: Message): Promise<void> {
    const store = this.tx.objectStore('loose')
    let tick: Tick = Tick.sent
    for (const name of record.names) {
      const loose = this.loose.get(name) ?? (this.noneLoose.has(record.peer) ? undefined : await store.get(name))
      if (!loose) continue
      if (loose.tick !== undefined && loose.tick > tick) tick = loose.tick
      if (loose.reactions) record.reactions = { ...record.reactions, ...loose.reactions }
      if (loose.edit && loose.edit.who === author(record)) {
        const { body, id, mentions, unstyled } = loose.edit
        Object.assign(record, { body, edited: id, mentions, unstyled })
      }
      if (loose.deleted && ['', author(record)].includes(loose.deleted.who)) blank(record)
      this.loose.delete(name)
      void store.delete(name)
    }
    if (!record.out) return
    if (record.pos <= chat.peerRead) tick = Tick.read
    else if (record.pos <= chat.peerGot && tick < Tick.delivered) tick = Tick.delivered
    if (tick >= Tick.delivered) chat.peerGot = Math.max(chat.peerGot, record.pos)
    if (tick === Tick.read) chat.peerRead = Math.max(chat.peerRead, record.pos)
    record.tick = tick
  }

  /** A member of a group has read it up to that message. What all have read is read. */
  private async readBy(peer: string, id: string, who: string): Promise<void> {
    const message = await this.findNamed(peer, id)
    const chat = await this.chat(peer)
    const group = chat.group
    if (!message || !group || message.pos >= PENDING || message.pos <= (group.read[who] ?? -Infinity)) return
    group.read = { ...group.read, [who]: message.pos }
    this.touch(chat)
    const others = group.members.filter((m) => m.nick !== group.nick)
    const least = Math.min(...others.map((m) => group.read[m.jid] ?? -Infinity))
    if (others.length === 0 || least <= chat.peerRead) return
    await this.raiseEarlier(chat, least + 1)
    chat.peerRead = Math.max(chat.peerRead, least)
  }

  /** Another device of ours showed the conversation up to that message. */
  private async readElsewhere(peer: string, id: string): Promise<void> {
    const message = await this.findNamed(peer, id)
    if (!message || message.out) return
    ;(await this.chat(peer)).marked = id
    await this.readUpTo(message)
  }

  /** The conversation was read up to that message; a mark set by hand after it stays. */
  async readUpTo(message: Message): Promise<void> {
    const { peer } = message
    const chat = await this.chat(peer)
    if (message.pos <= chat.readPos || message.pos >= PENDING) return
    if (chat.group) chat.group.mentioned = false
    chat.readPos = message.pos
    this.write()
    const range = IDBKeyRange.bound([peer, message.pos], [peer, PENDING], true, true)
    const later = await this.tx.objectStore('messages').index('pos').getAll(range)
    chat.unread = later.filter((m) => !m.out && !m.event).length
    this.touch(chat)
  }
}

const QUOTED = 300

/** Whether it is something to show. */
function says(m: Incoming): boolean {
  return (m.body !== undefined && m.body !== '') || m.file !== undefined || m.encrypted !== undefined || m.retracted === true
}

/** Who said it, as reactions and changes name people. */
export function author(m: Message): string {
  return m.out ? ME : (m.from?.who ?? m.peer)
}
