// SPDX-License-Identifier: Apache-2.0

import 'fake-indexeddb/auto'
import { IDBFactory } from 'fake-indexeddb'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { act, composeAgain, discard } from '../store/act'
import { openStore, Tick, type Db, type Shared, type Slot } from '../store/schema'
import { compose } from '../store/write'
import { StanzaError } from '../wire/errors'
import type { Session } from '../wire/session'
import { Outbox } from './outbox'
import { Uploads, type Answer } from './uploads'

const bob = 'bob@localhost'
const eve = 'eve@localhost'
let db: Db

beforeEach(async () => {
  globalThis.indexedDB = new IDBFactory()
  db = await openStore()
})

afterEach(() => vi.useRealTimers())

const file: Shared = { name: 'a.jpg', type: 'image/jpeg', size: 3, inline: true }

/** Gives message a file; its content is its id. */
const share = (id: string, peer = bob) => compose(db, peer, { body: '', file }, { id, frame: '' }, 1, new Blob([id]))
const write = (id: string, peer = bob) => compose(db, peer, { body: id }, { id, frame: id }, 1)

/** A server for files that says what it is told to say. */
class Server {
  slots = 0
  puts: string[] = []
  answers: (Answer | 'broken' | 'never')[] = []
  refusal: Error | undefined
  filed: string[] = []
  gate: Promise<void> | undefined
  keep = <T>(work: () => Promise<T>): Promise<T> => work()

  make(outbox?: Outbox, random = () => 0): Uploads {
    return new Uploads({
      db,
      changed: () => undefined,
      keep: (work) => this.keep(work),
      slot: () => (this.refusal ? Promise.reject(this.refusal) : Promise.resolve({ put: `put${++this.slots}`, get: `get${this.slots}` })),
      put: (slot, type, data, progress, signal) => this.put(slot, type, data, progress, signal),
      frame: (m, id) => `${id} at ${m.file!.url}`,
      filed: (peer) => {
        this.filed.push(peer)
        outbox?.filed(peer)
      },
      progress: () => undefined,
      random,
    })
  }

  private async put(slot: Slot, type: string, data: Blob, progress: (n: number) => void, signal: AbortSignal): Promise<Answer> {
    this.puts.push(`${slot.put} ${type} ${await data.text()}`)
    await this.gate
    progress(0.5)
    const answer = this.answers.shift() ?? { status: 201 }
    if (answer === 'never') return new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('aborted'))))
    if (answer === 'broken') throw new Error('broken')
    return answer
  }
}

class Wire {
  sent: string[] = []
  readonly session = { send: (frame: string) => this.sent.push(frame) > 0, askAck: () => undefined } as unknown as Session
}

const frames = async () => (await db.getAll('outbox')).map((o) => o.frame)
const ticks = async () => (await db.getAll('messages')).map((m) => [m.originId, m.tick, m.error?.condition])

describe('files of messages', () => {
  it('are uploaded in order, and their messages made then', async () => {
    const server = new Server()
    await share('a')
    await share('b')
    const uploads = server.make()
    uploads.begin()
    await vi.waitFor(async () => expect(await frames()).toEqual(['a at get1', 'b at get2']))
    expect(server.puts).toEqual(['put1 image/jpeg a', 'put2 image/jpeg b'])
    const [kept] = await db.getAll('files')
    expect(kept!.used).toBeGreaterThan(0) // may be thrown away now
    await share('c')
    uploads.pump()
    await vi.waitFor(async () => expect(await frames()).toHaveLength(3))
    uploads.close()
  })

  it('go to the same place again after an answer was lost, here or in another life', async () => {
    const server = new Server()
    server.answers = ['broken', 'never']
    await share('a')
    const first = server.make()
    first.begin()
    await vi.waitFor(() => expect(server.puts).toHaveLength(2))
    first.close()
    const second = server.make()
    second.begin()
    await vi.waitFor(async () => expect(await frames()).toEqual(['a at get1']))
    expect([server.slots, server.puts]).toEqual([1, ['put1 image/jpeg a', 'put1 image/jpeg a', 'put1 image/jpeg a']])
    second.close()
  })

  it('get another place when theirs is too old, but not for ever', async () => {
    const server = new Server()
    server.answers = [{ status: 410 }]
    await share('a')
    const uploads = server.make()
    uploads.begin()
    await vi.waitFor(async () => expect(await frames()).toEqual(['a at get2']))
    server.answers = Array.from({ length: 9 }, () => ({ status: 404 }))
    await share('b')
    uploads.pump()
    await vi.waitFor(async () => expect(await ticks()).toEqual([['a', Tick.waiting, undefined], ['b', Tick.refused, 'file-refused']]))
    expect(server.puts.filter((p) => p.endsWith(' b'))).toHaveLength(4)
    uploads.close()
  })

  it.each([
    [new StanzaError('not-acceptable', 'modify', 'at most 5'), 'file-too-large'],
    [new StanzaError('resource-constraint', 'wait', 'full'), 'file-quota'],
    [new StanzaError('service-unavailable', 'cancel', ''), 'file-unsupported'],
  ])('are refused with a reason: %s', async (refusal, condition) => {
    const server = new Server()
    server.refusal = refusal
    await share('a')
    const uploads = server.make()
    uploads.begin()
    await vi.waitFor(async () => expect(await ticks()).toEqual([['a', Tick.refused, condition]]))
    expect(await db.count('outbox')).toBe(0)
    // Tried again, it has its file along.
    server.refusal = undefined
    await composeAgain(db, 1, { id: 'a2', frame: '' }, 2)
    uploads.pump()
    await vi.waitFor(async () => expect(await frames()).toEqual(['a2 at get1']))
    expect(server.puts).toEqual(['put1 image/jpeg a'])
    expect(await db.getAllKeys('files')).toEqual([2])
    uploads.close()
  })

  it('are asked about again, and not at once, when the device has no room to note the answer', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'] })
    let room = false
    const failed: number[] = []
    const server = new Server()
    server.refusal = new StanzaError('not-acceptable', 'modify', 'at most 5')
    server.keep = (work) => (room ? work() : Promise.reject((failed.push(Date.now()), new DOMException('', 'QuotaExceededError'))))
    await share('a')
    const uploads = server.make(undefined, () => 1)
    uploads.begin()
    for (let i = 0; i < 10_000 && failed.length < 3; i++) await vi.advanceTimersByTimeAsync(50)
    expect([failed[1]! - failed[0]! >= 1_000, failed[2]! - failed[1]! >= 3_000]).toEqual([true, true])
    room = true
    for (let i = 0; i < 10_000 && (await db.count('outbox')) > 0; i++) await vi.advanceTimersByTimeAsync(50)
    expect(await ticks()).toEqual([['a', Tick.refused, 'file-too-large']])
    uploads.close()
  })

  it('are refused when there is no room', async () => {
    const server = new Server()
    server.answers = [{ status: 507 }]
    await share('a')
    const uploads = server.make()
    uploads.begin()
    await vi.waitFor(async () => expect(await ticks()).toEqual([['a', Tick.refused, 'file-quota']]))
    uploads.close()
  })

  it('wait while the server is busy or nobody can be asked, the others do not', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    const server = new Server()
    server.answers = [{ status: 503, afterMs: 60_000 }]
    await share('a')
    await share('e', eve)
    const uploads = server.make()
    uploads.begin()
    vi.useRealTimers()
    await vi.waitFor(async () => expect(await frames()).toEqual(['', 'e at get2']))
    uploads.begin() // a new connection: at once
    await vi.waitFor(async () => expect(await frames()).toEqual(['a at get1', 'e at get2']))
    uploads.close()
  })

  it('can be taken back, also in the middle, and not once the message is made', async () => {
    const server = new Server()
    server.answers = ['never']
    const { messages } = await share('a')
    await share('b')
    const uploads = server.make()
    uploads.begin()
    await vi.waitFor(() => expect(server.puts).toHaveLength(1))
    const { key } = messages[0]!
    expect((await discard(db, key, true)).removed).toEqual([key])
    uploads.cancel(bob, key)
    await vi.waitFor(async () => expect(await frames()).toEqual(['b at get2']))
    expect(await db.count('files')).toBe(1)
    expect((await discard(db, 2, true)).removed).toEqual([])
    uploads.close()
  })

  it('go along without being uploaded when they have an address: forwarded', async () => {
    const server = new Server()
    await compose(db, bob, { body: '', file: { ...file, url: 'there' } }, { id: 'f', frame: '' }, 1)
    const uploads = server.make()
    uploads.begin()
    await vi.waitFor(async () => expect(await frames()).toEqual(['f at there']))
    expect(server.puts).toEqual([])
    uploads.close()
  })
})

describe('what is said after a file', () => {
  it('waits for it, what is said elsewhere does not', async () => {
    const [server, wire] = [new Server(), new Wire()]
    let open = (): void => undefined
    server.gate = new Promise((resolve) => (open = resolve))
    const outbox = new Outbox({ db, changed: () => undefined })
    const uploads = server.make(outbox)
    await write('before')
    await share('a')
    const { messages } = await write('after')
    await act(db, messages[0]!.key, { kind: 'correct', body: 'x', mentions: undefined }, { id: 'c', frame: 'corrected' })
    await write('elsewhere', eve)
    outbox.begin(wire.session, false)
    uploads.begin()
    await vi.waitFor(() => expect(wire.sent).toEqual(['before', 'elsewhere']))
    open()
    await vi.waitFor(() => expect(wire.sent).toEqual(['before', 'elsewhere', 'a at get1', 'after', 'corrected']))
    uploads.close()
    outbox.close()
  })

  it('goes ahead when that takes too long', async () => {
    const [server, wire] = [new Server(), new Wire()]
    server.answers = ['never']
    const outbox = new Outbox({ db, changed: () => undefined })
    const uploads = server.make(outbox)
    await share('a')
    await write('after')
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'] })
    outbox.begin(wire.session, false)
    uploads.begin()
    await vi.advanceTimersByTimeAsync(5_000)
    await vi.waitFor(() => expect(server.puts).toHaveLength(1))
    expect(wire.sent).toEqual([])
    await vi.waitFor(async () => {
      await vi.advanceTimersByTimeAsync(1_000)
      expect(wire.sent).toEqual(['after'])
    }, 10_000)
    uploads.close()
    outbox.close()
  })
})
