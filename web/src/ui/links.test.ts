// SPDX-License-Identifier: Apache-2.0

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { leads } from './links'

const app = { domain: 'chat.test', me: 'me@chat.test' }

beforeEach(() => void vi.stubGlobal('location', { host: 'localhost:5280' }))
afterEach(() => void vi.unstubAllGlobals())

describe('what is scanned or typed leads', () => {
  it.each([
    ['http://localhost:5280/c/anna@chat.test', { at: 'chat', peer: 'anna@chat.test' }],
    ['https://elsewhere.test/c/Anna%40Elsewhere.test', { at: 'chat', peer: 'anna@elsewhere.test' }],
    [' xmpp:anna@chat.test?message;body=hi ', { at: 'chat', peer: 'anna@chat.test' }],
    ['anna@chat.test', { at: 'chat', peer: 'anna@chat.test' }],
    ['http://localhost:5280/i/abc-DEF_1', { at: 'invite', token: 'abc-DEF_1' }],
    ['HTTPS://chat.test/i/abc', { at: 'invite', token: 'abc' }],
    ['http://localhost:5280/?link#me@chat.test/secret', { at: 'device' }],
    ['http://localhost:5280/c/me@chat.test', { at: 'self' }],
    ['xmpp:ME@chat.test', { at: 'self' }],
  ])('somewhere: %s', (text, to) => {
    expect(leads(text, app, false)).toEqual(to)
    expect(leads(text, app, true)).toEqual(to)
  })

  it.each(['', 'https://elsewhere.test/i/abc', 'http://localhost:5280/', 'http://localhost:5280/i/a/b', 'http://localhost:5280/i/%2e', 'mailto:a@b.test', 'WIFI:S:home;P:a@b;;', 'BEGIN:VCARD\nEMAIL:a@b.test\nEND:VCARD', 'https://shop.test/@me', 'javascript:alert(1)'])('nowhere: %j', (text) => {
    expect(leads(text, app, false)).toBeUndefined()
  })

  it('to somebody here by a name alone, when it was typed', () => {
    expect(leads('anna', app, true)).toEqual({ at: 'chat', peer: 'anna@chat.test' })
    expect(leads('anna', app, false)).toBeUndefined()
    expect(leads('Anna Keller', app, true)).toBeUndefined()
  })
})
