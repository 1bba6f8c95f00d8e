// SPDX-License-Identifier: Apache-2.0

import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { Held } from './held'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

it('tells that the store is held once somebody has waited for long, until nobody does', async () => {
  const told: boolean[] = []
  const held = new Held((h) => told.push(h))
  expect(await held.watch(Promise.resolve(1))).toBe(1)
  await vi.advanceTimersByTimeAsync(60_000)
  expect(told).toEqual([])

  let answer!: () => void
  let giveUp!: (e: Error) => void
  const first = held.watch(new Promise<void>((resolve) => (answer = resolve)))
  const second = held.watch(new Promise<void>((_, reject) => (giveUp = reject))).catch((e: unknown) => String(e))
  await vi.advanceTimersByTimeAsync(4_900)
  expect(told).toEqual([])
  await vi.advanceTimersByTimeAsync(200)
  expect(told).toEqual([true])
  answer()
  await first
  expect(told).toEqual([true])
  giveUp(new Error('given up'))
  expect(await second).toBe('Error: given up')
  expect(told).toEqual([true, false])
})
