// SPDX-License-Identifier: Apache-2.0

import { thisDevice } from './device'
import { Engine } from './engine'
import type { Lead, LeadOptions } from './lead'
import type { Account } from './store/schema'
import { ownAddress } from './wire/discover'
import { dialWebSocket } from './wire/transport'

/** Starts the engine of the tab that leads; what it says is heard here and by the other tabs. */
export async function start(account: Account, lead: Lead, options: LeadOptions): Promise<Engine> {
  const both =
    <T>(topic: string, here: (data: T) => void) =>
    (data: T): void => {
      here(data)
      lead.tell(topic, data)
    }
  const engine = new Engine({
    db: options.db,
    account,
    address: ownAddress(location.origin),
    hostMeta: '/.well-known/host-meta.json',
    device: thisDevice(),
    dial: dialWebSocket,
    online: () => navigator.onLine,
    watched: () => lead.watched,
    changed: (change) => lead.changed(change),
    soft: both('soft', options.soft),
    kept: both('account', options.account),
    origin: location.origin,
    subscription: async () => (await import('./own')).subscription(),
    uploading: (key, share) => {
      options.uploading(key, share)
      lead.tell('uploading', [key, share])
    },
    looks: both('looks', options.looks),
    shutOut: options.shutOut,
  })
  await engine.start()
  return engine
}
