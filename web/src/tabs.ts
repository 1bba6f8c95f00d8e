// SPDX-License-Identifier: Apache-2.0

/**
 * Several tabs, one connection: the tab that holds the lock leads, which means
 * that it alone talks to the server. The others read the same store, hear of
 * changes over a channel, and ask the leader for what only it can do. When it
 * goes, however it goes, the browser gives the lock to the next.
 */

type Packet =
  | { kind: 'tell'; topic: string; data: unknown }
  | { kind: 'call'; id: string; method: string; args: unknown[] }
  | { kind: 'answer'; id: string; ok: boolean; data: unknown }

const CALL_MS = 35_000
/** A leader that does not answer for so long while somebody waits is frozen: browsers do that to tabs nobody sees. */
const FROZEN_MS = 4_000

export interface TabsOptions {
  /** Names the lock and the channel. */
  name: string
  /** This tab leads from now on. */
  lead: () => void
  /** It no longer does: another took over because this one did not answer. */
  lost: () => void
  /** Another tab says something. */
  told: (topic: string, data: unknown) => void
  /** Another tab asks the leader for something. */
  called: (method: string, args: unknown[]) => Promise<unknown>
}

export class Tabs {
  private channel: BroadcastChannel
  private calls = new Map<string, { resolve: (v: unknown) => void; reject: (e: Error) => void }>()
  private leading = false
  private release: (() => void) | undefined
  private abort = new AbortController()
  private count = 0
  private term = 0
  private closed = false
  private readonly self = crypto.getRandomValues(new Uint32Array(2)).join('.')

  constructor(private readonly options: TabsOptions) {
    this.channel = new BroadcastChannel(options.name)
    this.channel.onmessage = (e: MessageEvent<Packet>) => void this.receive(e.data)
    this.stand({ signal: this.abort.signal })
  }

  /** Makes sure that somebody leads who is awake; for the tab that a person looks at. */
  async wake(): Promise<void> {
    if (this.leading || this.closed) return
    const answer = this.call('hello').then(() => true)
    const patience = new Promise<boolean>((resolve) => setTimeout(resolve, FROZEN_MS, false))
    const awake = await Promise.race([answer, patience]).catch(() => false)
    if (!awake && !this.leading && !this.closed) this.stand({ steal: true })
  }

  private stand(how: LockOptions): void {
    const term = ++this.term
    navigator.locks
      .request(this.options.name, how, () => {
        if (this.closed) return undefined
        this.leading = true
        this.options.lead()
        return new Promise<void>((resolve) => (this.release = resolve))
      })
      .catch(() => {
        // Closed, or overtaken. The latter waits for its turn again.
        if (this.closed || term !== this.term || !this.leading) return
        this.leading = false
        this.options.lost()
        this.stand({ signal: this.abort.signal })
      })
  }

  get leads(): boolean {
    return this.leading
  }

  /** Says something to all other tabs. */
  tell(topic: string, data: unknown): void {
    this.channel.postMessage({ kind: 'tell', topic, data } satisfies Packet)
  }

  /** Asks the leader, which may be this tab. Rejects when nobody answers in time. */
  call(method: string, ...args: unknown[]): Promise<unknown> {
    if (this.leading) return this.options.called(method, args)
    const id = `${this.self}.${this.count++}`
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => done(() => reject(new Error(`no answer: ${method}`))), CALL_MS)
      const done = (settle: () => void): void => {
        clearTimeout(timer)
        this.calls.delete(id)
        settle()
      }
      this.calls.set(id, { resolve: (v) => done(() => resolve(v)), reject: (e) => done(() => reject(e)) })
      this.channel.postMessage({ kind: 'call', id, method, args } satisfies Packet)
    })
  }

  close(): void {
    this.closed = true
    this.abort.abort()
    this.release?.()
    this.leading = false
    this.channel.close()
  }

  private async receive(p: Packet): Promise<void> {
    if (p.kind === 'tell') this.options.told(p.topic, p.data)
    else if (p.kind === 'answer') {
      const call = this.calls.get(p.id)
      if (p.ok) call?.resolve(p.data)
      else call?.reject(new Error(String(p.data)))
    } else if (this.leading) {
      const answer = await this.options.called(p.method, p.args).then(
        (data) => ({ ok: true, data }),
        (e: unknown) => ({ ok: false, data: String(e) }),
      )
      if (this.leading) this.channel.postMessage({ kind: 'answer', id: p.id, ...answer } satisfies Packet)
    }
  }
}
