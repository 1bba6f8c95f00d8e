// SPDX-License-Identifier: Apache-2.0

import { decode64, encode64 } from './base64'
import { NS } from './ns'
import { fetchItems, publish } from './pep'
import type { Session } from './session'
import { xml, type XmlElement } from './xml'

/** How people and groups look, and what they say of themselves. */

export interface Image {
  type: string
  bytes: Uint8Array<ArrayBuffer>
}

/** Larger pictures are not taken. */
const MOST_BYTES = 256 * 1024

/** The SHA-1 of bytes in hexadecimal, as pictures are named (XEP-0084 §proto-data @1.1.4). */
export async function hashOf(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const sum = new Uint8Array(await crypto.subtle.digest('SHA-1', bytes))
  return Array.from(sum, (b) => b.toString(16).padStart(2, '0')).join('')
}

/** Reads which picture somebody has now, "" for none; undefined when it says nothing of that (XEP-0084 §proto-meta @1.1.4). */
export function readPictureHash(item: XmlElement): { hash: string; type: string } | undefined {
  const metadata = item.child('metadata', NS.avatarMetadata)
  if (!metadata) return undefined
  const info = metadata.all('info').find((i) => i.attr('url') === undefined)
  return { hash: info?.attr('id') ?? '', type: info?.attr('type') ?? 'image/png' }
}

/** Fetches somebody's picture; undefined when it is not there, too large, or not the one it claims to be. */
export async function fetchPicture(session: Session, jid: string, hash: string, type: string): Promise<Image | undefined> {
  const [item] = await fetchItems(session, NS.avatarData, jid, hash)
  return checked(item?.childText('data', NS.avatarData), type, hash)
}

async function checked(base64: string | undefined, type: string, hash?: string): Promise<Image | undefined> {
  // Threat: pages in the place of pictures. Nothing but what an img draws without running anything.
  if (base64 === undefined || base64.length > (MOST_BYTES * 4) / 3 || !/^image\/(png|jpeg|webp|gif)$/.test(type)) return undefined
  try {
    const bytes = decode64(base64.replace(/\s+/g, ''))
    return hash === undefined || (await hashOf(bytes)) === hash.toLowerCase() ? { type, bytes } : undefined
  } catch {
    return undefined
  }
}

/** Shows all contacts another picture, or none (XEP-0084 §process @1.1.4, §pub-disable @1.1.4). */
export async function publishPicture(session: Session, image: Image | undefined, size: number): Promise<string> {
  if (!image) {
    await publish(session, NS.avatarMetadata, 'none', xml('metadata', { xmlns: NS.avatarMetadata }))
    return ''
  }
  const hash = await hashOf(image.bytes)
  await publish(session, NS.avatarData, hash, xml('data', { xmlns: NS.avatarData }, encode64(image.bytes)))
  const info = xml('info', { id: hash, type: image.type, bytes: String(image.bytes.length), width: String(size), height: String(size) })
  await publish(session, NS.avatarMetadata, hash, xml('metadata', { xmlns: NS.avatarMetadata }, info))
  return hash
}

async function fetchVCard(session: Session, of: string | undefined): Promise<XmlElement | undefined> {
  try {
    return (await session.ask('get', xml('vCard', { xmlns: NS.vcard }), of)).child('vCard', NS.vcard)
  } catch {
    return undefined
  }
}

/** A room's picture is in its vCard (XEP-0054). */
export async function fetchRoomPicture(session: Session, room: string): Promise<Image | undefined> {
  const photo = (await fetchVCard(session, room))?.child('PHOTO')
  return checked(photo?.childText('BINVAL'), photo?.childText('TYPE') ?? 'image/png')
}

export async function setRoomPicture(session: Session, room: string, image: Image | undefined): Promise<void> {
  const photo = image && xml('PHOTO', {}, xml('TYPE', {}, image.type), xml('BINVAL', {}, encode64(image.bytes)))
  await session.ask('set', xml('vCard', { xmlns: NS.vcard }, photo), room)
}

/** What somebody says about themselves, and calls themselves. */
export interface About {
  name: string
  about: string
}

export async function fetchAbout(session: Session, of?: string): Promise<About> {
  const card = await fetchVCard(session, of)
  return { name: card?.childText('FN')?.slice(0, 100) ?? '', about: card?.childText('DESC')?.slice(0, 500) ?? '' }
}

/** Changes that, and leaves the rest of the vCard as it is. */
export async function saveAbout(session: Session, { name, about }: About): Promise<void> {
  const card = await fetchVCard(session, undefined)
  const rest = card?.elements().filter((e) => e.name !== 'FN' && e.name !== 'DESC') ?? []
  await session.ask('set', xml('vCard', { xmlns: NS.vcard }, xml('FN', {}, name), about !== '' && xml('DESC', {}, about), ...rest))
  await publishName(session, name)
}

/** Tells contacts, and our other devices, what we call ourselves (XEP-0172 §manage @1.1). */
export async function publishName(session: Session, name: string): Promise<void> {
  await publish(session, NS.nick, 'current', xml('nick', { xmlns: NS.nick }, name))
}

/** What we call ourselves, on all our devices; "" where that is not known. */
export async function fetchName(session: Session): Promise<string> {
  return readName((await fetchItems(session, NS.nick)).at(-1)) || (await fetchAbout(session)).name
}

export function readName(item: XmlElement | undefined): string {
  return item?.childText('nick', NS.nick)?.trim().slice(0, 100) ?? ''
}

/** Whom we block (XEP-0191 §blocklist @1.3). */
export async function fetchBlocked(session: Session): Promise<string[]> {
  const answer = await session.ask('get', xml('blocklist', { xmlns: NS.blocking }))
  return itemsOf(answer.child('blocklist', NS.blocking))
}

/** Why somebody is blocked, for who runs the server: which messages, by who has them in the archive and their ids there. */
export interface Report {
  reason: 'spam' | 'abuse'
  text: string
  messages: { by: string; id: string }[]
}

/** Blocks somebody, and reports them if there is a report (XEP-0377 §blocking @0.4.1); or no longer blocks them. */
export async function setBlocked(session: Session, jid: string, blocked: boolean, report?: Report): Promise<void> {
  const told =
    report &&
    xml(
      'report',
      { xmlns: NS.reporting, reason: `${NS.reporting.slice(0, -1)}${report.reason}` },
      ...report.messages.map((m) => xml('stanza-id', { xmlns: NS.sid, ...m })),
      report.text !== '' && xml('text', {}, report.text),
    )
  await session.ask('set', xml(blocked ? 'block' : 'unblock', { xmlns: NS.blocking }, xml('item', { jid }, told)))
}

/** Another device of ours blocked or unblocked somebody; everybody, when none is named. */
export function readBlocking(iq: XmlElement): { blocked: boolean; jids: string[] } | undefined {
  const change = iq.child('block', NS.blocking) ?? iq.child('unblock', NS.blocking)
  return change && { blocked: change.name === 'block', jids: itemsOf(change) }
}

function itemsOf(list: XmlElement | undefined): string[] {
  return list?.all('item').flatMap((i) => i.attr('jid') ?? []) ?? []
}
