// SPDX-License-Identifier: Apache-2.0

import type { App } from '../app.svelte'
import { readAddress } from '../wire/jid'
import type { Route } from './router.svelte'

/** Where that leads: to a chat or an invite, to oneself, or to another device's way in. */
export type Leads = Extract<Route, { at: 'chat' } | { at: 'invite' }> | { at: 'self' } | { at: 'device' }

/** Understands what people type, paste or scan to reach somebody; a name alone where it was typed. Undefined when it leads nowhere. */
export function leads(text: string, app: Pick<App, 'domain' | 'me'>, typed: boolean): Leads | undefined {
  const said = text.trim()
  if (/^https?:/i.test(said) && URL.canParse(said)) {
    const { host, hostname, pathname, search, hash } = new URL(said)
    const ours = host === location.host || hostname === app.domain
    const token = /^\/i\/([\w.~-]+)$/.exec(pathname)?.[1]
    if (ours && token) return { at: 'invite', token }
    if (ours && search === '?link' && hash !== '') return { at: 'device' }
  }
  const peer = typed || /@|%40/.test(said) ? readAddress(said, app.domain) : undefined
  if (peer) return peer === app.me ? { at: 'self' } : { at: 'chat', peer }
  return undefined
}
