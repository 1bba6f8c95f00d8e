// SPDX-License-Identifier: Apache-2.0

import type { Db, Message } from './schema'
import { folded } from './search'

const CHUNK = 2_000
/** Of one conversation, so few are read at once that a key that is pressed meanwhile need not wait. */
const STEP = 1_000

/** Whether all the words stand in a message. */
export function matching(words: string): (m: Message) => boolean {
  const wanted = folded(words).split(/\s+/).filter(Boolean)
  return (m) => {
    const said = m.file ? `${m.body} ${m.file.name}` : m.body
    if (said === '') return false
    const text = folded(said)
    return wanted.every((w) => text.includes(w))
  }
}

/**
 * Messages on this device in which all the words stand, the newest first, at
 * most so many. Stops looking when goOn says so.
 */
export async function search(db: Db, words: string, most: number, goOn: () => boolean): Promise<Message[]> {
  const matches = matching(words)
  const found: Message[] = []
  const newest = await db.transaction('messages').store.openKeyCursor(null, 'prev')
  for (let end = newest?.key ?? 0; end > 0 && found.length < most && goOn(); end -= CHUNK) {
    const rows = await db.getAll('messages', IDBKeyRange.bound(end - CHUNK, end, true))
    found.push(...rows.filter(matches))
  }
  return found.sort((a, b) => b.time - a.time).slice(0, most)
}

/** The messages of a conversation after one position and before another, the newest first, a few at a time. */
export async function* backwards(db: Db, peer: string, before = Infinity, after = -Infinity): AsyncGenerator<Message[]> {
  for (let end = before; end > after; ) {
    const from = Math.max(after, end - STEP - 1)
    const rows = end === Infinity ? [] : await db.getAllFromIndex('messages', 'pos', between(peer, from, end))
    if (rows.length > 0) {
      yield rows.reverse()
      end = from + 1 // they are whole numbers
    } else {
      // There are gaps, and what waits stands far behind all others.
      const newest = await db.transaction('messages').store.index('pos').openKeyCursor(between(peer, after, end), 'prev')
      if (!newest) return
      end = newest.key[1] + 1
    }
  }
}

function between(peer: string, after: number, before: number): IDBKeyRange {
  return IDBKeyRange.bound([peer, after], [peer, before], true, true)
}
