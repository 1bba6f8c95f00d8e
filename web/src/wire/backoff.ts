// SPDX-License-Identifier: Apache-2.0

/** While a failure is younger than this, it is most likely a restart: attempts stay close. */
const RESTART_MS = 30_000
const FIRST_MS = 400
const RESTART_CAP_MS = 2_000
export const CAP_MS = 30_000

/**
 * How long to wait before the next attempt: exponential with full jitter, so
 * that those who lost the same server do not come back in step. It stays
 * within 2 s for the first half minute while somebody is looking, and within
 * 30 s always.
 *
 * @param attempt how many attempts have failed, from 1
 * @param age of the failure, in ms
 */
export function backoff(attempt: number, age: number, watched: boolean, random: () => number): number {
  const cap = watched && age < RESTART_MS ? RESTART_CAP_MS : CAP_MS
  return Math.round(random() * Math.min(cap, FIRST_MS * 2 ** Math.min(attempt, 16)))
}
