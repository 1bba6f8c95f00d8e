// SPDX-License-Identifier: Apache-2.0

import 'fake-indexeddb/auto'
import { IDBFactory } from 'fake-indexeddb'
import { beforeEach, expect, it } from 'vitest'
import type { Incoming } from '../wire/message'
import { take } from './receive'
import { bob, said } from './said'
import { openStore, type Change, type Db } from './schema'
import { wipe } from './wipe'
import { compose, markRead } from './write'

let db: Db

beforeEach(async () => {
  globalThis.indexedDB = new IDBFactory()
  db = await openStore()
})

const takeAll = (...batch: Incoming[]) => take(db, batch, { lastId: undefined, complete: true, receipt: () => ({ id: 'r', frame: '' }), now: 9_000 })
const rows = () => db.getAllFromIndex('messages', 'pos', IDBKeyRange.bound([bob, -Infinity], [bob, Infinity]))
const chat = async () => (await db.get('chats', bob))!

it('a deleted conversation keeps what the archive still gives, what has come meanwhile, and what waits, in order', async () => {
  await takeAll(said(1), said(2), said(3))
  await compose(db, bob, { body: 'waits' }, { id: 'w', frame: '<f/>' }, 5_000)
  const { tail } = await chat()
  await takeAll(said(4)) // while the archive is asked
  const told: Change[] = []
  await wipe(db, bob, { id: 'a2', tail, page: [said(3), said(4)], complete: true }, (c) => told.push(c))
  expect((await rows()).map((m) => m.body)).toEqual(['text 3', 'text 4', 'waits'])
  expect(await chat()).toMatchObject({ deletedUpTo: 'a2', complete: true, unread: 1, last: { body: 'waits' } })
  expect(await db.count('outbox')).toBe(1)
  expect(told.flatMap((c) => c.removed)).toHaveLength(3)
  await takeAll(said(4), said(5))
  expect((await rows()).map((m) => m.body)).toEqual(['text 3', 'text 4', 'text 5', 'waits'])
})

it('one of which nothing is left is as if nothing had been said', async () => {
  await takeAll(said(1), said(2))
  const { tail } = await chat()
  await wipe(db, bob, { id: 'a2', tail, page: [], complete: true }, () => undefined)
  expect(await rows()).toEqual([])
  expect(await chat()).toMatchObject({ last: undefined, unread: 0, time: 0 })
  await takeAll(said(3))
  expect((await rows()).map((m) => m.body)).toEqual(['text 3'])
  expect((await chat()).unread).toBe(1)
})

it('many messages go in slices, and others stay', async () => {
  const carl = { ...said(1), peer: 'carl@localhost', archiveId: 'c1', id: 'c1' }
  await takeAll(...Array.from({ length: 20 }, (_, i) => said(i)), carl)
  let removed = 0
  const { tail } = await chat()
  await wipe(db, bob, { id: 'a', tail, page: [], complete: true }, (c) => (removed += c.removed.length), 8)
  expect(removed).toBe(20)
  expect(await db.count('messages')).toBe(1)
})

it('who reads without receipts tells their own devices alone', async () => {
  await takeAll(said(1))
  const told: unknown[] = []
  await markRead(db, 'me@localhost', bob, true, (_peer, read) => {
    told.push(read)
    return { id: 'x', frame: '' }
  })
  expect(told).toEqual([{ marker: undefined, archive: { id: 'a1', by: 'me@localhost' } }])
})
