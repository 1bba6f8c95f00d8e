// SPDX-License-Identifier: Apache-2.0

import { StanzaError, StreamFailure } from './errors'
import { NS } from './ns'
import { token } from './random'
import type { Dial, Transport } from './transport'
import { parseXml } from './parse'
import { xml, type XmlElement } from './xml'

/**
 * An XMPP stream over a WebSocket (RFC 7395): each frame is one element. It is
 * read step by step while negotiating (next), then handed over (deliver).
 */
export class Stream {
  private transport: Transport
  private inbox: XmlElement[] = []
  private waiting: { resolve: (el: XmlElement) => void; reject: (f: StreamFailure) => void } | undefined
  private deliverTo: ((el: XmlElement) => void) | undefined
  private failure: StreamFailure | undefined
  private opened!: () => void
  private readonly whenOpen = new Promise<void>((resolve) => (this.opened = resolve))
  private end!: (f: StreamFailure) => void

  /** Settles, never rejects, when the stream has ended, with the reason. */
  readonly ended = new Promise<StreamFailure>((resolve) => (this.end = resolve))
  /** When the connection was made or the last frame came in, in milliseconds since the epoch; 0 before. */
  heard = 0
  /** What the server offered last. */
  features: XmlElement | undefined

  constructor(
    dial: Dial,
    address: string,
    private readonly domain: string,
  ) {
    this.transport = dial(address, {
      open: () => {
        this.heard = Date.now()
        this.opened()
      },
      frame: (text) => this.frame(text),
      closed: () => this.fail(new StreamFailure('unreachable')),
    })
  }

  /**
   * Opens, or opens anew after authentication, and gives the stream features
   * (RFC 7395 §3.4, RFC 6120 §4.3.2). What need not wait for them goes along.
   */
  async open(along?: XmlElement): Promise<XmlElement> {
    await Promise.race([this.whenOpen, this.ended])
    this.send(xml('open', { xmlns: NS.framing, to: this.domain, version: '1.0' }))
    if (along) this.send(along)
    const open = await this.next()
    if (!open.is('open', NS.framing)) throw this.fail(new StreamFailure('protocol', open.name))
    const features = await this.next()
    if (!features.is('features', NS.stream)) throw this.fail(new StreamFailure('protocol', features.name))
    this.features = features
    return features
  }

  send(el: XmlElement | string): void {
    if (!this.failure) this.transport.send(el.toString())
  }

  /** The next element. Rejects with a StreamFailure when the stream has ended. */
  next(): Promise<XmlElement> {
    const el = this.inbox.shift()
    if (el) return Promise.resolve(el)
    if (this.failure) return Promise.reject(this.failure)
    return new Promise((resolve, reject) => (this.waiting = { resolve, reject }))
  }

  /** Sends a request and waits for its answer, before there is a session. Rejects with StanzaError or StreamFailure. */
  async ask(type: 'get' | 'set', payload: XmlElement): Promise<XmlElement> {
    const id = token(8)
    this.send(xml('iq', { xmlns: NS.client, type, id }, payload))
    for (;;) {
      const answer = await this.next()
      if (answer.name !== 'iq' || answer.attr('id') !== id) continue
      if (answer.attr('type') === 'error') throw StanzaError.of(answer)
      return answer
    }
  }

  /** From now on every element goes there, those that wait first. */
  deliver(to: (el: XmlElement) => void): void {
    this.deliverTo = to
    for (let el = this.inbox.shift(); el; el = this.inbox.shift()) to(el)
  }

  /** Ends the stream in order (RFC 7395 §3.6). */
  close(): void {
    this.send(xml('close', { xmlns: NS.framing }))
    this.fail(new StreamFailure('closed'))
  }

  /** Ends the stream for that reason, at once; gives the reason back. The first one counts. */
  fail(failure: StreamFailure): StreamFailure {
    if (this.failure) return this.failure
    this.failure = failure
    this.transport.close()
    this.waiting?.reject(failure)
    this.waiting = undefined
    this.end(failure)
    return failure
  }

  private frame(text: string): void {
    if (this.failure) return
    this.heard = Date.now()
    let el: XmlElement
    try {
      el = parseXml(text)
    } catch (e) {
      this.fail(new StreamFailure('protocol', 'not-well-formed', String(e)))
      return
    }
    if (el.is('error', NS.stream)) this.fail(streamError(el))
    else if (el.is('close', NS.framing)) this.fail(new StreamFailure('closed', '', '', el.attr('see-other-uri')))
    else if (this.deliverTo) this.deliverTo(el)
    else if (this.waiting) {
      const { resolve } = this.waiting
      this.waiting = undefined
      resolve(el)
    } else this.inbox.push(el)
  }
}

function streamError(el: XmlElement): StreamFailure {
  const condition = el.elements().find((e) => e.ns === NS.streamError && e.name !== 'text')
  return new StreamFailure('closed', condition?.name ?? 'undefined-condition', el.childText('text', NS.streamError) ?? '')
}
