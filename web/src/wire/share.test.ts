// SPDX-License-Identifier: Apache-2.0

import { beforeEach, describe, expect, it } from 'vitest'
import { buildChat } from './compose'
import { readContent } from './message'
import { parseXml } from './parse'
import { shareFrom, sharing, type Shared } from './share'

beforeEach(() => shareFrom('https://chat.test', ''))

const url = 'https://chat.test/upload/AAAA/hill%20house.jpg'
const photo: Shared = { name: 'hill house.jpg', type: 'image/jpeg', size: 1234, url, width: 640, height: 480, thumb: 'data:image/jpeg;base64,AAAA', inline: true }
const voice: Shared = { name: 'voice.webm', type: 'audio/webm', size: 99, url, length: 12_300, wave: 'AAECAwQF', inline: true }

const read = (frame: string) => readContent(parseXml(frame))
const message = (inner: string) => read(`<message xmlns='jabber:client' type='chat' from='bob@chat.test/x' id='1'>${inner}</message>`)
const said = (file: Shared, caption: string, more = {}) => buildChat('bob@chat.test', 'm1', { body: caption, rest: sharing(file, caption), ...more })

describe('a file', () => {
  it('is read as it was written, and the caption is what was said', () => {
    for (const file of [photo, voice, { ...photo, inline: false }]) {
      for (const caption of ['', 'Our hill 🏡\nbehind the house']) {
        const got = read(said(file, caption))
        expect(got.body).toBe(caption)
        expect(JSON.parse(JSON.stringify(got.file))).toEqual(JSON.parse(JSON.stringify(file)))
      }
    }
  })

  it('can be an answer and name somebody', () => {
    const more = { reply: { id: 'q', to: 'bob@chat.test', text: 'which house?\nthis?' }, mentions: [{ begin: 4, end: 8, jid: 'bob@chat.test' }] }
    const got = read(said(photo, 'See @Bob', more))
    expect(got).toMatchObject({ body: 'See @Bob', reply: { id: 'q', text: 'which house?\nthis?' }, mentions: more.mentions, file: { name: photo.name } })
    expect(read(said(photo, '', { reply: more.reply }))).toMatchObject({ body: '', reply: { text: 'which house?\nthis?' }, file: { url } })
  })

  it('is for others an address, alone or behind the text', () => {
    expect(parseXml(said(photo, '')).childText('body')).toBe(url)
    expect(parseXml(said(photo, 'Look')).childText('body')).toBe(`Look\n${url}`)
    expect(parseXml(said(photo, '')).child('x', 'jabber:x:oob')?.childText('url')).toBe(url)
  })

  it('is an address alone from older clients, when it is on this server', () => {
    const oob = (to: string) => `<x xmlns='jabber:x:oob'><url>${to}</url></x>`
    expect(message(`<body>${url}</body>${oob(url)}`)).toMatchObject({ body: '', file: { name: 'hill house.jpg', type: 'image/jpeg', inline: true, url } })
    expect(message(oob(url))).toMatchObject({ body: '', file: { url } })
    expect(message(`<body>look: ${url}</body>${oob(url)}`)).toMatchObject({ body: `look: ${url}` })
    const foreign = 'https://elsewhere.test/upload/AAAA/x.jpg'
    for (const inner of [`<body>${foreign}</body>${oob(foreign)}`, oob(foreign)]) {
      const got = message(inner)
      expect([got.body, got.file]).toEqual([foreign, undefined])
    }
    for (const bad of ['javascript:alert(1)', 'https://chat.test.evil.test/upload/a/b.jpg', 'https://chat.test/upload/../login', 'https://u:p@chat.test/upload/a/b.jpg', 'nonsense']) {
      expect(message(`<body>${bad}</body>${oob(bad)}`).file, bad).toBeUndefined()
    }
  })

  it('elsewhere is one that is not loaded', () => {
    expect(read(said({ ...photo, url: 'https://elsewhere.test/x.jpg' }, '')).file).toMatchObject({ foreign: true })
  })

  it('says nothing that could act or mislead', () => {
    const share = (metadata: string, target = url) =>
      message(`<file-sharing xmlns='urn:xmpp:sfs:0'><file xmlns='urn:xmpp:file:metadata:0'>${metadata}</file><sources><url-data xmlns='http://jabber.org/protocol/url-data' target='${target}'/></sources></file-sharing>`)
    expect(share('<name>../../etc/passwd</name>').file!.name).toBe('.. .. etc passwd')
    expect(share('<name>cod\u202egpj.exe</name>').file!.name).toBe('cod gpj.exe')
    expect(share(`<name>${'x'.repeat(500)}.pdf</name>`).file!.name.length).toBe(120)
    expect(share('<name></name>').file!.name).toBe('hill house.jpg')
    for (const thumb of ['https://spy.test/a.png', 'data:image/svg+xml;base64,AAAA', 'data:text/html;base64,AAAA', `data:image/png;base64,${'A'.repeat(20_000)}`]) {
      expect(share(`<thumbnail xmlns='urn:xmpp:thumbs:1' uri='${thumb}'/>`).file!.thumb, thumb.slice(0, 30)).toBeUndefined()
    }
    expect(share('<media-type>text/html&lt;script</media-type>').file!.type).toBe('image/jpeg')
    expect(share('<width>-5</width><height>1e999</height><length>x</length><size>99999999999999999999</size>').file).toMatchObject({ size: 0 })
    expect(share('<waveform xmlns="urn:bavard:waveform:0">!!!!</waveform>'.replaceAll('"', "'")).file!.wave).toBeUndefined()
    expect(share('', 'javascript:alert(1)').file).toBeUndefined()
  })

  it('is not in what is encrypted or taken back', () => {
    const inner = parseXml(said(photo, '')).child('file-sharing')!.toString()
    expect(message(`${inner}<encryption xmlns='urn:xmpp:eme:0' namespace='x' name='X'/>`).file).toBeUndefined()
  })
})
