// SPDX-License-Identifier: Apache-2.0

import 'fake-indexeddb/auto'
import { IDBFactory } from 'fake-indexeddb'
import { beforeEach, describe, expect, it, vi } from 'vitest'
import { openStore, Tick, type Db, type Message } from '../store/schema'
import { compose, editChat } from '../store/write'
import { StanzaError } from '../wire/errors'
import type { Session } from '../wire/session'
import { Outbox } from './outbox'

const bob = 'bob@localhost'
let db: Db

beforeEach(async () => {
  globalThis.indexedDB = new IDBFactory()
  db = await openStore()
})

/** A connection that only remembers what was sent on it. */
class Wire {
  sent: string[] = []
  up = true
  readonly session = {
    send: (frame: string) => {
      if (this.up) this.sent.push(frame)
      return this.up
    },
    askAck: () => undefined,
  } as unknown as Session
}

const write = (id: string) => compose(db, bob, { body: `body ${id}` }, { id, frame: id }, 1)
const make = () => new Outbox({ db, changed: () => undefined, random: () => 0 })
const ticks = async (): Promise<[string, Tick][]> =>
  (await db.getAll('messages')).sort((a: Message, b: Message) => a.pos - b.pos).map((m) => [m.originId!, m.tick])

describe('the outbox', () => {
  it('sends in order, and what comes later too', async () => {
    const [outbox, wire] = [make(), new Wire()]
    await write('a')
    await write('b')
    outbox.begin(wire.session, false)
    await vi.waitFor(() => expect(wire.sent).toEqual(['a', 'b']))
    await write('c')
    outbox.pump()
    outbox.pump()
    await vi.waitFor(() => expect(wire.sent).toEqual(['a', 'b', 'c']))
    outbox.acked(['a', 'b'])
    await vi.waitFor(async () => expect(await db.count('outbox')).toBe(1))
    expect(await ticks()).toEqual([['a', Tick.sent], ['b', Tick.sent], ['c', Tick.waiting]])
  })

  it('sends the same again on a new session, but not on a resumed one', async () => {
    const outbox = make()
    const [one, two, three] = [new Wire(), new Wire(), new Wire()]
    for (const id of ['a', 'b', 'c']) await write(id)
    outbox.begin(one.session, false)
    await vi.waitFor(() => expect(one.sent.length).toBe(3))
    outbox.acked(['a'])
    outbox.pause()
    outbox.begin(two.session, true)
    await write('d')
    outbox.pump()
    await vi.waitFor(() => expect(two.sent).toEqual(['d']))
    outbox.pause()
    outbox.begin(three.session, false)
    await vi.waitFor(() => expect(three.sent).toEqual(['b', 'c', 'd']))
  })

  it('keeps back what is not on its way, and says what is', async () => {
    const outbox = make()
    const [one, two, three] = [new Wire(), new Wire(), new Wire()]
    await write('a')
    outbox.begin(one.session, false)
    await vi.waitFor(() => expect(one.sent).toEqual(['a']))
    expect(outbox.recall('a')).toBe(false)
    outbox.pause()
    for (const id of ['b', 'c']) await write(id)
    expect(outbox.recall('a')).toBe(false) // a connection that is resumed sends it again by itself
    expect(outbox.recall('b')).toBe(true)
    outbox.begin(two.session, true)
    await vi.waitFor(() => expect(two.sent).toEqual(['c']))
    outbox.pause()
    outbox.begin(three.session, false)
    await vi.waitFor(() => expect(three.sent).toEqual(['a', 'c']))
  })

  it('survives a crash: another tab sends what is left', async () => {
    await write('a')
    const [first, second] = [new Wire(), new Wire()]
    make().begin(first.session, false)
    await vi.waitFor(() => expect(first.sent).toEqual(['a']))
    make().begin(second.session, false)
    await vi.waitFor(() => expect(second.sent).toEqual(['a']))
  })

  it('keeps no more than a window on its way', async () => {
    const [outbox, wire] = [make(), new Wire()]
    const ids = Array.from({ length: 150 }, (_, i) => `m${i}`)
    for (const id of ids) await write(id)
    outbox.begin(wire.session, false)
    for (let got = 0; got < ids.length; ) {
      await vi.waitFor(() => expect(wire.sent.length).toBeGreaterThan(got))
      expect(wire.sent.length - got).toBeLessThanOrEqual(64)
      const batch = wire.sent.slice(got)
      got = wire.sent.length
      outbox.acked(batch)
    }
    expect(wire.sent).toEqual(ids)
    await vi.waitFor(async () => expect(await db.count('outbox')).toBe(0))
  })

  it('gives no tick to what was refused', async () => {
    const [outbox, wire] = [make(), new Wire()]
    await write('a')
    await write('b')
    outbox.begin(wire.session, false)
    await vi.waitFor(() => expect(wire.sent.length).toBe(2))
    expect(outbox.refused('a', new StanzaError('forbidden', 'auth', ''))).toBe(true)
    expect(outbox.refused('x', new StanzaError('forbidden', 'auth', ''))).toBe(false)
    outbox.acked(['a', 'b'])
    await vi.waitFor(async () => expect(await db.count('outbox')).toBe(0))
    expect(await ticks()).toEqual([['a', Tick.refused], ['b', Tick.sent]])
    expect((await db.getAll('messages')).map((m) => m.error)).toEqual([{ condition: 'forbidden', text: '' }, undefined])
  })

  it('sends again, in order, what the server put off', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    const [outbox, wire] = [make(), new Wire()]
    for (const id of ['a', 'b', 'c']) await write(id)
    outbox.begin(wire.session, false)
    vi.useRealTimers()
    await vi.waitFor(() => expect(wire.sent.length).toBe(3))
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    outbox.refused('b', new StanzaError('resource-constraint', 'wait', ''))
    outbox.acked(['a', 'b'])
    outbox.acked(['c'])
    await vi.advanceTimersByTimeAsync(1_000)
    vi.useRealTimers()
    await vi.waitFor(() => expect(wire.sent).toEqual(['a', 'b', 'c', 'b']))
    outbox.acked(['b'])
    await vi.waitFor(async () => expect(await db.count('outbox')).toBe(0))
    outbox.close()
  })

  it('sends again, and not at once, what was acknowledged while there was no room to note it', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    try {
      let [room, failed] = [false, 0]
      const keep = <T>(work: () => Promise<T>): Promise<T> => (room ? work() : Promise.reject((failed++, new DOMException('', 'QuotaExceededError'))))
      const [outbox, wire] = [new Outbox({ db, changed: () => undefined, keep, random: () => 0 }), new Wire()]
      await write('a')
      outbox.begin(wire.session, false)
      await vi.waitFor(() => expect(wire.sent).toEqual(['a']))
      for (const [i, after] of [1_000, 2_500, 7_500].entries()) {
        outbox.acked(['a'])
        await vi.advanceTimersByTimeAsync(after - 1)
        expect([failed, wire.sent.length]).toEqual([i + 1, i + 1])
        await vi.advanceTimersByTimeAsync(1)
        await vi.waitFor(() => expect(wire.sent.length).toBe(i + 2))
      }
      room = true
      outbox.acked(['a'])
      await vi.waitFor(async () => expect(await ticks()).toEqual([['a', Tick.sent]]))
      outbox.close()
    } finally {
      vi.useRealTimers()
    }
  })

  it('waits while there is no connection', async () => {
    const [outbox, wire] = [make(), new Wire()]
    await write('a')
    wire.up = false
    outbox.begin(wire.session, false)
    outbox.pause()
    await write('b')
    outbox.pump()
    const again = new Wire()
    outbox.begin(again.session, true)
    await vi.waitFor(() => expect(again.sent).toEqual(['a', 'b']))
  })

  it('holds back what goes to a group until we are in it, and nothing else', async () => {
    const group = 'choir@rooms.localhost'
    await editChat(db, group, (c) => (c.group = { state: 'in', members: [], read: {} } as never))
    const inside = new Set<string>()
    const lost: string[] = []
    const [outbox, wire] = [new Outbox({ db, changed: () => undefined, ready: (g) => inside.has(g), lost: (g) => lost.push(g) }), new Wire()]
    await compose(db, group, { body: 'la' }, { id: 'g1', frame: 'g1' }, 1)
    await write('a')
    await compose(db, group, { body: 'la la' }, { id: 'g2', frame: 'g2' }, 1)
    outbox.begin(wire.session, false)
    await vi.waitFor(() => expect(wire.sent).toEqual(['a']))
    inside.add(group)
    outbox.open()
    await vi.waitFor(() => expect(wire.sent).toEqual(['a', 'g1', 'g2']))
    // The group says that we are not in it: it goes again once we are.
    outbox.refused('g2', new StanzaError('not-acceptable', 'modify', ''))
    inside.delete(group)
    outbox.acked(['a', 'g1', 'g2'])
    expect(lost).toEqual([group])
    await vi.waitFor(async () => expect(await db.count('outbox')).toBe(2)) // an acknowledgement is not enough
    inside.add(group)
    outbox.open()
    await vi.waitFor(() => expect(wire.sent).toEqual(['a', 'g1', 'g2', 'g2']))
    outbox.refuseAll(group)
    await vi.waitFor(async () => expect(await db.count('outbox')).toBe(0))
    expect((await db.getAllFromIndex('messages', 'pos', IDBKeyRange.bound([group, 0], [group, Infinity]))).map((m) => m.tick)).toEqual([-1, -1])
  })
})
