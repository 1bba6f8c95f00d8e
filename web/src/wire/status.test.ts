// SPDX-License-Identifier: Apache-2.0

import { describe, expect, it } from 'vitest'
import { fetchStatusPlaces, readOutage } from './status'
import type { Session } from './session'
import { parseXml } from './parse'

describe('a file that tells of an outage', () => {
  it('is read as XEP-0455 has it', () => {
    const file = {
      planned: true,
      beginning: '2021-01-12T01:01:01Z',
      expected_end: '2021-01-12T06:00:00.5+01:00',
      message: { default: 'Mise à jour du serveur', EN: ' The  server\nis being updated ', de: 7, 'no tag!': 'x', fr: '' },
      severity: 'unknown fields are ignored',
    }
    expect(readOutage(file)).toEqual({
      planned: true,
      begins: Date.UTC(2021, 0, 12, 1, 1, 1),
      ends: Date.UTC(2021, 0, 12, 5, 0, 0, 500),
      words: { default: 'Mise à jour du serveur', en: 'The server is being updated' },
    })
    expect(readOutage({ beginning: '2021-01-12t01:01:01z' })).toEqual({ planned: false, begins: Date.UTC(2021, 0, 12, 1, 1, 1), words: {} })
  })

  it.each([
    ['nothing', {}],
    ['no object', 'down'],
    ['nothing at all', null],
    ['a list', [{ beginning: '2021-01-12T01:01:01Z' }]],
    ['words for a time', { beginning: 'tomorrow' }],
    ['a day without a time', { beginning: '2021-01-12' }],
    ['a day that there is not', { beginning: '2021-19-41T01:01:01Z' }],
    ['a number', { beginning: 1 }],
  ])('tells of none with %s in it', (_, file) => expect(readOutage(file)).toBeUndefined())

  it('is bounded, and changes nothing but what is shown', () => {
    const tags = Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`x-${i}`, 'y']))
    const message = { default: '😀'.repeat(5_000), ...tags }
    const read = readOutage({ ...(JSON.parse('{"__proto__": {"planned": true}}') as object), beginning: '2021-01-12T01:01:01Z', expected_end: '2020-01-01T00:00:00Z', message })!
    expect([...read.words['default']!].length).toBe(500)
    expect(Object.keys(read.words).length).toBe(100)
    expect(read.ends).toBeUndefined()
    const forged = JSON.parse('{"beginning": "2021-01-12T01:01:01Z", "message": {"__proto__": "a", "constructor": "b", "toString": "c", "default": "d"}}') as unknown
    expect(readOutage(forged)!.words['default']).toBe('d')
    expect(Object.getPrototypeOf(readOutage(forged)!.words)).toBe(Object.prototype)
  })
})

describe('where outages are told of', () => {
  const asked = (forms: string): Promise<unknown> =>
    fetchStatusPlaces({
      account: 'me@localhost',
      ask: (_type: string, _payload: unknown, to: string) =>
        to === 'localhost' ? Promise.resolve(parseXml(`<iq><query xmlns='http://jabber.org/protocol/disco#info'>${forms}</query></iq>`)) : Promise.reject(new Error(to)),
    } as unknown as Session)
  const form = (type: string, name: string, ...values: string[]): string =>
    `<x xmlns='jabber:x:data' type='result'><field var='FORM_TYPE'><value>${type}</value></field><field var='${name}'>${values.map((v) => `<value>${v}</value>`).join('')}</field></x>`

  it('is what the server says, as far as it is on the web', async () => {
    const page = form('http://jabber.org/network/serverinfo', 'status-addresses', 'mailto:a@example.org', 'https://status.example.org/', 'https://other.example.org/')
    const file = form('urn:xmpp:sos:0', 'external-status-addresses', 'javascript:alert(1)', 'https://status.example.org/chat.json', 'ftp://x/', ...Array.from({ length: 9 }, (_, i) => `http://b.example.org/${i}`))
    expect(await asked(page + file)).toEqual({
      files: ['https://status.example.org/chat.json', 'http://b.example.org/0', 'http://b.example.org/1', 'http://b.example.org/2'],
      page: 'https://status.example.org/',
    })
    expect(await asked('')).toEqual({ files: [], page: '' })
    expect(await asked(form('other', 'external-status-addresses', 'https://status.example.org/'))).toEqual({ files: [], page: '' })
  })
})
