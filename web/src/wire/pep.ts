// SPDX-License-Identifier: Apache-2.0

import { bare } from './jid'
import { NS } from './ns'
import type { Session } from './session'
import { xml, type XmlElement } from './xml'

/** What accounts keep on the server and tell others about (XEP-0163). */

/** The items of a node; none when there is no such node. */
export async function fetchItems(session: Session, node: string, of?: string, id?: string): Promise<XmlElement[]> {
  const items = xml('items', { node }, id !== undefined && xml('item', { id }))
  try {
    const answer = await session.ask('get', xml('pubsub', { xmlns: NS.pubsub }, items), of)
    return answer.child('pubsub', NS.pubsub)?.child('items')?.all('item') ?? []
  } catch (e) {
    if (e instanceof Error && /^(item-not-found|forbidden|not-authorized|service-unavailable)/.test(e.message)) return []
    throw e
  }
}

/** Publishes an item; options say how the node is to be when it is made (XEP-0060 §publisher-publish-options @1.30.0). */
export async function publish(session: Session, node: string, id: string, payload: XmlElement, options: Record<string, string> = {}): Promise<void> {
  const field = (name: string, value: string, type?: string): XmlElement => xml('field', { var: name, type }, xml('value', {}, value))
  const fields = Object.entries(options).map(([name, value]) => field(`pubsub#${name}`, value))
  const form = xml('x', { xmlns: NS.data, type: 'submit' }, field('FORM_TYPE', 'http://jabber.org/protocol/pubsub#publish-options', 'hidden'), ...fields)
  await session.ask(
    'set',
    xml('pubsub', { xmlns: NS.pubsub }, xml('publish', { node }, xml('item', { id }, payload)), fields.length > 0 && xml('publish-options', {}, form)),
  )
}

export async function retractItem(session: Session, node: string, id: string): Promise<void> {
  await session.ask('set', xml('pubsub', { xmlns: NS.pubsub }, xml('retract', { node, notify: 'true' }, xml('item', { id }))))
}

/** Something that was published: by whom, in which node, and what; ids of what is gone. */
export interface Published {
  from: string
  node: string
  items: XmlElement[]
  gone: string[]
}

/** Reads a notification; undefined when the message is none. */
export function readPublished(message: XmlElement, account: string): Published | undefined {
  const items = message.child('event', NS.pubsubEvent)?.child('items')
  const node = items?.attr('node')
  if (!items || !node) return undefined
  return {
    from: bare(message.attr('from') ?? account),
    node,
    items: items.all('item'),
    gone: items.all('retract').flatMap((r) => r.attr('id') ?? []),
  }
}

/** A group that all devices of ours are to be in (XEP-0402 §usage @1.2.0). */
export interface Bookmark {
  room: string
  name: string
  nick: string
  autojoin: boolean
}

export function readBookmark(item: XmlElement): Bookmark | undefined {
  const conference = item.child('conference', NS.bookmarks)
  const room = item.attr('id')
  if (!conference || !room) return undefined
  return {
    room: bare(room),
    name: conference.attr('name') ?? '',
    nick: conference.childText('nick') ?? '',
    autojoin: ['true', '1'].includes(conference.attr('autojoin') ?? ''),
  }
}

export async function fetchBookmarks(session: Session): Promise<Bookmark[]> {
  return (await fetchItems(session, NS.bookmarks)).flatMap((i) => readBookmark(i) ?? [])
}

/** How the node of bookmarks is to be: theirs alone whose it is. */
const OURS = { persist_items: 'true', max_items: 'max', send_last_published_item: 'never', access_model: 'whitelist' }

/**
 * XEP-0402 §adding-a-bookmark @1.2.0. What stands in it already and is not ours
 * to know, as that the group is muted, stays.
 */
export async function saveBookmark(session: Session, { room, name, nick }: Omit<Bookmark, 'autojoin'>): Promise<void> {
  const before = await bookmarkOf(session, room)
  const others = before?.elements().filter((e) => e.name !== 'nick') ?? []
  const attributes = { xmlns: NS.bookmarks, autojoin: 'true', name: name || before?.attr('name') }
  await putBookmark(session, room, xml('conference', attributes, xml('nick', {}, nick), ...others))
}

/** The bookmark of a room as it is on the server. */
export async function bookmarkOf(session: Session, room: string): Promise<XmlElement | undefined> {
  const [item] = await fetchItems(session, NS.bookmarks, undefined, room)
  return item?.child('conference', NS.bookmarks)
}

export async function putBookmark(session: Session, room: string, conference: XmlElement): Promise<void> {
  await publish(session, NS.bookmarks, room, conference, OURS)
}

export async function removeBookmark(session: Session, room: string): Promise<void> {
  await retractItem(session, NS.bookmarks, room)
}
