// SPDX-License-Identifier: Apache-2.0

import type { Component } from 'svelte'
import type { Message } from '../store/schema'

const load = { File: () => import('./File.svelte'), Rich: () => import('./Rich.svelte') }

/** What draws files, and texts that are more than letters: fetched when the first is to be shown, then there at once for all. */
class Late {
  File = $state.raw<Component<{ message: Message }> | undefined>(undefined)
  Rich = $state.raw<Component<{ text: string; message: Message }> | undefined>(undefined)
  private fetching = new Set<string>()

  want(what: keyof typeof load): void {
    if (this.fetching.has(what)) return
    this.fetching.add(what)
    void load[what]().then(
      (module) => (this[what] = module.default as never),
      () => this.fetching.delete(what), // the next that is shown tries again
    )
  }
}

export const late = new Late()
