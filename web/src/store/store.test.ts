// SPDX-License-Identifier: Apache-2.0

import 'fake-indexeddb/auto'
import { IDBFactory } from 'fake-indexeddb'
import { beforeEach, describe, expect, it } from 'vitest'
import type { Listed } from '../wire/inbox'
import type { Incoming } from '../wire/message'
import { act, composeAgain, discard } from './act'
import { Conversation } from './conversation.svelte'
import { getMeta, isArchived, isMuted, ME, openStore, PENDING, Tick, type Db, type Message } from './schema'
import { backwards, matching, search } from './find'
import { acknowledge, place, refuse, take, takeContacts, takeHistory, takeList, takeRead, takeSettings } from './receive'
import { bob, said } from './said'
import { compose, editChat, markRead, type ReadFor } from './write'

let db: Db
let frames: string[]

beforeEach(async () => {
  globalThis.indexedDB = new IDBFactory()
  db = await openStore()
  frames = []
})

const mine = (n: number, more: Partial<Incoming> = {}): Incoming =>
  said(n, { mine: true, from: 'me@localhost/y', originId: `m${n}`, ...more })
const receipt = (n: number, kind: 'received' | 'displayed', more: Partial<Incoming> = {}): Incoming =>
  said(1000 + n, { body: undefined, markable: false, [kind]: `m${n}`, ...more })

const frame = (kind: string) => (peer: string, id: string) => {
  frames.push(`${kind} ${peer} ${id}`)
  return { id: `${kind} ${id}`, frame: `<${kind}/>` }
}

const me = 'me@localhost'
const read: ReadFor = (peer, { marker, archive }) => frame(marker ? 'displayed' : 'read')(peer, marker ?? archive?.id ?? '')
const takeAll = (batch: Incoming[], lastId?: string) =>
  take(db, batch, { lastId, complete: true, receipt: frame('receipt'), now: 9_999_000 })

const send = (id: string, body = `body ${id}`) => compose(db, bob, { body }, { id, frame: `<f id='${id}'/>` }, 5_000)

async function rows(): Promise<Message[]> {
  return db.getAllFromIndex('messages', 'pos', IDBKeyRange.bound([bob, -Infinity], [bob, Infinity]))
}

async function texts(): Promise<string[]> {
  return (await rows()).map((m) => m.body)
}

const chat = async () => (await db.get('chats', bob))!

describe('what comes in', () => {
  it('is kept once, in order, however often it comes', async () => {
    await takeAll([said(1), said(2)], 'a2')
    await takeAll([said(2), said(3)], 'a3')
    await takeAll([said(1), said(1)])
    expect(await texts()).toEqual(['text 1', 'text 2', 'text 3'])
    expect((await chat()).unread).toBe(3)
    expect(await db.get('meta', 'sync')).toEqual({ lastId: 'a3' })
  })

  it('is kept once when it comes under another archive id but with the same origin-id', async () => {
    await takeAll([said(1, { originId: 'o1' })])
    await takeAll([said(1, { originId: 'o1', archiveId: 'restored' })])
    expect((await rows()).map((m) => m.archiveId)).toEqual(['restored'])
  })

  it('keeps two messages apart whose senders gave them the same id', async () => {
    await takeAll([said(1, { id: 'same' }), said(2, { id: 'same' })])
    expect(await texts()).toEqual(['text 1', 'text 2'])
  })

  it('is kept under keys that the next to be written goes on from', async () => {
    await takeAll([said(1), said(2), said(3)])
    const { messages } = await send('m4')
    await takeAll([said(5), said(6)])
    expect((await db.getAll('messages')).map((m) => m.key)).toEqual([1, 2, 3, 4, 5, 6])
    expect(messages[0]!.key).toBe(4)
  })

  it('is answered with a receipt when the sender asks, unless another device of ours did', async () => {
    await takeAll([said(1, { asksReceipt: true }), said(2, { asksReceipt: true }), receipt(1, 'received', { mine: true })])
    expect(frames).toEqual(['receipt bob@localhost m2'])
    expect(await db.count('outbox')).toBe(1)
    await takeAll([said(2, { asksReceipt: true })])
    expect(await db.count('outbox')).toBe(1)
  })

  it('counts as read up to what we answered from another device, or showed there', async () => {
    await takeAll([said(1), said(2)])
    await takeAll([receipt(1, 'displayed', { mine: true })])
    expect((await chat()).unread).toBe(1)
    await takeAll([said(5), said(6), said(7), receipt(6, 'displayed', { mine: true })])
    expect((await chat()).unread).toBe(1)
    await takeAll([mine(3), said(4)])
    expect((await chat()).unread).toBe(1)
  })
})

describe('what is written', () => {
  it('waits at the end until the server has it, then takes its place', async () => {
    await send('m1')
    await takeAll([said(2)])
    expect(await texts()).toEqual(['text 2', 'body m1'])
    expect((await rows())[1]).toMatchObject({ tick: Tick.waiting })
    await acknowledge(db, ['m1'], true, 7_000)
    await takeAll([said(3)])
    expect(await texts()).toEqual(['text 2', 'body m1', 'text 3'])
    expect((await rows())[1]).toMatchObject({ tick: Tick.sent, time: 7_000 })
    expect(await db.count('outbox')).toBe(0)
  })

  it('keeps the order in which it was written', async () => {
    for (const id of ['a', 'b', 'c']) await send(id)
    expect((await db.getAll('outbox')).map((o) => o.id)).toEqual(['a', 'b', 'c'])
    await acknowledge(db, ['a', 'b', 'c'], true, 1)
    expect(await texts()).toEqual(['body a', 'body b', 'body c'])
  })

  it('that the archive has needs no acknowledgement', async () => {
    await send('m1')
    const taken = await takeAll([said(5), mine(1)])
    expect(taken.settled).toEqual(['m1'])
    expect(await db.count('outbox')).toBe(0)
    expect(await texts()).toEqual(['text 5', 'body m1'])
    expect((await rows())[1]).toMatchObject({ tick: Tick.sent, archiveId: 'a1', time: 1_000 })
  })

  it('that is acknowledged while catching up takes its place after what was missed', async () => {
    await send('m1')
    await send('m2')
    await acknowledge(db, ['m1', 'm2'], false, 1)
    expect((await rows()).map((m) => [m.tick, m.pos >= PENDING])).toEqual([[Tick.sent, true], [Tick.sent, true]])
    await takeAll([said(8)])
    await place(db, 2)
    await takeAll([said(9)])
    expect(await texts()).toEqual(['text 8', 'body m1', 'body m2', 'text 9'])
  })

  it('gets its ticks, and never loses one', async () => {
    for (const id of ['m1', 'm2', 'm3']) await send(id)
    await acknowledge(db, ['m1', 'm2', 'm3'], true, 1)
    const ticks = async () => (await rows()).map((m) => m.tick)
    await takeAll([receipt(1, 'received')])
    expect(await ticks()).toEqual([Tick.delivered, Tick.sent, Tick.sent])
    await takeAll([receipt(2, 'displayed')])
    expect(await ticks()).toEqual([Tick.read, Tick.read, Tick.sent])
    await takeAll([receipt(1, 'received'), receipt(3, 'received')])
    expect(await ticks()).toEqual([Tick.read, Tick.read, Tick.delivered])
    expect((await chat()).last).toMatchObject({ tick: Tick.delivered })
  })

  it('that a receipt came for was sent, even when the acknowledgement was lost', async () => {
    await send('m1')
    const taken = await takeAll([receipt(1, 'received')])
    expect(taken.settled).toEqual(['m1'])
    expect(await rows()).toMatchObject([{ tick: Tick.delivered, pos: 1 }])
    expect(await db.count('outbox')).toBe(0)
  })

  it('shows a refusal, and can be taken away', async () => {
    await send('m1')
    await send('m2')
    await refuse(db, 'm1', { condition: 'forbidden', text: 'no' }, 1)
    expect(await rows()).toMatchObject([
      { body: 'body m1', tick: Tick.refused, error: { condition: 'forbidden' } },
      { body: 'body m2', tick: Tick.waiting },
    ])
    await composeAgain(db, (await rows())[0]!.key, { id: 'm3', frame: '<m3/>' }, 2)
    expect(await texts()).toEqual(['body m2', 'body m1'])
    expect((await db.getAll('outbox')).map((o) => o.id)).toEqual(['m2', 'm3'])
    await discard(db, (await rows())[1]!.key)
    expect(await texts()).toEqual(['body m2'])
    await discard(db, (await rows())[0]!.key)
    expect((await chat()).last).toBeUndefined()
    expect(await db.count('outbox')).toBe(0)
  })
})

describe('history', () => {
  it('comes before what is there, with its ticks', async () => {
    await takeAll([said(10), mine(11), receipt(9, 'received'), receipt(8, 'displayed')])
    await takeHistory(db, bob, [mine(6), said(7), mine(8), mine(9), said(10)], false, 'a10')
    expect(await texts()).toEqual(['text 6', 'text 7', 'text 8', 'text 9', 'text 10', 'text 11'])
    expect((await rows()).map((m) => m.tick)).toEqual([Tick.read, 1, Tick.read, Tick.delivered, 1, 1])
    expect(await chat()).toMatchObject({ unread: 0, last: { body: 'text 11' } })
    await takeHistory(db, bob, [said(5)], true, 'a6')
    expect((await chat()).complete).toBe(true)
    expect((await texts())[0]).toBe('text 5')
  })

  it('is asked for anew when something came in meanwhile, which the page may have with what follows', async () => {
    await takeAll([said(2)])
    expect(await takeHistory(db, bob, [said(1), said(2), said(3)], false, '')).toBeUndefined()
    expect(await texts()).toEqual(['text 2'])
    await takeAll([said(3)])
    await takeHistory(db, bob, [said(1)], true, 'a2')
    expect(await texts()).toEqual(['text 1', 'text 2', 'text 3'])
  })

  it('ends with what went out from here and had no name in the archive: what follows comes in by itself', async () => {
    await send('m2')
    await acknowledge(db, ['m2'], true, 6_000)
    await takeHistory(db, bob, [said(1), mine(2), said(3)], true, '')
    expect(await texts()).toEqual(['text 1', 'body m2'])
    await takeAll([said(3)])
    expect(await texts()).toEqual(['text 1', 'body m2', 'text 3'])
  })
})

describe('history that came for somebody else', () => {
  it('is there to be loaded, whenever it was written', async () => {
    await takeAll([said(10)])
    const c = new Conversation(db, bob)
    await c.open()
    expect(c.exhausted).toBe(true)
    c.apply((await takeHistory(db, bob, [said(8), said(9)], true, 'a10'))!)
    expect(c.exhausted).toBe(false)
    expect(await c.older()).toBe(2)
    expect(c.messages.map((m) => m.body)).toEqual(['text 8', 'text 9', 'text 10'])
    expect(c.exhausted).toBe(true)
  })
})

describe('what is said about a message', () => {
  const about = (n: number, more: Partial<Incoming>): Incoming => said(2000 + n, { body: undefined, markable: false, ...more })

  it('changes it, when its author says so', async () => {
    await takeAll([said(1), said(2), about(1, { replaces: 'm1', body: 'better' }), mine(9, { replaces: 'm2', body: 'forged' })])
    expect(await texts()).toEqual(['better', 'text 2'])
    expect((await rows()).map((m) => m.edited)).toEqual(['m2001', undefined])
    await takeAll([about(2, { retracts: 'm2' }), about(3, { retracts: 'm1', mine: true })])
    expect((await rows()).map((m) => [m.body, m.deleted])).toEqual([['better', undefined], ['', true]])
    await takeAll([about(4, { replaces: 'm2', body: 'again' })])
    expect((await rows())[1]).toMatchObject({ body: '', deleted: true })
    expect((await chat()).last).toMatchObject({ kind: 'deleted', body: '' })
    expect((await chat()).unread).toBe(2)
  })

  it('is what each feels, the newest', async () => {
    await takeAll([said(1), about(1, { reactions: { id: 'm1', emoji: ['👍'] } }), about(2, { reactions: { id: 'm1', emoji: ['❤️'] } })])
    await takeAll([about(3, { mine: true, reactions: { id: 'm1', emoji: ['🎉'] } })])
    expect((await rows())[0]!.reactions).toEqual({ [bob]: ['❤️'], [ME]: ['🎉'] })
    await takeAll([about(4, { reactions: { id: 'm1', emoji: [] } })])
    expect((await rows())[0]!.reactions).toEqual({ [bob]: [], [ME]: ['🎉'] })
  })

  it('waits for a message that is not here yet, whichever way it comes', async () => {
    await takeAll([
      about(1, { replaces: 'm1', body: 'older words' }),
      about(2, { replaces: 'm1', body: 'newer words' }),
      about(3, { reactions: { id: 'm1', emoji: ['👍'] } }),
      about(4, { retracts: 'm2' }),
      about(5, { mine: true, retracts: 'm3' }),
      said(9),
    ])
    await takeHistory(db, bob, [said(1), said(2), said(3), about(6, { reactions: { id: 'm1', emoji: ['😮'] } })], true, 'a9')
    expect((await rows()).map((m) => [m.body, m.deleted ?? false])).toEqual([['newer words', false], ['', true], ['text 3', false], ['text 9', false]])
    expect((await rows())[0]!.reactions).toEqual({ [bob]: ['👍'] })
  })

  it('is styled or not as what was said last wants it', async () => {
    await takeAll([said(1, { unstyled: true }), said(2), said(3, { unstyled: true }), about(1, { replaces: 'm1', body: '*so*' }), about(2, { replaces: 'm2', body: '> _ <', unstyled: true })])
    await takeAll([about(4, { replaces: 'm0', body: 'later', unstyled: true })])
    await takeHistory(db, bob, [said(0)], true, 'a1')
    expect((await rows()).map((m) => m.unstyled ?? false)).toEqual([true, false, true, true])
    await compose(db, bob, { body: '> o <', unstyled: true }, { id: 'u1', frame: '<u/>' }, 5_000)
    const own = (await rows()).at(-1)!
    expect(own.unstyled).toBe(true)
    await act(db, own.key, { kind: 'correct', body: '*o*', mentions: undefined }, { id: 'c1', frame: '<c/>' })
    expect((await rows()).at(-1)!.unstyled).toBeUndefined()
    await refuse(db, 'c1', { condition: 'forbidden', text: '' }, 1)
    expect((await rows()).at(-1)).toMatchObject({ body: '> o <', unstyled: true })
  })

  it('quotes what it answers as we know it', async () => {
    const reply = { id: 'm1', to: bob, text: 'not what was said' }
    await takeAll([said(1), said(2, { reply }), said(3, { reply: { ...reply, id: 'unknown' } })])
    expect((await rows()).map((m) => m.reply?.text)).toEqual([undefined, 'text 1', 'not what was said'])
  })

  it('goes out with a clock, arrives, or is undone when it is refused', async () => {
    await takeAll([said(1)])
    const key = (await rows())[0]!.key
    await send('m1')
    const own = (await rows())[1]!.key
    await act(db, key, { kind: 'react', emoji: ['👍'] }, { id: 'r1', frame: '<r/>' })
    await act(db, own, { kind: 'correct', body: 'other words', mentions: undefined }, { id: 'c1', frame: '<c/>' })
    expect((await rows()).map((m) => [m.acts, m.body])).toEqual([[['r1'], 'text 1'], [['c1'], 'other words']])
    expect((await chat()).last!.body).toBe('other words')
    // What another device of ours did earlier does not win over what is on its way.
    await takeAll([mine(8, { body: undefined, reactions: { id: 'm1', emoji: ['😮'] } })])
    await acknowledge(db, ['m1', 'r1'], true, 1)
    await refuse(db, 'c1', { condition: 'forbidden', text: '' }, 1)
    expect(await db.count('outbox')).toBe(0)
    expect((await rows()).map((m) => [m.acts, m.body, m.undone?.condition])).toEqual([[[], 'text 1', undefined], [[], 'body m1', 'forbidden']])
    expect((await rows())[0]!.reactions).toEqual({ [ME]: ['👍'] })
    expect((await chat()).last!.body).toBe('body m1')
    await act(db, own, { kind: 'retract' }, { id: 'd1', frame: '<d/>' })
    expect((await rows())[1]).toMatchObject({ body: '', deleted: true })
    await refuse(db, 'd1', { condition: 'forbidden', text: '' }, 1)
    expect((await rows())[1]).toMatchObject({ body: 'body m1' })
    expect((await rows())[1]!.deleted).toBeUndefined()
  })

  it('is not garbage when it is encrypted', async () => {
    await takeAll([said(1, { body: undefined, encrypted: 'OMEMO' })])
    expect((await rows())[0]).toMatchObject({ body: '', encrypted: 'OMEMO' })
    expect((await chat()).last).toMatchObject({ kind: 'encrypted' })
    expect((await chat()).unread).toBe(1)
  })
})

describe('groups', () => {
  const room = 'choir@rooms.localhost'
  const [ann, me] = ['ann@localhost', 'me@localhost']
  const heard = (n: number, who: string, more: Partial<Incoming> = {}): Incoming =>
    said(n, { peer: room, from: `${room}/${who}`, mine: who === me, sender: { who, nick: who.slice(0, 3) }, ...more })
  const inRoom = (batch: Incoming[], lastId?: string) => take(db, batch, { lastId, complete: true, receipt: frame('receipt'), now: 9_999_000, group: room })
  const roomRows = () => db.getAllFromIndex('messages', 'pos', IDBKeyRange.bound([room, -Infinity], [room, Infinity]))
  const group = async () => (await db.get('chats', room))!.group!

  beforeEach(async () => {
    const members = [ann, bob, me].map((jid) => ({ jid, nick: jid.slice(0, 3), role: 'member' as const }))
    const known = { description: '', nick: 'me@', occupant: '', role: 'member' as const, announcements: false, invites: true, state: 'in' as const, by: '' }
    await editChat(db, room, (c) => (c.group = { ...known, members, lastId: undefined, mentioned: false, read: {} }))
  })

  it('tick what came back, and put it where the group has it', async () => {
    const sent = await compose(db, room, { body: 'la' }, { id: 'o1', frame: '<f/>' }, 1)
    expect(await db.getAll('outbox')).toMatchObject([{ id: 'o1', group: true }])
    const taken = await inRoom([heard(1, ann), heard(2, me, { originId: 'o1', id: 'o1', body: 'la' })], 'a2')
    expect(taken.settled).toEqual(['o1'])
    expect(await db.count('outbox')).toBe(0)
    expect((await roomRows()).map((m) => [m.body, m.tick, m.from?.who])).toEqual([['text 1', 1, ann], ['la', 1, undefined]])
    expect((await group()).lastId).toBe('a2')
    expect(await db.get('meta', 'sync')).toBeUndefined()
    // Known by the group's name for it from now on.
    await act(db, sent.messages[0]!.key, { kind: 'react', emoji: ['👍'] }, { id: 'o2', frame: '<r/>' })
    await inRoom([heard(3, me, { originId: 'o2', id: 'o2', body: undefined, reactions: { id: 'a2', emoji: ['👍'] } }), heard(4, ann, { body: undefined, reactions: { id: 'a2', emoji: ['👍'] } })])
    expect(await db.count('outbox')).toBe(0)
    expect((await roomRows())[1]).toMatchObject({ acts: [], reactions: { [ME]: ['👍'], [ann]: ['👍'] } })
    expect(frames).toEqual([])
  })

  it('know who has read, and that all have', async () => {
    await inRoom([heard(1, me), heard(2, ann, { callsMe: true })])
    expect((await group()).mentioned).toBe(true)
    const reads = (n: number, who: string, id: string) => heard(n, who, { body: undefined, displayed: id })
    await inRoom([reads(3, ann, 'a1')])
    expect([(await group()).read, (await roomRows())[0]!.tick]).toEqual([{ [ann]: 1 }, Tick.sent])
    await inRoom([reads(4, bob, 'a2')])
    expect([(await group()).read, (await roomRows())[0]!.tick]).toEqual([{ [ann]: 1, [bob]: 2 }, Tick.read])
    await inRoom([reads(5, me, 'a2')])
    expect([(await group()).mentioned, (await db.get('chats', room))!.unread]).toEqual([false, 0])
  })

  it('let nobody change what another said, but admins take it back', async () => {
    await inRoom([heard(1, ann), heard(2, bob, { body: 'forged', replaces: 'm1' }), heard(3, bob, { body: undefined, retracts: 'a1' })])
    expect((await roomRows()).map((m) => [m.body, m.deleted])).toEqual([['text 1', undefined]])
    await inRoom([heard(4, bob, { body: undefined, retracts: 'a1', moderated: true }), heard(5, ann, { body: undefined, retracted: true })])
    expect((await roomRows()).map((m) => [m.body, m.deleted])).toEqual([['', true], ['', true]])
  })
})

describe('finding', () => {
  it('looks for all words, without case and accents, newest first', async () => {
    await takeAll([said(1, { body: 'Le Café bleu' }), said(2, { body: 'nothing' }), said(3, { body: 'blue cafe, BLEU' })])
    expect((await search(db, 'bleu CAFE', 10, () => true)).map((m) => m.id)).toEqual(['m3', 'm1'])
    expect(await search(db, 'bleu', 10, () => false)).toEqual([])
  })

  it('of one conversation are gone through backwards, each once, whatever gaps there are', async () => {
    const tx = db.transaction('messages', 'readwrite')
    const places = [...Array.from({ length: 1_700 }, (_, i) => i - 300), 5_000, 5_001, 9_999, PENDING + 1, PENDING + 2]
    const record = (peer: string, pos: number): Message => ({ peer, pos, out: false, body: pos % 3 ? 'no' : 'Déjà vu', time: pos, tick: Tick.sent, names: [], rev: 1 }) as never
    for (const pos of places.toSorted(() => 0.5 - Math.random())) void tx.store.add(record(bob, pos))
    for (const peer of ['a@a', 'z@z']) void tx.store.add(record(peer, 3))
    await tx.done
    const gone = async (before?: number, after?: number): Promise<number[]> => {
      const found: Message[] = []
      for await (const batch of backwards(db, bob, before, after)) {
        expect(batch.length).toBeLessThanOrEqual(1_000)
        found.push(...batch)
      }
      return found.map((m) => m.pos)
    }
    expect(await gone()).toEqual(places.toReversed())
    expect(await gone(9_999)).toEqual(places.toReversed().filter((p) => p < 9_999))
    expect(await gone(5_001, 1_000)).toEqual(places.toReversed().filter((p) => p > 1_000 && p < 5_001))
    expect(await gone(-300)).toEqual([])
    const says = matching('VU deja')
    expect([says(record(bob, 3)), says(record(bob, 4))]).toEqual([true, false])
  })
})

describe('reading', () => {
  it('is told once, for the last that asked', async () => {
    await takeAll([said(1), said(2)])
    expect((await markRead(db, me, bob, false, read)).queued).toBe(true)
    expect((await markRead(db, me, bob, false, read)).queued).toBe(false)
    expect(frames).toEqual(['displayed bob@localhost m2'])
    expect((await chat()).unread).toBe(0)
    await takeAll([said(3, { markable: false, archiveId: undefined })])
    expect((await markRead(db, me, bob, false, read)).queued).toBe(false)
    expect((await chat()).unread).toBe(0)
    // Who does not ask is not told; our other devices are.
    await takeAll([said(4, { markable: false, archiveId: 'a4' })])
    expect((await markRead(db, me, bob, false, read)).queued).toBe(true)
    expect(frames.at(-1)).toBe('read bob@localhost a4')
  })

  it('holds up to what was seen', async () => {
    await takeAll([...Array.from({ length: 5 }, (_, i) => said(i + 1)), mine(6), ...Array.from({ length: 4 }, (_, i) => said(i + 7))])
    await editChat(db, bob, (c) => Object.assign(c, { unread: 9, readPos: 0 }))
    expect((await markRead(db, me, bob, false, read, 3)).queued).toBe(true)
    expect(await chat()).toMatchObject({ unread: 6, readPos: 3 })
    expect(await markRead(db, me, bob, false, read, 2)).toMatchObject({ queued: false, chats: [await chat()] })
    expect(await chat()).toMatchObject({ unread: 6, readPos: 3 })
    await markRead(db, me, bob, false, read, 7)
    expect(await chat()).toMatchObject({ unread: 3, readPos: 7 })
    await markRead(db, me, bob, false, read)
    expect(await chat()).toMatchObject({ unread: 0, readPos: 10 })
    expect(frames).toEqual(['m3', 'm7', 'm10'].map((id) => `displayed bob@localhost ${id}`))
  })

  it('on another device holds here, by the name in the archive', async () => {
    await takeAll([said(1, { archiveId: 'a1' }), said(2, { archiveId: 'a2' }), said(3, { archiveId: 'a3' })])
    await takeRead(db, bob, 'a2')
    expect((await chat()).unread).toBe(1)
    await takeRead(db, bob, 'a1')
    expect((await chat()).unread).toBe(1)
    await takeRead(db, bob, 'unknown')
    await takeRead(db, bob, 'a3')
    expect((await chat()).unread).toBe(0)
  })
})

describe('the list of chats', () => {
  const listed = (more: Partial<Listed>): Listed => ({ peer: bob, unread: 0, room: false, name: '', last: undefined, settings: {}, ...more })
  const list = (all: Listed[], fill: boolean) => takeList(db, all, { lastId: 'a9', fill, receipt: frame('received'), now: 9_000 })

  it('fills a store that knows nothing: the last of each, and how much is not read', async () => {
    const { queued } = await list([listed({ unread: 3, last: said(7, { asksReceipt: true }), settings: { pinned: 2, muted: { until: undefined } } })], true)
    const c = await chat()
    expect(c).toMatchObject({ unread: 3, complete: false, pinned: 2, muted: { until: undefined } })
    expect(c.tail - c.readPos).toBe(3)
    expect(c.last?.body).toBe(said(7).body)
    expect(queued).toBe(true)
    expect(await getMeta(db, 'sync')).toEqual({ lastId: 'a9' })
    // What comes after it is counted on.
    await takeAll([said(7, { archiveId: 'a7' }), said(8, { archiveId: 'a8' })])
    expect((await chat()).unread).toBe(4)
  })

  it('tells a store that knows what was set for each, and no more', async () => {
    await takeAll([said(1)])
    await list([listed({ unread: 9, last: said(7), settings: { archived: '' } })], false)
    expect(await chat()).toMatchObject({ unread: 1, tail: 1, archivedAt: 1 })
    expect(isArchived(await chat())).toBe(true)
    await takeAll([said(2)])
    expect(isArchived(await chat())).toBe(false)
    await takeSettings(db, bob, { muted: { until: Date.now() + 60_000 }, archived: '' })
    expect([isArchived(await chat()), isMuted(await chat())]).toEqual([true, true])
    expect(isMuted(await chat(), Date.now() + 61_000)).toBe(false)
    await list([], false)
    expect([isArchived(await chat()), isMuted(await chat())]).toEqual([false, false])
  })
})

describe('contacts', () => {
  it('become conversations, and stay when they leave the roster', async () => {
    const contact = { jid: bob, name: 'Bob', subscription: 'both' as const, asked: false }
    await takeContacts(db, [contact], true)
    expect(await chat()).toMatchObject({ name: 'Bob', contact: true, time: 0 })
    expect((await takeContacts(db, [contact], true)).chats).toEqual([])
    await takeContacts(db, [], true)
    expect(await chat()).toMatchObject({ name: 'Bob', contact: false })
  })
})

describe('a conversation on screen', () => {
  it('shows the newest, loads older ones, and follows what is written', async () => {
    await takeAll(Array.from({ length: 200 }, (_, i) => said(i + 1)))
    const c = new Conversation(db, bob)
    await c.open()
    expect([c.messages.length, c.before?.body, c.messages.at(-1)?.body]).toEqual([49, 'text 151', 'text 200'])
    expect(await c.older()).toBe(80)
    expect(c.messages[0]?.body).toBe('text 72')
    while (!c.exhausted) await c.older()
    expect([c.messages.length, c.before]).toEqual([200, undefined])
    c.apply(await send('m1'))
    c.apply(await takeAll([said(201)]))
    c.apply(await acknowledge(db, ['m1'], true, 1))
    expect(c.messages.slice(-3).map((m) => m.body)).toEqual(['text 200', 'text 201', 'body m1'])
    c.apply(await discard(db, c.messages.at(-1)!.key))
    expect(c.messages.length).toBe(201)
  })

  it('shows an answer that comes while the question still waits', async () => {
    const c = new Conversation(db, bob)
    await c.open()
    c.apply(await send('m1'))
    c.apply(await takeAll([said(1)]))
    expect(c.messages.map((m) => m.body)).toEqual(['text 1', 'body m1'])
  })

  it('shows each message once, also when it is written while older ones are read', async () => {
    const c = new Conversation(db, bob)
    const opening = c.open()
    c.apply(await send('m1'))
    await opening
    c.refill()
    const settling = acknowledge(db, ['m1'], true, 1)
    await Promise.all([settling, c.older()])
    expect(c.messages.map((m) => m.body)).toEqual(['body m1'])
    c.apply(await settling)
    expect(c.messages).toMatchObject([{ body: 'body m1', tick: Tick.sent, pos: 1 }])
  })

  it('does not go back when an older write is heard of late', async () => {
    const c = new Conversation(db, bob)
    await c.open()
    const written = structuredClone(await send('m1'))
    c.apply(written)
    c.apply(await acknowledge(db, ['m1'], true, 1))
    c.apply(written)
    expect(c.messages).toMatchObject([{ tick: Tick.sent }])
  })

  const held = (c: Conversation) => [c.before?.body, c.messages[0]?.body, c.messages.at(-1)?.body, c.after?.body]

  it('opens around the first unread when much is, and goes on both ways', async () => {
    await takeAll(Array.from({ length: 300 }, (_, i) => said(i + 1)))
    const ends = await chat()
    const c = new Conversation(db, bob, () => ends)
    await c.open(100)
    expect(held(c)).toEqual(['text 98', 'text 99', 'text 149', 'text 150'])
    // What is said now is far from there; what is beside is followed.
    c.apply(await takeAll([said(301)]))
    c.apply(await send('m1'))
    c.apply(await act(db, c.after!.key, { kind: 'react', emoji: ['👍'] }, { id: 'r1', frame: '<r/>' }))
    expect(held(c)).toEqual(['text 98', 'text 99', 'text 149', 'text 150'])
    expect([c.latest, c.after?.acts]).toEqual([false, ['r1']])
    expect([await c.newer(), await c.older()]).toEqual([79, 80])
    expect([held(c), c.exhausted]).toEqual([['text 18', 'text 19', 'text 228', 'text 229'], false])
    while (!c.latest) await c.newer()
    while (!c.exhausted) await c.older()
    expect(c.messages.map((m) => m.body)).toEqual(await texts())
    c.apply(await takeAll([said(302)]))
    c.apply(await acknowledge(db, ['m1'], true, 1))
    expect(c.messages.slice(-2).map((m) => m.body)).toEqual(['text 302', 'body m1'])

    const near = new Conversation(db, bob, () => ends)
    await near.open(270)
    expect([near.latest, near.messages.at(-1)?.body]).toEqual([true, 'body m1'])
  })

  it('goes to a message and back to the newest, and misses nothing that is written meanwhile', async () => {
    await takeAll(Array.from({ length: 300 }, (_, i) => said(i + 1)))
    const c = new Conversation(db, bob)
    await c.open()
    await c.reach(280)
    expect([c.place, c.messages.length]).toEqual([1, 49])
    await c.reach(20)
    expect([c.place, ...held(c)]).toEqual([2, undefined, 'text 1', 'text 68', 'text 69'])
    c.apply(await send('m1'))
    const going = c.newest()
    const gone = (await rows())[298]!
    for (const write of [() => acknowledge(db, ['m1'], true, 1), () => takeAll([said(301)]), () => discard(db, gone.key)]) c.apply(await write())
    await going
    expect(c.messages.slice(-4).map((m) => [m.body, m.tick])).toEqual([['text 298', 1], ['text 300', 1], ['body m1', Tick.sent], ['text 301', 1]])
    expect(c.latest).toBe(true)
  })

  it('leaves what is older alone', async () => {
    await takeAll(Array.from({ length: 120 }, (_, i) => said(i + 1)))
    const d = new Conversation(db, bob)
    await d.open()
    const old = (await rows())[3]!
    d.apply({ messages: [old], removed: [], chats: [] })
    expect(d.messages.includes(old)).toBe(false)
  })
})

describe('reading by positions', () => {
  it('finds the same as walking, with what waits and across gaps', async () => {
    await takeAll(Array.from({ length: 150 }, (_, i) => said(i + 1)))
    await takeHistory(db, bob, Array.from({ length: 60 }, (_, i) => said(2000 + i)), false, 'a1')
    await discard(db, (await rows())[100]!.key)
    for (const id of ['w1', 'w2']) await send(id)
    const ends = await chat()
    const walked = new Conversation(db, bob)
    const jumped = new Conversation(db, bob, () => ends)
    for (const c of [walked, jumped]) {
      await c.open()
      while (!c.exhausted) await c.older()
      expect(c.messages.map((m) => m.body)).toEqual(await texts())
    }
    expect(jumped.messages.length).toBe(211)
  })
})

describe('files', () => {
  const file = { name: 'hill.jpg', type: 'image/jpeg', size: 3, inline: true, url: 'https://x.test/upload/a/hill.jpg' }

  it('come with messages, stand in the list, and go when they are taken back', async () => {
    await takeAll([said(1, { body: '', file })])
    expect((await rows())[0]).toMatchObject({ body: '', file })
    expect((await chat()).last).toMatchObject({ body: '', file: { name: 'hill.jpg', type: 'image/jpeg' } })
    await takeAll([said(2, { body: 'nice', reply: { id: 'm1', to: bob, text: '' } })])
    expect((await rows())[1]!.reply!.text).toBe('hill.jpg')
    const [{ key }] = (await rows()) as [Message]
    await db.put('files', { key, data: new Blob(['abc']), size: 3, used: 1 })
    expect((await search(db, 'hill', 10, () => true)).length).toBe(1)
    await takeAll([said(3, { body: undefined, retracts: 'm1' })])
    expect((await rows())[0]!.file).toBeUndefined()
    expect(await db.count('files')).toBe(0)
  })

  it('of history come too', async () => {
    await takeHistory(db, bob, [said(5, { body: '', file })], true, '')
    expect((await rows())[0]).toMatchObject({ file })
  })
})
