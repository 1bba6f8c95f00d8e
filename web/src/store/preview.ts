// SPDX-License-Identifier: Apache-2.0

import type { Chat, Message } from './schema'

/** Takes a message's words away. */
export function blank(m: Message): void {
  Object.assign(m, { body: '', deleted: true, reactions: undefined, reply: undefined, mentions: undefined, edited: undefined, starred: undefined, file: undefined })
}

export function preview(m: Message): NonNullable<Chat['last']> {
  const kind = m.deleted ? 'deleted' : m.encrypted !== undefined ? 'encrypted' : undefined
  return {
    key: m.key,
    pos: m.pos,
    out: m.out,
    tick: m.tick,
    body: m.body.slice(0, 200),
    ...(kind && { kind }),
    ...(m.from && !m.out && { by: m.from.nick }),
    ...(m.file && { file: { name: m.file.name, type: m.file.type, length: m.file.length, wave: m.file.wave && '', inline: m.file.inline } }),
  }
}
