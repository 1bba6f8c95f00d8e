// SPDX-License-Identifier: Apache-2.0

import { NS } from './ns'
import { findService, has } from './service'
import type { Session } from './session'
import { xml } from './xml'

/** Who takes files, and how large one may be; 0 for who does not say. */
export interface UploadService {
  jid: string
  most: number
}

/** Looks who takes files here (XEP-0363 §disco @1.2.0); undefined for nobody. */
export function findUploads(session: Session): Promise<UploadService | undefined> {
  return findService(session, 'upload.', (info, jid) => {
    if (!has(info, NS.upload)) return undefined
    const fields = info.all('x', NS.data).flatMap((x) => x.all('field'))
    const most = Number(fields.find((f) => f.attr('var') === 'max-file-size')?.childText('value') ?? 0)
    return { jid, most: most > 0 ? most : 0 }
  })
}

/** Asks for a place for one file (XEP-0363 §request @1.2.0). Rejects with the server's StanzaError. */
export async function askSlot(session: Session, service: string, file: { name: string; type: string; size: number }): Promise<{ put: string; get: string; authorization?: string }> {
  const request = xml(
    'request',
    { xmlns: NS.upload, filename: file.name, size: String(file.size), 'content-type': file.type },
    xml('message', { xmlns: NS.purpose }),
  )
  const slot = (await session.ask('get', request, service)).child('slot', NS.upload)
  const put = slot?.child('put')
  const [to, from] = [put?.attr('url'), slot?.child('get')?.attr('url')]
  if (!to || !from || !/^https?:\/\//.test(to) || !/^https?:\/\//.test(from)) throw new Error('no slot')
  const authorization = put?.all('header').find((h) => h.attr('name')?.toLowerCase() === 'authorization')?.text().replace(/[\r\n]/g, '')
  return { put: to, get: from, ...(authorization && { authorization }) }
}
