// SPDX-License-Identifier: Apache-2.0

import { buildInfo } from './caps'
import { Counters } from './counters'
import { StanzaError, StreamFailure } from './errors'
import { bare } from './jid'
import { NS } from './ns'
import { token } from './random'
import type { Stream } from './stream'
import { xml, type XmlElement } from './xml'

/** What a session tells whoever runs it. */
export interface SessionEvents {
  /**
   * Messages, presence and roster pushes, in order, as many as have come in
   * since the last call. The session counts them as handled (XEP-0198) only
   * when this has settled; a rejection ends the stream, so that they come again.
   */
  stanzas(batch: XmlElement[]): Promise<void>
  /** At once and before any acknowledgement that follows: the server refused the stanza with that id. */
  refused(id: string, error: StanzaError): void
  /** The server is answerable for what was sent with these tags. */
  acked(tags: string[]): void
}

const IQ_TIMEOUT = 30_000
/** What is left of an earlier round trip with each new one. */
const FADES = 0.8

type Pending = { resolve: (el: XmlElement) => void; reject: (e: Error) => void; timer: ReturnType<typeof setTimeout> }

/**
 * A bound session with stream management. It outlives the stream that it began
 * on: after a resumption it goes on over another.
 */
export class Session {
  private stream: Stream | undefined
  private counters = new Counters()
  private pending = new Map<string, Pending>()
  private collectors = new Map<string, { take: (result: XmlElement) => void; of: string }>()
  private inbound: XmlElement[] = []
  private working: Promise<void> | undefined
  private ackWanted = false
  private enabled = false
  private over = false
  /** What resumption needs; undefined when the server will not resume. */
  resumeId: string | undefined
  /** Since when an asked-for acknowledgement is outstanding, in ms since the epoch. */
  askedAt: number | undefined
  /** How long answers took of late, at most, in ms; undefined before the first. */
  roundTrip: number | undefined
  /** Copies of what other devices send come by themselves (XEP-0280). */
  carbons = false
  /** The newest in the archive when the session began, where the server told it. */
  archiveEnd: string | undefined
  /** Takes the entries of the list of chats while it is asked for. */
  listing: ((entry: XmlElement, result: XmlElement | undefined) => void) | undefined

  constructor(
    readonly jid: string,
    private readonly events: SessionEvents,
  ) {}

  get account(): string {
    return bare(this.jid)
  }

  get live(): boolean {
    return this.stream !== undefined
  }

  /** Whether requests wait for their answers. */
  get waits(): boolean {
    return this.pending.size > 0
  }

  /** How many stanzas were handled: the h to resume with. Settle first. */
  get handled(): number {
    return this.counters.handled
  }

  /** Begins on a freshly bound stream: stanzas count from here (XEP-0198 §enable @1.6.3), unless they do so already. */
  begin(stream: Stream, enabled?: XmlElement): void {
    this.stream = stream
    if (enabled) this.management(enabled)
    else stream.send(xml('enable', { xmlns: NS.sm, resume: 'true' }))
    stream.deliver((el) => this.receive(el))
  }

  /** Waits until everything that came in has been handled. */
  async settle(): Promise<void> {
    while (this.working) await this.working
  }

  /** Goes on over a resumed stream: the server had handled h of ours. */
  resumed(stream: Stream, h: number): void {
    this.askedAt = undefined
    this.stream = stream
    stream.deliver((el) => this.receive(el))
    if (!this.acknowledge(h)) return
    const again = this.counters.unacked()
    for (const { frame } of again) stream.send(frame)
    if (again.length > 0) this.askAck()
  }

  /** The stream is gone; the session waits for another. */
  detach(): void {
    this.stream = undefined
    this.askedAt = undefined
  }

  /** The session cannot be resumed. h, when the server told it, is a lower bound of what it had handled. */
  finish(h?: number): void {
    this.detach()
    if (this.over) return
    if (h !== undefined) {
      const tags = this.counters.ack(h)
      if (tags?.length) this.events.acked(tags)
    }
    this.over = true
    for (const p of this.pending.values()) {
      clearTimeout(p.timer)
      p.reject(new StreamFailure('unreachable'))
    }
    this.pending.clear()
    this.collectors.clear()
  }

  /** Sends a stanza; false when there is no stream to send it on. A tag comes back through acked. */
  send(stanza: XmlElement | string, tag?: string): boolean {
    if (!this.stream) return false
    const frame = stanza.toString()
    this.counters.sent(frame, tag)
    this.stream.send(frame)
    return true
  }

  /** Asks how far the server is (XEP-0198 §acking @1.6.3); it also shows whether the connection lives. */
  askAck(): void {
    if (!this.stream) return
    this.askedAt ??= Date.now()
    this.stream.send(xml('r', { xmlns: NS.sm }))
  }

  /** Sends a request (RFC 6120 §8.2.3). Rejects with StanzaError, or StreamFailure when the session ends first. */
  ask(type: 'get' | 'set', payload: XmlElement, to?: string): Promise<XmlElement> {
    const id = token(10)
    return new Promise((resolve, reject) => {
      if (this.over || !this.send(xml('iq', { xmlns: NS.client, type, id, to }, payload))) {
        reject(new StreamFailure('unreachable'))
        return
      }
      const timer = setTimeout(() => {
        this.pending.delete(id)
        reject(new StanzaError('remote-server-timeout', 'wait', ''))
      }, IQ_TIMEOUT)
      this.pending.set(id, { resolve, reject, timer })
    })
  }

  /** Hands an archive's results of one query to take, until the returned function is called: ours, or that of a room. */
  collect(queryId: string, take: (result: XmlElement) => void, of = this.account): () => void {
    this.collectors.set(queryId, { take, of })
    return () => this.collectors.delete(queryId)
  }

  private receive(el: XmlElement): void {
    if (el.ns === NS.sm) this.management(el)
    else if (el.ns === NS.client && ['message', 'presence', 'iq'].includes(el.name)) this.stanza(el)
  }

  private management(el: XmlElement): void {
    switch (el.name) {
      case 'r':
        this.ackWanted = true
        if (!this.working) this.answerAck()
        break
      case 'a':
        if (this.askedAt !== undefined) this.roundTrip = Math.max(Date.now() - this.askedAt, FADES * (this.roundTrip ?? 0))
        this.askedAt = undefined
        this.acknowledge(Number(el.attr('h')))
        break
      case 'enabled':
        this.enabled = true
        if (['true', '1'].includes(el.attr('resume') ?? '')) this.resumeId = el.attr('id')
        break
      case 'failed':
        this.stream?.fail(new StreamFailure('protocol', 'enable'))
    }
  }

  private acknowledge(h: number): boolean {
    const tags = this.counters.ack(h)
    if (!tags) {
      this.stream?.fail(new StreamFailure('protocol', 'handled-count-too-high'))
      return false
    }
    if (tags.length > 0) this.events.acked(tags)
    return true
  }

  private answerAck(): void {
    this.ackWanted = false
    this.stream?.send(xml('a', { xmlns: NS.sm, h: String(this.counters.handled) }))
  }

  /** Takes a stanza in order: requests and their answers are dealt with here, the rest waits for its batch. */
  private stanza(el: XmlElement): void {
    if (el.name === 'iq') this.iq(el)
    else if (el.name === 'message') {
      const result = el.child('result', NS.mam)
      const entry = el.child('entry', NS.inbox)
      if (entry) {
        if ((el.attr('from') ?? this.account) === this.account) this.listing?.(entry, result)
      } else if (result) {
        // Threat: forged archive results. Only the archive that was asked may answer.
        const collector = this.collectors.get(result.attr('queryid') ?? '')
        if (collector?.of === (el.attr('from') ?? this.account)) collector.take(result)
      } else if (el.attr('type') === 'error' && el.attr('id')) {
        this.events.refused(el.attr('id')!, StanzaError.of(el))
      }
    }
    // `enabled` is the first thing after our `enable` that counts (XEP-0198 §acking @1.6.3).
    if (!this.enabled) return
    this.inbound.push(el)
    this.working ??= this.work()
  }

  private async work(): Promise<void> {
    await Promise.resolve() // let a burst gather into one batch
    while (this.inbound.length > 0) {
      const all = this.inbound
      this.inbound = []
      const batch = all.filter((el) => isForUs(el, this.account))
      try {
        if (batch.length > 0) await this.events.stanzas(batch)
      } catch (e) {
        // Not stored, hence not counted: the session ends here and the archive gives it again.
        this.resumeId = undefined
        this.inbound = []
        this.stream?.fail(new StreamFailure('protocol', 'not-stored', String(e)))
        break
      }
      this.counters.received(all.length)
    }
    this.working = undefined
    if (this.ackWanted) this.answerAck()
  }

  private iq(el: XmlElement): void {
    const id = el.attr('id') ?? ''
    const type = el.attr('type')
    if (type === 'result' || type === 'error') {
      const p = this.pending.get(id)
      if (!p) return
      this.pending.delete(id)
      clearTimeout(p.timer)
      if (type === 'error') p.reject(StanzaError.of(el))
      else p.resolve(el)
      return
    }
    const answer = { xmlns: NS.client, id, to: el.attr('from') }
    if (el.child('ping', NS.ping) || isPush(el, this.account)) this.send(xml('iq', { ...answer, type: 'result' }))
    else if (type === 'get' && el.child('query', NS.info)) {
      this.send(xml('iq', { ...answer, type: 'result' }, buildInfo(el.child('query', NS.info)!)))
    } else {
      const error = xml('error', { type: 'cancel' }, xml('service-unavailable', { xmlns: NS.stanzaError }))
      this.send(xml('iq', { ...answer, type: 'error' }, error))
    }
  }
}

function isForUs(el: XmlElement, account: string): boolean {
  if (el.name === 'iq') return isPush(el, account)
  return el.name === 'presence' || !(el.child('result', NS.mam) || el.child('entry', NS.inbox))
}

/** Threat: forged pushes of the roster (RFC 6121 §2.1.6) and the blocklist: only from our own account. */
function isPush(el: XmlElement, account: string): boolean {
  if (el.name !== 'iq' || el.attr('type') !== 'set') return false
  if (!el.child('query', NS.roster) && !el.child('block', NS.blocking) && !el.child('unblock', NS.blocking)) return false
  const from = el.attr('from')
  return from === undefined || from === account
}
