// SPDX-License-Identifier: Apache-2.0

import 'fake-indexeddb/auto'
import { IDBFactory } from 'fake-indexeddb'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Engine } from './engine'
import { openStore, putMeta, type Account } from './store/schema'
import { NS } from './wire/ns'
import { Network, type Peer } from './wire/testing'
import { xml, type XmlElement } from './wire/xml'

const account: Account = { jid: 'me@localhost', name: 'Me', password: 'secret', resource: 'test', bornHere: true, created: 1 }
const WAIT = 15_000

describe('what a person asks for while the connection is being made', () => {
  let network: Network
  let engine: Engine
  let online: boolean
  let begun: number

  beforeEach(async () => {
    vi.useFakeTimers({ shouldAdvanceTime: true, toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date'] })
    globalThis.indexedDB = new IDBFactory()
    const db = await openStore()
    await putMeta(db, 'account', account)
    await putMeta(db, 'uploads', '')
    network = new Network()
    online = true
    begun = 0
    engine = new Engine({
      db,
      account,
      address: 'ws://a',
      hostMeta: '/none',
      device: { software: 's', device: 'd' },
      dial: network.dial,
      online: () => online,
      watched: () => true,
      changed: () => undefined,
      soft: () => undefined,
      kept: () => undefined,
      looks: () => undefined,
      origin: 'http://localhost',
      subscription: () => Promise.resolve(undefined),
      uploading: () => undefined,
      shutOut: () => undefined,
    })
  })

  afterEach(() => {
    engine.stop()
    vi.useRealTimers()
  })

  const ask = (method: string, ...args: unknown[]): Promise<unknown> => engine.called(method, args, Date.now() + WAIT, () => begun++)

  /** Lets it in, and answers what it asks by itself with success. */
  async function live(): Promise<Peer> {
    const peer = await network.next()
    await peer.letIn('secret')
    await peer.bindAndEnable(account.jid, { id: 'sm1', resume: 'true' })
    return peer
  }

  async function asked(peer: Peer, name: string, ns: string): Promise<XmlElement> {
    for (;;) {
      const iq = await peer.expect('iq')
      if (iq.child(name, ns)) return iq
      const archive = iq.child('query', NS.mam)
      peer.result(iq, archive && xml('fin', { xmlns: NS.mam, complete: 'true' }, xml('set', { xmlns: NS.rsm })))
    }
  }

  it('is done once there is one', async () => {
    const link = ask('link')
    await engine.start()
    const peer = await live()
    const iq = await asked(peer, 'link', NS.link)
    expect(begun).toBe(1)
    peer.result(iq, xml('link', { xmlns: NS.link, token: 'let me in' }))
    expect(await link).toBe('let me in')
  })

  it('with groups waits until the groups are there, too', async () => {
    const left = ask('group', 'configure', 'choir@rooms.localhost', { name: 'Choir' })
    await engine.start()
    const peer = await live()
    const iq = await asked(peer, 'query', NS.mucOwner)
    peer.error(iq, 'forbidden', 'auth')
    await expect(left).rejects.toThrow('forbidden')
    expect(begun).toBe(1)
  })

  it('is refused when none comes in time', async () => {
    network.down = true
    await engine.start()
    const link = ask('link')
    const refused = expect(link).rejects.toThrow('not connected')
    await vi.advanceTimersByTimeAsync(WAIT - 1_000)
    expect(begun).toBe(0)
    await vi.advanceTimersByTimeAsync(1_500)
    await refused
    expect(begun).toBe(0)
  })

  it('is refused at once without a network, and when it is over', async () => {
    network.down = true
    online = false
    await engine.start()
    await vi.waitFor(() => expect(engine.softState().link.kind).toBe('waiting'))
    await expect(ask('devices')).rejects.toThrow('not connected')
    online = true
    engine.stop()
    await expect(ask('devices')).rejects.toThrow('not connected')
    expect(begun).toBe(0)
  })

  it('is dropped with the engine', async () => {
    const link = ask('link')
    const refused = expect(link).rejects.toThrow('not connected')
    engine.stop()
    await refused
    expect(begun).toBe(0)
  })

  it('does not wait when it is of this moment', async () => {
    expect(await ask('hello')).toMatchObject({ link: { kind: 'idle' } })
    expect(await ask('chatState', 'bob@localhost', 'composing')).toBeUndefined()
    expect(begun).toBe(0)
  })
})
