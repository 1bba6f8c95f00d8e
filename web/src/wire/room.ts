// SPDX-License-Identifier: Apache-2.0

import { StanzaError } from './errors'
import { bare, resource } from './jid'
import { delayed, readContent, readStamp, type Incoming } from './message'
import { NS } from './ns'
import type { Session } from './session'
import { xml, type XmlElement } from './xml'

/** Rooms (XEP-0045), which the app calls groups. */

export type Affiliation = 'owner' | 'admin' | 'member' | 'outcast' | 'none'

/** Somebody comes, goes or changes in a room; or we could not enter it. */
export interface RoomPresence {
  room: string
  nick: string
  /** Their real address, where it may be seen; bare. */
  jid: string | undefined
  occupant: string | undefined
  affiliation: Affiliation
  present: boolean
  /** It is about ourselves. */
  self: boolean
  codes: number[]
  /** The room is no more. */
  destroyed: boolean
  /** Why we could not enter. */
  error: string | undefined
}

const AFFILIATIONS = new Set(['owner', 'admin', 'member', 'outcast'])

function affiliationOf(item: XmlElement | undefined): Affiliation {
  const a = item?.attr('affiliation') ?? ''
  return AFFILIATIONS.has(a) ? (a as Affiliation) : 'none'
}

function codesOf(x: XmlElement | undefined): number[] {
  return x?.all('status').map((s) => Number(s.attr('code'))) ?? []
}

export function readRoomPresence(el: XmlElement): RoomPresence | undefined {
  const from = el.attr('from') ?? ''
  const type = el.attr('type')
  const x = el.child('x', NS.mucUser)
  if (type === 'error') {
    const condition = el.child('error')?.elements().find((e) => e.ns === NS.stanzaError && e.name !== 'text')?.name
    return { ...nobody(from), error: condition ?? 'undefined-condition' }
  }
  if (!x || (type !== undefined && type !== 'unavailable')) return undefined
  const item = x.child('item')
  const codes = codesOf(x)
  const jid = item?.attr('jid')
  return {
    room: bare(from),
    nick: resource(from),
    jid: jid === undefined ? undefined : bare(jid),
    occupant: el.child('occupant-id', NS.occupant)?.attr('id'),
    affiliation: affiliationOf(item),
    present: type === undefined,
    self: codes.includes(110),
    codes,
    destroyed: x.child('destroy') !== undefined,
    error: undefined,
  }
}

function nobody(from: string): RoomPresence {
  return { room: bare(from), nick: resource(from), jid: undefined, occupant: undefined, affiliation: 'none', present: false, self: false, codes: [], destroyed: false, error: undefined }
}

/** Enters, without history: that is the archive's (XEP-0045 §enter-muc @1.35.5). */
export function enterRoom(session: Session, room: string, nick: string): void {
  const x = xml('x', { xmlns: NS.muc }, xml('history', { maxstanzas: '0' }))
  session.send(xml('presence', { xmlns: NS.client, to: `${room}/${nick}` }, x))
}

export function leaveRoom(session: Session, room: string, nick: string): void {
  session.send(xml('presence', { xmlns: NS.client, to: `${room}/${nick}`, type: 'unavailable' }))
}

/** Whether the room still knows that we are there (XEP-0410 §performingselfping @1.1.0). */
export async function pingRoom(session: Session, room: string, nick: string): Promise<void> {
  await session.ask('get', xml('ping', { xmlns: NS.ping }), `${room}/${nick}`)
}

/** Something in a room that is no message of a member: what kind of news it is. */
export function isRoomNews(el: XmlElement): boolean {
  return el.child('x', NS.mucUser) !== undefined && el.child('body', NS.client) === undefined
}

/**
 * Reads a message of a room, live or out of its archive. The sender is who the
 * room says; `who` finds their address by what they are called.
 */
export function readRoomMessage(el: XmlElement, account: string, who: (nick: string, occupant: string | undefined) => string): Incoming | undefined {
  if (el.attr('type') !== 'groupchat') return undefined
  const from = el.attr('from') ?? ''
  const [room, nick] = [bare(from), resource(from)]
  const occupant = el.child('occupant-id', NS.occupant)?.attr('id')
  const shown = el.child('x', NS.mucUser)?.child('item')?.attr('jid')
  const sender = { who: shown === undefined ? who(nick, occupant) : bare(shown), nick }
  const content = readContent(el)
  return {
    peer: room,
    mine: sender.who === account,
    from,
    archiveId: el.all('stanza-id', NS.sid).find((s) => s.attr('by') === room)?.attr('id'),
    stamp: delayed(el, room),
    ...content,
    asksReceipt: false,
    sender,
    // By our address, or where that is not seen by what we are called there.
    ...(content.mentions?.some((m) => m.jid === account || (bare(m.jid) === room && resource(m.jid) !== '' && who(resource(m.jid), undefined) === account)) && { callsMe: true }),
    // XEP-0425 §usecase-success @0.3.0: the room itself says that somebody took back what another said.
    ...(content.retracts !== undefined && nick === '' && { moderated: true }),
  }
}

/** Reads one result of a room's archive. */
export function readRoomResult(result: XmlElement, account: string, who: (nick: string, occupant: string | undefined) => string): Incoming | undefined {
  const forwarded = result.child('forwarded', NS.forward)
  const inner = forwarded?.child('message', NS.client)
  const id = result.attr('id')
  const read = inner && id ? readRoomMessage(inner, account, who) : undefined
  if (read) Object.assign(read, { archiveId: id, stamp: readStamp(forwarded?.child('delay', NS.delay)) })
  return read
}

export interface RoomMember {
  jid: string
  nick: string
  role: 'owner' | 'admin' | 'member'
}

/** Who belongs to a room, there or not (XEP-0045 §getmemberlist @1.35.5); undefined where that is not for us to know. */
export async function fetchMembers(session: Session, room: string): Promise<RoomMember[] | undefined> {
  const roles = ['owner', 'admin', 'member'] as const
  const lists = roles.map(async (role) => {
    const answer = await session.ask('get', xml('query', { xmlns: NS.mucAdmin }, xml('item', { affiliation: role })), room)
    const items = answer.child('query', NS.mucAdmin)?.all('item') ?? []
    return items.flatMap((i) => (i.attr('jid') ? { jid: bare(i.attr('jid')!), nick: i.attr('nick') ?? '', role } : []))
  })
  return Promise.all(lists).then(
    (all) => all.flat(),
    (e: unknown) => {
      if (e instanceof StanzaError && e.condition === 'forbidden') return undefined
      throw e
    },
  )
}

/** Changes what people may in a room; "none" takes them out (XEP-0045 §affil-change @1.35.5). */
export async function setAffiliations(session: Session, room: string, people: { jid: string; affiliation: Affiliation }[]): Promise<void> {
  const items = people.map(({ jid, affiliation }) => xml('item', { affiliation, jid }))
  await session.ask('set', xml('query', { xmlns: NS.mucAdmin }, ...items), room)
}

/** What can be set in a room; what is left out stays as it is. */
export interface RoomSettings {
  name?: string | undefined
  description?: string | undefined
  announcements?: boolean | undefined
  invites?: boolean | undefined
}

const FIELDS: Record<keyof RoomSettings, string> = {
  name: 'muc#roomconfig_roomname',
  description: 'muc#roomconfig_roomdesc',
  announcements: '{urn:bavard:rooms:0}announcements',
  invites: 'muc#roomconfig_allowinvites',
}

/** Configures a room; also ends the making of a new one (XEP-0045 §roomconfig @1.35.5). */
export async function configureRoom(session: Session, room: string, settings: RoomSettings): Promise<void> {
  const field = (name: string, value: string, type?: string): XmlElement => xml('field', { var: name, type }, xml('value', {}, value))
  const fields = Object.entries(settings).flatMap(([key, value]) =>
    value === undefined ? [] : field(FIELDS[key as keyof RoomSettings], typeof value === 'boolean' ? (value ? '1' : '0') : value),
  )
  const form = xml('x', { xmlns: NS.data, type: 'submit' }, field('FORM_TYPE', 'http://jabber.org/protocol/muc#roomconfig', 'hidden'), ...fields)
  await session.ask('set', xml('query', { xmlns: NS.mucOwner }, form), room)
}

export async function destroyRoom(session: Session, room: string): Promise<void> {
  await session.ask('set', xml('query', { xmlns: NS.mucOwner }, xml('destroy')), room)
}

export interface RoomInfo {
  name: string
  description: string
  announcements: boolean
  invites: boolean
  /** SHA-1 of its picture, or "". */
  picture: string
  /** Anybody may enter. */
  open: boolean
  /** How many are there. */
  occupants: number
}

/** What a room says of itself (XEP-0045 §disco-roominfo @1.35.5). */
export async function fetchRoomInfo(session: Session, room: string): Promise<RoomInfo> {
  const answer = await session.ask('get', xml('query', { xmlns: NS.info }), room)
  const query = answer.child('query', NS.info)
  const fields = query?.child('x', NS.data)?.all('field') ?? []
  const value = (name: string): string => fields.find((f) => f.attr('var') === name)?.childText('value') ?? ''
  const has = (feature: string): boolean => query?.all('feature').some((f) => f.attr('var') === feature) ?? false
  return {
    name: value('muc#roomconfig_roomname') || (query?.child('identity')?.attr('name') ?? ''),
    description: value('muc#roominfo_description'),
    announcements: has('muc_moderated'),
    invites: value('muc#roomconfig_allowinvites') === '1',
    picture: value('muc#roominfo_avatarhash'),
    open: has('muc_open'),
    occupants: Number(value('muc#roominfo_occupants')) || 0,
  }
}

/** Where rooms are made, or undefined when the server has none. */
export async function findRooms(session: Session, domain: string): Promise<string | undefined> {
  const answer = await session.ask('get', xml('query', { xmlns: NS.items }), domain)
  for (const item of answer.child('query', NS.items)?.all('item') ?? []) {
    const jid = item.attr('jid') ?? ''
    const info = await session.ask('get', xml('query', { xmlns: NS.info }), jid).catch(() => undefined)
    if (info?.child('query', NS.info)?.all('feature').some((f) => f.attr('var') === NS.muc)) return jid
  }
  return undefined
}

/** Has a room invite somebody, who becomes a member by it (XEP-0045 §invite-mediated @1.35.5). */
export function inviteThroughRoom(session: Session, room: string, jid: string): void {
  session.send(xml('message', { xmlns: NS.client, to: room }, xml('x', { xmlns: NS.mucUser }, xml('invite', { to: jid }))))
}

/** An invitation, ready to be kept and sent (XEP-0249 §howitworks @1.2). */
export function buildInvitation(to: string, id: string, room: string, name: string): string {
  const x = xml('x', { xmlns: NS.invitation, jid: room, reason: name || undefined })
  return xml('message', { xmlns: NS.client, to, id }, x, xml('store', { xmlns: NS.hints }), xml('origin-id', { xmlns: NS.sid, id })).toString()
}

/** Takes back what another said (XEP-0425 §usecase @0.3.0). */
export async function moderate(session: Session, room: string, id: string): Promise<void> {
  await session.ask('set', xml('moderate', { xmlns: NS.moderate, id }, xml('retract', { xmlns: NS.retract })), room)
}
