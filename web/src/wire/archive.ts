// SPDX-License-Identifier: Apache-2.0

import { readResult, type Incoming } from './message'
import { NS } from './ns'
import { token } from './random'
import type { Session } from './session'
import { xml, type XmlElement } from './xml'

export interface ArchiveQuery {
  /** Only the conversation with this bare address. */
  with?: string
  /** Forwards from behind this archive id. */
  after?: string
  /** Backwards from before this archive id; "" from the end. */
  before?: string
  /** These alone (XEP-0313 §query-limit-id @1.1.3). */
  ids?: string[]
  max: number
}

export interface ArchivePage {
  /** Oldest first. Entries that are no messages of a conversation are left out. */
  entries: Incoming[]
  /** The archive ids at the ends of the page, also of entries left out. */
  first: string | undefined
  last: string | undefined
  /** There is nothing more in the direction of the query. */
  complete: boolean
}

export type ReadResult = (result: XmlElement, account: string) => Incoming | undefined

/**
 * Asks our archive, or that of a room, for a page (XEP-0313 §query @1.1.3, paging by XEP-0059).
 * Rejects with StanzaError "item-not-found" when the id to start from is no
 * longer there.
 */
export async function queryArchive(session: Session, query: ArchiveQuery, read: ReadResult = readResult, room?: string): Promise<ArchivePage> {
  const queryid = token(8)
  const entries: Incoming[] = []
  const stop = session.collect(
    queryid,
    (result) => {
      const entry = read(result, session.account)
      if (entry && entries.length < query.max) entries.push(entry)
    },
    room,
  )
  const field = (name: string, value: string, type?: string) =>
    xml('field', { var: name, type }, xml('value', {}, value))
  const form =
    (query.with !== undefined || query.ids !== undefined) &&
    xml(
      'x',
      { xmlns: NS.data, type: 'submit' },
      field('FORM_TYPE', NS.mam, 'hidden'),
      query.with !== undefined && field('with', query.with),
      query.ids !== undefined && xml('field', { var: 'ids' }, ...query.ids.map((id) => xml('value', {}, id))),
    )
  const paging = xml(
    'set',
    { xmlns: NS.rsm },
    xml('max', {}, String(query.max)),
    query.after !== undefined && xml('after', {}, query.after),
    query.before !== undefined && xml('before', {}, query.before),
  )
  try {
    const answer = await session.ask('set', xml('query', { xmlns: NS.mam, queryid }, form, paging), room)
    const fin = answer.child('fin', NS.mam)
    const set = fin?.child('set', NS.rsm)
    return {
      entries,
      first: set?.childText('first'),
      last: set?.childText('last'),
      complete: ['true', '1'].includes(fin?.attr('complete') ?? ''),
    }
  } finally {
    stop()
  }
}
