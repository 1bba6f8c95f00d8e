// SPDX-License-Identifier: Apache-2.0

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { fetchListed, findDirectory, readFound, searchDirectory, setListed } from './directory'
import { StanzaError } from './errors'
import { Link } from './link'
import { NS } from './ns'
import { parseXml } from './parse'
import { setBlocked } from './profile'
import { dialFromNode, RealServer } from './server.testing'
import type { Session } from './session'
import type { XmlElement } from './xml'

const PASSWORD = 'a long password'

describe('against the real server', () => {
  let server: RealServer
  const links: Link[] = []

  /** A session of somebody who has an account. */
  const enter = (name: string): Promise<Session> =>
    new Promise((done) => {
      const link = new Link({
        account: `${name}@localhost`,
        credentials: () => Promise.resolve({ jid: `${name}@localhost`, secret: { kind: 'password', secret: PASSWORD }, device: { id: crypto.randomUUID(), software: 'test', device: 'Node' } }),
        keep: () => Promise.resolve(),
        resource: 'test',
        addresses: () => [server.address],
        dial: dialFromNode,
        online: () => true,
        watched: () => true,
        state: () => undefined,
        session: done,
        stanzas: () => Promise.resolve(),
        refused: () => undefined,
        acked: () => undefined,
      })
      links.push(link)
      link.start()
    })

  const session = (name: string): Promise<Session> => {
    server.user(name, PASSWORD)
    return enter(name)
  }

  beforeAll(async () => {
    server = await new RealServer().ready()
  }, 60_000)

  afterAll(async () => {
    for (const link of links) link.stop()
    await server.close()
  })

  it('who wants to be found is found, by the name that they have then', async () => {
    const [anna, bob] = [await session('anna'), await session('bob')]
    const place = (await findDirectory(anna))!
    expect(place).toBe('people.localhost')
    const found = async (text: string) => (await searchDirectory(bob, place, text)).people
    expect(await fetchListed(anna, place)).toBeUndefined()
    expect(await found('anna')).toEqual([])
    await setListed(anna, place, 'Anna <Liddell> & Söhne')
    expect(await fetchListed(anna, place)).toBe('Anna <Liddell> & Söhne')
    for (const text of ['LID', 'söhne an', 'anna@local']) expect(await found(text)).toEqual([{ jid: 'anna@localhost', name: 'Anna <Liddell> & Söhne' }])
    await setListed(anna, place, 'Alice')
    expect([await found('lid'), await found('alice')]).toEqual([[], [{ jid: 'anna@localhost', name: 'Alice' }]])
    // Nobody finds who blocks them, nor who has left.
    await setBlocked(anna, 'bob@localhost', true)
    expect(await found('alice')).toEqual([])
    await setBlocked(anna, 'bob@localhost', false)
    await setListed(anna, place, '')
    expect([await fetchListed(anna, place), await found('anna')]).toEqual(['', [{ jid: 'anna@localhost', name: '' }]])
    await setListed(anna, place, undefined)
    expect([await fetchListed(anna, place), await found('anna')]).toEqual([undefined, []])
  }, 60_000)

  it('more than one page comes in pages', async () => {
    const names = Array.from({ length: 53 }, (_, i) => `zed${String(i).padStart(2, '0')}`)
    server.users(names, PASSWORD)
    const all: Session[] = []
    while (all.length < names.length) all.push(...(await Promise.all(names.slice(all.length, all.length + 8).map(enter))))
    const [zed] = all as [Session, ...Session[]]
    const place = (await findDirectory(zed))!
    await Promise.all(all.map((s, i) => setListed(s, place, `Zed ${i}`)))
    const first = await searchDirectory(zed, place, 'zed')
    expect([first.people.length, first.after]).toEqual([50, 'zed49@localhost'])
    const second = await searchDirectory(zed, place, 'zed', first.after)
    expect([...first.people, ...second.people].map((p) => p.jid)).toEqual(names.map((name) => `${name}@localhost`))
    // Whether that was the last page is known when nothing comes after it.
    expect(await searchDirectory(zed, place, 'zed', second.after)).toEqual({ people: [], after: undefined })
  }, 120_000)

  it('too short a word, and too many searches, are refused', async () => {
    const cleo = await session('cleo')
    const place = (await findDirectory(cleo))!
    await expect(searchDirectory(cleo, place, 'z')).rejects.toThrow('not-acceptable')
    const asked = await Promise.allSettled(Array.from({ length: 30 }, () => searchDirectory(cleo, place, 'nobody')))
    const why = asked.flatMap((r) => (r.status === 'rejected' ? [r.reason as StanzaError] : []))
    expect(why.length).toBeGreaterThan(5)
    expect(new Set(why.map((e) => `${e.type} ${e.condition}`))).toEqual(new Set(['wait resource-constraint']))
  }, 60_000)
})

describe('an answer', () => {
  const answer = (inner: string): XmlElement => parseXml(`<iq xmlns='jabber:client' type='result' id='1'><query xmlns='jabber:iq:search'>${inner}</query></iq>`)
  const item = (jid: string, nick: string): string => `<item jid='${jid}'><nick>${nick}</nick></item>`

  it('is bounded, has everybody once, and nobody who has no address', () => {
    const many = Array.from({ length: 80 }, (_, i) => item(`p${i}@localhost`, 'x'.repeat(500))).join('')
    const read = readFound(answer(`${item('localhost', 'The server')}${item('bob@localhost', 'Once')}${item('Bob@LocalHost/phone', ' Bob\n\t the  first ')}${many}`))
    expect(read.people.slice(0, 2)).toEqual([{ jid: 'bob@localhost', name: 'Bob the first' }, { jid: 'p0@localhost', name: 'x'.repeat(100) }])
    expect(read.people.length).toBeLessThanOrEqual(50)
    expect(read.after).toBeUndefined()
    expect(readFound(parseXml(`<iq xmlns='jabber:client' type='result' id='1'/>`))).toEqual({ people: [], after: undefined })
  })

  it('says what the next ones come after', () => {
    const set = (last: string): string => `<set xmlns='${NS.rsm}'><first>a@localhost</first>${last}</set>`
    expect(readFound(answer(item('a@localhost', 'A') + set('<last>b@localhost</last>'))).after).toBe('b@localhost')
    expect(readFound(answer(item('a@localhost', 'A') + set(''))).after).toBeUndefined()
  })
})

describe('a directory', () => {
  const among = (infos: Record<string, string>): Session =>
    ({
      account: 'me@localhost',
      ask: (_type: string, payload: XmlElement, to: string) => {
        const items = Object.keys(infos).map((jid) => `<item jid='${jid}'/>`).join('')
        const inner = payload.ns === NS.items ? `<query xmlns='${NS.items}'>${items}</query>` : `<query xmlns='${NS.info}'>${infos[to] ?? ''}</query>`
        return infos[to] === 'error' ? Promise.reject(new StanzaError('remote-server-timeout', 'wait', '')) : Promise.resolve(parseXml(`<iq xmlns='jabber:client' type='result' id='1'>${inner}</iq>`))
      },
    }) as unknown as Session
  const is = `<identity category='directory' type='user'/>`
  const feature = (name: string): string => `<feature var='${name}'/>`

  it('is what says so, and can be both searched and entered', async () => {
    const whole = is + feature('jabber:iq:search') + feature('jabber:iq:register')
    expect(await findDirectory(among({ 'rooms.localhost': feature('jabber:iq:search') + feature('jabber:iq:register'), 'vjud.localhost': whole }))).toBe('vjud.localhost')
    expect(await findDirectory(among({ 'rooms.localhost': 'error', 'people.localhost': is + feature('jabber:iq:search') }))).toBeUndefined()
    expect(await findDirectory(among({}))).toBeUndefined()
  })
})
