// SPDX-License-Identifier: Apache-2.0

import 'fake-indexeddb/auto'
import { IDBFactory } from 'fake-indexeddb'
import { beforeEach, expect, it } from 'vitest'
import { Own } from './own'
import { take, takeHistory } from './store/receive'
import { bob, said } from './store/said'
import { openStore, type Db } from './store/schema'

let db: Db

beforeEach(async () => {
  globalThis.indexedDB = new IDBFactory()
  db = await openStore()
  const batch = Array.from({ length: 1_200 }, (_, i) => said(i + 100))
  await take(db, batch, { lastId: undefined, complete: false, receipt: () => ({ id: 'r', frame: '' }), now: 1 })
})

const older = async (): Promise<void> => {
  await takeHistory(db, bob, Array.from({ length: 99 }, (_, i) => said(i + 1)), true, 'a100')
}

it('an export has what the device had not, a slice at a time, in order', async () => {
  const sizes: number[] = []
  const all: string[] = []
  for await (const slice of new Own(db, 'me@localhost', older).all(bob, new AbortController().signal, () => undefined)) {
    sizes.push(slice.length)
    all.push(...slice.map((m) => m.body))
  }
  expect(sizes).toEqual([500, 500, 299])
  expect(all).toEqual(Array.from({ length: 1_299 }, (_, i) => `text ${i + 1}`))
})

it('one that is cancelled ends: while it fetches, and while it reads', async () => {
  const fetching = new AbortController()
  let asked = 0
  const slow = (): Promise<void> => {
    asked++
    fetching.abort()
    return Promise.resolve()
  }
  await expect(new Own(db, 'me@localhost', slow).all(bob, fetching.signal, () => undefined).next()).rejects.toThrow()
  expect(asked).toBe(1)
  const reading = new AbortController()
  const slices = new Own(db, 'me@localhost', older).all(bob, reading.signal, () => undefined)
  expect((await slices.next()).value).toHaveLength(500)
  reading.abort()
  await expect(slices.next()).rejects.toThrow()
})
