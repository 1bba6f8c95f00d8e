// SPDX-License-Identifier: Apache-2.0

import 'fake-indexeddb/auto'
import { IDBFactory } from 'fake-indexeddb'
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { Keys } from './keys'
import { getMeta, openStore, putMeta, type Account, type Db } from './store/schema'
import { Link, type LinkState } from './wire/link'
import { dialFromNode, RealServer } from './wire/server.testing'
import type { Token } from './wire/token'

// Against the real server.

let server: RealServer
beforeAll(async () => {
  server = await new RealServer().ready()
}, 30_000)
afterAll(() => server.close())

let db: Db
let count = 0
let account: Account
beforeEach(async () => {
  globalThis.indexedDB = new IDBFactory()
  db = await openStore()
  const name = `keyed${++count}`
  server.user(name, 'a long password')
  account = { jid: `${name}@localhost`, password: 'a long password', name, resource: 'test', bornHere: false, created: 0 }
  await putMeta(db, 'account', account)
})

const device = { software: 'test', device: 'Node' }
const kept = async (): Promise<Account> => (await getMeta(db, 'account'))!
/** A token that no server has given. */
const unknown = (token: string, expires = Date.now() + 1e9): Token => ({ mechanism: 'HT-SHA-256-NONE', token, expires })

/** Connects until it is live, or until the server takes nothing of what there is. */
async function connect(): Promise<LinkState> {
  const keys = new Keys(db, device)
  let accepted = Promise.resolve()
  let states: LinkState[] = []
  const link = new Link({
    account: account.jid,
    credentials: () => keys.credentials(),
    denied: () => keys.deny(),
    keep: (token) => keys.keep(token),
    resource: 'test',
    addresses: () => [server.address],
    dial: dialFromNode,
    online: () => true,
    watched: () => true,
    state: (state) => (states = [...states, state]),
    session: () => (accepted = keys.accepted()),
    stanzas: () => Promise.resolve(),
    refused: () => undefined,
    acked: () => Promise.resolve(),
  })
  link.start()
  await vi.waitFor(() => expect(states.some((s) => s.kind === 'live' || s.kind === 'stopped')).toBe(true), { timeout: 20_000 })
  await accepted
  link.stop()
  return states.find((s) => s.kind === 'live' || s.kind === 'stopped')!
}

describe('what lets a device in', () => {
  it('is a token instead of the password, and after a restore of the server the one before', async () => {
    expect((await connect()).kind).toBe('live')
    const first = (await kept()).token!
    expect(first).toBeDefined()
    expect((await kept()).password).toBeUndefined()
    // Since the backup, two more were given.
    await putMeta(db, 'account', { ...(await kept()), token: unknown('newest'), former: [unknown('newer'), first] })
    expect((await connect()).kind).toBe('live')
    expect((await kept()).token).toEqual(first)
    expect((await kept()).former?.map((t) => t.token)).toEqual(['newest', 'newer'])
    expect((await connect()).kind).toBe('live')
  })

  it('is nothing when the server knows none: it is asked once for each, and the device is logged out', async () => {
    const all = [unknown('newest'), unknown('newer'), unknown('old')]
    await putMeta(db, 'account', { ...account, password: undefined, token: all[0], former: all.slice(1) })
    expect(await connect()).toMatchObject({ kind: 'stopped', reason: 'credentials' })
    expect((await kept()).token).toEqual(all[0])
  })

  it('is kept as long as it may be good', async () => {
    const keys = new Keys(db, device)
    await putMeta(db, 'account', { ...account, token: unknown('expired', Date.now() - 1) })
    for (let n = 0; n < 8; n++) await keys.keep(unknown(`t${n}`))
    expect((await kept()).token?.token).toBe('t7')
    expect((await kept()).former?.map((t) => t.token)).toEqual(['t6', 't5', 't4', 't3'])
  })
})
