// SPDX-License-Identifier: Apache-2.0

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { StanzaError } from './errors'
import { Link, type LinkOptions, type LinkState } from './link'
import type { Credentials } from './negotiate'
import { NS } from './ns'
import type { Session } from './session'
import { Network, type Peer } from './testing'
import type { Token } from './token'
import { xml, type XmlElement } from './xml'

const account = 'me@localhost'

class Harness {
  network = new Network()
  states: LinkState[] = []
  sessions: { session: Session; resumed: boolean }[] = []
  stanzas: XmlElement[] = []
  acked: string[] = []
  refused: [string, StanzaError][] = []
  online = true
  credentials: Credentials = { jid: account, secret: { kind: 'password', secret: 'secret' }, device: { id: 'd1', software: 's', device: 'd' } }
  kept: Token[] = []
  store: () => Promise<void> = () => Promise.resolve()
  link: Link

  constructor(options: Partial<LinkOptions> = {}) {
    this.link = new Link({
      account,
      credentials: () => Promise.resolve(this.credentials),
      keep: (token) => {
        this.kept.push(token)
        return Promise.resolve()
      },
      resource: 'test',
      addresses: () => ['ws://a', 'ws://b'],
      dial: this.network.dial,
      online: () => this.online,
      watched: () => true,
      random: () => 0.5,
      state: (s) => this.states.push(s),
      session: (session, resumed) => this.sessions.push({ session, resumed }),
      stanzas: async (batch) => {
        await this.store()
        this.stanzas.push(...batch)
      },
      refused: (id, error) => this.refused.push([id, error]),
      acked: (tags) => this.acked.push(...tags),
      ...options,
    })
  }

  async live(): Promise<{ peer: Peer; session: Session }> {
    this.link.start()
    const peer = await this.network.next()
    await peer.letIn('secret')
    await peer.bindAndEnable(account, { id: 'sm1', resume: 'true' })
    await vi.waitFor(() => expect(this.link.state.kind).toBe('live'))
    return { peer, session: this.sessions.at(-1)!.session }
  }

  state(kind: LinkState['kind']): Promise<void> {
    return vi.waitFor(() => expect(this.link.state.kind).toBe(kind))
  }
}

const message = (id: string): string => `<message xmlns='jabber:client' to='bob@localhost' id='${id}'/>`
const ack = (h: number): XmlElement => xml('a', { xmlns: NS.sm, h: String(h) })
const inbound = (id: string): string => `<message xmlns='jabber:client' from='bob@localhost/x' id='${id}' type='chat'/>`

describe('a link', () => {
  let h: Harness
  beforeEach(() => {
    vi.useFakeTimers({ shouldAdvanceTime: true })
    h = new Harness()
  })
  afterEach(() => {
    h.link.stop()
    vi.useRealTimers()
  })

  it('logs in, binds and enables stream management', async () => {
    const { session } = await h.live()
    expect(session.jid).toBe('me@localhost/test')
    expect(h.sessions).toMatchObject([{ resumed: false }])
    expect(h.states.map((s) => s.kind)).toEqual(['connecting', 'live'])
  })

  it('tells what was acknowledged, and asks', async () => {
    const { peer, session } = await h.live()
    session.send(message('1'), 'one')
    session.send(message('2'))
    session.send(message('3'), 'three')
    session.askAck()
    await peer.expect('r', NS.sm)
    peer.say(ack(1))
    expect(h.acked).toEqual(['one'])
    peer.say(ack(3))
    expect(h.acked).toEqual(['one', 'three'])
  })

  it('hears of a refusal before the acknowledgement that covers it', async () => {
    const { peer, session } = await h.live()
    session.send(message('1'), '1')
    const order: string[] = []
    h.refused.push = (...items) => order.push(...items.map(([id, e]) => `refused ${id} ${e.condition}`))
    h.acked.push = (...items) => order.push(...items.map((t) => `acked ${t}`))
    peer.say(
      `<message xmlns='jabber:client' type='error' id='1'><error type='cancel'><forbidden xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>`,
    )
    peer.say(ack(1))
    expect(order).toEqual(['refused 1 forbidden', 'acked 1'])
  })

  it('counts a stanza as handled only when it is stored', async () => {
    const { peer } = await h.live()
    let stored!: () => void
    h.store = () => new Promise((resolve) => (stored = resolve))
    peer.say(inbound('1'))
    peer.say(inbound('2'))
    peer.say(xml('r', { xmlns: NS.sm }))
    await vi.waitFor(() => expect(stored).toBeDefined())
    const answer = peer.expect('a', NS.sm)
    stored()
    expect((await answer).attr('h')).toBe('2')
    expect(h.stanzas.map((s) => s.attr('id'))).toEqual(['1', '2'])
  })

  it('resumes, sends again what was not acknowledged, and goes on counting', async () => {
    const { peer, session } = await h.live()
    peer.say(inbound('in1'))
    session.send(message('1'), 'one')
    session.send(message('2'), 'two')
    await vi.waitFor(() => expect(h.stanzas.length).toBe(1))
    peer.cut()
    const second = await h.network.next()
    await second.letIn('secret')
    const resume = await second.expect('resume', NS.sm)
    expect([resume.attr('previd'), resume.attr('h')]).toEqual(['sm1', '1'])
    second.say(xml('resumed', { xmlns: NS.sm, previd: 'sm1', h: '1' }))
    expect((await second.expect('message')).attr('id')).toBe('2')
    await second.expect('r', NS.sm)
    expect(h.acked).toEqual(['one'])
    second.say(inbound('in2'))
    second.say(xml('r', { xmlns: NS.sm }))
    expect((await second.expect('a', NS.sm)).attr('h')).toBe('2')
    session.send(message('3'), 'three')
    second.say(ack(3))
    expect(h.acked).toEqual(['one', 'two', 'three'])
    expect(h.sessions.map((s) => s.resumed)).toEqual([false, true])
  })

  it('begins anew when it cannot resume, and believes how far the server says it was', async () => {
    const { peer, session } = await h.live()
    session.send(message('1'), 'one')
    session.send(message('2'), 'two')
    const request = session.ask('get', xml('query', { xmlns: NS.roster }))
    peer.cut()
    const second = await h.network.next()
    await second.letIn('secret')
    await second.expect('resume', NS.sm)
    second.say(xml('failed', { xmlns: NS.sm, h: '1' }))
    await second.bindAndEnable(account, { id: 'sm2', resume: 'true' })
    await h.state('live')
    await expect(request).rejects.toThrow()
    expect(h.acked).toEqual(['one'])
    expect(h.sessions.map((s) => s.resumed)).toEqual([false, false])
    expect(session.send(message('3'))).toBe(false)
  })

  it('does not resume when something could not be stored', async () => {
    const { peer } = await h.live()
    h.store = () => Promise.reject(new Error('disk full'))
    peer.say(inbound('1'))
    const second = await h.network.next()
    await second.letIn('secret')
    expect((await second.read()).child('bind', NS.bind)).toBeDefined()
  })

  it('tries the addresses in turn, waits longer each time, and says why', async () => {
    h.network.down = true
    h.link.start()
    await h.state('waiting')
    expect(h.link.state).toMatchObject({ problem: 'unreachable' })
    h.online = false
    h.link.nudge()
    await vi.waitFor(() => expect(h.link.state).toMatchObject({ kind: 'waiting', problem: 'offline' }))
    h.online = true
    h.network.down = false
    h.link.nudge()
    const peer = await h.network.next()
    expect(peer.address).toBe('ws://a')
    expect(h.network.dialled).toBe(3)
  })

  it('after a long outage comes back as soon as the server is seen to be there, while somebody looks', async () => {
    let there = false
    let asked = 0
    let watched = false
    const probe = (): Promise<boolean> => Promise.resolve((asked++, there))
    const long = new Harness({ probe, watched: () => watched, random: () => 0.9 })
    long.network.down = true
    long.link.start()
    await long.state('waiting')
    await vi.advanceTimersByTimeAsync(120_000)
    expect(asked).toBe(0) // nobody looks
    watched = true
    await vi.advanceTimersByTimeAsync(60_000)
    expect(asked).toBeGreaterThan(20)
    const { dialled } = long.network
    await vi.advanceTimersByTimeAsync(60_000)
    expect(long.network.dialled - dialled).toBeLessThan(5) // questions, not attempts
    // It says that it is there, and takes nobody: attempts do not come closer together for ever.
    there = true
    await vi.advanceTimersByTimeAsync(30_000)
    const close = long.network.dialled
    await vi.advanceTimersByTimeAsync(60_000)
    expect(long.network.dialled - close).toBeLessThan(5)
    long.link.stop()

    const soon = new Harness({ probe, watched: () => true, random: () => 0.9 })
    there = false
    soon.network.down = true
    soon.link.start()
    await vi.advanceTimersByTimeAsync(200_000)
    await soon.state('waiting')
    soon.network.down = false
    there = true
    await vi.advanceTimersByTimeAsync(1_500)
    await vi.waitFor(() => expect(soon.link.state.kind).toBe('connecting'))
    soon.link.stop()
  })

  it('leaves a server alone that asked it to wait, until a person says otherwise', async () => {
    let asked = 0
    const busy = new Harness({ probe: () => Promise.resolve((asked++, true)), random: () => 1 })
    const { peer } = await busy.live()
    peer.say(xml('error', { xmlns: NS.stream }, xml('resource-constraint', { xmlns: NS.streamError })))
    await busy.state('waiting')
    expect(busy.link.state).toMatchObject({ problem: 'overloaded' })
    busy.link.nudge()
    await vi.advanceTimersByTimeAsync(5_000)
    expect([busy.network.dialled, asked]).toEqual([1, 0])
    busy.link.retry()
    await busy.network.next()
    busy.link.stop()
  })

  it('stops when the server refuses the password, until told to try again', async () => {
    h.link.start()
    const peer = await h.network.next()
    await peer.open(xml('mechanisms', { xmlns: NS.sasl }, xml('mechanism', {}, 'SCRAM-SHA-256')))
    await peer.expect('auth', NS.sasl)
    peer.say(xml('failure', { xmlns: NS.sasl }, xml('not-authorized')))
    await h.state('stopped')
    expect(h.link.state).toMatchObject({ reason: 'credentials' })
    h.link.nudge()
    expect(h.network.dialled).toBe(1)
    h.link.retry()
    await h.network.next()
  })

  it('does not fight with another device over the session', async () => {
    const { peer } = await h.live()
    peer.say(xml('error', { xmlns: NS.stream }, xml('conflict', { xmlns: NS.streamError })))
    await h.state('stopped')
    expect(h.link.state).toMatchObject({ reason: 'conflict' })
    expect(h.network.dialled).toBe(1)
  })

  it('finds out that a connection is dead', async () => {
    await h.live()
    await vi.advanceTimersByTimeAsync(31_000) // silent: asks
    await vi.advanceTimersByTimeAsync(13_000) // no answer
    const second = await h.network.next()
    expect(second.address).toBe('ws://b')
  })

  it('does not wait long for a node that hangs, where there are others and it was fast until then', async () => {
    const { peer, session } = await h.live()
    const asked = async (answer?: XmlElement): Promise<void> => {
      session.askAck()
      await peer.expect('r', NS.sm)
      if (answer) peer.say(answer)
    }
    await asked(ack(0))
    await asked()
    await vi.advanceTimersByTimeAsync(2_800)
    expect(h.network.dialled).toBe(1)
    peer.say(inbound('1')) // it lives
    await vi.advanceTimersByTimeAsync(2_800)
    expect(h.network.dialled).toBe(1)
    await vi.advanceTimersByTimeAsync(1_200)
    const second = await h.network.next()
    expect(second.address).toBe('ws://b')
    await second.letIn('secret') // it is resumed there, but slowly
    const resume = await second.expect('resume', NS.sm)
    second.say(xml('resumed', { xmlns: NS.sm, previd: resume.attr('previd'), h: '0' }))
    await h.state('live')
    session.askAck()
    await vi.advanceTimersByTimeAsync(9_000)
    second.say(ack(0))
    session.askAck()
    await vi.advanceTimersByTimeAsync(9_000)
    expect(h.network.dialled).toBe(2)
    await vi.advanceTimersByTimeAsync(2_000)
    expect((await h.network.next()).address).toBe('ws://a')
  })

  it('gives the only way in its time', async () => {
    const alone = new Harness({ addresses: () => ['ws://a'] })
    const { peer, session } = await alone.live()
    session.askAck()
    await peer.expect('r', NS.sm)
    peer.say(ack(0))
    session.askAck()
    await vi.advanceTimersByTimeAsync(9_500)
    expect(alone.network.dialled).toBe(1)
    await vi.advanceTimersByTimeAsync(1_600)
    await alone.network.next()
    alone.link.stop()
  })

  it('asks whether a node still lives that leaves a request unanswered', async () => {
    const { peer, session } = await h.live()
    void session.ask('get', xml('ping', { xmlns: NS.ping })).catch(() => undefined)
    await peer.expect('iq')
    await vi.advanceTimersByTimeAsync(3_100)
    await peer.expect('r', NS.sm)
  })

  it('tries another way in when the first does not answer, sooner than where there is none', async () => {
    h.link.start()
    const first = await h.network.next()
    await vi.advanceTimersByTimeAsync(4_200)
    const second = await h.network.next()
    expect([first.address, second.address]).toEqual(['ws://a', 'ws://b'])
    await vi.advanceTimersByTimeAsync(7_000)
    expect(h.network.dialled).toBe(2)
  })

  it('waits less for one that hangs, and longer each time: a network may be that slow', async () => {
    h.network.frozen = true
    h.link.start()
    expect((await h.network.next()).address).toBe('ws://a')
    for (const [connects, next] of [[2_000, 'ws://b'], [2_000, 'ws://a'], [4_000, 'ws://b']] as const) {
      const before = h.network.dialled
      await vi.advanceTimersByTimeAsync(connects - 300)
      expect(h.network.dialled).toBe(before)
      await vi.advanceTimersByTimeAsync(1_500)
      expect((await h.network.next()).address).toBe(next)
    }
    h.network.frozen = false
    h.link.stop()
  })

  it('gives the only way in its time to connect, too', async () => {
    const alone = new Harness({ addresses: () => ['ws://a'] })
    alone.network.frozen = true
    alone.link.start()
    await alone.network.next()
    await vi.advanceTimersByTimeAsync(14_000)
    expect(alone.network.dialled).toBe(1)
    await vi.advanceTimersByTimeAsync(2_000)
    await alone.network.next()
    alone.link.stop()
  })

  it('leaves a node that has let it go for another at once, but not for a network of our own that is gone', async () => {
    const { peer } = await h.live()
    peer.cut()
    const second = await h.network.next()
    expect([peer.address, second.address, h.network.dialled]).toEqual(['ws://a', 'ws://b', 2])
    await second.letIn('secret')
    await second.expect('resume', NS.sm)
    second.say(xml('failed', { xmlns: NS.sm }))
    await second.bindAndEnable(account, { id: 'sm2', resume: 'true' })
    await h.state('live')
    h.online = false
    second.cut()
    await h.state('waiting')
    h.online = true
    h.link.nudge()
    expect((await h.network.next()).address).toBe('ws://b')
  })

  it('goes where the server sends it, but not out of TLS', async () => {
    const secure = new Harness({ addresses: () => ['wss://a'] })
    const { peer } = await secure.live()
    peer.say(xml('close', { xmlns: NS.framing, 'see-other-uri': 'ws://evil' }))
    const second = await secure.network.next()
    expect(second.address).toBe('wss://a')
    second.say(xml('close', { xmlns: NS.framing, 'see-other-uri': 'wss://b' }))
    await secure.state('waiting')
    secure.link.stop()
  })

  it('answers pings and roster pushes, and refuses what it does not know', async () => {
    const { peer } = await h.live()
    const iq = (id: string, payload: string, from = ''): string => `<iq xmlns='jabber:client' type='set' id='${id}' ${from}>${payload}</iq>`
    peer.say(iq('p', `<ping xmlns='urn:xmpp:ping'/>`))
    expect((await peer.expect('iq')).attr('type')).toBe('result')
    peer.say(iq('r', `<query xmlns='jabber:iq:roster'><item jid='bob@localhost'/></query>`))
    expect((await peer.expect('iq')).attr('type')).toBe('result')
    peer.say(iq('f', `<query xmlns='jabber:iq:roster'><item jid='eve@localhost'/></query>`, `from='eve@localhost/x'`))
    expect((await peer.expect('iq')).attr('type')).toBe('error')
    await vi.waitFor(() => expect(h.stanzas.length).toBe(1))
  })
})
