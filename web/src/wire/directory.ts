// SPDX-License-Identifier: Apache-2.0

import { person } from './jid'
import { NS } from './ns'
import { findService, has } from './service'
import type { Session } from './session'
import { xml, type XmlElement } from './xml'

/** The directory of those people of our server who want to be found (docs/people.md). */

/** Somebody in it, by the name that they gave themselves. */
export interface Listed {
  jid: string
  name: string
}

export interface Found {
  people: Listed[]
  /** What the next ones come after, when there may be more. */
  after: string | undefined
}

/** No page has more. */
const MOST = 50
const MOST_NAME = 100

/** Looks for the directory; undefined where there is none that can be both searched and entered. */
export function findDirectory(session: Session): Promise<string | undefined> {
  return findService(session, 'people.', (info, jid) => {
    const is = info.all('identity').some((i) => i.attr('category') === 'directory' && i.attr('type') === 'user')
    return is && has(info, NS.search) && has(info, NS.register) ? jid : undefined
  })
}

/** Finds people by beginnings of names or addresses (XEP-0055 §usecases-search @1.3), a page at a time (XEP-0059 §forwards @1.0). Rejects with StanzaError. */
export async function searchDirectory(session: Session, directory: string, text: string, after?: string): Promise<Found> {
  const page = after !== undefined && xml('set', { xmlns: NS.rsm }, xml('max', {}, String(MOST)), xml('after', {}, after))
  return readFound(await session.ask('set', xml('query', { xmlns: NS.search }, xml('nick', {}, text), page), directory))
}

export function readFound(answer: XmlElement): Found {
  const query = answer.child('query', NS.search)
  const people = new Map<string, Listed>()
  for (const item of (query?.all('item') ?? []).slice(0, MOST)) {
    const jid = person(item.attr('jid') ?? '')
    if (jid) people.set(jid, { jid, name: nameIn(item) })
  }
  // Some may be left out of a page that has more behind it: only one that ends nowhere is the last.
  return { people: [...people.values()], after: query?.child('set', NS.rsm)?.childText('last') || undefined }
}

function nameIn(element: XmlElement | undefined): string {
  return [...(element?.childText('nick') ?? '').replace(/[\s\p{Cc}]+/gu, ' ').trim()].slice(0, MOST_NAME).join('')
}

/** The name that we are found by, undefined when we are not (XEP-0077 §usecases-register @2.4). */
export async function fetchListed(session: Session, directory: string): Promise<string | undefined> {
  const query = (await session.ask('get', xml('query', { xmlns: NS.register }), directory)).child('query', NS.register)
  return query?.child('registered') ? nameIn(query) : undefined
}

/** Has us found by that name from now on, or no longer (XEP-0077 §usecases-register @2.4, §usecases-cancel). */
export async function setListed(session: Session, directory: string, name: string | undefined): Promise<void> {
  await session.ask('set', xml('query', { xmlns: NS.register }, name === undefined ? xml('remove') : xml('nick', {}, name)), directory)
}
