// SPDX-License-Identifier: Apache-2.0

import type { Db } from './store/schema'

/** A pause in writing as long as this, and it is kept. */
const PAUSE_MS = 250
/** It is kept again after so long, when there was no room for it. */
const AGAIN_MS = 5_000

export interface DraftsOptions {
  db: Db
  /** What is being written, by conversation, as it is shown. */
  texts: Map<string, string>
  /** Makes room for a write where there is none. */
  write: (work: () => Promise<unknown>) => Promise<unknown>
  /** Settles when the message that was sent last is kept, or cannot be: until then its draft is. */
  composed: () => Promise<unknown>
}

/** Keeps what is being written. */
export class Drafts {
  private timers = new Map<string, ReturnType<typeof setTimeout>>()

  constructor(private readonly options: DraftsOptions) {}

  set(peer: string, text: string): void {
    const { texts } = this.options
    if ((texts.get(peer) ?? '') === text) return
    if (text === '') texts.delete(peer)
    else texts.set(peer, text)
    clearTimeout(this.timers.get(peer))
    this.later(peer, PAUSE_MS)
  }

  /** Writes all of them now: the page may go at any moment. */
  keepAll(): Promise<unknown> {
    return Promise.all(Array.from(this.timers.keys(), (peer) => this.keep(peer)))
  }

  private later(peer: string, ms: number): void {
    this.timers.set(peer, setTimeout(() => void this.keep(peer), ms))
  }

  private async keep(peer: string): Promise<void> {
    const { db, texts, write, composed } = this.options
    clearTimeout(this.timers.get(peer))
    this.timers.delete(peer)
    await composed()
    const work = (): Promise<unknown> => {
      const text = texts.get(peer)
      return text === undefined ? db.delete('drafts', peer) : db.put('drafts', { peer, text })
    }
    await write(work).catch(() => {
      if (!this.timers.has(peer)) this.later(peer, AGAIN_MS)
    })
  }
}
