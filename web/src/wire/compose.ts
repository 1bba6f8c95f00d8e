// SPDX-License-Identifier: Apache-2.0

import { occupant } from './jid'
import type { Mention } from './message'
import { NS } from './ns'
import { xml, type XmlElement } from './xml'

/**
 * Messages, ready to be kept and sent: the same octets however often. They are
 * made once, before they enter the outbox.
 */

/** What is to be said. */
export interface Say {
  body: string
  /** In a group. */
  group?: boolean | undefined
  /** What it answers: the id, who wrote that, and the words to quote. */
  reply?: { id: string; to: string; text: string } | undefined
  /** It takes the place of our message with this id. */
  replaces?: string | undefined
  mentions?: Mention[] | undefined
  /** It is to be shown without styling (XEP-0393 §disable @1.1.1). */
  unstyled?: boolean | undefined
  /** Stands behind the text for clients that know nothing of what else the message carries, and that. */
  rest?: { text: string; of: string; payload: XmlElement[] } | undefined
}

/** A message to somebody or to a group. */
export function buildChat(to: string, id: string, say: Say): string {
  const quote = say.reply ? quoted(say.reply.text) : ''
  const shift = [...quote].length
  const mentions = (say.mentions ?? []).map((m) =>
    xml('reference', { xmlns: NS.reference, type: 'mention', begin: String(m.begin + shift), end: String(m.end + shift), uri: `xmpp:${encodeURI(m.jid).replace(/[?#]/g, encodeURIComponent)}` }),
  )
  const payload = [
    xml('body', {}, quote + say.body + (say.rest?.text ?? '')),
    ...(say.reply ? [xml('reply', { xmlns: NS.reply, id: say.reply.id, to: say.reply.to })] : []),
    ...(shift > 0 ? [fallback(NS.reply, xml('body', { start: '0', end: String(shift) }))] : []),
    ...(say.rest ? [fallback(say.rest.of, behind(shift + [...say.body].length, say.rest.text)), ...say.rest.payload] : []),
    ...mentions,
    ...(say.unstyled ? [xml('unstyled', { xmlns: NS.styling })] : []),
    ...(say.replaces !== undefined ? [xml('replace', { xmlns: NS.replace, id: say.replaces })] : []),
    xml('active', { xmlns: NS.chatStates }),
  ]
  // XEP-0184 §when-groupchat @1.4.0: no receipts from groups. A correction was delivered with what it corrects.
  if (!say.group && say.replaces === undefined) payload.push(xml('request', { xmlns: NS.receipts }))
  payload.push(xml('markable', { xmlns: NS.markers }))
  return envelope(to, id, say.group, ...payload)
}

function behind(start: number, text: string): XmlElement {
  return start === 0 ? xml('body', {}) : xml('body', { start: String(start), end: String(start + [...text].length) })
}

function quoted(text: string): string {
  return text === '' ? '' : `> ${text.replace(/\n/g, '\n> ')}\n`
}

function fallback(of: string, body?: XmlElement): XmlElement {
  return xml('fallback', { xmlns: NS.fallback, for: of }, body)
}

/** What we feel about a message: all of it, nothing to take it back (XEP-0444 §updating-reactions @0.2.1). */
export function buildReactions(to: string, id: string, group: boolean, messageId: string, emoji: string[]): string {
  const all = emoji.map((e) => xml('reaction', {}, e))
  return envelope(to, id, group, xml('reactions', { xmlns: NS.reactions, id: messageId }, ...all), xml('store', { xmlns: NS.hints }))
}

/** Takes a message of ours back (XEP-0424 §usecase @0.4.2); text is for clients that do not know how. */
export function buildRetract(to: string, id: string, group: boolean, messageId: string, text: string): string {
  return envelope(
    to,
    id,
    group,
    xml('retract', { xmlns: NS.retract, id: messageId }),
    fallback(NS.retract),
    xml('body', {}, text),
    xml('store', { xmlns: NS.hints }),
  )
}

/** Tells the sender that its message was delivered. */
export function buildReceipt(to: string, id: string, messageId: string): string {
  return envelope(to, id, false, xml('received', { xmlns: NS.receipts, id: messageId }), xml('store', { xmlns: NS.hints }))
}

/**
 * Says that everything up to that message was read: to its sender or the group, when they asked, by the id that they know it by (XEP-0333); to our
 * other devices, by that in our archive or the group's, with the server's help (XEP-0490 §rules-server @1.0.1).
 */
export function buildDisplayed(to: string, id: string, read: { marker?: string | undefined; archive?: { id: string; by: string } | undefined }, group = false): string {
  const marker = read.marker !== undefined && xml('displayed', { xmlns: NS.markers, id: read.marker })
  const own = read.archive && xml('displayed', { xmlns: NS.mds }, xml('stanza-id', { xmlns: NS.sid, ...read.archive }))
  return envelope(to, id, group, marker, own, marker && xml('store', { xmlns: NS.hints }))
}

function envelope(to: string, id: string, group: boolean | undefined, ...payload: (XmlElement | false | undefined)[]): string {
  const type = group ? 'groupchat' : 'chat'
  return xml('message', { xmlns: NS.client, type, to, id }, ...payload, privately(to), xml('origin-id', { xmlns: NS.sid, id })).toString()
}

/** Says that it is for one person in a group (XEP-0045 §privatemessage @1.35.5), also to our other devices. */
export function privately(to: string): XmlElement | false {
  return occupant(to) && xml('x', { xmlns: NS.mucUser })
}
