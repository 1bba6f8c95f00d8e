// SPDX-License-Identifier: Apache-2.0

import { bare } from './jid'
import { NS } from './ns'
import type { Session } from './session'
import { xml, type XmlElement } from './xml'

/** Somebody on the roster (RFC 6121 §2.1). */
export interface Contact {
  jid: string
  name: string
  /** `from` and `both`: they see our presence; `to` and `both`: we see theirs. */
  subscription: 'none' | 'to' | 'from' | 'both'
  /** We have asked to see their presence. */
  asked: boolean
}

export async function fetchContacts(session: Session): Promise<Contact[]> {
  const answer = await session.ask('get', xml('query', { xmlns: NS.roster }))
  return readItems(answer).flatMap((item) => item.contact ?? [])
}

/** Reads a roster push: who changed, and how they are now; without contact they were removed. */
export function readItems(iq: XmlElement): { jid: string; contact: Contact | undefined }[] {
  const items = iq.child('query', NS.roster)?.all('item') ?? []
  return items.flatMap((item) => {
    const jid = item.attr('jid')
    return jid ? { jid, contact: readItem(jid, item) } : []
  })
}

function readItem(jid: string, item: XmlElement): Contact | undefined {
  const subscription = item.attr('subscription') ?? 'none'
  if (subscription === 'remove') return undefined
  const known = subscription === 'to' || subscription === 'from' || subscription === 'both'
  return {
    jid,
    name: item.attr('name') ?? '',
    subscription: known ? subscription : 'none',
    asked: item.attr('ask') === 'subscribe',
  }
}

/** Puts somebody on the roster, or names them anew (RFC 6121 §2.3). */
export async function saveContact(session: Session, jid: string, name: string): Promise<void> {
  const item = xml('item', { jid, name: name || undefined })
  await session.ask('set', xml('query', { xmlns: NS.roster }, item))
}

export type PresenceType = 'available' | 'unavailable' | 'subscribe' | 'subscribed' | 'unsubscribe' | 'unsubscribed'

export interface Presence {
  from: string
  peer: string
  type: PresenceType
  /** The name that somebody gives themselves when they ask (XEP-0172). */
  nick: string | undefined
}

const TYPES = new Set(['unavailable', 'subscribe', 'subscribed', 'unsubscribe', 'unsubscribed'])

export function readPresence(el: XmlElement): Presence | undefined {
  const from = el.attr('from')
  const type = el.attr('type') ?? 'available'
  if (from === undefined || (type !== 'available' && !TYPES.has(type))) return undefined
  return { from, peer: bare(from), type: type as PresenceType, nick: el.childText('nick', NS.nick) }
}

/** Initial presence (RFC 6121 §4.2), or one about a subscription (RFC 6121 §3). */
export function buildPresence(type?: PresenceType, to?: string, nick?: string, caps?: XmlElement): XmlElement {
  return xml(
    'presence',
    { xmlns: NS.client, type: type === 'available' ? undefined : type, to },
    nick !== undefined && nick !== '' && xml('nick', { xmlns: NS.nick }, nick),
    caps,
  )
}

/** Has the server copy to us what our other devices send and receive (XEP-0280 §enabling @1.0.1). */
export async function enableCarbons(session: Session): Promise<void> {
  await session.ask('set', xml('enable', { xmlns: NS.carbons }))
}
