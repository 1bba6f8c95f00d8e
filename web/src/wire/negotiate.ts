// SPDX-License-Identifier: Apache-2.0

import { StanzaError, StreamFailure } from './errors'
import { bare, local, resource } from './jid'
import { NS } from './ns'
import { Scram } from './scram'
import type { Stream } from './stream'
import { sameOctets, showToken, TOKEN_MECHANISM, type Token } from './token'
import { xml, type XmlElement } from './xml'

/** This installation, as the server tells it from the account's others. */
export interface Device {
  /** A UUID (XEP-0388 §initiation @1.0.4). */
  id: string
  software: string
  device: string
}

/** What one shows of oneself: a password, or what stands for it. */
export type Secret = { kind: 'password' | 'link' | 'recovery'; secret: string } | { kind: 'token'; token: Token }

export interface Credentials {
  /** Bare address. */
  jid: string
  secret: Secret
  device: Device
}

/** What a client wants besides being let in. */
export interface Wanted {
  /** The session to go on with, if there is one. */
  resume?: { id: string; h: number } | undefined
  /** The resource for servers that take the client's; the others make their own. */
  resource: string
  /** Nobody is looking (XEP-0352). */
  inactive?: boolean
}

/** Who we are now, on a stream that is ready. */
export interface LoggedIn {
  /** The h of the session that goes on. */
  resumed?: number | undefined
  /** The h of the session that does not, when the server told it. */
  lost?: number | undefined
  /** The full address, if bound. */
  jid?: string | undefined
  /** That stream management is on (XEP-0198 §enable @1.6.3), when it was asked for in the same request. */
  enabled?: XmlElement | undefined
  /** Copies of what other devices send are on their way already. */
  carbons?: boolean | undefined
  /** The newest in the archive now (XEP-0386 §bind-request @1.1.0). */
  archiveEnd?: string | undefined
}

// SASL conditions (RFC 6120 §6.5) that trying again cannot mend.
const REFUSED = new Set(['not-authorized', 'account-disabled', 'credentials-expired', 'invalid-authzid'])

/**
 * Logs in, and resumes or binds: in one request where the server can (XEP-0388,
 * XEP-0386, XEP-0484), else step by step. A new token is kept before this goes
 * on: the one before is void once the new one has been used.
 */
export async function logIn(stream: Stream, who: Credentials, wanted: Wanted, keep: (token: Token) => Promise<void>): Promise<LoggedIn> {
  const together: XmlElement[] = [bindRequest(wanted)]
  if (wanted.resume) together.unshift(xml('resume', { xmlns: NS.sm, previd: wanted.resume.id, h: String(wanted.resume.h) }))
  const success = await authenticate2(stream, who, together, keep)
  return success ? readSuccess(success, who.jid, wanted) : stepByStep(stream, who, wanted)
}

/** Only proves who we are, on a stream that is good for nothing else then; gives the token for the next time, where the server has tokens. */
export async function fetchToken(stream: Stream, who: Credentials): Promise<Token | undefined> {
  let token: Token | undefined
  const success = await authenticate2(stream, who, [], (t) => Promise.resolve(void (token = t)))
  if (!success) await authenticate(stream, who)
  return token
}

/** Ends a token; the device that had it is forgotten by the server. */
export async function endToken(stream: Stream, who: Credentials): Promise<void> {
  await authenticate2(stream, who, [], () => Promise.resolve(), { invalidate: 'true' })
}

function bindRequest({ inactive }: Wanted): XmlElement {
  const carbons = xml('enable', { xmlns: NS.carbons })
  const sm = xml('enable', { xmlns: NS.sm, resume: 'true' })
  return xml('bind', { xmlns: NS.bind2 }, xml('tag', {}, 'bavard'), carbons, sm, inactive && xml('inactive', { xmlns: NS.csi }))
}

/** Gives the success, or undefined, the stream open, where the server has nothing but RFC 6120. */
async function authenticate2(
  stream: Stream,
  { jid, secret, device }: Credentials,
  more: XmlElement[],
  keep: (token: Token) => Promise<void>,
  fast: Record<string, string> = {},
): Promise<XmlElement | undefined> {
  const agent = xml('user-agent', { id: device.id }, xml('software', {}, device.software), xml('device', {}, device.device))
  const request = (mechanism: string, initial: string, ...shown: (XmlElement | false)[]): XmlElement =>
    xml('authenticate', { xmlns: NS.sasl2, mechanism }, xml('initial-response', {}, initial), agent, ...shown, ...more)

  if (secret.kind === 'token') {
    // Who has a token knows what the server can do, and need not wait to be told.
    const { initial, answer } = await showToken(local(jid), secret.token)
    const features = await stream.open(request(TOKEN_MECHANISM, initial, xml('fast', { xmlns: NS.fast, ...fast })))
    if (!features.child('authentication', NS.sasl2)) throw new StreamFailure('protocol', 'invalid-mechanism', 'the server takes no tokens now')
    const success = saslStep(await stream.next(), 'success', NS.sasl2)
    if (!sameOctets(success.childText('additional-data') ?? '', answer)) throw new StreamFailure('protocol', 'server-not-proven')
    await keepToken(success, keep)
    return success
  }

  const authentication = (await stream.open()).child('authentication', NS.sasl2)
  if (!authentication) {
    if (secret.kind !== 'password') throw new StreamFailure('protocol', 'invalid-mechanism')
    return undefined
  }
  if (!names(authentication).includes('SCRAM-SHA-256')) throw new StreamFailure('protocol', 'invalid-mechanism')
  const fasts = authentication.child('inline')?.child('fast', NS.fast)
  const token = fasts !== undefined && names(fasts).includes(TOKEN_MECHANISM) && xml('request-token', { xmlns: NS.fast, mechanism: TOKEN_MECHANISM })
  const shown = secret.kind === 'link' ? xml('link', { xmlns: NS.link }) : secret.kind === 'recovery' && xml('recovery', { xmlns: NS.recovery })
  const success = await scramExchange(stream, new Scram(local(jid), secret.secret), NS.sasl2, (first) => request('SCRAM-SHA-256', first, shown, token))
  await keepToken(success, keep)
  return success
}

const names = (of: XmlElement): string[] => of.all('mechanism').map((m) => m.text().trim())

async function keepToken(success: XmlElement, keep: (token: Token) => Promise<void>): Promise<void> {
  const given = success.child('token', NS.fast)
  const token = given?.attr('token')
  if (token) await keep({ mechanism: TOKEN_MECHANISM, token, expires: Date.parse(given?.attr('expiry') ?? '') || 0 })
}

/** SCRAM (RFC 5802) in the words of either SASL profile; gives the success, once the server has proven itself. */
async function scramExchange(stream: Stream, scram: Scram, ns: string, begin: (first: string) => XmlElement): Promise<XmlElement> {
  stream.send(begin(scram.first()))
  const challenge = saslStep(await stream.next(), 'challenge', ns)
  let response: string
  try {
    response = await scram.respond(challenge.text())
  } catch (e) {
    throw new StreamFailure('protocol', 'invalid-challenge', String(e))
  }
  stream.send(xml('response', { xmlns: ns }, response))
  const success = saslStep(await stream.next(), 'success', ns)
  try {
    scram.verify(ns === NS.sasl2 ? (success.childText('additional-data') ?? '') : success.text())
  } catch (e) {
    throw new StreamFailure('protocol', 'server-not-proven', String(e))
  }
  return success
}

function saslStep(el: XmlElement, expected: string, ns: string): XmlElement {
  if (el.is(expected, ns)) return el
  if (!el.is('failure', ns)) throw new StreamFailure('protocol', el.name)
  const condition = el.elements().find((e) => e.name !== 'text')?.name ?? ''
  throw new StreamFailure(REFUSED.has(condition) ? 'credentials' : 'closed', condition, el.childText('text') ?? '')
}

function readSuccess(success: XmlElement, account: string, wanted: Wanted): LoggedIn {
  const { resume } = wanted
  const resumed = success.child('resumed', NS.sm)
  if (resumed) {
    const h = handled(resumed)
    if (!resume || h === undefined || resumed.attr('previd') !== resume.id) throw new StreamFailure('protocol', 'resumed')
    return { resumed: h }
  }
  const bound = success.child('bound', NS.bind2)
  const jid = success.childText('authorization-identifier')?.trim() ?? ''
  if (!bound || bare(jid) !== account || resource(jid) === '') throw new StreamFailure('protocol', 'bind', jid)
  const failed = success.child('failed', NS.sm)
  const archiveEnd = bound.child('metadata', NS.mam)?.child('end')?.attr('id')
  return { jid, carbons: true, archiveEnd, enabled: bound.child('enabled', NS.sm), lost: failed && handled(failed) }
}

function handled(el: XmlElement): number | undefined {
  const h = Number(el.attr('h') ?? NaN)
  return Number.isInteger(h) && h >= 0 ? h : undefined
}

// --- RFC 6120, for servers that have nothing else

async function stepByStep(stream: Stream, who: Credentials, wanted: Wanted): Promise<LoggedIn> {
  await authenticate(stream, who)
  await stream.open()
  let lost: number | undefined
  if (wanted.resume) {
    const answer = await resume(stream, wanted.resume.id, wanted.resume.h)
    if (answer.resumed) return { resumed: answer.h }
    lost = answer.h
  }
  return { jid: await bind(stream, who.jid, wanted.resource), lost }
}

/** Proves who we are on an open stream (RFC 6120 §6, SCRAM-SHA-256), by password. */
async function authenticate(stream: Stream, { jid, secret }: Credentials): Promise<void> {
  if (secret.kind === 'token') throw new StreamFailure('protocol', 'invalid-mechanism')
  const features = stream.features
  if (!features?.child('mechanisms', NS.sasl) || !names(features.child('mechanisms', NS.sasl)!).includes('SCRAM-SHA-256')) {
    throw new StreamFailure('protocol', 'invalid-mechanism')
  }
  const scram = new Scram(local(jid), secret.secret)
  await scramExchange(stream, scram, NS.sasl, (first) => xml('auth', { xmlns: NS.sasl, mechanism: 'SCRAM-SHA-256' }, first))
}

/** Binds a resource (RFC 6120 §7) and gives the full address that the server made of it. */
async function bind(stream: Stream, account: string, wanted: string): Promise<string> {
  let answer: XmlElement
  try {
    answer = await stream.ask('set', xml('bind', { xmlns: NS.bind }, xml('resource', {}, wanted)))
  } catch (e) {
    if (e instanceof StanzaError) throw new StreamFailure('closed', e.condition, e.text)
    throw e
  }
  const jid = answer.child('bind', NS.bind)?.childText('jid')?.trim() ?? ''
  if (bare(jid) !== account || resource(jid) === '') throw new StreamFailure('protocol', 'bind', jid)
  return jid
}

/** What became of an attempt to resume (XEP-0198 §resumption @1.6.3). */
type Resumption = { resumed: true; h: number } | { resumed: false; h: number | undefined }

/** Asks to go on with an earlier session. */
async function resume(stream: Stream, id: string, h: number): Promise<Resumption> {
  stream.send(xml('resume', { xmlns: NS.sm, previd: id, h: String(h) }))
  const answer = await stream.next()
  const known = handled(answer)
  if (answer.is('resumed', NS.sm)) {
    if (known === undefined || answer.attr('previd') !== id) throw new StreamFailure('protocol', 'resumed')
    return { resumed: true, h: known }
  }
  if (answer.is('failed', NS.sm)) return { resumed: false, h: known }
  throw new StreamFailure('protocol', answer.name)
}
