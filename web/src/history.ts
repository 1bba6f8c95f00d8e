// SPDX-License-Identifier: Apache-2.0

import { queryArchive, type ArchivePage } from './wire/archive'
import type { Session } from './wire/session'
import { takeHistory } from './store/receive'
import type { Change, Db } from './store/schema'

export interface HistoryOptions {
  db: Db
  changed: (change: Change) => void
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
    return this.named(peer, 'prev')
  }

  private async fetch(session: Session, peer: string): Promise<void> {
    const { db, changed } = this.options
    if ((await db.get('chats', peer))?.complete) return
    let page = await this.page(session, peer, await this.named(peer, 'next'), HISTORY_PAGE)
    for (let tries = 0; tries < MOST_EMPTY; tries++) {
      const done = page.complete || page.first === undefined
      changed(await takeHistory(db, peer, page.entries, done))
      // A page may hold nothing to show, only receipts and markers: go on to one that does.
      if (done || page.entries.some((m) => m.body || m.file)) return
      page = await this.page(session, peer, page.first!, HISTORY_PAGE)
    }
  }

  /** The first archive id from one end of what the store has of a conversation. */
  private async named(peer: string, direction: 'next' | 'prev'): Promise<string> {
    const range = IDBKeyRange.bound([peer, -Infinity], [peer, Infinity])
    for (let c = await this.options.db.transaction('messages').store.index('pos').openCursor(range, direction); c; c = await c.continue()) {
      if (c.value.archiveId !== undefined) return c.value.archiveId
    }
    return ''
  }
}
