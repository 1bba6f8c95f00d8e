// SPDX-License-Identifier: Apache-2.0

import type { Mention } from '../store/schema'

/** Where a text names these people, in code points; undefined for nowhere. */
export function mentionsIn(text: string, people: { jid: string; name: string }[]): Mention[] | undefined {
  const points = [...text]
  const found: Mention[] = []
  const names = people.map((p) => ({ jid: p.jid, name: [...`@${p.name}`] })).sort((a, b) => b.name.length - a.name.length)
  for (let i = 0; i < points.length; i++) {
    if (points[i] !== '@') continue
    const hit = names.find((p) => p.name.every((c, k) => points[i + k] === c))
    if (hit) found.push({ begin: i, end: i + hit.name.length, jid: hit.jid })
  }
  return found.length > 0 ? found : undefined
}
