// SPDX-License-Identifier: Apache-2.0

import { describe, expect, it } from 'vitest'
import { StanzaError } from './errors'
import { NS } from './ns'
import { parseXml } from './parse'
import type { Session } from './session'
import { askSlot, findUploads } from './upload'
import { xml, type XmlElement } from './xml'

/** A session in which requests are answered as the test says. */
function session(answer: (payload: XmlElement, to: string | undefined) => string): { session: Session; asked: string[] } {
  const asked: string[] = []
  const ask = async (_type: string, payload: XmlElement, to?: string): Promise<XmlElement> => {
    asked.push(`${to} ${payload.toString()}`)
    return parseXml(`<iq xmlns='jabber:client' type='result' id='1'>${answer(payload, to)}</iq>`)
  }
  return { session: { account: 'anna@chat.test', ask } as unknown as Session, asked }
}

const items = (...jids: string[]) => xml('query', { xmlns: NS.items }, ...jids.map((jid) => xml('item', { jid }))).toString()
const info = (most?: string) =>
  xml(
    'query',
    { xmlns: NS.info },
    xml('feature', { var: NS.upload }),
    most !== undefined && xml('x', { xmlns: NS.data }, xml('field', { var: 'max-file-size' }, xml('value', {}, most))),
  ).toString()
const slot = (put: string, get: string, header = '') => `<slot xmlns='${NS.upload}'><put url='${put}'>${header}</put><get url='${get}'/></slot>`
const photo = { name: 'a & b.jpg', type: 'image/jpeg', size: 5 }

describe('who takes files', () => {
  it('is found among the server’s services, with what it takes', async () => {
    const { session: s } = session((payload, to) => {
      if (payload.ns === NS.items) return items('rooms.chat.test', 'share.chat.test')
      if (to === 'rooms.chat.test') return `<query xmlns='${NS.info}'/>`
      return info('1000')
    })
    expect(await findUploads(s)).toEqual({ jid: 'share.chat.test', most: 1000 })
  })

  it('may not say how large, may be the server itself, and may not be there', async () => {
    expect(await findUploads(session((p) => (p.ns === NS.items ? items() : info())).session)).toEqual({ jid: 'chat.test', most: 0 })
    const nobody = session((p) => {
      if (p.ns === NS.items) return items('a.test')
      throw new StanzaError('item-not-found', 'cancel', '')
    })
    expect(await findUploads(nobody.session)).toBeUndefined()
  })

  it('gives places', async () => {
    const [put, get] = ['https://chat.test/upload/x/a', 'https://chat.test/upload/y/a']
    const { session: s, asked } = session(() => slot(put, get, "<header name='authorization'>Bearer 1\n2</header><header name='Host'>evil</header>"))
    expect(await askSlot(s, 'upload.chat.test', photo)).toEqual({ put, get, authorization: 'Bearer 12' })
    expect(asked[0]).toContain("filename='a &amp; b.jpg' size='5' content-type='image/jpeg'")
    expect(await askSlot(session(() => slot(put, get)).session, 'u', photo)).toEqual({ put, get })
    for (const bad of [slot('ftp://x', get), slot(put, 'javascript:alert(1)'), `<slot xmlns='${NS.upload}'/>`, '']) {
      await expect(askSlot(session(() => bad).session, 'u', photo)).rejects.toThrow()
    }
  })
})
