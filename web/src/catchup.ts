// SPDX-License-Identifier: Apache-2.0

import type { ArchivePage, ArchiveQuery } from './wire/archive'
import { StanzaError, StreamFailure } from './wire/errors'
import type { Incoming } from './wire/message'
import type { Session } from './wire/session'

const PAGE = 200
/** A device that knows nothing begins with so many pages from the end. */
const FIRST_PAGES = 2
/** So many live messages wait for the archive at most; beyond, the archive is asked again. */
const MOST_HELD = 2_000
const RETRY_MS = 5_000

export interface CatchUpOptions {
  /** The archive up to here is in the store. */
  lastId: () => Promise<string | undefined>
  /** The device knows everything from the archive's beginning. */
  bornHere: boolean
  query: (session: Session, query: ArchiveQuery) => Promise<ArchivePage>
  take: (batch: Incoming[], lastId: string | undefined) => Promise<void>
  /** Fills the store of a device that knows nothing from the list of chats; gives up to where the archive is told by it, undefined where there is no list. */
  fill?: (session: Session) => Promise<{ upTo: string | undefined } | undefined>
}

/**
 * After each new session an archive tells what was missed: ours, and that of
 * each group. What comes in live
 * meanwhile is held back, so that the store gets everything in the archive's
 * order.
 */
export class CatchUp {
  private current: Session | undefined
  private held: Incoming[] | undefined
  private overflow = false
  private asked: (() => void) | undefined

  constructor(private readonly options: CatchUpOptions) {}

  /** Keeps live messages until it is their turn; false when it is. */
  hold(batch: Incoming[]): boolean {
    if (!this.held) return false
    if (this.held.length + batch.length > MOST_HELD) {
      this.overflow = true
      this.held = []
    }
    if (!this.overflow) this.held.push(...batch)
    return true
  }

  /**
   * Runs to its end, or until the session is over; gives whether the store is
   * now up to date. Calls asked once the first question is on its way.
   */
  async run(session: Session, asked: () => void): Promise<boolean> {
    this.current = session
    this.asked = asked
    this.held = []
    this.overflow = false
    for (;;) {
      try {
        await this.fetch(session)
        if (this.current !== session) return false
        if (await this.release()) return true
      } catch (e) {
        if (this.current !== session || e instanceof StreamFailure) return false
        if (!(e instanceof StanzaError)) console.warn('catching up:', e) // as when there is no room: it is tried again
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS))
        if (this.current !== session) return false
      }
    }
  }

  /** Takes what was held; false when some of it had to be dropped. */
  private async release(): Promise<boolean> {
    while (this.held && this.held.length > 0) {
      const batch = this.held
      this.held = []
      await this.options.take(batch, batch.findLast((m) => m.archiveId !== undefined)?.archiveId)
    }
    if (this.overflow) {
      this.overflow = false
      return false
    }
    this.held = undefined
    return true
  }

  private async fetch(session: Session): Promise<void> {
    const lastId = await this.options.lastId()
    if (lastId === undefined && !this.options.bornHere) {
      const filled = this.options.fill?.(session)
      this.asked?.()
      this.asked = undefined
      const begin = await filled
      return begin ? this.forward(session, begin.upTo) : this.fromEnd(session)
    }
    try {
      await this.forward(session, lastId)
    } catch (e) {
      if (!(e instanceof StanzaError) || e.condition !== 'item-not-found') throw e
      // It does not have that one any more: all that it has is taken, so that nothing is missing between. What is known is known by its own names.
      await this.forward(session, undefined)
    }
  }

  private async forward(session: Session, lastId: string | undefined): Promise<void> {
    const from = (after: string | undefined): Promise<ArchivePage> => this.ask(session, { ...(after !== undefined && { after }), max: PAGE })
    let coming: Promise<ArchivePage> | undefined = from(lastId)
    for (let after = lastId; coming; ) {
      const page: ArchivePage = await coming
      if (this.current !== session) return
      const whole = page.complete || page.last === undefined || page.last === after
      after = page.last
      // The server looks for the next one while the store takes this one.
      coming = whole ? undefined : from(after)
      coming?.catch(() => undefined) // it is waited for when this one is taken
      if (page.last !== undefined) await this.options.take(page.entries, page.last)
    }
  }

  private ask(session: Session, query: ArchiveQuery): Promise<ArchivePage> {
    const page = this.options.query(session, query)
    this.asked?.()
    this.asked = undefined
    return page
  }

  private async fromEnd(session: Session): Promise<void> {
    let entries: Incoming[] = []
    let lastId: string | undefined
    for (let before = '', n = 0; n < FIRST_PAGES; n++) {
      const page = await this.ask(session, { before, max: PAGE })
      entries = [...page.entries, ...entries]
      lastId ??= page.last
      if (page.complete || page.first === undefined) break
      before = page.first
    }
    if (this.current === session) await this.options.take(entries, lastId)
  }
}
