// SPDX-License-Identifier: Apache-2.0

import 'fake-indexeddb/auto'
import { IDBFactory } from 'fake-indexeddb'
import { beforeEach, describe, expect, it, vi } from 'vitest'
import { again, forgetOld, Space } from './full'
import { said, bob } from './store/said'
import { openStore, type Change, type Db } from './store/schema'
import { take, takeHistory } from './store/receive'
import { compose, editChat, editMessage } from './store/write'

const full = (): DOMException => new DOMException('', 'QuotaExceededError')
let db: Db

beforeEach(async () => {
  globalThis.indexedDB = new IDBFactory()
  db = await openStore()
})

const receipt = (): { id: string; frame: string } => ({ id: 'r', frame: '' })
const taken = (count: number, peer = bob, from = 1) =>
  take(
    db,
    Array.from({ length: count }, (_, i) => said(from + i, { peer, archiveId: `${peer} ${from + i}`, markable: false })),
    { lastId: undefined, complete: true, receipt, now: 1 },
  )
const bodies = async (peer = bob) => (await db.getAllFromIndex('messages', 'pos', IDBKeyRange.bound([peer, -Infinity], [peer, Infinity]))).map((m) => m.body)
const file = (key: number, used?: number) => db.put('files', { key, data: new Blob(['x']), size: 1, ...(used !== undefined && { used }) })

describe('when the device is full', () => {
  it('files go first, then the oldest of the longest conversations; what was not sent stays', async () => {
    await taken(300)
    await taken(40, 'carl@localhost')
    await compose(db, bob, { body: 'waits' }, { id: 'w', frame: '<f/>' }, 5_000)
    await db.put('drafts', { peer: bob, text: 'half a' })
    await file(1, 5)
    await file(10_000)
    const seen: string[] = []
    const gone: Change[] = []
    const room = async (): Promise<string> => {
      seen.push(`${await db.count('files')} files, ${(await bodies()).length} messages`)
      if ((await db.count('messages')) > 100) throw full()
      return 'done'
    }
    vi.useFakeTimers({ shouldAdvanceTime: true, toFake: ['setTimeout'] })
    const work = again(db, (c) => gone.push(c), full(), room)
    const wind = setInterval(() => vi.advanceTimersByTime(1_000), 1)
    expect(await work).toBe('done')
    clearInterval(wind)
    vi.useRealTimers()
    expect([...new Set(seen)]).toEqual(['1 files, 301 messages', '1 files, 201 messages', '1 files, 31 messages'])
    expect((await bodies()).slice(0, 2)).toEqual(['text 271', 'text 272'])
    expect((await bodies()).at(-1)).toBe('waits')
    expect(await db.count('outbox')).toBe(1)
    expect(await db.count('drafts')).toBe(1)
    expect(await db.getAllKeys('files')).toEqual([10_000])
    expect(await db.get('chats', bob)).toMatchObject({ complete: false, unread: 0, tail: 300 })
    expect(gone.flatMap((c) => c.removed).length).toBe(280)
  })

  it('what is here alone stays, and all that was said after it', async () => {
    await taken(100)
    const all = await db.getAllFromIndex('messages', 'pos')
    await editMessage(db, all[20]!.key, (m) => (m.starred = 1)) // and the server was not told
    await forgetOld(db, 30)
    expect((await bodies())[0]).toBe('text 21')
    await editChat(db, bob, (c) => (c.group = { state: 'left' } as never))
    await editMessage(db, all[20]!.key, (m) => (m.starred = undefined))
    expect((await forgetOld(db, 30)).removed).toEqual([])
  })

  it('what went is asked for and comes back in its place, unless the store begins elsewhere by now', async () => {
    await taken(100)
    await forgetOld(db, 60)
    const page = Array.from({ length: 20 }, (_, i) => said(21 + i, { archiveId: `${bob} ${21 + i}` }))
    expect(await takeHistory(db, bob, page, false, `${bob} 40`)).toBeUndefined()
    expect((await bodies()).length).toBe(60)
    await takeHistory(db, bob, page, false, `${bob} 41`)
    expect(await bodies()).toEqual(Array.from({ length: 80 }, (_, i) => `text ${21 + i}`))
  })

  it('a conversation that is being read back loses nothing for that', async () => {
    await taken(100)
    await taken(90, 'carl@localhost')
    await forgetOld(db, 30, bob)
    expect([(await bodies()).length, (await bodies('carl@localhost')).length]).toEqual([100, 30])
  })

  it('what cannot be kept is told, until something can be', async () => {
    const told: boolean[] = []
    const space: Space = new Space(db, () => undefined, () => told.push(space.full))
    await expect(space.keep(() => Promise.reject(full()))).rejects.toThrow()
    await expect(space.keep(() => Promise.reject(new Error('other')))).rejects.toThrow('other')
    expect(space.full).toBe(true)
    expect(await space.keep(() => Promise.resolve(1))).toBe(1)
    expect(told).toEqual([true, false])
  })
})
