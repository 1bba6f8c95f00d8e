// SPDX-License-Identifier: Apache-2.0

import { NS } from './ns'
import type { Session } from './session'
import { xml } from './xml'

/** Being notified while the app is closed: Web Push by the server's push service (docs/push.md), enabled as XEP-0357 says. */

/** What a browser gave when it subscribed; the keys in base64url without padding. */
export interface Subscription {
  endpoint: string
  p256dh: string
  auth: string
}

/** The address of the push service of an account's server. */
const serviceOf = (session: Session): string => 'push.' + session.account.replace(/^[^@]*@/, '')

/** What browsers subscribe with (RFC 8292), in base64url. Rejects with StanzaError where the server has no push service. */
export async function fetchPushKey(session: Session): Promise<string> {
  const answer = await session.ask('get', xml('key', { xmlns: NS.webPush }), serviceOf(session))
  return answer.childText('key', NS.webPush) ?? ''
}

/** Has the account's server notify this subscription from now on; gives the name that it has there. */
export async function enablePush(session: Session, subscription: Subscription): Promise<string> {
  const { endpoint, p256dh, auth } = subscription
  const register = xml('register', { xmlns: NS.webPush }, xml('endpoint', {}, endpoint), xml('p256dh', {}, p256dh), xml('auth', {}, auth))
  const registered = (await session.ask('set', register, serviceOf(session))).child('registered', NS.webPush)
  const [node, secret] = [registered?.attr('node') ?? '', registered?.attr('secret') ?? '']
  const field = (name: string, value: string, type?: string) => xml('field', { var: name, type }, xml('value', {}, value))
  const form = xml('x', { xmlns: NS.data, type: 'submit' }, field('FORM_TYPE', NS.pubsub + '#publish-options', 'hidden'), field('secret', secret))
  await session.ask('set', xml('enable', { xmlns: NS.push, jid: serviceOf(session), node }, form))
  return node
}

/** Ends a registration. */
export async function disablePush(session: Session, node: string): Promise<void> {
  await session.ask('set', xml('disable', { xmlns: NS.push, jid: serviceOf(session), node }))
}
