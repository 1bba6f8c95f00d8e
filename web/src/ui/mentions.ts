// SPDX-License-Identifier: Apache-2.0

import type { App } from '../app.svelte'
import type { Mention, Occupants } from '../store/schema'
import { folded } from './format'

export interface Somebody {
  jid: string
  name: string
}

/** So many are offered. */
const MOST = 6
/** A message does not wait longer than that to learn who is there. */
const PATIENCE_MS = 500

/** Who was in a room when it was last asked. */
const present = new Map<string, Occupants>()

/** Members of a group, and in a room that is open, or does not tell its members, who is there; without ourselves. */
function people(app: App, peer: string): Somebody[] {
  const group = app.chats.get(peer)?.group
  if (!group) return []
  const members = new Set(group.members.flatMap((m) => [m.jid, `${peer}/${m.nick}`]))
  const others = group.here ? (present.get(peer) ?? []).filter((m) => !members.has(m.jid)) : []
  return [...group.members, ...others].filter((m) => m.jid !== app.me).map((m) => ({ jid: m.jid, name: app.nameOfMember(m) }))
}

async function learn(app: App, peer: string): Promise<void> {
  if (!app.chats.get(peer)?.group?.here) return
  const all = await (await app.own()).peopleIn(peer).catch(() => undefined) // without a connection, those of before
  if (all) present.set(peer, all)
}

/** Who may be meant by what is being written behind an @: those that are known now, and again once it is known who is there. */
export async function callable(app: App, peer: string, written: string, offer: (people: Somebody[]) => void): Promise<void> {
  const wanted = folded(written)
  const find = (): void => offer(people(app, peer).filter((p) => folded(p.name).startsWith(wanted)).slice(0, MOST))
  find()
  await learn(app, peer)
  find()
}

/** Whom a text names in a group. */
export async function named(app: App, peer: string, text: string): Promise<Mention[] | undefined> {
  if (!present.has(peer)) await Promise.race([learn(app, peer), new Promise((resolve) => setTimeout(resolve, PATIENCE_MS))])
  return mentionsIn(text, people(app, peer))
}

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
