// SPDX-License-Identifier: Apache-2.0

/**
 * The counters of stream management (XEP-0198 §acking @1.6.3), and what was
 * sent and not yet acknowledged. Counters wrap at 2^32.
 */

const MOD = 2 ** 32

export interface Sent {
  frame: string
  /** What the caller wants to be told about once the server has it. */
  tag: string | undefined
}

export class Counters {
  /** Stanzas that we have handled. */
  handled = 0
  private acked = 0
  private queue: Sent[] = []

  sent(frame: string, tag: string | undefined): void {
    this.queue.push({ frame, tag })
  }

  received(n = 1): void {
    this.handled = (this.handled + n) % MOD
  }

  /**
   * Takes an acknowledgement: gives the tags of what it newly covers, or
   * undefined when it claims more than was sent, or less than before
   * (XEP-0198 §errors @1.6.3: a reason to end the stream).
   */
  ack(h: number): string[] | undefined {
    const n = (h - this.acked + MOD) % MOD
    if (!Number.isInteger(h) || h < 0 || h >= MOD || n > this.queue.length) return undefined
    this.acked = h
    return this.queue.splice(0, n).flatMap((s) => s.tag ?? [])
  }

  /** What to send again after resumption, oldest first. */
  unacked(): readonly Sent[] {
    return this.queue
  }
}
