// SPDX-License-Identifier: Apache-2.0

import { getMeta, putMeta, type Db } from './store/schema'
import { disablePush, enablePush, type Subscription } from './wire/push'
import type { Session } from './wire/session'

/** Keeps the server's knowledge of how this browser is notified: in the leading tab. */
export class Notify {
  /** One thing after the other: a person may turn it off while a session begins. */
  private work: Promise<unknown> = Promise.resolve()

  constructor(
    private readonly db: Db,
    private readonly subscription: () => Promise<Subscription | undefined>,
  ) {}

  /** Browsers change endpoints, and servers forget them: told anew with each session. */
  begin(session: Session): Promise<void> {
    return this.after(async () => {
      const kept = await getMeta(this.db, 'notify')
      if (!kept?.on) return
      const subscription = await this.subscription()
      if (subscription) await this.tell(session, subscription, true)
      else if (kept.node) await this.tell(session, undefined, true)
    })
  }

  /** From now on this browser is notified by that, or by nothing. */
  set(session: Session, subscription: Subscription | undefined): Promise<void> {
    return this.after(() => this.tell(session, subscription, subscription !== undefined))
  }

  private after(work: () => Promise<void>): Promise<void> {
    const done = this.work.then(work)
    this.work = done.catch(() => undefined)
    return done
  }

  /** On says whether the person still wants it. */
  private async tell(session: Session, subscription: Subscription | undefined, on: boolean): Promise<void> {
    const kept = await getMeta(this.db, 'notify')
    const node = subscription && (await enablePush(session, subscription))
    if (kept?.node && kept.node !== node) await disablePush(session, kept.node).catch(() => undefined) // it is over already
    await putMeta(this.db, 'notify', { ...kept, on, node })
  }
}
