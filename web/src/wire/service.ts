// SPDX-License-Identifier: Apache-2.0

import { domain } from './jid'
import { NS } from './ns'
import type { Session } from './session'
import { xml, type XmlElement } from './xml'

/** So many are asked what they are. */
const MOST = 20

/**
 * Looks among our server's services, and at the server itself, for one in whose description there is what is sought
 * (XEP-0030 §items @2.5.0, §info): those with the likely name are asked first. Undefined when there is none.
 */
export async function findService<T>(session: Session, likely: string, seek: (info: XmlElement, jid: string) => T | undefined): Promise<T | undefined> {
  const home = domain(session.account)
  const listed = await session.ask('get', xml('query', { xmlns: NS.items }), home)
  const items = listed.child('query', NS.items)?.all('item').flatMap((i) => i.attr('jid') ?? []) ?? []
  const is = (jid: string): boolean => jid.startsWith(likely)
  for (const jid of [...items.filter(is), ...items.filter((j) => !is(j)), home].slice(0, MOST)) {
    const info = await session.ask('get', xml('query', { xmlns: NS.info }), jid).catch(() => undefined)
    const query = info?.child('query', NS.info)
    const found = query && seek(query, jid)
    if (found !== undefined) return found
  }
  return undefined
}

/** Whether that is among the features of a description. */
export function has(info: XmlElement, feature: string): boolean {
  return info.all('feature').some((f) => f.attr('var') === feature)
}
