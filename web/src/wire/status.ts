// SPDX-License-Identifier: Apache-2.0

import { domain } from './jid'
import { NS } from './ns'
import type { Session } from './session'
import { xml } from './xml'

/** Where a server tells of its outages, from elsewhere. */
export interface StatusPlaces {
  /** Addresses of files for programs (XEP-0455 §external-disco @0.4.0), the first choice first. */
  files: string[]
  /** Address of a page for people (XEP-0157 §xmpp @1.1.1); "" for none. */
  page: string
}

/** What such a file tells. Times are ms since the epoch. */
export interface Outage {
  planned: boolean
  begins: number
  ends?: number | undefined
  /** What it says, by language tag in lower case; "default" for everybody else. */
  words: Record<string, string>
}

const MOST_FILES = 4
const MOST_WORDS = 500
const MOST_LANGUAGES = 100

/** Asks our server where it tells of outages. Rejects with StanzaError, or when the session ends first. */
export async function fetchStatusPlaces(session: Session): Promise<StatusPlaces> {
  const answer = await session.ask('get', xml('query', { xmlns: NS.info }), domain(session.account))
  const forms = answer.child('query', NS.info)?.all('x', NS.data) ?? []
  const web = (type: string, name: string): string[] => {
    const form = forms.find((x) => x.all('field').some((f) => f.attr('var') === 'FORM_TYPE' && f.childText('value') === type))
    const values = form?.all('field').find((f) => f.attr('var') === name)?.all('value') ?? []
    return values.map((v) => v.text().trim()).filter((v) => /^https?:\/\//i.test(v) && v.length <= 1024 && URL.canParse(v))
  }
  return { files: web(NS.outage, 'external-status-addresses').slice(0, MOST_FILES), page: web(NS.serverInfo, 'status-addresses')[0] ?? '' }
}

/** Reads a file (XEP-0455 §json-schema @0.4.0); undefined when it tells of no outage. What is in it is only ever shown as text. */
export function readOutage(file: unknown): Outage | undefined {
  const { planned, beginning, expected_end, message } = Object(file) as Record<string, unknown>
  const begins = readTime(beginning)
  if (begins === undefined) return undefined
  const ends = readTime(expected_end)
  const words: Record<string, string> = Object.create(null) as Record<string, string>
  for (const [tag, text] of Object.entries(Object(message) as object).slice(0, MOST_LANGUAGES)) {
    if (typeof text !== 'string' || !/^[a-z0-9-]{1,35}$/i.test(tag)) continue
    const said = text.replace(/[\s\p{Cc}]+/gu, ' ').trim()
    if (said) words[tag.toLowerCase()] = [...said.slice(0, 2 * MOST_WORDS)].slice(0, MOST_WORDS).join('')
  }
  return { planned: planned === true, begins, ...(ends !== undefined && ends > begins && { ends }), words: { ...words } }
}

/** A date-time of RFC 3339 §5.6. */
function readTime(value: unknown): number | undefined {
  if (typeof value !== 'string' || !/^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)$/.test(value)) return undefined
  const ms = Date.parse(value.toUpperCase())
  return Number.isNaN(ms) ? undefined : ms
}
