// SPDX-License-Identifier: Apache-2.0

import 'fake-indexeddb/auto'
import { IDBFactory } from 'fake-indexeddb'
import { beforeEach, describe, expect, it } from 'vitest'
import { Stars } from './stars'
import { takeHistory } from './store/receive'
import { getMeta, openStore, putMeta, type Chat, type Db } from './store/schema'
import { editChat, editMessage } from './store/write'
import { StanzaError } from './wire/errors'
import { parseXml } from './wire/parse'
import type { Incoming } from './wire/message'
import type { Session } from './wire/session'
import type { XmlElement } from './wire/xml'

let db: Db
/** What the server has; undefined when there is no node. */
let node: Map<string, string> | undefined
let down: boolean

const session = {
  account: 'me@localhost',
  ask(_type: string, payload: XmlElement): Promise<XmlElement> {
    if (down) return Promise.reject(new Error('unreachable'))
    const item = payload.child('publish')?.child('item')
    const gone = payload.child('retract')?.child('item')?.attr('id')
    if (item) (node ??= new Map()).set(item.attr('id')!, item.child('star')!.attr('chat')!)
    else if (gone !== undefined) {
      if (!node?.delete(gone)) return Promise.reject(new StanzaError('item-not-found', 'cancel', ''))
    } else if (!node) return Promise.reject(new StanzaError('item-not-found', 'cancel', ''))
    const items = [...(node ?? [])].map(([id, chat]) => `<item id='${id}'><star xmlns='urn:bavard:stars:0' chat='${chat}'/></item>`)
    return Promise.resolve(parseXml(`<iq xmlns='jabber:client'><pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='x'>${items.join('')}</items></pubsub></iq>`))
  },
} as unknown as Session

beforeEach(async () => {
  globalThis.indexedDB = new IDBFactory()
  db = await openStore()
  node = undefined
  down = false
})

const stars = (): Stars => new Stars({ db, changed: () => undefined, ofRoom: () => Promise.reject(new Error('none')) })

async function message(archiveId: string, starred = false): Promise<number> {
  const fields = { peer: 'bob@localhost', pos: 1, out: false, body: archiveId, time: 1, tick: 1, names: [], rev: 1, archiveId }
  return db.add('messages', { ...fields, ...(starred && { starred: 1 }) } as never)
}

const starred = async (): Promise<(string | undefined)[]> => (await db.getAllFromIndex('messages', 'starred', 1)).map((m) => m.archiveId).sort()

const toggle = (key: number): Promise<unknown> => editMessage(db, key, (m) => (m.starred = m.starred ? undefined : 1))

describe('stars', () => {
  it('of before there was anything on the server are put there', async () => {
    await message('a', true)
    await stars().begin(session)
    expect(node).toEqual(new Map([['a', 'bob@localhost']]))
    // And again, where the node has gone: nothing was taken away by anybody.
    node = undefined
    await stars().begin(session)
    expect(node).toEqual(new Map([['a', 'bob@localhost']]))
    expect(await starred()).toEqual(['a'])
  })

  it('given and taken while nobody could be told are told later', async () => {
    const [a, b] = [await message('a', true), await message('b')]
    await stars().begin(session)
    down = true
    await toggle(a)
    await toggle(b)
    await expect(stars().toggled(session, a)).rejects.toThrow()
    down = false
    await stars().begin(session)
    expect([...node!.keys()]).toEqual(['b'])
    expect(await starred()).toEqual(['b'])
  })

  it('given and taken on another device meanwhile are taken over', async () => {
    await message('a', true)
    await message('b')
    await stars().begin(session)
    node!.delete('a')
    node!.set('b', 'bob@localhost')
    await stars().begin(session)
    expect(await starred()).toEqual(['b'])
    expect([...node!.keys()]).toEqual(['b'])
  })

  it('of a device that knows nothing are there when the message comes, and stay on the server until then', async () => {
    node = new Map([['old', 'bob@localhost']])
    await stars().begin(session)
    await stars().begin(session)
    const said = { peer: 'bob@localhost', mine: false, from: 'bob@localhost/x', id: 'i', archiveId: 'old', stamp: 1, body: 'hi', asksReceipt: false, markable: false }
    await takeHistory(db, 'bob@localhost', [said as unknown as Incoming], true, '')
    expect(await starred()).toEqual(['old'])
    await stars().begin(session)
    expect([...node.keys()]).toEqual(['old'])
    expect(await getMeta(db, 'stars')).toEqual({ old: 'bob@localhost' })
  })

  it('that are not on this device are asked for once it is known which there are', async () => {
    node = new Map([['old', 'room@localhost']])
    await editChat(db, 'room@localhost', (c) => (c.group = { state: 'in' } as Chat['group']))
    const asked: unknown[] = []
    const ofRoom = (_session: Session, room: string, query: unknown): Promise<never> => {
      asked.push(room, query)
      return Promise.reject(new Error('offline'))
    }
    const begun = new Stars({ db, changed: () => undefined, ofRoom })
    void begun.begin(session)
    expect(await begun.elsewhere(session)).toEqual([])
    expect(asked).toEqual(['room@localhost', { ids: ['old'], max: 50 }])
  })

  it('of a conversation that is deleted go from the server, others stay', async () => {
    node = new Map([['a', 'bob@localhost'], ['b', 'carl@localhost'], ['c', 'bob@localhost']])
    await message('a', true)
    await stars().begin(session)
    await stars().deleted(session, 'bob@localhost')
    expect([...node.keys()]).toEqual(['b'])
    expect(await getMeta(db, 'stars')).toEqual({ b: 'carl@localhost' })
    expect(await starred()).toEqual([])
  })

  it('given and taken elsewhere while we look are shown', async () => {
    await message('a')
    await putMeta(db, 'stars', {})
    const item = parseXml(`<item id='a'><star xmlns='urn:bavard:stars:0' chat='bob@localhost'/></item>`)
    await stars().published({ from: 'me@localhost', node: 'x', items: [item, parseXml(`<item id='b'/>`)], gone: [] })
    expect(await starred()).toEqual(['a'])
    await stars().published({ from: 'me@localhost', node: 'x', items: [], gone: ['a'] })
    expect(await starred()).toEqual([])
    expect(await getMeta(db, 'stars')).toEqual({})
  })
})
