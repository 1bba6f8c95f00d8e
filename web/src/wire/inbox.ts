// SPDX-License-Identifier: Apache-2.0

import { StanzaError } from './errors'
import { bare } from './jid'
import { readResult, type Incoming } from './message'
import { NS } from './ns'
import { bookmarkOf, fetchItems, publish, putBookmark, retractItem } from './pep'
import type { Session } from './session'
import { xml, type XmlElement } from './xml'

/** What the server keeps for a conversation, for all devices (docs/chats.md). */
export interface ChatSettings {
  /** Its place among those on top, from 1. */
  pinned?: number | undefined
  /** Out of sight since the message with this archive id; "" when it is, and the list says no more. */
  archived?: string | undefined
  /** Marked as unread by hand. */
  marked?: boolean | undefined
  /** Nothing is to be told of it; until then, in ms since the epoch, or for ever. */
  muted?: { until: number | undefined } | undefined
}

/** A conversation as the server lists it (XEP-0430 0.2.0). */
export interface Listed {
  peer: string
  unread: number
  room: boolean
  name: string
  last: Incoming | undefined
  settings: ChatSettings
}

const PAGE = 250
const MOST_PAGES = 8

/** All conversations, or undefined where the server has no such list. */
export async function fetchList(session: Session, messages: boolean): Promise<Listed[] | undefined> {
  const all: Listed[] = []
  session.listing = (entry, result) => {
    const read = readEntry(entry, result, session.account)
    if (read && all.length < PAGE * MOST_PAGES) all.push(read)
  }
  try {
    for (let after: string | undefined, page = 0; page < MOST_PAGES; page++) {
      const set = xml('set', { xmlns: NS.rsm }, xml('max', {}, String(PAGE)), after !== undefined && xml('after', {}, after))
      const answer = await session.ask('get', xml('inbox', { xmlns: NS.inbox, messages: String(messages), 'unread-only': 'false' }, set))
      const paging = answer.child('fin', NS.inbox)?.child('set', NS.rsm)
      const last = paging?.childText('last')
      if (last === undefined || last === after || all.length >= Number(paging?.childText('count'))) break
      after = last
    }
  } catch (e) {
    if (e instanceof StanzaError && e.type === 'cancel') return undefined
    throw e
  } finally {
    session.listing = undefined
  }
  // A conversation that moves up while we page comes twice: the later is the newer.
  return [...new Map(all.map((l) => [l.peer, l])).values()]
}

function readEntry(entry: XmlElement, result: XmlElement | undefined, account: string): Listed | undefined {
  const peer = entry.attr('jid') ?? ''
  if (!peer) return undefined
  const chat = entry.child('chat', NS.chats)
  const yes = (name: string): boolean => chat?.attr(name) === 'true'
  const room = yes('room')
  return {
    peer,
    unread: Number(entry.attr('unread')) || 0,
    room,
    name: chat?.attr('name') ?? '',
    last: result && !room ? readResult(result, account) : undefined,
    settings: {
      pinned: Number(chat?.attr('pinned')) || undefined,
      archived: yes('archived') ? '' : undefined,
      marked: yes('marked') || undefined,
      muted: chat?.attr('notify') === 'never' ? { until: Date.parse(chat.attr('until') ?? '') || undefined } : undefined,
    },
  }
}

/** What was set for a conversation, out of an item of the node. */
export function readSettings(item: XmlElement | undefined): ChatSettings {
  const chat = item?.child('chat', NS.chats)
  const pinned = chat?.child('pinned')
  return {
    pinned: pinned && (Number(pinned.attr('order')) || 1),
    archived: chat?.child('archived') && (chat.child('archived')!.attr('id') ?? ''),
    marked: chat?.child('unread') !== undefined || undefined,
    muted: readMuted(chat?.child('notify', NS.notify)),
  }
}

/** The setting of XEP-0492, in our node or in a bookmark. */
export function readMuted(notify: XmlElement | undefined): ChatSettings['muted'] {
  const never = notify?.all('never').find((n) => n.attr('identity') === undefined)
  return never && { until: Date.parse(never.child('advanced')?.child('until', NS.chats)?.attr('stamp') ?? '') || undefined }
}

/** Hides what was said in a conversation, up to that message, from all devices of ours (docs/chats.md). */
export async function deleteChat(session: Session, peer: string, id: string): Promise<void> {
  await session.ask('set', xml('delete', { xmlns: NS.chats, jid: peer, id }))
}

/** Up to which message conversations were deleted; none where the server does not know of that. */
export async function fetchDeleted(session: Session): Promise<Map<string, string>> {
  const all = new Map<string, string>()
  try {
    for (let after: string | undefined, page = 0; page < MOST_PAGES; page++) {
      const set = after !== undefined && xml('set', { xmlns: NS.rsm }, xml('after', {}, after))
      const answer = (await session.ask('get', xml('deletions', { xmlns: NS.chats }, set))).child('deletions', NS.chats)
      for (const d of answer?.all('deleted') ?? []) all.set(bare(d.attr('jid') ?? ''), d.attr('id') ?? '')
      const paging = answer?.child('set', NS.rsm)
      after = paging?.childText('last')
      if (after === undefined || all.size >= Number(paging?.childText('count'))) break
    }
  } catch (e) {
    if (!(e instanceof StanzaError && e.type === 'cancel')) throw e
  }
  return all
}

/** The conversation was deleted up to that message, on another device; undefined when the item says something else. */
export function readDeleted(item: XmlElement): string | undefined {
  return item.child('chat', NS.chats)?.child('deleted')?.attr('id')
}

export type SettingName = 'pinned' | 'archived' | 'unread' | 'notify'

/** Changes one thing that was set for a conversation; undefined takes it away. What else the item says stays. */
export async function changeSetting(session: Session, peer: string, name: SettingName, value: XmlElement | undefined): Promise<void> {
  const [item] = await fetchItems(session, NS.chats, undefined, peer)
  const before = item?.child('chat', NS.chats)?.elements() ?? []
  const rest = before.filter((e) => e.name !== name)
  if (rest.length === 0 && !value) {
    if (item) await retractItem(session, NS.chats, peer)
    return
  }
  await publish(session, NS.chats, peer, xml('chat', { xmlns: NS.chats }, ...rest, value), {
    persist_items: 'true',
    max_items: 'max',
    send_last_published_item: 'never',
    access_model: 'whitelist',
  })
}

export function pinned(order: number | undefined): XmlElement | undefined {
  return order === undefined ? undefined : xml('pinned', { order: String(order) })
}

export function upTo(name: 'archived' | 'unread', id: string | undefined): XmlElement | undefined {
  return id === undefined ? undefined : xml(name, { id })
}

export function muted(mute: { until: number | undefined } | undefined): XmlElement | undefined {
  if (!mute) return undefined
  const until = mute.until !== undefined && xml('advanced', {}, xml('until', { xmlns: NS.chats, stamp: new Date(mute.until).toISOString() }))
  return xml('notify', { xmlns: NS.notify }, xml('never', {}, until))
}

/** For a group that setting stands in its bookmark, where every client looks. */
export async function muteGroup(session: Session, room: string, mute: { until: number | undefined } | undefined): Promise<void> {
  const conference = await bookmarkOf(session, room)
  if (!conference) throw new StanzaError('item-not-found', 'cancel', '')
  const others = conference.child('extensions')?.elements().filter((e) => !e.is('notify', NS.notify)) ?? []
  const extensions = xml('extensions', {}, ...others, muted(mute))
  const children = conference.elements().filter((e) => e.name !== 'extensions')
  const { name, autojoin } = conference.attrs
  await putBookmark(session, room, xml('conference', { xmlns: NS.bookmarks, name, autojoin }, ...children, extensions))
}
