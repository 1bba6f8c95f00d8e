// SPDX-License-Identifier: Apache-2.0

import 'fake-indexeddb/auto'
import { IDBFactory } from 'fake-indexeddb'
import { beforeEach, describe, expect, it } from 'vitest'
import { CatchUp } from './catchup'
import { take } from './store/receive'
import { bob, said } from './store/said'
import { getMeta, openStore, putMeta, type Db } from './store/schema'
import type { ArchivePage, ArchiveQuery } from './wire/archive'
import { StanzaError } from './wire/errors'
import type { Incoming } from './wire/message'
import type { Session } from './wire/session'

const session = {} as Session
let db: Db
let archive: Incoming[]
let pages: number

beforeEach(async () => {
  globalThis.indexedDB = new IDBFactory()
  db = await openStore()
  pages = 0
})

function query(_: Session, { after, max }: ArchiveQuery): Promise<ArchivePage> {
  pages++
  const at = archive.findIndex((m) => m.archiveId === after)
  if (after !== undefined && at < 0) return Promise.reject(new StanzaError('item-not-found', 'cancel', ''))
  const entries = archive.slice(at + 1, at + 1 + max)
  return Promise.resolve({ entries, first: entries[0]?.archiveId, last: entries.at(-1)?.archiveId, complete: at + 1 + max >= archive.length })
}

const keep = async (batch: Incoming[], lastId: string | undefined): Promise<void> => {
  await take(db, batch, { lastId, complete: true, receipt: () => ({ id: 'r', frame: '' }), now: 1 })
}
const run = () => new CatchUp({ lastId: async () => (await getMeta(db, 'sync'))?.lastId, bornHere: true, query, take: keep }).run(session, () => undefined)
const bodies = async () => (await db.getAllFromIndex('messages', 'pos', IDBKeyRange.bound([bob, -Infinity], [bob, Infinity]))).map((m) => m.body)
const texts = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => `text ${from + i}`)

describe('after a long time away', () => {
  it('all that was missed is there, in order, and counted', async () => {
    archive = Array.from({ length: 2_050 }, (_, i) => said(i + 1))
    await keep(archive.slice(0, 50), 'a50')
    expect(await run()).toBe(true)
    expect(await bodies()).toEqual(texts(1, 2_050))
    expect((await db.get('chats', bob))!.unread).toBe(2_050)
    expect(pages).toBe(10)
  })

  it('nothing is missing between where the archive has forgotten what the device knew last', async () => {
    archive = Array.from({ length: 2_000 }, (_, i) => said(i + 1))
    await keep(archive.slice(0, 50), 'a50')
    archive = archive.slice(40).map((m) => ({ ...m }))
    await putMeta(db, 'sync', { lastId: 'gone' })
    expect(await run()).toBe(true)
    expect(await bodies()).toEqual(texts(1, 2_000))
    expect((await db.get('chats', bob))!.unread).toBe(2_000)
    expect((await getMeta(db, 'sync'))!.lastId).toBe('a2000')
  })
})
