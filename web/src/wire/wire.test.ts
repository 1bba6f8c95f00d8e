// SPDX-License-Identifier: Apache-2.0

import { describe, expect, it } from 'vitest'
import { backoff } from './backoff'
import { encode64 } from './base64'
import { Counters } from './counters'
import { readHostMeta } from './discover'
import { conversation, person, readAddress } from './jid'
import { buildChatState, readChatState } from './chatstate'
import { buildChat, buildReactions, buildReceipt, buildRetract } from './compose'
import { readMessage, readResult } from './message'
import { NS } from './ns'
import { readBookmark } from './pep'
import { readPictureHash } from './profile'
import { readRoomMessage, readRoomPresence, readRoomResult } from './room'
import { Scram } from './scram'
import { parseXml } from './parse'

const utf8 = (s: string): string => encode64(new TextEncoder().encode(s))

describe('SCRAM-SHA-256', () => {
  // RFC 7677 §3.
  const scram = (): Scram => new Scram('user', 'pencil', 'rOprNGfwEbeRWgbNEkqO')
  const challenge = utf8('r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096')

  it('speaks the conversation of the specification', async () => {
    const s = scram()
    expect(s.first()).toBe(utf8('n,,n=user,r=rOprNGfwEbeRWgbNEkqO'))
    expect(await s.respond(challenge)).toBe(
      utf8(
        'c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=',
      ),
    )
    s.verify(utf8('v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4='))
  })

  it('does not believe a server that does not prove itself', async () => {
    const s = scram()
    expect(() => s.verify(utf8('v=x'))).toThrow()
    await s.respond(challenge)
    expect(() => s.verify(utf8('v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G5='))).toThrow()
    expect(() => s.verify('')).toThrow()
  })

  it.each([
    ['another nonce', 'r=other,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096'],
    ['our nonce only', 'r=rOprNGfwEbeRWgbNEkqO,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096'],
    ['too few iterations', 'r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=1'],
    ['too many iterations', 'r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=100000000'],
    ['an extension that must be understood', 'm=x,r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096'],
  ])('refuses %s', async (_what, message) => {
    await expect(scram().respond(utf8(message))).rejects.toThrow()
  })
})

describe('counters', () => {
  it('give back what an acknowledgement newly covers', () => {
    const c = new Counters()
    c.sent('a', 'A')
    c.sent('b', undefined)
    c.sent('c', 'C')
    expect(c.ack(2)).toEqual(['A'])
    expect(c.ack(2)).toEqual([])
    expect(c.unacked().map((s) => s.frame)).toEqual(['c'])
    expect(c.ack(3)).toEqual(['C'])
  })

  it('refuse an acknowledgement of what was never sent, or that goes back', () => {
    const c = new Counters()
    c.sent('a', 'A')
    expect(c.ack(2)).toBeUndefined()
    expect(c.ack(NaN)).toBeUndefined()
    expect(c.ack(1)).toEqual(['A'])
    expect(c.ack(0)).toBeUndefined()
  })

  it('wrap at 2^32', () => {
    const c = new Counters()
    c.received(2 ** 32 - 1)
    c.received(2)
    expect(c.handled).toBe(1)
  })
})

describe('addresses', () => {
  it.each([
    ['bob', 'bob@home'],
    ['Bob', 'bob@home'],
    ['  bob@Elsewhere.example ', 'bob@elsewhere.example'],
    ['xmpp:bob@localhost', 'bob@localhost'],
    ['xmpp:bob@localhost?message;body=hi', 'bob@localhost'],
    ['http://localhost:5280/c/bob@localhost', 'bob@localhost'],
    ['https://chat.example.org/c/bob%40localhost', 'bob@localhost'],
    ['/c/bob@localhost', 'bob@localhost'],
    ['bob@localhost/phone', 'bob@localhost'],
    ['zoë@localhost', 'zoë@localhost'],
  ])('understands %s', (typed, jid) => {
    expect(readAddress(typed, 'home')).toBe(jid)
  })

  it.each(['', ' ', '@', 'a@', '@b', 'a b', 'a@b c', 'a@@b', 'https://example.org/', 'a<b@c', 'a@-b'])('does not understand %j', (typed) => {
    expect(readAddress(typed, 'home')).toBeUndefined()
  })

  it('are compared in lower case', () => {
    expect(person('Alice@LocalHost')).toBe('alice@localhost')
  })
})

describe('messages', () => {
  const me = 'me@localhost'

  it('that were built can be read', () => {
    const m = readMessage(parseXml(buildChat('bob@localhost', 'id1', { body: 'a < b\n😀' })), me)
    expect(m).toMatchObject({
      peer: 'bob@localhost',
      mine: true,
      id: 'id1',
      originId: 'id1',
      body: 'a < b\n😀',
      asksReceipt: true,
      markable: true,
      chatState: 'active',
    })
    expect(readMessage(parseXml(buildReceipt('bob@localhost', 'id2', 'id1')), me)).toMatchObject({ received: 'id1', body: undefined })
  })

  it('say what they answer, feel, change and take back', () => {
    const read = (frame: string) => readMessage(parseXml(frame), me)
    const reply = { id: 'm1', to: 'bob@localhost', text: 'first 😀\nsecond' }
    const mentions = [{ begin: 3, end: 7, jid: 'ann@localhost' }]
    const answer = buildChat('bob@localhost', 'a1', { body: '😀, @Ann!', reply, mentions })
    expect(read(answer)?.unstyled).toBeUndefined()
    expect(read(buildChat('bob@localhost', 'a2', { body: '> _ <', unstyled: true }))).toMatchObject({ body: '> _ <', unstyled: true })
    expect(parseXml(answer).childText('body')).toBe('> first 😀\n> second\n😀, @Ann!')
    expect(read(answer)).toMatchObject({ body: '😀, @Ann!', reply, mentions })
    expect(read(buildChat('bob@localhost', 'c1', { body: 'right', replaces: 'm1' }))).toMatchObject({ body: 'right', replaces: 'm1', asksReceipt: false })
    expect(read(buildReactions('bob@localhost', 'r1', false, 'm1', ['👍']))).toMatchObject({ reactions: { id: 'm1', emoji: ['👍'] }, body: undefined })
    expect(read(buildRetract('bob@localhost', 'd1', false, 'm1', 'gone'))).toMatchObject({ retracts: 'm1', body: undefined })
  })

  it('of others may quote as they like', () => {
    const said = (inner: string) => readMessage(parseXml(`<message xmlns='jabber:client' type='chat' from='bob@localhost/x' to='${me}'>${inner}</message>`), me)
    const fallback = (start: string, end: string) =>
      `<body>&gt; a\nb</body><reply xmlns='urn:xmpp:reply:0' id='m1'/><fallback xmlns='urn:xmpp:fallback:0' for='urn:xmpp:reply:0'><body start='${start}' end='${end}'/></fallback>`
    expect(said(fallback('0', '4'))).toMatchObject({ body: 'b', reply: { id: 'm1', to: '', text: 'a' } })
    for (const [start, end] of [['0', '99'], ['2', '4'], ['x', ''], ['0', '-1']]) expect(said(fallback(start!, end!))).toMatchObject({ body: '> a\nb', reply: { text: '' } })
    expect(said(`<reactions xmlns='urn:xmpp:reactions:0' id='m1'>${'<reaction>x</reaction>'.repeat(20)}<reaction> </reaction></reactions>`)).toMatchObject({ reactions: { emoji: ['x'] } })
  })

  it('that others encrypted are not shown as something else', () => {
    const said = (inner: string) => readMessage(parseXml(`<message xmlns='jabber:client' type='chat' from='bob@localhost/x' to='${me}'>${inner}</message>`), me)
    const omemo = `<encrypted xmlns='eu.siacs.conversations.axolotl'><header sid='1'/><payload>x</payload></encrypted>`
    expect(said(`${omemo}<body>I sent you an OMEMO encrypted message</body>`)).toMatchObject({ encrypted: 'OMEMO', body: undefined })
    expect(said(`<encryption xmlns='urn:xmpp:eme:0' namespace='urn:odd' name='Odd'/><body>garbage</body>`)).toMatchObject({ encrypted: 'Odd', body: undefined })
    expect(said(omemo.replace(/<payload.*payload>/, ''))?.encrypted).toBeUndefined()
  })

  it('take their archive id only from our own archive', () => {
    const m = parseXml(
      `<message xmlns='jabber:client' from='bob@localhost/x' to='me@localhost' type='chat'><body>hi</body>` +
        `<stanza-id xmlns='urn:xmpp:sid:0' by='bob@localhost' id='forged'/><stanza-id xmlns='urn:xmpp:sid:0' by='me@localhost' id='true'/></message>`,
    )
    expect(readMessage(m, me)?.archiveId).toBe('true')
  })

  const carbon = (from: string, kind: string, inner: string): string =>
    `<message xmlns='jabber:client' from='${from}' to='me@localhost/here'><${kind} xmlns='urn:xmpp:carbons:2'>` +
    `<forwarded xmlns='urn:xmpp:forward:0'>${inner}</forwarded></${kind}></message>`
  const sent = `<message xmlns='jabber:client' from='me@localhost/phone' to='bob@localhost' type='chat'><body>from my phone</body></message>`

  it('come as carbons of what another device sent and received', () => {
    expect(readMessage(parseXml(carbon(me, 'sent', sent)), me)).toMatchObject({ peer: 'bob@localhost', mine: true, body: 'from my phone' })
    const received = sent.replace('me@localhost/phone', 'bob@localhost/x').replace("to='bob@localhost'", "to='me@localhost/phone'")
    expect(readMessage(parseXml(carbon(me, 'received', received)), me)).toMatchObject({ peer: 'bob@localhost', mine: false })
  })

  // Threat: forged carbons.
  it('are not believed as carbons from anybody else, or about anybody else', () => {
    expect(readMessage(parseXml(carbon('eve@localhost', 'sent', sent)), me)?.body).toBeUndefined()
    const others = sent.replace('me@localhost/phone', 'carol@localhost')
    expect(readMessage(parseXml(carbon(me, 'sent', others)), me)).toBeUndefined()
  })

  it('that somebody in a group writes privately are a conversation of their own', () => {
    const bob = 'r@muc/Bob'
    const own = buildChat(bob, 'id1', { body: 'psst' })
    expect(parseXml(own).child('x', 'http://jabber.org/protocol/muc#user')).toBeDefined()
    expect(parseXml(buildChat('bob@localhost', 'id1', { body: 'x' })).child('x', 'http://jabber.org/protocol/muc#user')).toBeUndefined()
    const said = (x: string): string => `<message xmlns='jabber:client' type='chat' from='${bob}' to='${me}'><body>psst</body>${x}</message>`
    const mark = `<x xmlns='http://jabber.org/protocol/muc#user'/>`
    expect(readMessage(parseXml(said(mark)), me)).toMatchObject({ peer: bob, mine: false, body: 'psst' })
    const sent = own.replace('<message', `<message from='${me}/phone'`)
    expect(readMessage(parseXml(carbon(me, 'sent', sent)), me)).toMatchObject({ peer: bob, mine: true, body: 'psst' })
    // What the group itself tells somebody is no message of anybody.
    expect(readMessage(parseXml(said(`<x xmlns='http://jabber.org/protocol/muc#user'><decline from='bob@localhost'/></x>`)), me)).toBeUndefined()
    expect(conversation('R@muc/Bob')).toBe('r@muc/Bob')
    expect(conversation('not an address/Bob')).toBeUndefined()
  })

  it('of rooms and headlines are left to others', () => {
    expect(readMessage(parseXml(`<message xmlns='jabber:client' from='r@muc' type='groupchat'><body>x</body></message>`), me)).toBeUndefined()
  })

  it('out of the archive carry its id and time', () => {
    const result = parseXml(
      `<result xmlns='urn:xmpp:mam:2' queryid='q' id='a1'><forwarded xmlns='urn:xmpp:forward:0'>` +
        `<delay xmlns='urn:xmpp:delay' stamp='2026-01-02T03:04:05Z'/>` +
        `<message xmlns='jabber:client' from='bob@localhost/x' to='me@localhost' type='chat' id='m1'><body>hi</body></message></forwarded></result>`,
    )
    expect(readResult(result, me)).toMatchObject({ archiveId: 'a1', stamp: Date.UTC(2026, 0, 2, 3, 4, 5), id: 'm1' })
  })

  // Threat: forged delays.
  it('believe only our own server about delays', () => {
    const m = (from: string): string =>
      `<message xmlns='jabber:client' from='bob@localhost/x' type='chat'><body>x</body><delay xmlns='urn:xmpp:delay' from='${from}' stamp='2020-01-01T00:00:00Z'/></message>`
    expect(readMessage(parseXml(m('bob@localhost')), me)?.stamp).toBeUndefined()
    expect(readMessage(parseXml(m('localhost')), me)?.stamp).toBe(Date.UTC(2020, 0, 1))
  })
})

describe('discovery', () => {
  const links = (...hrefs: string[]): unknown => ({
    links: [...hrefs.map((href) => ({ rel: 'urn:xmpp:alt-connections:websocket', href })), { rel: 'lrdd', href: 'wss://no' }, null, 3],
  })

  it('reads WebSocket addresses in their order', () => {
    expect(readHostMeta(links('wss://b/x', 'ws://a/x', 'wss://b/x', 'https://c', 'nonsense'), false)).toEqual(['wss://b/x', 'ws://a/x'])
    expect(readHostMeta(links('wss://b/x', 'ws://a/x'), true)).toEqual(['wss://b/x'])
    expect(readHostMeta(undefined, true)).toEqual([])
  })
})

describe('backoff', () => {
  it('stays within 2 s at first while watched, and within 30 s always', () => {
    for (let attempt = 1; attempt < 40; attempt++) {
      expect(backoff(attempt, 5_000, true, () => 0.999)).toBeLessThanOrEqual(2_000)
      expect(backoff(attempt, 60_000, true, () => 0.999)).toBeLessThanOrEqual(30_000)
      expect(backoff(attempt, 0, false, () => 0.999)).toBeLessThanOrEqual(30_000)
      expect(backoff(attempt, 0, false, () => 0)).toBe(0)
    }
  })
})

describe('rooms', () => {
  const [me, room] = ['me@localhost', 'choir@rooms.localhost']
  const who = (nick: string): string => (nick === 'Me' ? me : `${nick.toLowerCase()}@localhost`)

  it('say who said it, not who claims to have', () => {
    const x = `<x xmlns='http://jabber.org/protocol/muc#user'><item jid='ann@localhost/x'/></x>`
    const m = parseXml(
      `<message xmlns='jabber:client' type='groupchat' from='${room}/Bob' id='1'><body>la</body>` +
        `<stanza-id xmlns='urn:xmpp:sid:0' by='mallory@localhost' id='forged'/><stanza-id xmlns='urn:xmpp:sid:0' by='${room}' id='s1'/></message>`,
    )
    expect(readRoomMessage(m, me, who)).toMatchObject({ peer: room, mine: false, sender: { who: 'bob@localhost', nick: 'Bob' }, archiveId: 's1', asksReceipt: false })
    const archived = parseXml(
      `<result xmlns='urn:xmpp:mam:2' id='s2'><forwarded xmlns='urn:xmpp:forward:0'><delay xmlns='urn:xmpp:delay' stamp='2026-01-01T00:00:00Z'/>` +
        `<message xmlns='jabber:client' type='groupchat' from='${room}/Me'><body>la</body>${x}</message></forwarded></result>`,
    )
    expect(readRoomResult(archived, me, who)).toMatchObject({ sender: { who: 'ann@localhost', nick: 'Me' }, mine: false, archiveId: 's2', stamp: 1767225600000 })
    // Whoever is named by what they are called there is meant as well.
    const called = (jid: string, mine = 'Ann?') => {
      const frame = buildChat(room, 'n1', { body: 'hi @x', group: true, mentions: [{ begin: 3, end: 5, jid }] }).replace('<message', `<message from='${room}/Bob'`)
      return readRoomMessage(parseXml(frame), me, (nick) => (nick === mine ? me : nick))
    }
    expect(called(me)?.callsMe).toBe(true)
    expect(called(`${room}/Ann?`)).toMatchObject({ callsMe: true, mentions: [{ begin: 3, end: 5, jid: `${room}/Ann?` }] })
    for (const nick of ['a b', 'ä/#%25&=', '100 %']) expect(called(`${room}/${nick}`, nick)?.callsMe).toBe(true)
    for (const jid of [`${room}/Bob`, room, 'other@rooms.localhost/Ann?']) expect(called(jid)?.callsMe).toBeUndefined()
    expect(readRoomMessage(parseXml(`<message xmlns='jabber:client' type='chat' from='${room}/Bob'><body>psst</body></message>`), me, who)).toBeUndefined()
  })

  it('take back through an admin only when the room itself says so', () => {
    const retract = `<retract xmlns='urn:xmpp:message-retract:1' id='s1'><moderated xmlns='urn:xmpp:message-moderate:1' by='${room}/Ann'/></retract>`
    const from = (f: string) => readRoomMessage(parseXml(`<message xmlns='jabber:client' type='groupchat' from='${f}'>${retract}</message>`), me, who)
    expect([from(room)?.moderated, from(`${room}/Bob`)?.moderated]).toEqual([true, undefined])
  })

  it('tell who comes, who we are, and why we may not', () => {
    const presence = (inner: string, attrs = '') => readRoomPresence(parseXml(`<presence xmlns='jabber:client' from='${room}/Me' ${attrs}>${inner}</presence>`))
    const x = `<x xmlns='http://jabber.org/protocol/muc#user'><item affiliation='owner' role='moderator' jid='${me}/x'/><status code='110'/><status code='201'/></x>`
    expect(presence(`<occupant-id xmlns='urn:xmpp:occupant-id:0' id='o'/>${x}`)).toMatchObject({ self: true, present: true, affiliation: 'owner', jid: me, occupant: 'o', codes: [110, 201] })
    const error = `<error type='cancel'><conflict xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>`
    expect(presence(error, `type='error'`)).toMatchObject({ error: 'conflict', present: false })
    expect(presence('')).toBeUndefined()
  })

  it('are bookmarked for all devices', () => {
    const item = (inner: string) => readBookmark(parseXml(`<item xmlns='http://jabber.org/protocol/pubsub' id='${room}'>${inner}</item>`))
    expect(item(`<conference xmlns='urn:xmpp:bookmarks:1' name='Choir' autojoin='true'><nick>Me</nick></conference>`)).toEqual({ room, name: 'Choir', nick: 'Me', autojoin: true })
    expect(item(`<x xmlns='y'/>`)).toBeUndefined()
  })
})

describe('pictures', () => {
  it('are those that they claim to be, and nothing but pictures', () => {
    const item = (info: string) => readPictureHash(parseXml(`<item xmlns='http://jabber.org/protocol/pubsub'><metadata xmlns='urn:xmpp:avatar:metadata'>${info}</metadata></item>`))
    expect(item(`<info id='abc' type='image/png' bytes='1'/>`)).toEqual({ hash: 'abc', type: 'image/png' })
    expect(item('')?.hash).toBe('')
    expect(item(`<info id='abc' url='https://spy.example/x'/>`)?.hash).toBe('')
  })
})

describe('chat states', () => {
  it('who records a voice message is composing to clients that know only that', () => {
    const el = parseXml(buildChatState('bob@localhost', 'recording'))
    expect(el.child('composing', NS.chatStates)).toBeDefined()
    expect(readChatState(el)).toBe('recording')
    expect(readChatState(parseXml(buildChatState('bob@localhost', 'composing')))).toBe('composing')
    expect(readChatState(parseXml(buildChatState('bob@localhost', 'paused')))).toBe('paused')
  })
})
