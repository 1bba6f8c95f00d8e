// SPDX-License-Identifier: Apache-2.0

import { StanzaError } from './errors'
import { NS } from './ns'
import type { Session } from './session'
import { xml } from './xml'

/** Who has access to the account (XEP-0494, docs/login.md). */

export interface Client {
  id: string
  software: string
  device: string
  connected: boolean
  /** Milliseconds since the epoch. */
  lastSeen: number
}

export async function fetchClients(session: Session): Promise<Client[]> {
  const answer = await session.ask('get', xml('list', { xmlns: NS.cam }))
  return (answer.child('clients', NS.cam)?.all('client') ?? []).map((c) => ({
    id: c.attr('id') ?? '',
    software: c.child('user-agent')?.childText('software') ?? '',
    device: c.child('user-agent')?.childText('device') ?? '',
    connected: c.attr('connected') === 'true',
    lastSeen: Date.parse(c.childText('last-seen') ?? '') || 0,
  }))
}

/** Logs a client out. False when it knows the password and only a new one keeps it out. */
export async function revoke(session: Session, id: string): Promise<boolean> {
  try {
    await session.ask('set', xml('revoke', { xmlns: NS.cam, id }))
    return true
  } catch (e) {
    if (e instanceof StanzaError && e.condition === 'service-unavailable') return false
    throw e
  }
}

/** What lets one more device in, once, for ten minutes. */
export async function makeLink(session: Session): Promise<string> {
  const token = (await session.ask('set', xml('link', { xmlns: NS.link }))).child('link', NS.link)?.attr('token')
  if (!token) throw new StanzaError('undefined-condition', 'cancel', '')
  return token
}

/** Since when there is a recovery code, and when it ends if it was used; in ms since the epoch. */
export async function recoveryState(session: Session): Promise<{ made: number | undefined; expires: number | undefined }> {
  const recovery = (await session.ask('get', xml('recovery', { xmlns: NS.recovery }))).child('recovery', NS.recovery)
  const time = (name: string): number | undefined => Date.parse(recovery?.attr(name) ?? '') || undefined
  return { made: time('made'), expires: time('expires') }
}

/** Makes a recovery code; the one before is void. */
export async function makeRecovery(session: Session): Promise<string> {
  const code = (await session.ask('set', xml('recovery', { xmlns: NS.recovery }))).child('recovery', NS.recovery)?.attr('code')
  if (!code) throw new StanzaError('undefined-condition', 'cancel', '')
  return code
}
