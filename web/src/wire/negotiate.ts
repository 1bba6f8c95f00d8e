// SPDX-License-Identifier: Apache-2.0

import { StanzaError, StreamFailure } from './errors'
import { bare, local, resource } from './jid'
import { NS } from './ns'
import { Scram } from './scram'
import type { Stream } from './stream'
import { xml, type XmlElement } from './xml'

export interface Credentials {
  /** Bare address. */
  jid: string
  password: string
}

// SASL conditions (RFC 6120 §6.5) that trying again cannot mend.
const REFUSED = new Set(['not-authorized', 'account-disabled', 'credentials-expired', 'encryption-required', 'invalid-authzid'])

/** Proves who we are (RFC 6120 §6, SCRAM-SHA-256) and gives the features of the authenticated stream. */
export async function authenticate(stream: Stream, who: Credentials): Promise<XmlElement> {
  const features = await stream.open()
  const offered = features.child('mechanisms', NS.sasl)?.all('mechanism').map((m) => m.text().trim()) ?? []
  if (!offered.includes('SCRAM-SHA-256')) throw new StreamFailure('protocol', 'invalid-mechanism')
  const scram = new Scram(local(who.jid), who.password)
  stream.send(xml('auth', { xmlns: NS.sasl, mechanism: 'SCRAM-SHA-256' }, scram.first()))
  const challenge = saslStep(await stream.next(), 'challenge')
  let response: string
  try {
    response = await scram.respond(challenge.text())
  } catch (e) {
    throw new StreamFailure('protocol', 'invalid-challenge', String(e))
  }
  stream.send(xml('response', { xmlns: NS.sasl }, response))
  const success = saslStep(await stream.next(), 'success')
  try {
    scram.verify(success.text())
  } catch (e) {
    throw new StreamFailure('credentials', 'server-not-proven', String(e))
  }
  return stream.open()
}

function saslStep(el: XmlElement, expected: string): XmlElement {
  if (el.is(expected, NS.sasl)) return el
  if (!el.is('failure', NS.sasl)) throw new StreamFailure('protocol', el.name)
  const condition = el.elements().find((e) => e.name !== 'text')?.name ?? ''
  throw new StreamFailure(REFUSED.has(condition) ? 'credentials' : 'closed', condition, el.childText('text') ?? '')
}

/** Binds a resource (RFC 6120 §7) and gives the full address that the server made of it. */
export async function bind(stream: Stream, who: Credentials, wanted: string): Promise<string> {
  let answer: XmlElement
  try {
    answer = await stream.ask('set', xml('bind', { xmlns: NS.bind }, xml('resource', {}, wanted)))
  } catch (e) {
    if (e instanceof StanzaError) throw new StreamFailure('closed', e.condition, e.text)
    throw e
  }
  const jid = answer.child('bind', NS.bind)?.childText('jid')?.trim() ?? ''
  if (bare(jid) !== who.jid || resource(jid) === '') throw new StreamFailure('protocol', 'bind', jid)
  return jid
}

/** What became of an attempt to resume (XEP-0198 §resumption @1.6.3). */
export type Resumption = { resumed: true; h: number } | { resumed: false; h: number | undefined }

/** Asks to go on with an earlier session. */
export async function resume(stream: Stream, id: string, h: number): Promise<Resumption> {
  stream.send(xml('resume', { xmlns: NS.sm, previd: id, h: String(h) }))
  const answer = await stream.next()
  const handled = Number(answer.attr('h') ?? NaN)
  const known = Number.isInteger(handled) && handled >= 0 ? handled : undefined
  if (answer.is('resumed', NS.sm)) {
    if (known === undefined || answer.attr('previd') !== id) throw new StreamFailure('protocol', 'resumed')
    return { resumed: true, h: known }
  }
  if (answer.is('failed', NS.sm)) return { resumed: false, h: known }
  throw new StreamFailure('protocol', answer.name)
}
