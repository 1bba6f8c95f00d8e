// SPDX-License-Identifier: Apache-2.0

import type { App } from '../app.svelte'
import { timeOf, whenLabel } from './format'
import { w } from './words/screens'

/** When somebody was last here, in words; "" when they let nobody know, or it cannot be known now. */
export async function lastSeen(app: App, peer: string): Promise<string> {
  const at = await (await app.own()).lastSeen(peer).catch(() => undefined)
  return at === undefined ? '' : w.lastSeen(moment(at))
}

/** A moment as short as it can be told. */
export function moment(at: number): string {
  return [...new Set([whenLabel(at), timeOf(at)])].join(' ')
}
