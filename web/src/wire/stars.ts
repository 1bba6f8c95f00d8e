// SPDX-License-Identifier: Apache-2.0

import { StanzaError } from './errors'
import { bare } from './jid'
import { NS } from './ns'
import { publish, retractItem } from './pep'
import type { Session } from './session'
import { xml, type XmlElement } from './xml'

/** A message that the person wants to find again (docs/chats.md, "Stars"). */
export interface Star {
  /** The archive's name for it: of ours, of a group that of the group. */
  id: string
  /** The conversation that it is in. */
  peer: string
}

/** So many are kept; of more the server drops the oldest. */
export const MOST_STARS = 1_000

const gone = (e: unknown): boolean => e instanceof StanzaError && e.condition === 'item-not-found'

/** What is starred; undefined when nothing ever was. Rejects when it cannot be known. */
export async function fetchStars(session: Session): Promise<Star[] | undefined> {
  try {
    const answer = await session.ask('get', xml('pubsub', { xmlns: NS.pubsub }, xml('items', { node: NS.stars })))
    return readStars(answer.child('pubsub', NS.pubsub)?.child('items')?.all('item') ?? [])
  } catch (e) {
    if (gone(e)) return undefined
    throw e
  }
}

export function readStars(items: XmlElement[]): Star[] {
  const read = items.flatMap((item) => {
    const id = item.attr('id')
    const peer = bare(item.child('star', NS.stars)?.attr('chat') ?? '')
    return id && peer ? { id, peer } : []
  })
  return read.slice(-MOST_STARS)
}

export async function addStar(session: Session, { id, peer }: Star): Promise<void> {
  await publish(session, NS.stars, id, xml('star', { xmlns: NS.stars, chat: peer }), {
    persist_items: 'true',
    max_items: 'max',
    send_last_published_item: 'never',
    access_model: 'whitelist',
  })
}

/** Takes a star away; that there is none is well, too. */
export async function removeStar(session: Session, id: string): Promise<void> {
  await retractItem(session, NS.stars, id).catch((e: unknown) => {
    if (!gone(e)) throw e
  })
}
