// SPDX-License-Identifier: Apache-2.0

import type { Component } from 'svelte'
import type { Message } from '../store/schema'

/** What draws files: fetched when the first is to be shown, then there at once for all. */
class Late {
  File = $state.raw<Component<{ message: Message }> | undefined>(undefined)
  private fetching = false

  want(): void {
    if (this.fetching) return
    this.fetching = true
    void import('./File.svelte').then(
      (module) => (this.File = module.default),
      () => (this.fetching = false), // the next that is shown tries again
    )
  }
}

export const late = new Late()
