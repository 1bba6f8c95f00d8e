// SPDX-License-Identifier: Apache-2.0

import { describe, expect, it } from 'vitest'
import type { Occupants } from '../store/schema'
import { Crowd } from './crowd'
import { dayLabel, dayOf, initials, isJustEmoji, whenLabel } from './format'

describe('texts', () => {
  it('of few emoji are shown large', () => {
    const kinds = ['👋🏽', '🧑🏽‍🚀', '🤷‍♂️', '1️⃣', '🏴󠁧󠁢󠁳󠁣󠁴󠁿', '❤️‍🔥', '👁️‍🗨️', '🏳️‍🌈', '☺️', '🐻‍❄️']
    for (const yes of ['😀', '👩‍👩‍👧', '❤️ 🎉', '🇫🇷🇩🇪🇪🇸', ...kinds]) expect(isJustEmoji(yes)).toBe(true)
    for (const no of ['', '1', '123', 'a😀', '😀😀😀😀', '#', '©', '☎', '日本', 'مرحبا']) expect(isJustEmoji(no)).toBe(false)
  })

  it('give initials', () => {
    expect(['Zoë Müller', 'anna', 'zoe.muller', '', '张伟', 'Ada M. Lovelace', 'Maya (choir)'].map(initials)).toEqual(['ZM', 'A', 'ZM', '?', '张', 'AL', 'MC'])
  })
})

describe('days', () => {
  const now = new Date(2026, 4, 15, 10).getTime()
  const at = (day: number, month = 4, year = 2026): number => new Date(year, month, day, 23, 59).getTime()

  it('are named as people name them', () => {
    expect([at(15), at(14), at(11), at(1), at(1, 0, 2024)].map((d) => dayLabel(d, now))).toEqual([
      'Today',
      'Yesterday',
      'Monday',
      'Friday, May 1',
      'January 1, 2024',
    ])
    expect([at(14), at(11), 0].map((d) => whenLabel(d, now))).toEqual(['Yesterday', 'Monday', ''])
  })
})

describe('a day', () => {
  it('is from midnight to midnight where the person is, whatever was asked before', () => {
    const midnight = new Date(2026, 9, 25).getTime() // in much of Europe this one has 25 hours
    const next = new Date(2026, 9, 26).getTime()
    for (const ms of [midnight, next - 1, next, midnight - 1, next + 1, midnight + 1]) expect(dayOf(ms)).toBe(new Date(ms).setHours(0, 0, 0, 0))
    expect([midnight - 1, midnight, next - 1, next].map((ms) => dayOf(ms) === midnight)).toEqual([false, true, true, false])
  })
})

describe('the people of a group', () => {
  const told = (...all: [jid: string, nick: string, role: 'owner' | 'admin' | 'member' | 'none'][]): Occupants => all.map(([jid, nick, role]) => ({ jid, nick, role }))
  const nameOf = (m: Occupants[number]): string => m.nick
  const names = (all: { name: string }[]): string => all.map((m) => m.name).join(' ')

  it('stand by what they are, then by their names, and are the same as long as they are told so', () => {
    const crowd = new Crowd()
    const first = crowd.of(told(['c@h', 'Émile', 'member'], ['a@h', 'Zoe', 'owner'], ['d@h', 'dora', 'member']), nameOf)
    expect(names(first)).toBe('Zoe dora Émile')
    expect(crowd.of(told(['c@h', 'Émile', 'member'], ['a@h', 'Zoe', 'owner'], ['d@h', 'dora', 'member']), nameOf)).toBe(first)
    expect(names(crowd.of(told(['c@h', 'Émile', 'admin'], ['a@h', 'Zoe', 'owner'], ['d@h', 'dora', 'member']), nameOf))).toBe('Zoe Émile dora')
    expect(names(crowd.of(told(['c@h', 'Émile', 'admin'], ['a@h', 'Zoe', 'owner']), nameOf))).toBe('Zoe Émile')
    expect(names(crowd.of(told(['c@h', 'Émile', 'admin'], ['a@h', 'Zoe', 'owner']), (m) => m.nick.toUpperCase()))).toBe('ZOE ÉMILE')
  })
})
