// SPDX-License-Identifier: Apache-2.0

/** For comparing what people type: without case and accents. */
export function folded(s: string): string {
  return s.normalize('NFKD').replace(/\p{M}/gu, '').toLowerCase()
}
