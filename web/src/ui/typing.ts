// SPDX-License-Identifier: Apache-2.0

import type { App } from '../app.svelte'
import { t } from './strings'

/** That somebody types; in a group by name. */
export function typingWords(app: App, { peer, by, more }: NonNullable<ReturnType<App['typing']['get']>>): string {
  return by ? t.typingBy(app.memberName(peer, by), more) : t.typing
}
