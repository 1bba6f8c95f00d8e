// SPDX-License-Identifier: Apache-2.0

import 'fake-indexeddb/auto'
import { IDBFactory } from 'fake-indexeddb'
import { openDB } from 'idb'
import { beforeEach, expect, it, vi } from 'vitest'
import { getMeta, openStore, putMeta } from './schema'

beforeEach(() => {
  globalThis.indexedDB = new IDBFactory()
})

it('a newer version gets the store once this one has kept what it has to, and this one is told', async () => {
  const order: string[] = []
  let keep!: () => void
  const kept = new Promise<void>((resolve) => (keep = resolve))
  const db = await openStore({ yields: () => (order.push('asked'), kept), closed: () => order.push('closed') })
  const newer = openDB('bavard', 1_000, { upgrade: () => void order.push('upgraded') })
  await vi.waitFor(() => expect(order).toEqual(['asked']))
  await putMeta(db, 'lastContact', 5)
  expect(order).toEqual(['asked'])
  keep()
  expect(await (await newer).get('meta', 'lastContact')).toBe(5)
  expect(order).toEqual(['asked', 'closed', 'upgraded'])
  await expect(getMeta(db, 'lastContact')).rejects.toThrow()
})

it('what a store has that an older version made is found by what came later', async () => {
  const old = await openDB('bavard', 3, {
    upgrade(db) {
      const messages = db.createObjectStore('messages', { keyPath: 'key', autoIncrement: true })
      messages.createIndex('pos', ['peer', 'pos'])
    },
  })
  const peer = 'bob@localhost'
  await old.add('messages', { peer, pos: 1, file: { name: 'a.pdf' } })
  await old.add('messages', { peer, pos: 2, body: 'words' })
  await old.add('messages', { peer, pos: 3, file: { name: '' } })
  old.close()
  const db = await openStore()
  expect((await db.getAllFromIndex('messages', 'shared')).map((m) => m.pos)).toEqual([1, 3])
  db.close()
})
