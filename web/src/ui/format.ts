// SPDX-License-Identifier: Apache-2.0

import type { Label, Shared } from '../store/schema'
import { language, t } from './strings'

export { folded } from '../store/search'

/** How times and texts are written out. */

const FORMATS = {
  clock: { hour: '2-digit', minute: '2-digit' },
  weekday: { weekday: 'long' },
  short: { day: '2-digit', month: '2-digit', year: '2-digit' },
  long: { weekday: 'long', day: 'numeric', month: 'long' },
  longYear: { day: 'numeric', month: 'long', year: 'numeric' },
} satisfies Record<string, Intl.DateTimeFormatOptions>

const formats = new Map<string, Intl.DateTimeFormat>()

/** Names are in the language of the words, numbers as the device writes them. */
function written(ms: number, how: keyof typeof FORMATS): string {
  const locale = how === 'clock' || how === 'short' ? undefined : language
  const id = `${how} ${locale}`
  let format = formats.get(id)
  if (!format) formats.set(id, (format = new Intl.DateTimeFormat(locale, FORMATS[how])))
  return format.format(ms)
}

export function timeOf(ms: number): string {
  return written(ms, 'clock')
}

let day = { from: 0, to: 0 }

/** The same for all moments of a day where the person is. It is asked of thousands of messages, most of the same day as the one before. */
export function dayOf(ms: number): number {
  if (ms < day.from || ms >= day.to) day = { from: new Date(ms).setHours(0, 0, 0, 0), to: new Date(ms).setHours(24, 0, 0, 0) }
  return day.from
}

function daysAgo(ms: number, now: number): number {
  return Math.round((dayOf(now) - dayOf(ms)) / 86_400_000)
}

/** For a separator: "Today", "Tuesday", "Friday, 3 May", "3 May 2024". */
export function dayLabel(ms: number, now = Date.now()): string {
  const ago = daysAgo(ms, now)
  if (ago === 0) return t.today
  if (ago === 1) return t.yesterday
  if (ago > 1 && ago < 7) return written(ms, 'weekday')
  return new Date(ms).getFullYear() === new Date(now).getFullYear() ? written(ms, 'long') : written(ms, 'longYear')
}

/** For the list of chats: a time today, then a day, then a date. */
export function whenLabel(ms: number, now = Date.now()): string {
  if (ms === 0) return ''
  const ago = daysAgo(ms, now)
  if (ago <= 0) return timeOf(ms)
  if (ago === 1) return t.yesterday
  return ago < 7 ? written(ms, 'weekday') : written(ms, 'short')
}

/** The letters in a picture's place: those of the first and last word. */
export function initials(name: string): string {
  const words = name.match(/[\p{L}\p{N}][^\s._-]*/gu) ?? []
  const first = [...(words[0] ?? '?')][0] ?? '?'
  const last = words.length > 1 ? ([...words.at(-1)!][0] ?? '') : ''
  return (first + last).toUpperCase()
}

/** One of so many, always the same for the same text. */
export function pick(text: string, of: number): number {
  let h = 7
  for (let i = 0; i < text.length; i++) h = (h * 31 + text.charCodeAt(i)) >>> 0
  return h % of
}

/** A length of time like "1:05". */
export function lengthOf(ms: number): string {
  const s = Math.round(ms / 1000)
  return `${Math.floor(s / 60)}:${String(s % 60).padStart(2, '0')}`
}

/** How a file is shown. Pictures and films only of types that a browser draws and that cannot act. */
export function kindOf(f: Label): keyof typeof t.kinds {
  const [kind, sub] = f.type.split('/')
  if (!f.inline) return 'file'
  if (kind === 'image' && /^(jpeg|png|gif|webp|avif)$/.test(sub!)) return kind
  if (kind === 'video') return kind
  return kind === 'audio' ? (f.wave === undefined ? kind : 'voice') : 'file'
}

/** It is drawn where it stands: a picture or a film that is on this server. */
export function visual(f: Shared | undefined): boolean {
  return f !== undefined && !f.foreign && ['image', 'video'].includes(kindOf(f))
}

function labelOf(f: Label): string {
  const kind = kindOf(f)
  if (kind === 'file') return f.name
  return t.kinds[kind] + (kind === 'voice' && f.length ? ` (${lengthOf(f.length)})` : '')
}

/** What is read in a message's place: its words, or why there are none. */
export function wordsOf(m: { body: string; file?: Label | undefined; out: boolean; deleted?: boolean | undefined; encrypted?: string | undefined }): string {
  if (m.deleted) return m.out ? t.youDeleted : t.deleted
  if (m.encrypted !== undefined) return t.encrypted(m.encrypted)
  return m.file ? labelOf(m.file) + (m.body && `: ${m.body}`) : m.body
}

// What \p{RGI_Emoji} names one by one, by its rules (UTS #51): browsers take a tenth of a second to make
// anything of that list, and a conversation is not to wait for it.
const ONE = String.raw`(?:\p{Emoji_Modifier_Base}\p{Emoji_Modifier}|(?![0-9#*])\p{Emoji}\uFE0F|\p{Emoji_Presentation})`
const SEQUENCE = String.raw`(?:\p{RI}\p{RI}|[0-9#*]\uFE0F?\u20E3|${ONE}[\u{E0020}-\u{E007F}]*(?:\u200D${ONE})*)`
let emoji: RegExp | undefined

/** Up to three emoji and nothing else: they are shown large. */
export function isJustEmoji(text: string): boolean {
  if (text.length > 60 || !/^[0-9#*©®\u203C-\uFFFF]/.test(text)) return false
  emoji ??= new RegExp(`^(?:${SEQUENCE}\\s*){1,3}$`, 'u')
  return emoji.test(text)
}
