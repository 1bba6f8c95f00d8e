// SPDX-License-Identifier: Apache-2.0

import { local } from './jid'
import { NS } from './ns'
import { readInvitedTo } from './roomlink'
import type { Session } from './session'
import type { Stream } from './stream'
import { xml } from './xml'

/**
 * Shows an invite to the server on a fresh stream (XEP-0445 §preauth-ibr
 * @0.2.0). Rejects with StanzaError when it is not, or no longer, good. The
 * invite is spent only by register. Gives the room that it leads to, if to one.
 */
export async function showInvite(stream: Stream, invite: string): Promise<{ jid: string; name: string } | undefined> {
  await stream.open()
  const answer = await stream.ask('set', xml('preauth', { xmlns: NS.pars, token: invite }))
  return readInvitedTo(answer)
}

export interface Registration {
  username: string
  password: string
  /** What others will read. */
  name: string
}

/** Makes the account (XEP-0077 §usecases-register @2.4). Rejects with StanzaError "conflict" when the name is taken. */
export async function register(stream: Stream, who: Registration): Promise<void> {
  const query = xml(
    'query',
    { xmlns: NS.register },
    xml('username', {}, who.username),
    xml('password', {}, who.password),
    xml('name', {}, who.name),
  )
  await stream.ask('set', query)
}

/** Removes the account with all that is its own (XEP-0077 §usecases-cancel @2.4); its devices are disconnected. */
export async function removeAccount(session: Session): Promise<void> {
  await session.ask('set', xml('query', { xmlns: NS.register }, xml('remove')))
}

/** Gives the account another password (XEP-0077 §usecases-changepw @2.4): all its other devices have to log in again. */
export async function setPassword(session: Session, account: string, password: string): Promise<void> {
  const query = xml('query', { xmlns: NS.register }, xml('username', {}, local(account)), xml('password', {}, password))
  await session.ask('set', query)
}
