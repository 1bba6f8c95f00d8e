// SPDX-License-Identifier: Apache-2.0

import type { Db, Message } from './schema'
import { folded } from './search'

const CHUNK = 2_000

/**
 * Messages on this device in which all the words stand, the newest first, at
 * most so many. Stops looking when goOn says so.
 */
export async function search(db: Db, words: string, most: number, goOn: () => boolean): Promise<Message[]> {
  const wanted = folded(words).split(/\s+/).filter(Boolean)
  const found: Message[] = []
  const newest = await db.transaction('messages').store.openKeyCursor(null, 'prev')
  for (let end = newest?.key ?? 0; end > 0 && found.length < most && goOn(); end -= CHUNK) {
    const rows = await db.getAll('messages', IDBKeyRange.bound(end - CHUNK, end, true))
    found.push(
      ...rows.filter((m) => {
        const said = m.file ? `${m.body} ${m.file.name}` : m.body
        if (said === '') return false
        const text = folded(said)
        return wanted.every((w) => text.includes(w))
      }),
    )
  }
  return found.sort((a, b) => b.time - a.time).slice(0, most)
}
