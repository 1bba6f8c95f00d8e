// SPDX-License-Identifier: Apache-2.0

import type { Engine, Soft } from './engine'
import type { Account, Change, Db, Picture } from './store/schema'
import { Tabs } from './tabs'
import { token } from './wire/random'

/** When its files could not be had, the engine is fetched again after so long. */
const ENGINE_AGAIN_MS = 3_000

/** So often the tab that is looked at makes sure that the one who leads is awake. */
const AWAKE_MS = 10_000

/** What a tab is told, by its own engine or by the tab that leads. */
export interface LeadOptions {
  db: Db
  soft: (soft: Soft) => void
  account: (account: Account) => void
  /** Something in the store is different now. */
  show: (change: Change) => void
  looks: (picture: Picture) => void
  uploading: (key: number, share: number | undefined) => void
  /** The server does not let this device in any more. */
  shutOut: () => void
  /** Nobody looks at this tab now, and it may go at any moment. */
  unseen: () => void
  /** Somebody looks at it, still. */
  seen: () => void
}

/** This tab among those of its browser: it asks the one that leads, or leads and runs the engine. */
export class Lead {
  private tabs: Tabs | undefined
  private engine: Engine | undefined
  private starting: Promise<Engine | undefined> | undefined
  /** Other tabs that somebody looks at. */
  private watchers = new Set<unknown>()
  private readonly self = token(8)

  constructor(private readonly options: LeadOptions) {}

  /** Takes part from now on, and leads when it is its turn. */
  connect(account: Account): void {
    if (this.tabs) return
    this.tabs = this.join(account.jid, () => void this.lead(account))
    this.hello()
    const look = (): void => this.looked()
    for (const event of ['online', 'focus']) addEventListener(event, look)
    setInterval(() => {
      if (document.visibilityState !== 'visible') return
      this.wake()
      this.options.seen()
    }, AWAKE_MS)
    addEventListener('offline', () => void this.ask('doubt').catch(() => undefined))
    document.addEventListener('visibilitychange', look)
    addEventListener('pagehide', () => {
      this.options.unseen()
      this.tabs?.tell('watching', { tab: this.self, watching: false })
    })
    look()
  }

  /** Whether somebody looks at a tab of this browser. */
  get watched(): boolean {
    return document.visibilityState === 'visible' || this.watchers.size > 0
  }

  /** Asks whoever leads for something. Rejects when it cannot be done. */
  ask(method: string, ...args: unknown[]): Promise<unknown> {
    return this.tabs ? this.tabs.call(method, ...args) : Promise.reject(new Error('not connected'))
  }

  /** Says something to all other tabs. */
  tell(topic: string, data: unknown): void {
    this.tabs?.tell(topic, data)
  }

  /** There is something new in the outbox. */
  poke(): void {
    if (this.engine) return this.engine.poke()
    this.tell('poke', undefined)
    this.wake() // what a person says must not wait for one who sleeps
  }

  /** The engine of this tab, if it has one, stops. */
  lost(): void {
    this.engine?.stop()
    this.engine = undefined
    this.starting = undefined
  }

  /** This tab takes no part any more. */
  close(): void {
    this.lost()
    this.tabs?.close()
    this.tabs = undefined
  }

  /** All other tabs begin anew, also when this one has no part in them. */
  dismiss(jid: string): void {
    this.tabs ??= this.join(jid)
    this.tabs.tell('logout', undefined)
  }

  /** Asks whoever leads how it is; when nobody does, the next one tells. */
  private hello(): void {
    this.tabs?.call('hello').then((soft) => this.options.soft(soft as Soft), () => undefined)
  }

  private join(jid: string, lead: () => void = () => undefined): Tabs {
    return new Tabs({
      name: `bavard ${jid}`,
      lead,
      lost: () => {
        this.lost()
        this.hello()
      },
      told: (topic, data) => this.told(topic, data),
      called: async (method, args, until, begun) => {
        const engine = await this.starting
        if (!engine) throw new Error('this tab does not lead')
        return engine.called(method, args, until, begun)
      },
    })
  }

  private looked(): void {
    const watching = document.visibilityState === 'visible'
    this.tell('watching', { tab: this.self, watching })
    if (!watching) this.options.unseen()
    else {
      this.wake()
      void this.ask('nudge').catch(() => undefined)
    }
  }

  private wake(): void {
    void this.tabs?.wake()
  }

  private async lead(account: Account): Promise<void> {
    const starting: Promise<Engine | undefined> = (this.starting = this.startEngine(account, () => this.starting === starting))
    const engine = await starting
    if (this.starting === starting) this.engine = engine
    else engine?.stop() // led no longer before it had begun
  }

  /** The engine, once its files could be fetched; undefined when it is not wanted any more. */
  private async startEngine(account: Account, wanted: () => boolean): Promise<Engine | undefined> {
    for (;;) {
      try {
        // It is fetched after the first paint: what the store has is shown without it.
        return await (await import('./start')).start(account, this, this.options)
      } catch (e) {
        console.error('engine:', e)
        await new Promise((resolve) => setTimeout(resolve, ENGINE_AGAIN_MS))
        if (!wanted()) return undefined
      }
    }
  }

  /** Shows what this tab wrote, here and in the others. */
  changed(change: Change): void {
    if (change.messages.length + change.chats.length + change.removed.length === 0 && !change.stars) return
    this.options.show(change)
    this.tell('change', change)
  }

  private told(topic: string, data: unknown): void {
    const { show, soft, uploading, looks, account } = this.options
    if (topic === 'change') show(data as Change)
    else if (topic === 'soft') {
      // One who leads knows it itself: whoever was overtaken may not have heard of that yet.
      if (!this.starting) soft(data as Soft)
    } else if (topic === 'uploading') uploading(...(data as [number, number | undefined]))
    else if (topic === 'looks') looks(data as Picture)
    else if (topic === 'account') account(data as Account)
    else if (topic === 'poke') this.engine?.poke()
    else if (topic === 'logout') location.assign('/')
    else if (topic === 'watching') {
      const { tab, watching } = data as { tab: string; watching: boolean }
      if (watching) this.watchers.add(tab)
      else this.watchers.delete(tab)
    }
  }
}
