// SPDX-License-Identifier: Apache-2.0

import { getMeta, putMeta, type Db } from './store/schema'
import { disablePush, enablePush, type Subscription } from './wire/push'
import type { Session } from './wire/session'

/** Keeps the server's knowledge of how this browser is notified: in the leading tab. */
export class Notify {
  constructor(
    private readonly db: Db,
    private readonly subscription: () => Promise<Subscription | undefined>,
  ) {}

  /** Browsers change endpoints, and servers forget them: told anew with each session. */
  async begin(session: Session): Promise<void> {
    const kept = await getMeta(this.db, 'notify')
    if (!kept?.on) return
    const subscription = await this.subscription()
    if (subscription) await this.set(session, subscription)
    else if (kept.node) await this.set(session, undefined, true)
  }

  /** From now on this browser is notified by that, or by nothing; on says whether the person still wants it. */
  async set(session: Session, subscription: Subscription | undefined, on = subscription !== undefined): Promise<void> {
    const kept = await getMeta(this.db, 'notify')
    const node = subscription && (await enablePush(session, subscription))
    if (kept?.node && kept.node !== node) await disablePush(session, kept.node).catch(() => undefined) // it is over already
    await putMeta(this.db, 'notify', { ...kept, on, node })
  }
}
