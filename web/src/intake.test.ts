// SPDX-License-Identifier: Apache-2.0

import 'fake-indexeddb/auto'
import { IDBFactory } from 'fake-indexeddb'
import { beforeEach, expect, it } from 'vitest'
import { Intake, type IntakeOptions } from './intake'
import { getMeta, openStore, type Db } from './store/schema'
import { parseXml } from './wire/parse'
import { readMessage, type Incoming } from './wire/message'

let db: Db

beforeEach(async () => {
  globalThis.indexedDB = new IDBFactory()
  db = await openStore()
})

const invitation = (): Incoming =>
  readMessage(
    parseXml(
      `<message xmlns='jabber:client' from='ann@localhost/phone' to='me@localhost' id='i'><x xmlns='jabber:x:conference' jid='choir@rooms.localhost'/><stanza-id xmlns='urn:xmpp:sid:0' by='me@localhost' id='a1'/></message>`,
    ),
    'me@localhost',
  )!

it('knows a group that one is invited to before the invitation counts as known: the page may end in between', async () => {
  const invited: string[] = []
  let ends = true
  const intake = new Intake({
    db,
    account: { jid: 'me@localhost', bornHere: true },
    changed: () => undefined,
    space: { keep: (work: () => Promise<unknown>) => work() },
    outbox: { settle: () => undefined, pump: () => undefined },
    rooms: {
      invited: (m: Incoming) => {
        if (ends) return Promise.reject(new Error('the page ends'))
        invited.push(m.invitation!.room)
        return Promise.resolve()
      },
    },
  } as unknown as IntakeOptions)
  await expect(intake.take([invitation()], 'a1')).rejects.toThrow('the page ends')
  expect(await getMeta(db, 'sync')).toBeUndefined()
  ends = false
  await intake.take([invitation()], 'a1')
  expect(invited).toEqual(['choir@rooms.localhost'])
  expect(await getMeta(db, 'sync')).toEqual({ lastId: 'a1' })
})
