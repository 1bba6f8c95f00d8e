// SPDX-License-Identifier: Apache-2.0

import type { Incoming } from '../wire/message'
import { Fold } from './fold'
import { preview } from './preview'
import { PENDING, type Change, type Db } from './schema'
import { begin } from './write'

/** So many messages go at once, so that nobody waits long for the store. */
const SLICE = 2_000

/** What is left of a conversation that was deleted up to a message. */
export interface Left {
  id: string
  /** The newest position that the store had before the archive was asked. */
  tail: number
  /** The newest page that the archive has since, oldest first. */
  page: Incoming[]
  /** It is all there is. */
  complete: boolean
}

/**
 * Forgets a conversation up to where the store was, and takes what the archive
 * still gives in its place. What has come meanwhile stays, and so does what waits
 * in the outbox: it is yet to be said.
 */
export async function wipe(db: Db, peer: string, left: Left, changed: (change: Change) => void, slice = SLICE): Promise<void> {
  const old = IDBKeyRange.bound([peer, -Infinity], [peer, left.tail])
  for (;;) {
    const tx = begin(db, false, 'files')
    const messages = tx.objectStore('messages')
    const keys = await messages.index('pos').getAllKeys(old, slice)
    for (const key of keys) {
      void messages.delete(key)
      void tx.objectStore('files').delete(key)
    }
    if (keys.length === slice) {
      await tx.done
      changed({ messages: [], removed: keys, chats: [] })
      continue
    }
    void tx.objectStore('loose').delete(IDBKeyRange.bound(`${peer} `, `${peer}!`, false, true))
    const fold = new Fold(tx, false)
    const chat = await fold.chat(peer)
    const newest = await messages.index('pos').openCursor(IDBKeyRange.bound([peer, left.tail], [peer, Infinity], true), 'prev')
    const unread = chat.unread
    Object.assign(chat, { head: left.tail + 1, tail: Math.max(chat.tail, left.tail), peerGot: -Infinity, peerRead: -Infinity })
    Object.assign(chat, { last: newest ? preview(newest.value) : undefined, lastIn: undefined, deletedUpTo: left.id, complete: left.complete })
    Object.assign(chat, { archivedAt: undefined, pinned: undefined, markedUnread: undefined, ...(!chat.group && { muted: undefined }) })
    if (chat.group) chat.group.read = {}
    fold.touch(chat)
    await fold.prefetch(left.page)
    for (const m of left.page.toReversed()) if (m.peer === peer) await fold.backward(m)
    fold.write()
    const since = await messages.index('pos').getAll(IDBKeyRange.bound([peer, -Infinity], [peer, PENDING]))
    chat.unread = Math.min(unread, since.filter((m) => !m.out && !m.event).length)
    chat.readPos = chat.tail - chat.unread
    if (chat.last === undefined) chat.time = 0
    const change = await fold.flush()
    changed({ ...change, removed: keys })
    return
  }
}
