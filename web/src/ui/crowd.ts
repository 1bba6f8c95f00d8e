// SPDX-License-Identifier: Apache-2.0

import type { Occupants } from '../store/schema'
import { folded } from './format'

/** Somebody as the list of a group's people has them. */
export interface Listed {
  jid: string
  role: Occupants[number]['role']
  name: string
  /** What they stand in order by, and are found by from the second character on. */
  by: string
}

const ORDER = { owner: '0', admin: '1', member: '2', none: '3' }

/**
 * The people of a group, thousands of them: by what they are, then by what they are called, compared as plain text. Their list comes
 * anew with each message of the group; as long as it says the same, they are not named and sorted again.
 */
export class Crowd {
  private asTold: Listed[] = []
  private inOrder: Listed[] = []

  /** Those people in order; the same array as before when they are the same. */
  of(people: Occupants, nameOf: (member: Occupants[number]) => string): Listed[] {
    const before = this.asTold
    const same = people.length === before.length && people.every((m, i) => m.jid === before[i]!.jid && m.role === before[i]!.role && nameOf(m) === before[i]!.name)
    if (same) return this.inOrder
    this.asTold = people.map((m) => {
      const name = nameOf(m)
      return { jid: m.jid, role: m.role, name, by: ORDER[m.role] + folded(name) }
    })
    this.inOrder = this.asTold.toSorted((a, b) => (a.by < b.by ? -1 : 1))
    return this.inOrder
  }
}
