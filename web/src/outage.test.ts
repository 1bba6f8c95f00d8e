// SPDX-License-Identifier: Apache-2.0

import 'fake-indexeddb/auto'
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { IDBFactory } from 'fake-indexeddb'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Outages } from './outage'
import { getMeta, openStore, putMeta, type Db } from './store/schema'

const BEGUN = '2021-01-12T01:01:01Z'
const GOOD = JSON.stringify({ beginning: BEGUN, message: { default: 'good' } })

let db: Db
let server: Server
let origin: string
let asked: { path: string; headers: IncomingHttpHeaders }[]
let file: string
let all: Outages[]

beforeEach(async () => {
  globalThis.indexedDB = new IDBFactory()
  db = await openStore()
  asked = []
  all = []
  file = JSON.stringify({ planned: true, beginning: BEGUN, message: { default: 'new disks' } })
  server = createServer((request, answer) => {
    asked.push({ path: request.url!, headers: request.headers })
    if (request.url === '/gone.json') answer.writeHead(404).end()
    else answer.end(request.url === '/good.json' ? GOOD : file)
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})

afterEach(() => {
  for (const o of all) o.close()
  server.close()
})

/** One that reads those files at once when the server fails, and how often it had something to tell. */
async function outages(files: string[], watched = true): Promise<{ it: Outages; changed: () => number }> {
  let changed = 0
  await putMeta(db, 'status', { files: files.map((f) => origin + f), page: 'https://status.example.org/' })
  const it = new Outages({ db, changed: () => changed++, watched: () => watched, random: () => 0 })
  all.push(it)
  await it.start()
  return { it, changed: () => changed }
}

describe('an outage', () => {
  it('is told of by the first file that can be had, and kept', async () => {
    const { it: told, changed } = await outages(['/gone.json', '/status.json', '/third.json'])
    expect(told.told(0)).toEqual({ page: 'https://status.example.org/', outage: undefined })
    told.look(true)
    await vi.waitFor(() => expect(changed()).toBe(1))
    expect(asked.map((a) => a.path)).toEqual(['/gone.json', '/status.json'])
    expect(asked[1]!.headers.cookie ?? asked[1]!.headers.referer).toBeUndefined()
    const outage = { planned: true, begins: Date.parse(BEGUN), words: { default: 'new disks' } }
    expect(told.told(Date.now())).toEqual({ page: 'https://status.example.org/', outage })
    server.closeAllConnections()
    await new Promise((done) => server.close(done))
    const later = await outages(['/status.json'])
    expect(later.it.told(Date.now()).outage).toEqual(outage)
  })

  it('that was told of before the server was heard again is another', async () => {
    const { it: told, changed } = await outages(['/status.json'])
    told.look(true)
    await vi.waitFor(() => expect(changed()).toBe(1))
    expect(told.told(Date.now() + 120_000).outage).toBeUndefined()
  })

  it('is over when the file says nothing any more', async () => {
    await putMeta(db, 'outage', { at: Date.now() - 60_000, outage: { planned: false, begins: 1, words: {} } })
    const { it: told, changed } = await outages(['/status.json'])
    expect(told.told(0).outage).toBeDefined()
    file = '{}'
    told.look(true)
    await vi.waitFor(() => expect(changed()).toBe(1))
    expect(told.told(0).outage).toBeUndefined()
    expect((await getMeta(db, 'outage'))?.outage).toBeUndefined()
  })

  it.each([
    ['is too large', () => '{"beginning": "' + BEGUN + '", "x": "' + 'x'.repeat(100_000) + '"}'],
    ['is no JSON', () => '<!doctype html><script>alert(1)</script>'],
    ['is half of it', () => '{"beginning": "2021'],
  ])('is not told of by a file that %s', async (_, content) => {
    file = content()
    const { it: told, changed } = await outages(['/bad.json', '/good.json'])
    told.look(true)
    await vi.waitFor(() => expect(changed()).toBe(1))
    expect(asked.map((a) => a.path)).toEqual(['/bad.json', '/good.json'])
    expect(told.told(0).outage?.words).toEqual({ default: 'good' })
  })

  it('is not asked about for nobody, nor where nothing is known, nor when it is over before', async () => {
    const unwatched = await outages(['/status.json'], false)
    unwatched.it.look(true)
    const none = await outages([])
    none.it.look(true)
    const brief = await outages(['/status.json'])
    brief.it.look(true)
    brief.it.look(false)
    const { it: told, changed } = await outages(['/last.json'])
    told.look(true)
    await vi.waitFor(() => expect(changed()).toBe(1))
    expect(asked.map((a) => a.path)).toEqual(['/last.json'])
  })
})
