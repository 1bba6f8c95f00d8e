// SPDX-License-Identifier: Apache-2.0

/**
 * Several tabs, one connection: the tab that holds the lock leads, which means
 * that it alone talks to the server. The others read the same store, hear of
 * changes over a channel, and ask the leader for what only it can do. When it
 * goes, however it goes, the browser gives the lock to the next.
 */

type Packet =
  | { kind: 'tell'; topic: string; data: unknown }
  | Asked
  | { kind: 'begun'; id: string }
  | { kind: 'answer'; id: string; ok: boolean; data: unknown }
  | { kind: 'leads' }
  /** Is the one who leads awake? */
  | { kind: 'wake' }
  | { kind: 'awake' }

interface Asked {
  kind: 'call'
  id: string
  method: string
  args: unknown[]
  /** When its patience ends, in ms since the epoch. */
  until: number
}

/** What concerns this moment only, or is done later anyway: it waits for nothing and nobody. */
export const AT_ONCE = new Set(['hello', 'chatState', 'announce', 'meet', 'withdrawn', 'recall', 'retry', 'nudge', 'doubt'])

/** So long a person's wish waits for somebody who leads, and for the connection: one attempt may come to nothing. */
const WAIT_MS = 30_000
/** So long what has begun may take. */
const CALL_MS = 35_000
/** Wishes of other tabs that are remembered, so that none is done twice. */
const MOST_SEEN = 1_000
/**
 * A leader that does not answer for so many seconds while somebody waits is frozen: browsers do that to tabs nobody sees.
 * They are waited for one by one: where this tab itself did not run, the answer is read before the next is over.
 */
const FROZEN_S = 4

export interface TabsOptions {
  /** Names the lock and the channel. */
  name: string
  /** This tab leads from now on. */
  lead: () => void
  /** It no longer does: another took over because this one did not answer. */
  lost: () => void
  /** Another tab says something. */
  told: (topic: string, data: unknown) => void
  /** A tab asks the leader for something; until then it may wait, and it says when it begins. */
  called: (method: string, args: unknown[], until: number, begun: () => void) => Promise<unknown>
}

/** Something that this tab asked for. */
interface Call {
  asked: Asked
  /** It may have been done: nobody else must do it as well. */
  begun: () => void
  has: boolean
  resolve: (v: unknown) => void
  reject: (e: unknown) => void
}

export class Tabs {
  private channel: BroadcastChannel
  private calls = new Map<string, Call>()
  private seen = new Set<string>()
  private leading = false
  private release: (() => void) | undefined
  private abort = new AbortController()
  private count = 0
  private term = 0
  private closed = false
  /** A leader has been heard since it was last asked whether it is awake. */
  private heard = true
  private readonly self = crypto.getRandomValues(new Uint32Array(2)).join('.')

  constructor(private readonly options: TabsOptions) {
    this.channel = new BroadcastChannel(options.name)
    this.channel.onmessage = (e: MessageEvent<Packet>) => void this.receive(e.data)
    this.stand({ signal: this.abort.signal })
  }

  /** Makes sure that somebody leads who is awake; for the tab that a person looks at. */
  async wake(): Promise<void> {
    if (this.leading || this.closed || !this.heard) return
    this.heard = false
    this.channel.postMessage({ kind: 'wake' } satisfies Packet)
    for (let i = 0; i < FROZEN_S && !this.heard; i++) await new Promise((resolve) => setTimeout(resolve, 1_000))
    if (!this.heard && !this.leading && !this.closed) this.stand({ steal: true })
    this.heard = true
  }

  private stand(how: LockOptions): void {
    const term = ++this.term
    navigator.locks
      .request(this.options.name, how, () => {
        if (this.closed) return undefined
        this.leading = true
        this.seen.clear()
        this.channel.postMessage({ kind: 'leads' } satisfies Packet)
        this.options.lead()
        this.turn()
        return new Promise<void>((resolve) => (this.release = resolve))
      })
      .catch(() => {
        // Closed, or overtaken. The latter waits for its turn again.
        if (this.closed || term !== this.term || !this.leading) return
        this.leading = false
        this.options.lost()
        this.stand({ signal: this.abort.signal })
        for (const call of this.calls.values()) if (!call.has) this.dispatch(call)
      })
  }

  get leads(): boolean {
    return this.leading
  }

  /** Says something to all other tabs. */
  tell(topic: string, data: unknown): void {
    this.channel.postMessage({ kind: 'tell', topic, data } satisfies Packet)
  }

  /**
   * Asks the leader, which may be this tab, or the next one while nobody leads.
   * Rejects when it cannot be begun in time, or is not answered in time.
   */
  call(method: string, ...args: unknown[]): Promise<unknown> {
    const id = `${this.self}.${this.count++}`
    const asked: Asked = { kind: 'call', id, method, args, until: Date.now() + WAIT_MS }
    return new Promise((resolve, reject) => {
      const over = (): void => call.reject(new Error(`no answer: ${method}`))
      let timer = setTimeout(over, WAIT_MS + 1_000)
      const done = (): void => {
        clearTimeout(timer)
        this.calls.delete(id)
      }
      const call: Call = {
        asked,
        has: AT_ONCE.has(method),
        begun: () => {
          call.has = true
          clearTimeout(timer)
          // What this tab does itself has bounds of its own.
          if (!this.leading) timer = setTimeout(over, CALL_MS)
        },
        resolve: (v) => (done(), resolve(v)),
        reject: (e) => (done(), reject(e)),
      }
      this.calls.set(id, call)
      this.dispatch(call)
    })
  }

  private dispatch(call: Call): void {
    const { asked } = call
    if (!this.leading) return this.channel.postMessage(asked)
    this.options.called(asked.method, asked.args, asked.until, call.begun).then(call.resolve, (e: unknown) => {
      // Led no longer before it had begun: the next one does it.
      if (this.leading || call.has) call.reject(e)
    })
  }

  /** Somebody else leads from now on, or this tab. */
  private turn(): void {
    for (const call of [...this.calls.values()]) {
      if (!call.has) this.dispatch(call)
      else if (!AT_ONCE.has(call.asked.method)) call.reject(new Error('the one who began it is gone'))
    }
  }

  close(): void {
    this.closed = true
    this.abort.abort()
    this.release?.()
    this.leading = false
    this.channel.close()
  }

  private receive(p: Packet): void {
    if (p.kind === 'tell') this.options.told(p.topic, p.data)
    else if (p.kind === 'begun') this.calls.get(p.id)?.begun()
    else if (p.kind === 'answer') {
      const call = this.calls.get(p.id)
      if (p.ok) call?.resolve(p.data)
      else call?.reject(new Error(String(p.data)))
    } else if (p.kind === 'call') void this.serve(p)
    else if (p.kind === 'wake') {
      if (this.leading) this.channel.postMessage({ kind: 'awake' } satisfies Packet)
    } else {
      this.heard = true
      if (p.kind === 'leads' && !this.leading) this.turn()
    }
  }

  private async serve(asked: Asked): Promise<void> {
    const { id, method, args, until } = asked
    if (!this.leading || this.seen.has(id) || Date.now() > until) return
    this.seen.add(id)
    if (this.seen.size > MOST_SEEN) for (const first of this.seen) if (this.seen.delete(first)) break
    const say = (p: Packet): void => {
      if (this.leading) this.channel.postMessage(p)
    }
    const answer = await this.options.called(method, args, until, () => say({ kind: 'begun', id })).then(
      (data) => ({ ok: true, data }),
      (e: unknown) => ({ ok: false, data: String(e) }),
    )
    say({ kind: 'answer', id, ...answer })
  }
}
