// SPDX-License-Identifier: Apache-2.0

import { StanzaError } from './errors'
import { NS } from './ns'
import type { Session } from './session'
import { xml, type XmlElement } from './xml'

/** Links that make whoever follows them a member of a room: made, listed and taken back by commands of it (XEP-0050). */

export interface RoomLink {
  id: string
  /** Who made it; a bare address. */
  by: string
  /** When it ends, in ms since the epoch; undefined for never. */
  expires: number | undefined
  /** How many people may still come by it. */
  uses: number
}

const MAKE = 'urn:xmpp:invite#invite' // XEP-0401 §create-invitation @0.6.0

async function command(session: Session, room: string, node: string, fields: Record<string, string> = {}): Promise<XmlElement | undefined> {
  const form = Object.entries(fields).map(([name, value]) => xml('field', { var: name }, xml('value', {}, value)))
  const payload = xml('command', { xmlns: NS.commands, node }, form.length > 0 && xml('x', { xmlns: NS.data, type: 'submit' }, ...form))
  const answer = await session.ask('set', payload, room)
  return answer.child('command', NS.commands)?.child('x', NS.data)
}

function fieldOf(form: XmlElement | undefined, name: string): string {
  return form?.all('field').find((f) => f.attr('var') === name)?.childText('value') ?? ''
}

/** Makes a link for so many people, good for so many seconds, 0 for ever; gives its token. */
export async function makeRoomLink(session: Session, room: string, seconds: number, uses: number): Promise<string> {
  const made = fieldOf(await command(session, room, MAKE, { expires: String(seconds), uses: String(uses) }), 'token')
  if (made === '') throw new StanzaError('undefined-condition', 'cancel', '')
  return made
}

/** Those that can be used: all of them for admins, else one's own. */
export async function fetchRoomLinks(session: Session, room: string): Promise<RoomLink[]> {
  const form = await command(session, room, NS.roomInvite + '#links')
  return (form?.all('item') ?? []).map((item) => ({
    id: fieldOf(item, 'id'),
    by: fieldOf(item, 'by'),
    expires: Date.parse(fieldOf(item, 'expires')) || undefined,
    uses: Number(fieldOf(item, 'uses')) || 0,
  }))
}

export async function revokeRoomLink(session: Session, room: string, id: string): Promise<void> {
  await command(session, room, NS.roomInvite + '#revoke', { id })
}

/** The room that an element of an answer names. */
export function readInvitedTo(answer: XmlElement): { jid: string; name: string } | undefined {
  const room = answer.child('invite', NS.roomInvite)?.child('room')
  const jid = room?.attr('jid')
  return jid ? { jid, name: room?.attr('name') ?? '' } : undefined
}

/** Which room a token is for, undefined when it is for none; with join, one is a member of it from now on. */
export async function showRoomInvite(session: Session, token: string, join: boolean): Promise<{ jid: string; name: string } | undefined> {
  const domain = session.account.replace(/^[^@]*@/, '')
  return readInvitedTo(await session.ask(join ? 'set' : 'get', xml('invite', { xmlns: NS.roomInvite, token }), domain))
}
