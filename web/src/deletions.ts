// SPDX-License-Identifier: Apache-2.0

import { HISTORY_PAGE, MOST_EMPTY, type History } from './history'
import type { Change, Db } from './store/schema'
import { wipe } from './store/wipe'
import { editChat } from './store/write'
import { deleteChat, fetchDeleted } from './wire/inbox'
import type { Incoming } from './wire/message'
import type { Session } from './wire/session'

export interface DeletionsOptions {
  db: Db
  changed: (change: Change) => void
  history: History
  /** Takes the stars of a conversation off the server. */
  unstar: (session: Session, peer: string) => Promise<void>
  /** Whether a group that we are in has been caught up with. */
  caughtUp: (room: string) => boolean
}

/** Conversations that are deleted: by the person here, or on another device. */
export class Deletions {
  /** The store began with the list of chats: it has nothing that was deleted before. */
  private filled = false
  /** Groups whose history was deleted on another device, up to which message. */
  private later = new Map<string, string>()

  constructor(private readonly options: DeletionsOptions) {}

  /** A new session: nothing has been caught up with. */
  begin(): void {
    this.later.clear()
  }

  /** The store begins with the list of chats. */
  fill(): void {
    this.filled = true
  }

  /** Takes what was deleted while this device was away. */
  async all(session: Session): Promise<void> {
    const { db, changed } = this.options
    for (const [peer, id] of await fetchDeleted(session)) {
      if (!this.filled) await this.published(session, peer, id)
      else if (await db.get('chats', peer)) changed(await editChat(db, peer, (c) => (c.deletedUpTo = id)))
    }
  }

  /** What the person deletes goes on all devices; what waits in the outbox is yet to be said, and stays. */
  async remove(session: Session, peer: string): Promise<void> {
    const { db, changed, history, caughtUp } = this.options
    const state = (await db.get('chats', peer))?.group?.state
    if (state === 'in' && !caughtUp(peer)) throw new Error('not connected') // it is yet to be caught up with
    const outside = state !== undefined && state !== 'in'
    const id = outside ? await history.newest(peer) : ((await history.page(session, peer, '', 1)).last ?? '')
    if (id !== '') await deleteChat(session, peer, id)
    await this.options.unstar(session, peer)
    await this.forget(session, peer, id)
    if (outside) changed(await editChat(db, peer, (c) => c.group && (c.group.state = 'forgotten')))
  }

  /** Another device deleted a conversation up to that message. */
  async published(session: Session, peer: string, id: string): Promise<void> {
    const { db, caughtUp } = this.options
    const chat = await db.get('chats', peer)
    if (!chat || chat.deletedUpTo === id) return
    if (chat.group?.state === 'in' && !caughtUp(peer)) this.later.set(peer, id) // once it is caught up with
    else await this.forget(session, peer, id)
  }

  /** A group has been caught up with. */
  async open(session: Session, room: string): Promise<void> {
    const id = this.later.get(room)
    if (id !== undefined) await this.published(session, room, id)
  }

  /** Forgets a conversation, but for what the archive has of it still. */
  private async forget(session: Session, peer: string, id: string): Promise<void> {
    const { db, changed, history } = this.options
    const chat = await db.get('chats', peer)
    if (!chat) return
    let page: Incoming[] = []
    let complete = chat.group !== undefined && chat.group.state !== 'in'
    for (let before = '', tries = 0; !complete && tries < MOST_EMPTY && !page.some((m) => m.body || m.file); tries++) {
      const found = await history.page(session, peer, before, HISTORY_PAGE)
      page = [...found.entries, ...page]
      complete = found.complete || found.first === undefined
      before = found.first ?? ''
    }
    await wipe(db, peer, { id, tail: chat.tail, page, complete }, changed)
  }
}
