// SPDX-License-Identifier: Apache-2.0

import { readChatState, type ChatState } from './chatstate'
import { bare, domain } from './jid'
import { NS } from './ns'
import { readShared, type Shared } from './share'
import type { XmlElement } from './xml'


/** What a message answers (XEP-0461 §usecases @0.2.1). */
export interface Reply {
  id: string
  /** Who wrote that, as the sender addresses them. */
  to: string
  /** The words that the sender quotes for clients that know no replies; "" without. */
  text: string
}

/** A place of the text that names somebody (XEP-0372), in code points. */
export interface Mention {
  begin: number
  end: number
  jid: string
}

/** What a message says to us, whichever way it came: directly, as a carbon, out of the archive. */
export interface Incoming {
  /** Whom the conversation is with; bare, or the full address in a group from where somebody writes privately. */
  peer: string
  /** Sent by this account, from this device or another. */
  mine: boolean
  /** The sender's full address. */
  from: string
  id: string | undefined
  /** The sender's own name for it (XEP-0359), which survives everything. */
  originId: string | undefined
  /** Its name in our archive. */
  archiveId: string | undefined
  /** When the server took it, when that was not just now; ms since the epoch. */
  stamp: number | undefined
  body: string | undefined
  /** The sender wants to know that it was delivered (XEP-0184). */
  asksReceipt: boolean
  /** The sender wants to know that it was read (XEP-0333). */
  markable: boolean
  /** The message with this id was delivered. */
  received: string | undefined
  /** All up to the message with this id was read. */
  displayed: string | undefined
  chatState: ChatState | undefined
  /** Said in a group, by that member: their address where it may be seen, else what the group calls them (XEP-0421). */
  sender?: { who: string; nick: string } | undefined
  reply?: Reply | undefined
  /** What the sender feels about the message with that id: all of it, replacing what was before (XEP-0444). */
  reactions?: { id: string; emoji: string[] } | undefined
  /** The body is to take the place of that of the message with this id (XEP-0308). */
  replaces?: string | undefined
  /** The sender, or in a group an admin, takes back the message with this id (XEP-0424, XEP-0425). */
  retracts?: string | undefined
  moderated?: boolean | undefined
  /** What is left of a message that was taken back. */
  retracted?: boolean | undefined
  /** It was encrypted in that way, which we cannot read (XEP-0380). */
  encrypted?: string | undefined
  mentions?: Mention[] | undefined
  /** The sender wants no styling for it (XEP-0393 §disable @1.1.1). */
  unstyled?: boolean | undefined
  /** The file that it shares; the body is what is said about it. */
  file?: Shared | undefined
  /** It mentions us. */
  callsMe?: boolean | undefined
  /** An invitation to a group (XEP-0249). */
  invitation?: { room: string } | undefined
}

/** Reads a message stanza; undefined when it is not of a conversation between two. */
export function readMessage(stanza: XmlElement, account: string): Incoming | undefined {
  // Threat: forged carbons. XEP-0280 §security @1.0.1: only from our own account.
  if (stanza.attr('from') === account) {
    for (const name of ['received', 'sent']) {
      const carbon = stanza.child(name, NS.carbons)
      if (carbon) return readForwarded(carbon, account, name === 'sent')
    }
  }
  return readPlain(stanza, account, undefined)
}

function readForwarded(wrapper: XmlElement, account: string, sent: boolean): Incoming | undefined {
  const forwarded = wrapper.child('forwarded', NS.forward)
  const inner = forwarded?.child('message', NS.client)
  if (!forwarded || !inner) return undefined
  if (bare(inner.attr(sent ? 'from' : 'to') ?? '') !== account) return undefined
  return readPlain(inner, account, undefined)
}

/** Reads one result of our archive (XEP-0313 §results @1.1.3). */
export function readResult(result: XmlElement, account: string): Incoming | undefined {
  const forwarded = result.child('forwarded', NS.forward)
  const inner = forwarded?.child('message', NS.client)
  const id = result.attr('id')
  if (!inner || !id) return undefined
  const read = readPlain(inner, account, readStamp(forwarded?.child('delay', NS.delay)))
  if (read) read.archiveId = id
  return read
}

function readPlain(el: XmlElement, account: string, stamp: number | undefined): Incoming | undefined {
  const type = el.attr('type') ?? 'normal'
  if (type !== 'chat' && type !== 'normal') return undefined
  const inGroup = el.child('x', NS.mucUser)
  if (el.child('event', NS.pubsubEvent) || (inGroup && inGroup.elements().length > 0)) return undefined
  const from = el.attr('from') ?? account
  const mine = bare(from) === account
  const other = mine ? (el.attr('to') ?? account) : from
  const peer = inGroup ? other : bare(other)
  const invitation = el.child('x', NS.invitation)
  const room = bare(invitation?.attr('jid') ?? '')
  return {
    peer,
    mine,
    from,
    archiveId: el.all('stanza-id', NS.sid).find((s) => s.attr('by') === account)?.attr('id'),
    stamp: stamp ?? delayed(el, account),
    ...readContent(el),
    ...(room.includes('@') && { invitation: { room } }),
  }
}

/** What a message says, whoever says it wherever. */
export function readContent(el: XmlElement): Omit<Incoming, 'peer' | 'mine' | 'from' | 'archiveId' | 'stamp'> {
  const reactions = el.child('reactions', NS.reactions)
  const retract = el.child('retract', NS.retract)
  const encrypted = readEncryption(el)
  const readable = encrypted === undefined && !retract
  const { whole, file } = readable ? readShared(el, el.childText('body', NS.client)) : { whole: undefined, file: undefined }
  const { body, reply, shift } = whole === undefined ? { body: undefined, reply: undefined, shift: 0 } : readReply(el, whole)
  const mentions = body === undefined ? [] : readMentions(el, shift)
  return {
    id: el.attr('id'),
    originId: el.child('origin-id', NS.sid)?.attr('id'),
    body,
    asksReceipt: el.child('request', NS.receipts) !== undefined,
    markable: el.child('markable', NS.markers) !== undefined,
    received: el.child('received', NS.receipts)?.attr('id'),
    displayed: el.child('displayed', NS.markers)?.attr('id'),
    chatState: readChatState(el),
    ...(reply && { reply }),
    ...(mentions.length > 0 && { mentions }),
    ...(el.child('unstyled', NS.styling) && { unstyled: true }),
    ...(file && { file }),
    ...(reactions?.attr('id') && { reactions: { id: reactions.attr('id')!, emoji: readEmoji(reactions) } }),
    ...(el.child('replace', NS.replace)?.attr('id') && { replaces: el.child('replace', NS.replace)!.attr('id') }),
    ...(retract?.attr('id') && { retracts: retract.attr('id') }),
    ...(el.child('retracted', NS.retract) && { retracted: true }),
    ...(encrypted !== undefined && { encrypted }),
  }
}

/** Somebody may send anything as a reaction; more than this is not shown. */
const MOST_REACTIONS = 8

function readEmoji(reactions: XmlElement): string[] {
  const all = reactions.all('reaction', NS.reactions).map((r) => r.text().trim())
  return [...new Set(all.filter((r) => r !== '' && r.length <= 32))].slice(0, MOST_REACTIONS)
}

const METHODS: Record<string, string> = { [NS.omemo]: 'OMEMO', 'urn:xmpp:omemo:2': 'OMEMO', [NS.pgp]: 'OpenPGP' }

/** How a message is encrypted, "" when nobody says how; undefined for one that is not (XEP-0380 §usecases @0.4.0). */
function readEncryption(el: XmlElement): string | undefined {
  const hint = el.child('encryption', NS.encryption)
  if (hint) return (METHODS[hint.attr('namespace') ?? ''] ?? hint.attr('name') ?? '').slice(0, 30)
  const payload = el.elements().find((e) => (e.name === 'encrypted' || e.name === 'x') && e.ns !== undefined && e.ns in METHODS)
  // Without a payload it carries keys alone, which nobody is to see.
  if (!payload || (payload.name === 'encrypted' && !payload.child('payload'))) return undefined
  return METHODS[payload.ns!]
}

/** Parts what somebody wrote from what they quote (XEP-0461, XEP-0428 §overview @0.2.1). */
function readReply(el: XmlElement, whole: string): { body: string; reply: Reply | undefined; shift: number } {
  const reply = el.child('reply', NS.reply)
  const id = reply?.attr('id')
  if (!reply || !id) return { body: whole, reply: undefined, shift: 0 }
  const range = el.all('fallback', NS.fallback).find((f) => f.attr('for') === NS.reply)?.child('body', NS.fallback)
  const points = [...whole]
  const start = Number(range?.attr('start') ?? NaN)
  const end = Number(range?.attr('end') ?? NaN)
  const known = Number.isInteger(start) && Number.isInteger(end) && start === 0 && end > 0 && end <= points.length
  const quoted = known ? points.slice(0, end).join('') : ''
  const text = quoted.replace(/^> ?/gm, '').trim().slice(0, 300)
  return { body: known ? points.slice(end).join('') : whole, reply: { id, to: reply.attr('to') ?? '', text }, shift: known ? end : 0 }
}

const MOST_MENTIONS = 50

function readMentions(el: XmlElement, shift: number): Mention[] {
  const found = el.all('reference', NS.reference).slice(0, MOST_MENTIONS).flatMap((r) => {
    const [begin, end] = [Number(r.attr('begin') ?? NaN) - shift, Number(r.attr('end') ?? NaN) - shift]
    const jid = /^xmpp:([^?]+)/.exec(r.attr('uri') ?? '')?.[1]
    return r.attr('type') === 'mention' && jid && begin >= 0 && end > begin ? [{ begin, end, jid: decoded(jid) }] : []
  })
  return found.sort((a, b) => a.begin - b.begin)
}

/** Threat: forged delays. Only our own server's is believed (XEP-0203 §security @2.0). */
export function delayed(el: XmlElement, account: string): number | undefined {
  const ours = [account, domain(account)]
  return readStamp(el.all('delay', NS.delay).find((d) => ours.includes(d.attr('from') ?? '')))
}

export function readStamp(delay: XmlElement | undefined): number | undefined {
  const t = Date.parse(delay?.attr('stamp') ?? '')
  return Number.isNaN(t) ? undefined : t
}

function decoded(jid: string): string {
  try {
    return decodeURIComponent(jid)
  } catch {
    return jid
  }
}
