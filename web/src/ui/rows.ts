// SPDX-License-Identifier: Apache-2.0

import type { Message } from '../store/schema'
import { dayLabel, dayOf } from './format'

/** A message as it stands among its neighbours. */
export interface Row {
  message: Message
  /** A day begins with it: what to write above it. */
  day: string | undefined
  /** The first that was not read when the conversation was opened: how many there are. */
  unread: number | undefined
  /** The first or last of a run by the same person within a few minutes. */
  first: boolean
  last: boolean
}

/** Up to where it was read when the conversation was opened, and how many came after that. */
export interface Unread {
  pos: number
  count: number
}

/** A pause that parts two runs. */
const RUN_MS = 5 * 60_000

/**
 * @param beside the messages before the first and after the last, when there are some that are not shown
 * @param begin whether the first is the first of the conversation, as far as is known
 * @param unread where there is to be a divider
 */
export function makeRows(messages: Message[], beside: { before: Message | undefined; after: Message | undefined }, begin: boolean, unread: Unread | undefined): Row[] {
  const divider = unread ? messages.findIndex((m) => !m.out && !m.event && m.pos > unread.pos) : -1
  return messages.map((message, i) => {
    const previous = messages[i - 1] ?? beside.before
    const next = messages[i + 1] ?? beside.after
    const newDay = previous ? dayOf(previous.time) !== dayOf(message.time) : begin
    return {
      message,
      day: newDay ? dayLabel(message.time) : undefined,
      unread: i === divider ? Math.max(unread!.count, messages.slice(i).filter((m) => !m.out && !m.event).length) : undefined,
      first: newDay || i === divider || !previous || !together(previous, message),
      last: !next || i + 1 === divider || dayOf(next.time) !== dayOf(message.time) || !together(message, next),
    }
  })
}

function together(a: Message, b: Message): boolean {
  return a.out === b.out && a.from?.who === b.from?.who && a.event === b.event && Math.abs(b.time - a.time) < RUN_MS
}
