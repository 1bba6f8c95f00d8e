// SPDX-License-Identifier: Apache-2.0

import { NS } from './ns'
import { fetchItems, publish } from './pep'
import type { Session } from './session'
import { xml, type XmlElement } from './xml'

/** What others are not to see of us, on all our devices (docs/privacy.md). */
export interface Privacy {
  /** When we are here; the server holds to it. */
  hidden: boolean
  /** What we have read, people; this is for us to hold to. */
  noReceipts: boolean
}

const WISHES = { hidden: 'hidden', noReceipts: 'no-receipts' } as const

/** Reads the item that says it; nothing is hidden when there is none. */
export function readPrivacy(item: XmlElement | undefined): Privacy {
  const all = item?.child('privacy', NS.privacy)
  return { hidden: all?.child('hidden') !== undefined, noReceipts: all?.child('no-receipts') !== undefined }
}

export async function fetchPrivacy(session: Session): Promise<Privacy> {
  return readPrivacy((await fetchItems(session, NS.privacy, undefined, 'current'))[0])
}

/** Changes one of the wishes. What else the item says stays. */
export async function changePrivacy(session: Session, what: keyof Privacy, on: boolean): Promise<Privacy> {
  const [item] = await fetchItems(session, NS.privacy, undefined, 'current')
  const others = item?.child('privacy', NS.privacy)?.elements().filter((e) => e.name !== WISHES[what]) ?? []
  await publish(session, NS.privacy, 'current', xml('privacy', { xmlns: NS.privacy }, ...others, on && xml(WISHES[what])), {
    persist_items: 'true',
    send_last_published_item: 'never',
    access_model: 'whitelist',
  })
  return { ...readPrivacy(item), [what]: on }
}

/** When somebody was last here, in ms since the epoch (XEP-0012 §offline @2.0). Rejects when they let nobody know. */
export async function fetchLast(session: Session, jid: string, now: number): Promise<number> {
  const seconds = Number((await session.ask('get', xml('query', { xmlns: NS.last }), jid)).child('query', NS.last)?.attr('seconds'))
  if (!Number.isSafeInteger(seconds) || seconds < 0) throw new Error('no seconds')
  return now - seconds * 1000
}
