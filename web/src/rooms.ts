// SPDX-License-Identifier: Apache-2.0

import { CatchUp } from './catchup'
import type { Account, Change, Chat, Db, Group, Occupants } from './store/schema'
import { note, queue } from './store/receive'
import { editChat } from './store/write'
import { queryArchive, type ArchivePage, type ArchiveQuery } from './wire/archive'
import { StanzaError } from './wire/errors'
import { local } from './wire/jid'
import type { Incoming } from './wire/message'
import { fetchBookmarks, readBookmark, removeBookmark, saveBookmark, type Published } from './wire/pep'
import { token } from './wire/random'
import * as wire from './wire/room'
import { showRoomInvite } from './wire/roomlink'
import type { Session } from './wire/session'
import type { XmlElement } from './wire/xml'

export interface RoomsOptions {
  db: Db
  account: Account
  changed: (change: Change) => void
  /** Takes what was said in a group, in the order of its archive. */
  take: (room: string, batch: Incoming[], lastId: string | undefined) => Promise<void>
  /** We are in that group now: what waits for it can go. */
  open: (room: string) => void
  /** We are no longer, and will not be: what waits is refused. */
  closed: (room: string) => void
  /** There is something new in the outbox. */
  poke: () => void
  picture: (room: string, hash: string) => void
}

interface Occupant {
  jid: string | undefined
  occupant: string | undefined
  role: Group['role']
}

interface Place {
  nick: string
  inside: boolean
  catchUp: CatchUp
  /** Who is there, as far as we are shown it, by what they are called. */
  people: Map<string, Occupant>
  entered: { resolve: (codes: number[]) => void; reject: (e: Error) => void } | undefined
  tries: number
}

const MOST_TRIES = 5
const AGAIN_MS = 4_000
/** Changes of membership that come together are looked at together. */
const SETTLE_MS = 400
/** Those who come and go in so long are counted together. */
const COUNT_MS = 2_000
/** So many are known in one place: twice what the server lets in. */
const MOST_PEOPLE = 10_000
/** Whom an admin adds at once, at most: the server takes no more (RoomChanges). */
const MOST_ADDED = 100

/** Groups: being in them, and what can be done with them. Runs in the leading tab. */
export class Rooms {
  private places = new Map<string, Place>()
  private groups = new Map<string, Group>()
  private timers = new Map<string, ReturnType<typeof setTimeout>>()
  private session: Session | undefined
  private service: string | undefined

  constructor(private readonly options: RoomsOptions) {}

  has(room: string): boolean {
    return this.places.has(room)
  }

  isIn(room: string): boolean {
    return this.places.get(room)?.inside ?? false
  }

  /** Whether it can be done now what a person does with groups. */
  get ready(): boolean {
    return this.session !== undefined
  }

  /** A new session: enters every group again, those of our other devices too. */
  async begin(session: Session): Promise<void> {
    this.session = session
    this.places.clear()
    for (const chat of await this.options.db.getAll('chats')) {
      if (chat.group?.state === 'in') this.enter(session, chat.peer, chat.group.nick).catch(() => undefined) // its state says why
      else if (chat.group?.state === 'invited' && chat.name === '') void this.learnName(session, chat.peer)
    }
    for (const b of await fetchBookmarks(session)) if (b.autojoin) await this.bookmarked(session, b.room, b.name, b.nick)
  }

  /** The session goes on: but is the room of the same mind (XEP-0410)? */
  resumed(session: Session): void {
    this.session = session
    for (const [room, place] of this.places) {
      if (!place.inside) continue
      wire.pingRoom(session, room, place.nick).catch((e: unknown) => {
        if (e instanceof StanzaError && e.condition !== 'remote-server-timeout' && this.session === session) this.lost(room)
      })
    }
  }

  pause(): void {
    this.session = undefined
  }

  close(): void {
    this.pause()
    for (const timer of this.timers.values()) clearTimeout(timer)
  }

  /** The room says that we are not in it: enter again. */
  lost(room: string): void {
    const place = this.places.get(room)
    if (place && this.session) this.enter(this.session, room, place.nick).catch(() => undefined)
  }

  private enter(session: Session, room: string, nick: string, tries = 0): Promise<number[]> {
    const former = this.places.get(room)
    return new Promise((resolve, reject) => {
      const catchUp = new CatchUp({
        lastId: async () => (await this.options.db.get('chats', room))?.group?.lastId,
        bornHere: false,
        query: (s, query) => this.query(s, room, query),
        take: (batch, lastId) => this.options.take(room, batch, lastId),
      })
      const entered = { resolve, reject: former?.entered?.reject ?? reject }
      this.places.set(room, { nick, inside: false, catchUp, people: new Map(), entered: tries > 0 && former?.entered ? former.entered : entered, tries })
      wire.enterRoom(session, room, nick)
    })
  }

  /** Asks the archive of a group. */
  query(session: Session, room: string, query: ArchiveQuery): Promise<ArchivePage> {
    const read = (result: XmlElement): Incoming | undefined => wire.readRoomResult(result, this.options.account.jid, this.whoIn(room))
    return queryArchive(session, query, read, room)
  }

  /** An older page of what was said in a group. */
  history(session: Session, room: string, before: string, max: number): Promise<ArchivePage> {
    return this.query(session, room, { before, max })
  }

  private whoIn(room: string): (nick: string, occupant: string | undefined) => string {
    return (nick, occupant) => {
      const place = this.places.get(room)
      const group = this.groups.get(room)
      if (occupant !== undefined && occupant === group?.occupant) return this.options.account.jid
      return place?.people.get(nick)?.jid ?? group?.members.find((m) => m.nick === nick)?.jid ?? occupant ?? nick
    }
  }

  // --- what comes in

  async presence(el: XmlElement): Promise<void> {
    const p = wire.readRoomPresence(el)
    const place = p && this.places.get(p.room)
    if (!p || !place) return
    if (p.error !== undefined) await this.refused(p.room, place, p.error)
    else if (p.self && p.present) await this.inside(p, place)
    else if (p.self) await this.outside(p, place)
    else this.others(p, place)
  }

  /** Somebody else comes, goes, or is something else. */
  private others(p: wire.RoomPresence, place: Place): void {
    const group = this.groups.get(p.room)
    const role = roleOf(p)
    const was = p.jid === undefined ? undefined : (group?.members.find((m) => m.jid === p.jid)?.role ?? 'none')
    const before = place.people.get(p.nick)
    if (!p.present) place.people.delete(p.nick)
    else if (before || place.people.size < MOST_PEOPLE) place.people.set(p.nick, { jid: p.jid, occupant: p.occupant, role })
    // Guests of an open room come and go without the list of members being different for it.
    const changed = p.present ? was !== undefined && was !== role && (before !== undefined || place.inside) : role === 'none' && (was === undefined ? !group?.here : was !== 'none')
    if (changed) this.soon(p.room)
    if (place.inside && group?.here) this.stirred(p.room)
  }

  private async inside(p: wire.RoomPresence, place: Place): Promise<void> {
    const session = this.session
    if (!session) return
    place.nick = p.nick
    place.people.set(p.nick, { jid: this.options.account.jid, occupant: p.occupant, role: roleOf(p) })
    await this.edit(p.room, (group) => {
      group.nick = p.nick
      group.occupant = p.occupant ?? group.occupant
      group.role = roleOf(p)
      group.state = 'in'
    })
    if (place.inside) {
      this.soon(p.room)
      return
    }
    place.inside = true
    place.tries = 0
    const done = place.catchUp.run(session, () => undefined)
    place.entered?.resolve(p.codes)
    place.entered = undefined
    void done.then((whole) => {
      if (!whole || this.places.get(p.room) !== place) return
      this.options.open(p.room)
      this.soon(p.room)
    })
  }

  private async outside(p: wire.RoomPresence, place: Place): Promise<void> {
    place.inside = false
    place.people.delete(p.nick)
    const state = p.destroyed ? 'gone' : p.codes.includes(301) || p.codes.includes(321) || p.codes.includes(322) ? 'removed' : undefined
    if (state) await this.end(p.room, state)
  }

  private async refused(room: string, place: Place, condition: string): Promise<void> {
    const session = this.session
    if (!session || place.inside) return
    const gone = { 'item-not-found': 'gone', gone: 'gone', 'registration-required': 'removed', forbidden: 'removed', 'not-allowed': 'gone' } as const
    if (condition === 'conflict' && place.tries < MOST_TRIES) {
      void this.enter(session, room, `${place.nick.replace(/ \d+$/, '')} ${place.tries + 2}`, place.tries + 1).catch(() => undefined)
    } else if (condition in gone) {
      place.entered?.reject(new Error(condition))
      await this.end(room, gone[condition as keyof typeof gone])
    } else if (place.tries < MOST_TRIES) {
      setTimeout(() => {
        if (this.session === session && this.places.get(room) === place) void this.enter(session, room, place.nick, place.tries + 1).catch(() => undefined)
      }, AGAIN_MS)
    } else place.entered?.reject(new Error(condition))
  }

  private async end(room: string, state: 'removed' | 'gone'): Promise<void> {
    this.places.delete(room)
    this.groups.delete(room)
    const chat = await this.options.db.get('chats', room)
    // Unless it is our own doing that came to its end meanwhile.
    if (chat?.group?.state === 'in') await this.edit(room, (group) => (group.state = group.state === 'in' ? state : group.state))
    this.options.closed(room)
    if (this.session) void removeBookmark(this.session, room).catch(() => undefined)
  }

  /** Reads what a room says; undefined for what is no message. */
  read(el: XmlElement): Incoming | undefined {
    const room = (el.attr('from') ?? '').replace(/\/.*/s, '')
    if (!this.has(room)) return undefined
    if (wire.isRoomNews(el)) {
      this.soon(room)
      return undefined
    }
    return wire.readRoomMessage(el, this.options.account.jid, this.whoIn(room))
  }

  /** What is said while the archive is asked waits for its turn; true when it does. */
  hold(room: string, batch: Incoming[]): boolean {
    return this.places.get(room)?.catchUp.hold(batch) ?? false
  }

  /** Another device of ours came into a group, or left one. */
  async published(session: Session, p: Published): Promise<void> {
    for (const item of p.items) {
      const b = readBookmark(item)
      if (b?.autojoin) await this.bookmarked(session, b.room, b.name, b.nick)
    }
    for (const room of p.gone) {
      const place = this.places.get(room)
      if (!place) continue
      wire.leaveRoom(session, room, place.nick)
      this.places.delete(room)
      await this.edit(room, (group) => (group.state = group.state === 'in' ? 'left' : group.state))
      this.options.closed(room)
    }
  }

  private async bookmarked(session: Session, room: string, name: string, nick: string): Promise<void> {
    if (this.places.has(room)) return
    await this.become(room, name, nick, 'in', '')
    void this.enter(session, room, nick || this.nick).catch(() => undefined)
  }

  /** Somebody wants us in a group. Those we know may put us there; others ask. */
  async invited(m: Incoming): Promise<void> {
    const invitation = m.invitation
    if (!invitation || m.mine) return
    const { room } = invitation
    const { db } = this.options
    const [known, by] = await Promise.all([db.get('chats', room), db.get('chats', m.peer)])
    if (known?.group?.state === 'in') return
    const welcome = by?.contact || by?.wanted
    await this.become(room, '', this.nick, welcome ? 'in' : 'invited', m.peer)
    const session = this.session
    if (!session) return // with the next one
    // Nothing else waits for the room's answer.
    void this.learnName(session, room).then(async () => {
      if (welcome && this.session === session) await this.join(session, room)
    })
  }

  /** What a group that we are not in yet calls itself: nobody else is asked, so that nobody gives it another name. */
  private async learnName(session: Session, room: string): Promise<void> {
    const info = await wire.fetchRoomInfo(session, room).catch(() => undefined)
    if (info?.name) await this.edit(room, (_, chat) => (chat.name ||= info.name.slice(0, 100)))
  }

  private async join(session: Session, room: string): Promise<void> {
    const chat = await this.options.db.get('chats', room)
    const nick = chat?.group?.nick || this.nick
    await this.edit(room, (group) => (group.state = 'in'))
    void this.enter(session, room, nick)
      .then(() => saveBookmark(session, { room, name: chat?.name ?? '', nick }))
      .catch(() => undefined)
  }

  private get nick(): string {
    return this.options.account.name.trim().slice(0, 60) || local(this.options.account.jid)
  }

  // --- what is known of them

  private async become(room: string, name: string, nick: string, state: Group['state'], by: string, more: Partial<Group> = {}): Promise<void> {
    const change = editChat(this.options.db, room, (chat) => {
      if (name !== '' && chat.name === '') chat.name = name.slice(0, 100)
      if (chat.time === 0) chat.time = Date.now()
      chat.group = { ...newGroup(nick || this.nick, by), ...chat.group, ...more, state }
    })
    this.tell(await change)
  }

  private async edit(room: string, edit: (group: Group, chat: Chat) => void): Promise<void> {
    this.tell(
      await editChat(this.options.db, room, (chat) => {
        chat.group ??= newGroup(this.nick, '')
        edit(chat.group, chat)
      }),
    )
  }

  private tell(change: Change): void {
    for (const c of change.chats) if (c.group) this.groups.set(c.peer, c.group)
    this.options.changed(change)
  }

  /** Looks again at what a room is and who belongs to it, when all that happens has happened. */
  private soon(room: string): void {
    clearTimeout(this.timers.get(room))
    this.timers.set(
      room,
      setTimeout(() => void this.refresh(room).catch(() => undefined), SETTLE_MS),
    )
  }

  private async refresh(room: string): Promise<void> {
    const session = this.session
    if (!session || !this.isIn(room)) return
    const [info, members] = await Promise.all([wire.fetchRoomInfo(session, room), wire.fetchMembers(session, room)])
    const known = this.groups.get(room)
    const before = new Map(known?.members.map((m) => [m.jid, m]))
    const after = new Map(members?.map((m) => [m.jid, m]))
    const me = this.options.account.jid
    const events: Parameters<typeof note>[2] = []
    if (before.size > 0 && members) {
      for (const m of members) {
        const former = before.get(m.jid)
        if (!former) events.push({ kind: 'joined', who: m.jid, name: m.nick })
        else if (former.role === 'member' && m.role !== 'member') events.push({ kind: 'admin', who: m.jid, name: m.nick })
        else if (former.role !== 'member' && m.role === 'member') events.push({ kind: 'member', who: m.jid, name: m.nick })
      }
      for (const m of before.values()) if (!after.has(m.jid)) events.push({ kind: 'left', who: m.jid, name: m.nick })
    }
    await this.edit(room, (group, chat) => {
      if (info.name !== '') chat.name = info.name.slice(0, 100)
      Object.assign(group, { description: info.description, announcements: info.announcements, invites: info.invites, members: members ?? [] })
      this.count(room, group, info.open || !members ? info.occupants : undefined)
      group.role = after.get(me)?.role ?? group.role
    })
    if (events.length > 0 && events.length <= 20) this.options.changed(await note(this.options.db, room, events, Date.now()))
    this.options.picture(room, info.picture)
  }

  /** Somebody came or went where that is shown: they are counted again when all have come that come now. */
  private stirred(room: string): void {
    const key = `${room} here`
    if (this.timers.has(key)) return
    const again = async (): Promise<void> => {
      this.timers.delete(key)
      const session = this.session
      if (!session || !this.isIn(room)) return
      const { occupants } = await wire.fetchRoomInfo(session, room)
      await this.edit(room, (group) => this.count(room, group, group.here && occupants))
    }
    this.timers.set(
      key,
      setTimeout(() => void again().catch(() => undefined), COUNT_MS),
    )
  }

  private count(room: string, group: Group, occupants: number | undefined): void {
    const seen = this.places.get(room)?.people.size ?? 0
    group.here = occupants === undefined ? undefined : { count: Math.max(occupants, seen), turn: (group.here?.turn ?? 0) + 1 }
  }

  /** Who is there, as far as the room shows us: by their own address, or that which they have in it. */
  here(room: string): Occupants {
    const people = this.places.get(room)?.people ?? new Map<string, Occupant>()
    return Array.from(people, ([nick, { jid, role }]) => ({ jid: jid ?? `${room}/${nick}`, nick, role }))
  }

  // --- what can be done

  /** Makes a group with these people in it; gives its address. */
  async create(name: string, people: string[]): Promise<string> {
    const session = this.need()
    this.service ??= await wire.findRooms(session, this.options.account.jid.replace(/^[^@]*@/, ''))
    if (this.service === undefined) throw new Error('no rooms')
    const room = `${token(16).toLowerCase().replace(/[^a-z0-9]/g, '0')}@${this.service}`
    await this.enter(session, room, this.nick)
    await wire.configureRoom(session, room, { name })
    const place = this.places.get(room)
    await this.become(room, name, place?.nick ?? this.nick, 'in', '', { role: 'owner' })
    this.tell(await editChat(this.options.db, room, (c) => Object.assign(c, { name, complete: true, time: Date.now() })))
    this.options.changed(await note(this.options.db, room, [{ kind: 'created', who: this.options.account.jid, name }], Date.now()))
    await saveBookmark(session, { room, name, nick: place?.nick ?? this.nick })
    await this.invite(room, people)
    return room
  }

  async invite(room: string, people: string[]): Promise<void> {
    const session = this.need()
    const chat = await this.options.db.get('chats', room)
    if (people.length === 0) return
    if (chat?.group?.role === 'owner' || chat?.group?.role === 'admin') {
      for (let i = 0; i < people.length; i += MOST_ADDED) {
        await wire.setAffiliations(session, room, people.slice(i, i + MOST_ADDED).map((jid) => ({ jid, affiliation: 'member' })))
      }
      const frames = people.map((jid) => {
        const id = token()
        return { id, peer: jid, frame: wire.buildInvitation(jid, id, room, chat.name) }
      })
      await queue(this.options.db, frames)
      this.options.poke()
    } else for (const jid of people) wire.inviteThroughRoom(session, room, jid)
    this.soon(room)
  }

  async configure(room: string, settings: wire.RoomSettings): Promise<void> {
    await wire.configureRoom(this.need(), room, settings)
    this.soon(room)
  }

  async affiliate(room: string, jid: string, affiliation: wire.Affiliation): Promise<void> {
    await wire.setAffiliations(this.need(), room, [{ jid, affiliation }])
    this.soon(room)
  }

  async moderate(room: string, id: string): Promise<void> {
    await wire.moderate(this.need(), room, id)
  }

  /** Goes out of a group for good, on all devices. The last one puts out the light. */
  async leave(room: string): Promise<void> {
    const session = this.need()
    const place = this.places.get(room)
    const group = this.groups.get(room) ?? (await this.options.db.get('chats', room))?.group
    const me = this.options.account.jid
    const alone = group?.members.every((m) => m.jid === me) && (group.here?.count ?? 1) <= 1
    if (alone && group?.role === 'owner') await wire.destroyRoom(session, room).catch(() => undefined)
    else await wire.setAffiliations(session, room, [{ jid: me, affiliation: 'none' }]).catch(() => undefined)
    if (place) wire.leaveRoom(session, room, place.nick)
    this.places.delete(room)
    await this.edit(room, (g) => (g.state = 'left'))
    this.options.closed(room)
    await removeBookmark(session, room).catch(() => undefined)
  }

  /** Takes an invitation. */
  async accept(room: string): Promise<void> {
    await this.join(this.need(), room)
  }

  /** Asks which group a link leads to, undefined for none; with join we are in it from now on. */
  async show(session: Session, invite: string, join: boolean): Promise<{ jid: string; name: string } | undefined> {
    const to = await showRoomInvite(session, invite, join)
    // The server has put it among our bookmarks.
    if (to && join) await this.bookmarked(session, to.jid, to.name, this.nick)
    return to
  }

  private need(): Session {
    if (!this.session) throw new Error('not connected')
    return this.session
  }
}

function roleOf({ affiliation }: wire.RoomPresence): Group['role'] {
  return affiliation === 'outcast' ? 'none' : affiliation
}

function newGroup(nick: string, by: string): Group {
  return {
    description: '',
    nick,
    occupant: '',
    role: 'none',
    members: [],
    announcements: false,
    invites: true,
    state: 'in',
    by,
    lastId: undefined,
    mentioned: false,
    read: {},
  }
}
