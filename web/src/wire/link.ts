// SPDX-License-Identifier: Apache-2.0

import { backoff, CAP_MS } from './backoff'
import { StreamFailure } from './errors'
import { domain } from './jid'
import { logIn, type Credentials } from './negotiate'
import { Session, type SessionEvents } from './session'
import { Stream } from './stream'
import type { Token } from './token'
import type { Dial } from './transport'

/** Why there is no connection, as a person is told. */
export type Problem =
  | 'offline' // this device has no network
  | 'unreachable' // the server does not answer
  | 'overloaded' // it asks us to come later
  | 'restarting' // it said that it goes down

export type LinkState =
  | { kind: 'idle' }
  | { kind: 'connecting'; problem?: Problem | undefined }
  | { kind: 'live' }
  | { kind: 'waiting'; problem: Problem; until: number }
  | { kind: 'stopped'; reason: 'conflict' | 'credentials' }

export interface LinkOptions extends SessionEvents {
  /** Our bare address. */
  account: string
  /** What to show of ourselves; asked anew for each attempt. */
  credentials: () => Promise<Credentials>
  /** Keeps what is to be shown from now on. */
  keep: (token: Token) => Promise<void>
  /** The server does not take what was shown: the next time it may be something else. */
  denied?: () => void
  /** The resource to bind where the server does not choose it: stable for this device. */
  resource: string
  /** Where to dial, in order of preference; asked anew for each attempt. */
  addresses: () => string[]
  dial: Dial
  online: () => boolean
  /** Whether the server is there, as a cheap question tells; asked while somebody looks and the next attempt is far off. */
  probe?: () => Promise<boolean>
  /** Whether somebody is looking at the app. */
  watched: () => boolean
  random?: () => number
  state: (state: LinkState) => void
  /** A session began; resumed says whether it goes on where it was. */
  session: (session: Session, resumed: boolean) => void
}

const NEGOTIATE_MS = 15_000
/** Where there are other ways in, the first attempt is given so long, the next one twice as much. */
const NEGOTIATE_HASTY_MS = 4_000
/** And so long until it is connected at all: a machine that hangs is none. Later attempts have twice as long each: a network may be that slow. */
const CONNECT_HASTY_MS = 2_000
const TICK_MS = 1_000
/** Unanswered for so long, a connection counts as dead. */
const DEAD_MS = 10_000
/** Where there are other ways in, and this one has answered fast until now, nobody waits so long for a machine that hangs. */
const HASTY_MS = 3_000
/** How many of the longest of the last round trips make silence suspect. */
const TRIPS = 8
const DEAD_UNWATCHED_MS = 30_000
/** Silent for so long, it is asked; sooner while requests wait. */
const PENDING_MS = 2_000
const SILENT_MS = 20_000
const SILENT_UNWATCHED_MS = 60_000
/** So far apart, at most, are the questions whether the server is there again; in a long outage, and after that. */
const PROBE_MS = 1_500
const PROBE_LATER_MS = 5_000
const LONG_MS = 10 * 60_000
const MOST_VAIN = 6
/** Attempts that are sooner need no such question. */
const PROBED_MS = 1_000
/** A connection that held so long was a good one: the next failure starts afresh. */
const GOOD_MS = 10_000

/** Keeps a session alive over whatever connections there are. */
export class Link {
  private running = false
  private stream: Stream | undefined
  private session: Session | undefined
  private wake: (() => void) | undefined
  private failures = 0
  private failingSince = 0
  /** Attempts that were made because the server seemed to be there, and failed. */
  private vain = 0
  private next = 0
  private elsewhere: string | undefined
  /** What was shown last. */
  private shown: string | undefined
  private current: LinkState = { kind: 'idle' }
  /** When the server was last heard, in ms since the epoch; 0 for never. */
  lastContact = 0

  constructor(private readonly options: LinkOptions) {}

  get state(): LinkState {
    return this.current
  }

  /** The session to send on, while there is a connection. */
  get live(): Session | undefined {
    return this.current.kind === 'live' ? this.session : undefined
  }

  start(): void {
    if (this.running) return
    this.running = true
    void this.run()
  }

  /** Ends the session for good. */
  stop(): void {
    this.running = false
    this.stream?.close()
    this.wake?.()
  }

  /** Somebody pressed "try now" or "use here". */
  retry(): void {
    if (this.current.kind === 'stopped') this.start()
    else if (this.current.kind === 'waiting') this.wake?.()
    else this.nudge()
  }

  /** The network came back, or the page was looked at: try at once unless the server asked us to wait, or see whether the connection still lives. */
  nudge(): void {
    if (this.current.kind === 'waiting' && this.current.problem !== 'overloaded') this.wake?.()
    else if (this.current.kind === 'live' && this.stream && Date.now() - this.stream.heard > 2_000) this.session?.askAck()
  }

  /** The browser says that the network is gone. It may be wrong: ask. */
  doubt(): void {
    if (this.current.kind === 'live') this.session?.askAck()
    else if (this.current.kind === 'waiting') this.set({ ...this.current, problem: 'offline' })
  }

  private async run(): Promise<void> {
    let problem: Problem | undefined
    while (this.running) {
      this.set({ kind: 'connecting', problem })
      const failure = await this.attempt()
      if (!this.running) break
      if (failure.fault === 'credentials') {
        this.options.denied?.()
        if (await this.haveOthers()) continue
      }
      if (!this.running) break
      if (stops(failure)) {
        this.running = false
        this.session?.finish()
        this.session = undefined
        this.set({ kind: 'stopped', reason: failure.condition === 'conflict' ? 'conflict' : 'credentials' })
        return
      }
      problem = this.options.online() ? problemOf(failure) : 'offline'
      await this.wait(problem)
    }
    this.session?.finish()
    this.session = undefined
    this.set({ kind: 'idle' })
  }

  /** One connection, from dialling to its end. */
  private async attempt(): Promise<StreamFailure> {
    const { account, dial } = this.options
    const stream = (this.stream = new Stream(dial, this.address(), domain(account)))
    const within = this.others ? Math.min(NEGOTIATE_MS, NEGOTIATE_HASTY_MS * (this.failures + 1)) : NEGOTIATE_MS
    const late = (): unknown => stream.fail(new StreamFailure('silent'))
    const deadline = setTimeout(late, within)
    const hasty = this.others ? Math.min(within, Math.max(CONNECT_HASTY_MS, 1_000 * 2 ** this.failures)) : within
    const connecting = setTimeout(() => stream.heard || late(), hasty)
    let liveSince = 0
    try {
      await this.negotiate(stream)
      clearTimeout(deadline)
      liveSince = Date.now()
      this.vain = 0
      this.set({ kind: 'live' })
      const watch = setInterval(() => this.watch(stream), TICK_MS)
      const failure = await stream.ended
      clearInterval(watch)
      this.elsewhere = failure.elsewhere
      return failure
    } catch (e) {
      const failure = e instanceof StreamFailure ? e : new StreamFailure('protocol', '', String(e))
      stream.fail(failure)
      return failure
    } finally {
      clearTimeout(deadline)
      clearTimeout(connecting)
      this.session?.detach()
      this.stream = undefined
      if (liveSince > 0) this.lastContact = Math.max(liveSince, stream.heard)
      if (liveSince > 0 && Date.now() - liveSince >= GOOD_MS) this.failures = 0
      if (this.failures === 0) this.failingSince = Date.now()
      this.failures++
      // Where there are other ways in, the next one is tried at once: one that leads to a machine which is gone may take long to fail.
      // While it is our own network that is gone, the session waits for us where it is.
      if (liveSince === 0 || this.options.online()) this.next++
    }
  }

  private async negotiate(stream: Stream): Promise<void> {
    const { credentials, keep, resource } = this.options
    const former = this.session
    await former?.settle() // what still comes in from the old connection counts
    const who = await credentials()
    this.shown = JSON.stringify(who.secret)
    const resume = former?.resumeId === undefined ? undefined : { id: former.resumeId, h: former.handled }
    const outcome = await logIn(stream, who, { resume, resource }, keep)
    this.lastContact = Date.now()
    if (former && outcome.resumed !== undefined) {
      former.resumed(stream, outcome.resumed)
      this.options.session(former, true)
      return
    }
    former?.finish(outcome.lost)
    const session = (this.session = new Session(outcome.jid!, this.options))
    session.carbons = outcome.carbons ?? false
    session.archiveEnd = outcome.archiveEnd
    session.begin(stream, outcome.enabled)
    this.options.session(session, false)
  }

  /** Whether what was refused is not what we have to show now: another tab may have got a new token meanwhile. */
  private async haveOthers(): Promise<boolean> {
    const before = this.shown
    const now = await this.options.credentials().then((c) => JSON.stringify(c.secret), () => before)
    this.shown = now
    return now !== before
  }

  /** Looks whether the connection still lives. */
  private watch(stream: Stream): void {
    const now = Date.now()
    this.lastContact = stream.heard
    const { session } = this
    if (!session) return
    const watched = this.options.watched()
    const asked = session.askedAt
    if (asked === undefined) {
      const most = !watched ? SILENT_UNWATCHED_MS : session.waits ? PENDING_MS : SILENT_MS
      if (now - stream.heard > most) session.askAck()
    } else if (now - asked > (watched ? DEAD_MS : DEAD_UNWATCHED_MS) || (watched && now - Math.max(asked, stream.heard) > this.patience(session))) {
      session.roundTrip = undefined // the next connection is given its time: a server that is slow is not helped by haste
      stream.fail(new StreamFailure('silent'))
    }
  }

  /** How long nothing need be heard, in ms, after something was asked, for the connection to count as dead. */
  private patience(session: Session): number {
    return session.roundTrip === undefined || !this.others ? DEAD_MS : Math.max(HASTY_MS, TRIPS * session.roundTrip)
  }

  private get others(): boolean {
    return this.options.addresses().length > 1
  }

  private address(): string {
    const to = this.elsewhere
    this.elsewhere = undefined
    const addresses = this.options.addresses()
    const secure = addresses[0]?.startsWith('wss:')
    // Threat: a redirect must not lead out of TLS.
    if (to !== undefined && /^wss?:\/\//.test(to) && (!secure || to.startsWith('wss:'))) return to
    return addresses[this.next % addresses.length] ?? ''
  }

  private async wait(problem: Problem): Promise<void> {
    const age = Date.now() - this.failingSince
    const attempt = problem === 'overloaded' ? this.failures + 4 : this.failures
    const watched = this.options.watched() && problem !== 'overloaded'
    const delay = backoff(attempt, age, watched, this.options.random ?? Math.random)
    this.set({ kind: 'waiting', problem, until: Date.now() + delay })
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, delay)
      const wake = (this.wake = () => {
        clearTimeout(timer)
        resolve()
      })
      if (delay > PROBED_MS) void this.scout(wake)
    })
    this.wake = undefined
  }

  /**
   * While somebody looks on, the next attempt is made as soon as the server is seen to be there. The questions come with full
   * jitter, and further apart when attempts fail all the same: many who lost the same server do not storm it. One that asked us to wait is not asked.
   */
  private async scout(wake: () => void): Promise<void> {
    const { probe, watched, random = Math.random } = this.options
    const waits = (): boolean => this.wake === wake && this.current.kind === 'waiting'
    while (probe && waits()) {
      const most = Date.now() - this.failingSince < LONG_MS ? PROBE_MS : PROBE_LATER_MS
      await new Promise((resolve) => setTimeout(resolve, Math.max(PROBE_MS / 4, random() * Math.min(CAP_MS, most * 2 ** this.vain))))
      const { current } = this
      if (!waits() || current.kind !== 'waiting' || current.problem === 'overloaded' || current.problem === 'offline' || !watched()) continue
      if ((await probe()) && waits()) {
        this.vain = Math.min(this.vain + 1, MOST_VAIN)
        wake()
      }
    }
  }

  private set(state: LinkState): void {
    this.current = state
    this.options.state(state)
  }
}

/** Failures after which trying again by itself would only do harm. */
function stops(failure: StreamFailure): boolean {
  return failure.fault === 'credentials' || (failure.fault === 'closed' && failure.condition === 'conflict')
}

function problemOf(failure: StreamFailure): Problem {
  switch (failure.condition) {
    case 'system-shutdown':
      return 'restarting'
    case 'resource-constraint':
    case 'policy-violation':
    case 'temporary-auth-failure':
      return 'overloaded'
    default:
      return 'unreachable'
  }
}
