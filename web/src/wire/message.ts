// SPDX-License-Identifier: Apache-2.0

import { bare, domain } from './jid'
import { NS } from './ns'
import { xml, type XmlElement } from './xml'

export type ChatState = 'active' | 'composing' | 'paused' | 'inactive' | 'gone'

/** What a message says to us, whichever way it came: directly, as a carbon, out of the archive. */
export interface Incoming {
  /** Whom the conversation is with; bare. */
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
  const from = el.attr('from') ?? account
  const mine = bare(from) === account
  const peer = mine ? bare(el.attr('to') ?? account) : bare(from)
  return {
    peer,
    mine,
    from,
    id: el.attr('id'),
    originId: el.child('origin-id', NS.sid)?.attr('id'),
    archiveId: el.all('stanza-id', NS.sid).find((s) => s.attr('by') === account)?.attr('id'),
    stamp: stamp ?? delayed(el, account),
    body: el.childText('body', NS.client),
    asksReceipt: el.child('request', NS.receipts) !== undefined,
    markable: el.child('markable', NS.markers) !== undefined,
    received: el.child('received', NS.receipts)?.attr('id'),
    displayed: el.child('displayed', NS.markers)?.attr('id'),
    chatState: el.elements().find((e) => e.ns === NS.chatStates)?.name as ChatState | undefined,
  }
}

/** Threat: forged delays. Only our own server's is believed (XEP-0203 §security @2.0). */
function delayed(el: XmlElement, account: string): number | undefined {
  const ours = [account, domain(account)]
  return readStamp(el.all('delay', NS.delay).find((d) => ours.includes(d.attr('from') ?? '')))
}

function readStamp(delay: XmlElement | undefined): number | undefined {
  const t = Date.parse(delay?.attr('stamp') ?? '')
  return Number.isNaN(t) ? undefined : t
}

/** A chat message, ready to be kept and sent, the same octets however often. */
export function buildChat(to: string, id: string, body: string): string {
  return envelope(
    to,
    id,
    xml('body', {}, body),
    xml('active', { xmlns: NS.chatStates }),
    xml('request', { xmlns: NS.receipts }),
    xml('markable', { xmlns: NS.markers }),
  )
}

/** Tells the sender that its message was delivered. */
export function buildReceipt(to: string, id: string, messageId: string): string {
  return envelope(to, id, xml('received', { xmlns: NS.receipts, id: messageId }), xml('store', { xmlns: NS.hints }))
}

/** Tells the sender that everything up to that message was read. */
export function buildDisplayed(to: string, id: string, messageId: string): string {
  return envelope(to, id, xml('displayed', { xmlns: NS.markers, id: messageId }), xml('store', { xmlns: NS.hints }))
}

function envelope(to: string, id: string, ...payload: XmlElement[]): string {
  return xml(
    'message',
    { xmlns: NS.client, type: 'chat', to, id },
    ...payload,
    xml('origin-id', { xmlns: NS.sid, id }),
  ).toString()
}

/** Says that the person types, or no longer does; never stored. */
export function buildChatState(to: string, state: ChatState): string {
  return xml(
    'message',
    { xmlns: NS.client, type: 'chat', to },
    xml(state, { xmlns: NS.chatStates }),
    xml('no-store', { xmlns: NS.hints }),
  ).toString()
}
