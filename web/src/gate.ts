// SPDX-License-Identifier: Apache-2.0

/** Lets what a person asks for wait until it can be done: while a connection is being made, for a bounded time. */
export class Gate {
  private waiting = new Set<() => void>()

  /** Shut says that there is nothing to wait for. */
  constructor(private readonly shut: () => boolean) {}

  /** Something has changed. */
  look(): void {
    for (const again of [...this.waiting]) again()
  }

  /** Does the work as soon as it is open; until then, in ms since the epoch, it waits. Rejects when it is not done. */
  async pass<T>(open: () => boolean, until: number, work: () => T): Promise<Awaited<T>> {
    while (!open()) {
      const left = until - Date.now()
      if (this.shut() || left <= 0) throw new Error('not connected')
      await new Promise<void>((resolve) => {
        const again = (): void => {
          clearTimeout(timer)
          this.waiting.delete(again)
          resolve()
        }
        const timer = setTimeout(again, left)
        this.waiting.add(again)
      })
    }
    return await work()
  }
}
