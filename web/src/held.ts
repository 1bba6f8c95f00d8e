// SPDX-License-Identifier: Apache-2.0

/** What the store is asked for takes less, also where there is much; later it is held by somebody. */
export const LATE_MS = 5_000

/**
 * Tells while the store does not answer. A tab that hangs in the midst of a transaction holds it for all others, until it
 * goes on, is closed, or the browser gives it up (Chromium: after a minute).
 */
export class Held {
  private late = 0

  constructor(private readonly told: (held: boolean) => void) {}

  /** Waits for what the store was asked for, however long it takes. */
  async watch<T>(work: Promise<T>): Promise<T> {
    let counted = false
    const timer = setTimeout(() => {
      counted = true
      if (this.late++ === 0) this.told(true)
    }, LATE_MS)
    try {
      return await work
    } finally {
      clearTimeout(timer)
      if (counted && --this.late === 0) this.told(false)
    }
  }
}
