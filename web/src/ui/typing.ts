// SPDX-License-Identifier: Apache-2.0

import type { App } from '../app.svelte'
import { t } from './strings'

/** That somebody types, or records; in a group by name. */
export function typingWords(app: App, { peer, by, more, voice }: NonNullable<ReturnType<App['typing']['get']>>): string {
  return by ? t.typingBy(app.memberName(peer, by), more, voice) : voice ? t.recording : t.typing
}
