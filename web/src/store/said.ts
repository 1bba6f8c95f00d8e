// SPDX-License-Identifier: Apache-2.0

import type { Incoming } from '../wire/message'

/** With whom the tests of the store speak. */
export const bob = 'bob@localhost'

/** The n-th thing that bob said, for tests. */
export function said(n: number, more: Partial<Incoming> = {}): Incoming {
  return {
    peer: bob,
    mine: false,
    from: `${bob}/x`,
    id: `m${n}`,
    originId: undefined,
    archiveId: `a${n}`,
    stamp: n * 1000,
    body: `text ${n}`,
    asksReceipt: false,
    markable: true,
    received: undefined,
    displayed: undefined,
    chatState: undefined,
    ...more,
  }
}
