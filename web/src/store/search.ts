// SPDX-License-Identifier: Apache-2.0

/** Most of what is said in many languages: nothing of it has an accent. */
const PLAIN = /^[\0-\x7f]*$/

/** For comparing what people type: without case and accents. */
export function folded(s: string): string {
  return (PLAIN.test(s) ? s : s.normalize('NFKD').replace(/\p{M}/gu, '')).toLowerCase()
}
