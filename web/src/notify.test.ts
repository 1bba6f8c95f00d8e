// SPDX-License-Identifier: Apache-2.0

import 'fake-indexeddb/auto'
import { IDBFactory } from 'fake-indexeddb'
import { beforeEach, expect, it } from 'vitest'
import { Notify } from './notify'
import { getMeta, openStore, putMeta, type Db } from './store/schema'
import { NS } from './wire/ns'
import type { Session } from './wire/session'
import { xml, type XmlElement } from './wire/xml'

const browser = { endpoint: 'https://push.example/1', p256dh: 'key', auth: 'auth' }

let db: Db
/** What the server notifies; the endpoint's name is n1, n2 … */
let enabled: Set<string>
/** What each request waits for. */
let answer: () => Promise<void>

const session = {
  account: 'me@localhost',
  async ask(_: string, payload: XmlElement): Promise<XmlElement> {
    await answer()
    const node = payload.attr('node') ?? ''
    if (payload.name === 'register') return xml('iq', {}, xml('registered', { xmlns: NS.webPush, node: `n${++registered}`, secret: 's' }))
    if (payload.name === 'enable') enabled.add(node)
    else enabled.delete(node)
    return xml('iq', {})
  },
} as unknown as Session
let registered: number

beforeEach(async () => {
  globalThis.indexedDB = new IDBFactory()
  db = await openStore()
  enabled = new Set()
  registered = 0
  answer = () => Promise.resolve()
})

it('who turns notifications off while a session begins is not notified', async () => {
  await putMeta(db, 'notify', { on: true, words: undefined as never, node: undefined })
  const notify = new Notify(db, () => Promise.resolve(browser))
  let go = (): void => undefined
  const slow = new Promise<void>((done) => (go = done))
  answer = () => slow
  const begun = notify.begin(session)
  const off = notify.set(session, undefined)
  go()
  await Promise.all([begun, off])
  expect([...enabled]).toEqual([])
  expect(await getMeta(db, 'notify')).toMatchObject({ on: false, node: undefined })
})

it('a request that fails holds up none after it', async () => {
  const notify = new Notify(db, () => Promise.resolve(browser))
  answer = () => Promise.reject(new Error('unreachable'))
  await expect(notify.set(session, browser)).rejects.toThrow('unreachable')
  answer = () => Promise.resolve()
  await notify.set(session, browser)
  expect([...enabled]).toEqual(['n1'])
})
