// SPDX-License-Identifier: Apache-2.0

import 'fake-indexeddb/auto'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { IDBFactory } from 'fake-indexeddb'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { fileOf, makeRoom } from './files'
import { openStore, type Db, type Message } from './store/schema'

let db: Db
let server: Server
let origin: string
let asked: string[]

beforeEach(async () => {
  globalThis.indexedDB = new IDBFactory()
  db = await openStore()
  asked = []
  server = createServer((request, answer) => {
    asked.push(request.url!)
    if (request.url === '/gone') answer.writeHead(404).end()
    else answer.end('content')
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})

afterEach(() => server.close())

async function message(path: string, more = {}): Promise<Message> {
  const fields = { peer: 'bob', pos: 1, out: false, body: '', time: 1, tick: 1, names: [], rev: 1 }
  const file = { name: 'x', type: 'image/png', size: 7, inline: true, url: origin + path, ...more }
  const key = await db.add('messages', { ...fields, file } as never)
  return (await db.get('messages', key))!
}

describe('files on this device', () => {
  it('are fetched once, also when several ask', async () => {
    const m = await message('/a')
    const all = await Promise.all([fileOf(db, m), fileOf(db, m)])
    expect(await all[1]!.text()).toBe('content')
    expect(await (await fileOf(db, m)).text()).toBe('content')
    expect(asked).toEqual(['/a'])
  })

  it('are never fetched from elsewhere, and not kept when they cannot be had', async () => {
    await expect(fileOf(db, await message('/a', { foreign: true }))).rejects.toThrow()
    expect(asked).toEqual([])
    await expect(fileOf(db, await message('/gone'))).rejects.toThrow()
    expect(await db.count('files')).toBe(0)
  })

  it('are not kept for a message that was taken back meanwhile', async () => {
    const m = await message('/a')
    await db.put('messages', { ...m, file: undefined, deleted: true })
    await fileOf(db, m)
    expect(await db.count('files')).toBe(0)
  })

  it('make room, the longest not needed first; what waits to be uploaded stays', async () => {
    const data = new Blob(['0123456789'])
    for (const [key, used] of [[1, 30], [2, 10], [3, 20], [4, undefined]] as const) {
      await db.put('files', { key, data, size: 10, ...(used !== undefined && { used }) })
    }
    await makeRoom(db, 20)
    expect(await db.getAllKeys('files')).toEqual([1, 3, 4])
  })
})
