// SPDX-License-Identifier: Apache-2.0

import type { Account, Change, Db } from './store/schema'
import { takeContacts } from './store/receive'
import { editChat } from './store/write'
import { buildCaps, capsHash } from './wire/caps'
import { buildPresence, fetchContacts, saveContact, type Presence } from './wire/contacts'
import { local, resource } from './wire/jid'
import type { Incoming } from './wire/message'
import { fetchBlocked, setBlocked, type Report } from './wire/profile'
import type { Session } from './wire/session'

export interface PeopleOptions {
  db: Db
  account: Account
  changed: (change: Change) => void
  /** Who is online or types is different now. */
  soft: () => void
}

/** Who says that they type and then nothing more has stopped after this. */
const TYPING_MS = 30_000
/** So many messages of who is reported are named. */
const MOST_REPORTED = 10
/** So many are remembered in one conversation. */
const MOST_TYPING = 50

interface Writer {
  /** In a group. */
  by: Incoming['sender']
  /** They record a voice message. */
  voice: boolean
  timer: ReturnType<typeof setTimeout>
}

/** That somebody types in a conversation: in a group the one who began last, and how many more. */
export interface Typing {
  peer: string
  by: Incoming['sender']
  more: number
  /** They do not type, they record a voice message. */
  voice: boolean
}

/** Contacts, who of them is online, and who types. */
export class People {
  private present = new Map<string, Set<string>>()
  /** By conversation, then by who it is in it: with a person "". */
  private writing = new Map<string, Map<string, Writer>>()

  constructor(private readonly options: PeopleOptions) {}

  readonly online = (): string[] => [...this.present.keys()]
  readonly typing = (): Typing[] =>
    [...this.writing].map(([peer, all]) => {
      const last = [...all.values()].at(-1)
      return { peer, by: last?.by, more: all.size - 1, voice: last?.voice ?? false }
    })

  isOnline(peer: string): boolean {
    return this.present.has(peer)
  }

  /** Fetches the contacts and shows ourselves (RFC 6121 §2.2, §4.2). */
  async begin(session: Session): Promise<void> {
    const shown = capsHash().then((hash) => session.send(buildPresence('available', undefined, undefined, buildCaps(hash))))
    const [fetched] = await Promise.all([fetchContacts(session), shown])
    const { db, account, changed } = this.options
    changed(await takeContacts(db, fetched, account.bornHere))
  }

  forgetPresence(): void {
    this.present.clear()
    for (const peer of [...this.writing.keys()]) this.stopped(peer)
  }

  /** Takes presence, also the asking and answering about it. */
  async presence(p: Presence, session: Session | undefined): Promise<void> {
    if (p.peer === this.options.account.jid) return
    if (p.type === 'available' || p.type === 'unavailable') this.shows(p)
    else if (p.type === 'subscribe') await this.asked(p, session)
  }

  /** A message tells whether its sender still types. */
  heard(m: Incoming): void {
    const voice = m.chatState === 'recording'
    const typing = voice || m.chatState === 'composing'
    // What has been read or got says nothing of it, and may come after the first key.
    const silent = !m.chatState && (m.displayed ?? m.received) !== undefined
    if (m.mine || silent || (m.stamp !== undefined && typing)) return
    const who = m.sender?.who ?? ''
    const all = this.writing.get(m.peer)
    if (typing ? all && !all.has(who) && all.size >= MOST_TYPING : !all?.has(who)) return
    this.stopped(m.peer, who)
    if (typing) {
      const stop = (): void => {
        this.stopped(m.peer, who)
        this.options.soft()
      }
      const writers = this.writing.get(m.peer) ?? new Map<string, Writer>()
      this.writing.set(m.peer, writers.set(who, { by: m.sender, voice, timer: setTimeout(stop, TYPING_MS) }))
    }
    this.options.soft()
  }

  /** Somebody types no longer there; or nobody, when none is named. */
  private stopped(peer: string, who?: string): void {
    const all = this.writing.get(peer)
    for (const [key, { timer }] of [...(all ?? [])]) {
      if (who !== undefined && key !== who) continue
      clearTimeout(timer)
      all?.delete(key)
    }
    if (all?.size === 0) this.writing.delete(peer)
  }

  async fetchBlocked(session: Session): Promise<void> {
    const jids = await fetchBlocked(session)
    for (const chat of await this.options.db.getAll('chats')) {
      if ((chat.blocked ?? false) !== jids.includes(chat.peer)) await this.blocked([chat.peer], jids.includes(chat.peer))
    }
  }

  /** Somebody is blocked, or no longer; everybody is no longer, when nobody is named. */
  async blocked(jids: string[], blocked: boolean): Promise<void> {
    const all = jids.length > 0 ? jids : (await this.options.db.getAll('chats')).filter((c) => c.blocked).map((c) => c.peer)
    for (const jid of all) this.options.changed(await editChat(this.options.db, jid, (c) => (c.blocked = blocked)))
  }

  /** Takes nothing from somebody any more, or again; with a report of them, and of what they said last. */
  async block(session: Session, jid: string, blocked: boolean, report: Omit<Report, 'messages'> | undefined): Promise<void> {
    const messages = report ? await this.lastSaid(jid) : []
    await setBlocked(session, jid, blocked, report && { ...report, messages })
    await this.blocked([jid], blocked)
  }

  private async lastSaid(jid: string): Promise<Report['messages']> {
    const { db, account } = this.options
    const by = (await db.get('chats', jid))?.group ? jid : account.jid
    const said: Report['messages'] = []
    const range = IDBKeyRange.bound([jid, -Infinity], [jid, Infinity])
    for (let c = await db.transaction('messages').store.index('pos').openCursor(range, 'prev'); c && said.length < MOST_REPORTED; c = await c.continue()) {
      const { out, archiveId } = c.value
      if (!out && archiveId !== undefined) said.push({ by, id: archiveId })
    }
    return said
  }

  async accept(session: Session, peer: string): Promise<void> {
    const chat = await this.options.db.get('chats', peer)
    if (!chat?.contact) await saveContact(session, peer, chat?.name || local(peer))
    session.send(buildPresence('subscribed', peer))
    if (chat?.subscription !== 'to' && chat?.subscription !== 'both') {
      session.send(buildPresence('subscribe', peer, this.options.account.name))
    }
    this.options.changed(await editChat(this.options.db, peer, (c) => (c.asks = false)))
  }

  /** Somebody is found who calls themselves that: so they are called until they say something else. */
  async meet(peer: string, name: string): Promise<void> {
    this.options.changed(await editChat(this.options.db, peer, (c) => (c.name ||= name)))
  }

  /** Tells the server about people added while it could not be reached, or just now. */
  async announceWanted(session: Session): Promise<void> {
    for (const chat of await this.options.db.getAll('chats')) {
      if (!chat.wanted || chat.contact) continue
      try {
        await saveContact(session, chat.peer, chat.name)
        session.send(buildPresence('subscribe', chat.peer, this.options.account.name))
        // They will ask in turn; that is answered without asking the person again.
      } catch {
        return // the next session tries again
      }
    }
  }

  private shows(p: Presence): void {
    const where = this.present.get(p.peer) ?? new Set()
    const before = where.size
    if (p.type === 'available') where.add(resource(p.from))
    else where.delete(resource(p.from))
    if (where.size > 0) this.present.set(p.peer, where)
    else {
      this.present.delete(p.peer)
      this.stopped(p.peer)
    }
    if (before !== where.size) this.options.soft()
  }

  private async asked(p: Presence, session: Session | undefined): Promise<void> {
    const chat = await this.options.db.get('chats', p.peer)
    if (chat?.contact || chat?.wanted) {
      session?.send(buildPresence('subscribed', p.peer))
      if (chat.subscription === 'none' || chat.subscription === 'from') {
        session?.send(buildPresence('subscribe', p.peer, this.options.account.name))
      }
      return
    }
    const change = await editChat(this.options.db, p.peer, (c) => {
      c.asks = true
      if (c.name === '' && p.nick) c.name = p.nick.slice(0, 100)
      if (c.time === 0) c.time = Date.now()
    })
    this.options.changed(change)
  }
}
