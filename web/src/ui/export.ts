// SPDX-License-Identifier: Apache-2.0

import type { App } from '../app.svelte'
import { ME, type Message } from '../store/schema'
import { wordsOf } from './format'
import { language, t } from './strings'
import { own } from './words/own'

/** A conversation as two files: to be read by people, and by programs. */
export interface Exported {
  text: Blob
  data: Blob
  count: number
}

/**
 * Puts a whole conversation into files. What is written leaves memory a slice at
 * a time. Rejects when it is aborted, or when what is missing cannot be fetched.
 */
export async function exportChat(app: App, peer: string, signal: AbortSignal, had: (messages: number) => void): Promise<Exported> {
  const now = new Date()
  const when = new Intl.DateTimeFormat(language, { dateStyle: 'short', timeStyle: 'medium' })
  const text: Blob[] = [new Blob([own.exportHead(app.nameOf(peer), when.format(now)), '\n\n'])]
  const head = { format: 'bavard chat 1', account: app.me, chat: { jid: peer, name: app.nameOf(peer), group: app.chats.get(peer)?.group !== undefined }, exported: now.toISOString() }
  const data: Blob[] = [new Blob([JSON.stringify(head).slice(0, -1), ',"messages":['])]
  let count = 0
  for await (const slice of (await app.own()).all(peer, signal, had)) {
    text.push(new Blob([slice.map((m) => `${line(app, m, when)}\n`).join('')]))
    data.push(new Blob([count > 0 ? ',\n' : '\n', slice.map((m) => JSON.stringify(record(app, m))).join(',\n')]))
    count += slice.length
  }
  data.push(new Blob(['\n]}\n']))
  return { text: new Blob(text, { type: 'text/plain;charset=utf-8' }), data: new Blob(data, { type: 'application/json' }), count }
}

function author(app: App, m: Message): string {
  return m.out ? (app.account?.name ?? t.you) : app.memberName(m.peer, m.from ?? { who: m.peer, nick: '' })
}

function line(app: App, m: Message, when: Intl.DateTimeFormat): string {
  const at = when.format(m.time)
  if (m.event) {
    const { kind, who, name } = m.event
    return `${at} ${who === app.me ? t.group.youEvent(kind) : t.group.event(kind, app.memberName(m.peer, { who, nick: name }), name)}`
  }
  const words = m.file && !m.deleted ? `[${m.file.name}] ${m.body}`.trim() : wordsOf(m)
  return `${at} ${author(app, m)}: ${words}${m.edited ? ` (${t.edited})` : ''}`
}

/** What programs get of a message; what says nothing is left out. */
function record(app: App, m: Message): unknown {
  const { archiveId, id, time, body, event, deleted, encrypted, file, reply, mentions, reactions } = m
  const given = Object.entries(reactions ?? {}).filter(([, emoji]) => emoji.length > 0)
  return {
    id: archiveId ?? id,
    time: new Date(time).toISOString(),
    ...(event ? { event } : { from: m.out ? app.me : m.from?.who || m.peer, name: author(app, m), text: body }),
    edited: m.edited !== undefined || undefined,
    deleted,
    encrypted,
    file: file && { name: file.name, type: file.type, size: file.size, url: file.url },
    reply: reply && { id: reply.id, text: reply.text },
    mentions: mentions?.map((x) => x.jid),
    reactions: given.length > 0 ? Object.fromEntries(given.map(([who, emoji]) => [who === ME ? app.me : who, emoji])) : undefined,
    tick: m.out ? (['waiting', 'sent', 'delivered', 'read'][app.tickOf(m.tick, m.from !== undefined)] ?? 'refused') : undefined,
  }
}

/** A file's name without what systems do not take. */
export function fileName(name: string, ext: string): string {
  const plain = name.replace(/[\p{Cc}\p{Cf}/\\:*?"<>|]+/gu, ' ').trim().slice(0, 60) || 'chat'
  return `bavard ${plain} ${new Date().toISOString().slice(0, 10)}.${ext}`
}
