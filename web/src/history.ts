// SPDX-License-Identifier: Apache-2.0

import { queryArchive, type ArchivePage } from './wire/archive'
import type { Session } from './wire/session'
import { StanzaError } from './wire/errors'
import { takeHistory } from './store/receive'
import { newest, oldest, type Change, type Db } from './store/schema'

export interface HistoryOptions {
  db: Db
  changed: (change: Change) => void
  /** Does a write; where there is no room for it, some is made, but not out of that conversation. */
  keep: <T>(work: () => Promise<T>, whole: string) => Promise<T>
  /** Asks the archive of a group; rejects when we are not in it. */
  ofRoom: (session: Session, room: string, before: string, max: number) => Promise<ArchivePage>
}

export const HISTORY_PAGE = 60
/** So many pages that hold nothing to show are passed over at once. */
export const MOST_EMPTY = 20

/** What was said before, a page of a conversation at a time. */
export class History {
  private running = new Map<string, Promise<void>>()

  constructor(private readonly options: HistoryOptions) {}

  /** Fetches an older page of a conversation into the store. */
  older(session: Session, peer: string): Promise<void> {
    const running = this.running.get(peer)
    if (running) return running
    const work = this.fetch(session, peer).finally(() => this.running.delete(peer))
    this.running.set(peer, work)
    return work
  }

  /** A page of a conversation that ends before an archive id; the newest, for "". */
  async page(session: Session, peer: string, before: string, max: number): Promise<ArchivePage> {
    const { db, ofRoom } = this.options
    if ((await db.get('chats', peer))?.group) return ofRoom(session, peer, before, max)
    return queryArchive(session, { with: peer, before, max })
  }

  /** The archive's name for the newest message that the store has of a conversation; "" for none. */
  newest(peer: string): Promise<string> {
    return newest(this.options.db, peer)
  }

  private async fetch(session: Session, peer: string): Promise<void> {
    const { db, changed, keep } = this.options
    if ((await db.get('chats', peer))?.complete) return
    const before = await oldest(db, peer)
    let page = await this.page(session, peer, before, HISTORY_PAGE).catch(gone)
    for (let tries = 0; tries < MOST_EMPTY; tries++) {
      const done = page.complete || page.first === undefined
      const { entries } = page
      const taken = await keep(() => takeHistory(db, peer, entries, done, before), peer)
      if (!taken) return this.fetch(session, peer) // the store begins elsewhere now
      changed(taken)
      // A page may hold nothing to show, only receipts and markers: go on to one that does.
      if (done || page.entries.some((m) => m.body || m.file)) return
      page = await this.page(session, peer, page.first!, HISTORY_PAGE)
    }
  }
}

/** Where the archive does not have the message that the store begins with, it has nothing before that (see CatchUp). */
function gone(e: unknown): ArchivePage {
  if (e instanceof StanzaError && e.condition === 'item-not-found') return { entries: [], first: undefined, last: undefined, complete: true }
  throw e
}
