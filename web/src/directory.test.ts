// SPDX-License-Identifier: Apache-2.0

import 'fake-indexeddb/auto'
import { IDBFactory } from 'fake-indexeddb'
import { beforeEach, expect, it } from 'vitest'
import { Directory } from './directory'
import { Profile } from './profile'
import { getMeta, openStore, putMeta, type Account, type Db } from './store/schema'
import { StanzaError } from './wire/errors'
import { NS } from './wire/ns'
import { parseXml } from './wire/parse'
import type { Session } from './wire/session'
import type { XmlElement } from './wire/xml'

let db: Db
let account: Account
/** The name in the server's directory, and what was asked of it. */
let listed: string | undefined
let asked: string[]
let there: boolean

const session = {
  account: 'me@localhost',
  ask: (type: string, payload: XmlElement, to: string) => {
    const query = (inner: string): Promise<XmlElement> => Promise.resolve(parseXml(`<iq xmlns='jabber:client' type='result' id='1'><query xmlns='${payload.ns}'>${inner}</query></iq>`))
    if (payload.ns === NS.items) return query(there ? "<item jid='people.localhost'/>" : '')
    if (payload.ns === NS.info) return query(to === 'people.localhost' ? `<identity category='directory' type='user'/><feature var='${NS.search}'/><feature var='${NS.register}'/>` : '')
    if (to !== 'people.localhost') return Promise.reject(new StanzaError('item-not-found', 'cancel', ''))
    asked.push(`${type} ${payload.ns}`)
    if (payload.ns === NS.search) return query("<item jid='me@localhost'/><item jid='bob@localhost'/>")
    if (type === 'set') listed = payload.child('remove') ? undefined : payload.childText('nick')
    return query(listed === undefined ? '<nick>suggested</nick>' : `<registered/><nick>${listed}</nick>`)
  },
} as unknown as Session

beforeEach(async () => {
  globalThis.indexedDB = new IDBFactory()
  db = await openStore()
  account = { jid: 'me@localhost', name: 'Anna', password: 'x', resource: 'r', bornHere: true, created: 1 }
  await putMeta(db, 'account', account)
  listed = undefined
  asked = []
  there = true
})

it('lists us by our name, as long as we like, and finds others', async () => {
  const directory = new Directory(db, account)
  expect(await directory.listed(session)).toBeUndefined()
  await directory.list(session, true)
  expect(await directory.listed(session)).toBe('Anna')
  expect((await directory.search(session, 'xy', undefined)).people).toEqual([{ jid: 'bob@localhost', name: '' }])
  await directory.list(session, false)
  expect(await directory.listed(session)).toBeUndefined()
})

it('follows another name, also one that another client gave, where we are listed', async () => {
  const directory = new Directory(db, account)
  const renamed: Promise<void>[] = []
  const profile = new Profile({ db, account, kept: () => undefined, renamed: () => (renamed.push(directory.renamed(session)), renamed.at(-1)!) })
  await profile.keepName('Alice')
  await Promise.all(renamed)
  expect([listed, asked]).toEqual([undefined, [`get ${NS.register}`]])
  await directory.list(session, true)
  expect(listed).toBe('Alice')
  await profile.keepName('Alice')
  await profile.keepName('Carlotta')
  await Promise.all(renamed)
  expect([listed, renamed.length]).toEqual(['Carlotta', 2])
})

it('is not there where the server has none, and that is known without it; another session asks anew', async () => {
  there = false
  const directory = new Directory(db, account)
  expect(await directory.there(session)).toBe(false)
  expect(await getMeta(db, 'directory')).toBe(false)
  await directory.renamed(session)
  await expect(directory.list(session, true)).rejects.toThrow()
  expect(asked).toEqual([])
  there = true
  expect(await directory.there(session)).toBe(false)
  directory.begin()
  expect(await directory.there(session)).toBe(true)
  expect(await getMeta(db, 'directory')).toBe(true)
})
