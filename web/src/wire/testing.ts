// SPDX-License-Identifier: Apache-2.0

import type { Dial, TransportEvents } from './transport'
import { parseXml } from './parse'
import { xml, type Attributes, type XmlElement } from './xml'
import { NS } from './ns'
import { decode64, encode64 } from './base64'

/**
 * The other end of a stream, for tests: in memory, and it says only what the
 * test makes it say.
 */
export class Peer {
  private events: TransportEvents | undefined
  private frames: XmlElement[] = []
  private wanted: ((el: XmlElement) => void) | undefined
  closed = false

  constructor(readonly address: string) {}

  attach(events: TransportEvents, open: boolean): void {
    this.events = events
    if (open) queueMicrotask(() => events.open())
  }

  take(frame: string): void {
    const el = parseXml(frame)
    const wanted = this.wanted
    this.wanted = undefined
    if (wanted) wanted(el)
    else this.frames.push(el)
  }

  /** The next element that the client sends. */
  async read(): Promise<XmlElement> {
    return this.frames.shift() ?? (await new Promise<XmlElement>((resolve) => (this.wanted = resolve)))
  }

  /** The next one of that name; others before it are passed over. */
  async expect(name: string, ns?: string): Promise<XmlElement> {
    for (;;) {
      const el = await this.read()
      if (el.is(name, ns)) return el
    }
  }

  say(el: XmlElement | string): void {
    this.events?.frame(el.toString())
  }

  /** The connection breaks. */
  cut(): void {
    if (this.closed) return
    this.closed = true
    this.events?.closed()
  }

  /** Answers a request with an element, or with nothing but success. */
  result(iq: XmlElement, payload?: XmlElement): void {
    this.say(xml('iq', { xmlns: NS.client, type: 'result', id: iq.attr('id') }, payload))
  }

  error(iq: XmlElement, condition: string, type = 'cancel'): void {
    const error = xml('error', { type }, xml(condition, { xmlns: NS.stanzaError }))
    this.say(xml('iq', { xmlns: NS.client, type: 'error', id: iq.attr('id') }, error))
  }

  /** Answers the client's opening with features. */
  async open(...features: XmlElement[]): Promise<void> {
    await this.expect('open', NS.framing)
    this.say(xml('open', { xmlns: NS.framing, id: 's1', from: 'localhost', version: '1.0' }))
    this.say(xml('features', { xmlns: NS.stream }, ...features))
  }

  /** Lets the client in, whoever it is: SCRAM-SHA-256 with that password. */
  async letIn(password: string): Promise<void> {
    await this.open(xml('mechanisms', { xmlns: NS.sasl }, xml('mechanism', {}, 'SCRAM-SHA-256')))
    const first = text(await this.expect('auth', NS.sasl))
    const serverFirst = `r=${/r=(.*)$/.exec(first)![1]}SERVER,s=${encode64(utf8('salt'))},i=4096`
    this.say(xml('challenge', { xmlns: NS.sasl }, encode64(utf8(serverFirst))))
    const final = text(await this.expect('response', NS.sasl))
    const auth = `${first.slice(3)},${serverFirst},${final.replace(/,p=.*/, '')}`
    this.say(xml('success', { xmlns: NS.sasl }, encode64(utf8(`v=${await serverProof(password, auth)}`))))
    await this.open(xml('bind', { xmlns: NS.bind }), xml('sm', { xmlns: NS.sm }))
  }

  /** Binds what the client wants and enables stream management. */
  async bindAndEnable(account: string, sm: Attributes): Promise<string> {
    const iq = await this.expect('iq')
    const jid = `${account}/${iq.child('bind')!.childText('resource')}`
    this.result(iq, xml('bind', { xmlns: NS.bind }, xml('jid', {}, jid)))
    await this.expect('enable', NS.sm)
    this.say(xml('enabled', { xmlns: NS.sm, ...sm }))
    return jid
  }
}

/** A network: each dial makes a peer, which the test takes with next. */
export class Network {
  private peers: Peer[] = []
  private waiting: ((p: Peer) => void) | undefined
  /** Refuses connections while it is set. */
  down = false
  /** The machines hang: connections never open while it is set. */
  frozen = false
  dialled = 0

  readonly dial: Dial = (address, events) => {
    this.dialled++
    const peer = new Peer(address)
    if (this.down) {
      queueMicrotask(() => events.closed())
      return { send: () => undefined, close: () => undefined }
    }
    peer.attach(events, !this.frozen)
    const waiting = this.waiting
    this.waiting = undefined
    if (waiting) waiting(peer)
    else this.peers.push(peer)
    return { send: (frame) => peer.closed || peer.take(frame), close: () => peer.cut() }
  }

  async next(): Promise<Peer> {
    return this.peers.shift() ?? (await new Promise<Peer>((resolve) => (this.waiting = resolve)))
  }
}

function utf8(s: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(s)
}

function text(el: XmlElement): string {
  return new TextDecoder().decode(decode64(el.text()))
}

async function serverProof(password: string, auth: string): Promise<string> {
  const { subtle } = crypto
  const base = await subtle.importKey('raw', utf8(password), 'PBKDF2', false, ['deriveBits'])
  const params = { name: 'PBKDF2', hash: 'SHA-256', salt: utf8('salt'), iterations: 4096 }
  const salted = await subtle.deriveBits(params, base, 256)
  const mac = async (key: ArrayBuffer, data: Uint8Array<ArrayBuffer>): Promise<ArrayBuffer> => {
    const k = await subtle.importKey('raw', key, { name: 'HMAC', hash: 'SHA-256' }, false, ['sign'])
    return subtle.sign('HMAC', k, data)
  }
  return encode64(new Uint8Array(await mac(await mac(salted, utf8('Server Key')), utf8(auth))))
}
