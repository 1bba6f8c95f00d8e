// SPDX-License-Identifier: Apache-2.0

import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { Link, type LinkOptions, type LinkState } from './link'
import { endToken, fetchToken, type Credentials, type Secret } from './negotiate'
import { NS } from './ns'
import { dialFromNode, RealServer } from './server.testing'
import type { Session } from './session'
import { Stream } from './stream'
import type { Token } from './token'
import type { Transport } from './transport'
import { xml } from './xml'

// Against the real server.

let server: RealServer
beforeAll(async () => {
  server = await new RealServer().ready()
}, 30_000)
afterAll(() => server.close())

let count = 0
/** A new account with a device on it. */
class Somebody {
  readonly jid: string
  secret: Secret = { kind: 'password', secret: 'a long password' }
  id = crypto.randomUUID()
  states: LinkState[] = []
  sessions: { session: Session; resumed: boolean }[] = []
  acked: string[] = []
  frames: string[] = []
  links: Link[] = []
  transport: Transport | undefined

  constructor(account?: string) {
    const name = account ?? `user${++count}`
    if (!account) server.user(name, 'a long password')
    this.jid = `${name}@localhost`
  }

  get credentials(): Credentials {
    return { jid: this.jid, secret: this.secret, device: { id: this.id, software: 'test', device: 'Node' } }
  }

  link(options: Partial<LinkOptions> = {}): Link {
    const link = new Link({
      account: this.jid,
      credentials: () => Promise.resolve(this.credentials),
      keep: (token) => Promise.resolve(void (this.secret = { kind: 'token', token })),
      resource: 'test',
      addresses: () => [server.address],
      dial: (address, events) => {
        this.frames = []
        const transport = dialFromNode(address, events)
        this.transport = transport
        const send = (frame: string): void => {
          this.frames.push(frame)
          transport.send(frame)
        }
        return { ...transport, send }
      },
      online: () => true,
      watched: () => true,
      random: () => 0,
      state: (s) => this.states.push(s),
      session: (session, resumed) => this.sessions.push({ session, resumed }),
      stanzas: () => Promise.resolve(),
      refused: () => undefined,
      acked: (tags) => this.acked.push(...tags),
      ...options,
    })
    this.links.push(link)
    link.start()
    return link
  }

  async live(n: number): Promise<Session> {
    await vi.waitFor(() => expect(this.sessions.length).toBe(n), 5_000)
    return this.sessions[n - 1]!.session
  }

  stop(): void {
    for (const link of this.links) link.stop()
  }

  async fetch(secret = this.secret): Promise<Token | undefined> {
    const stream = new Stream(dialFromNode, server.address, 'localhost')
    try {
      return await fetchToken(stream, { ...this.credentials, secret })
    } finally {
      stream.close()
    }
  }
}

describe('logging in to the real server', () => {
  it('shows the password once, and a token from then on, in one request', async () => {
    const me = new Somebody()
    me.link()
    const first = await me.live(1)
    expect(me.secret.kind).toBe('token')
    expect(first.carbons).toBe(true)
    await vi.waitFor(() => expect(first.resumeId).toBeDefined())
    const send = (tag: string): boolean => first.send(xml('message', { xmlns: NS.client, to: me.jid, id: tag, type: 'chat' }, xml('body', {}, tag)), tag)
    send('one')
    first.askAck()
    await vi.waitFor(() => expect(me.acked).toEqual(['one']))
    me.transport!.close()
    await me.live(2)
    expect(me.sessions[1]).toMatchObject({ session: first, resumed: true })
    // Nothing was waited for but the connection itself.
    expect(me.frames.map((f) => /^<(\w+)/.exec(f)![1])).toEqual(['open', 'authenticate'])
    send('two')
    first.askAck()
    await vi.waitFor(() => expect(me.acked).toEqual(['one', 'two']))
    me.stop()
  })

  it('begins anew with a token when there is nothing to resume, under the same address', async () => {
    const me = new Somebody()
    const link = me.link()
    const first = await me.live(1)
    link.stop()
    await vi.waitFor(() => expect(me.states.at(-1)?.kind).toBe('idle'))
    me.link()
    const second = await me.live(2)
    expect(second).not.toBe(first)
    expect(second.jid).toBe(first.jid)
    me.stop()
  })

  it('stops when its token was revoked, and does not try again and again', async () => {
    const me = new Somebody()
    me.link()
    await me.live(1)
    const stream = new Stream(dialFromNode, server.address, 'localhost')
    await endToken(stream, me.credentials)
    stream.close()
    const states = me.states.length
    me.transport!.close()
    await vi.waitFor(() => expect(me.states.at(-1)).toEqual({ kind: 'stopped', reason: 'credentials' }))
    expect(me.states.slice(states).filter((s) => s.kind === 'connecting').length).toBeLessThan(3)
  })

  it('shows what another tab got meanwhile before it gives up', async () => {
    const me = new Somebody()
    me.link()
    await me.live(1)
    const old = me.secret
    const other = await me.fetch({ kind: 'password', secret: 'a long password' })
    await me.fetch({ kind: 'token', token: other! }) // used: the one before is void
    let asked = 0
    const credentials = (): Promise<Credentials> => {
      asked++
      return Promise.resolve({ ...me.credentials, secret: asked === 1 ? old : { kind: 'token', token: other! } })
    }
    me.stop()
    me.link({ credentials })
    await me.live(2)
    expect(me.states.map((s) => s.kind)).not.toContain('stopped')
    me.stop()
  })

  it('lets one more device in by a link, once', async () => {
    const me = new Somebody()
    me.link()
    const session = await me.live(1)
    const link = (await session.ask('set', xml('link', { xmlns: NS.link }))).child('link', NS.link)!.attr('token')!
    const phone = new Somebody(me.jid.split('@')[0])
    const token = await phone.fetch({ kind: 'link', secret: link })
    expect(token?.expires).toBeGreaterThan(Date.now())
    phone.secret = { kind: 'token', token: token! }
    phone.link()
    expect((await phone.live(1)).jid).not.toBe(session.jid)
    await expect(new Somebody(me.jid.split('@')[0]).fetch({ kind: 'link', secret: link })).rejects.toMatchObject({ fault: 'credentials' })
    phone.stop()
    me.stop()
  })

  it('lets in by the recovery code', async () => {
    const me = new Somebody()
    me.link()
    const session = await me.live(1)
    const code = (await session.ask('set', xml('recovery', { xmlns: NS.recovery }))).child('recovery', NS.recovery)!.attr('code')!
    const phone = new Somebody(me.jid.split('@')[0])
    expect(await phone.fetch({ kind: 'recovery', secret: code.replaceAll('-', '') })).toBeDefined()
    me.stop()
  })
})
