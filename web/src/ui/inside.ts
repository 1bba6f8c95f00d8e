// SPDX-License-Identifier: Apache-2.0

import { readAddress } from '../wire/jid'
import { router } from './router.svelte'

/** Links to people on this server open here; for a click on one. */
export function inside(e: MouseEvent, href: string): void {
  const url = new URL(href)
  if (url.origin !== location.origin || !url.pathname.startsWith('/c/')) return
  const peer = readAddress(url.pathname, '')
  if (!peer) return
  e.preventDefault()
  router.go({ at: 'chat', peer })
}
