// SPDX-License-Identifier: Apache-2.0

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'

/** An unguessable string of so many characters, 6 bits each. */
export function token(length = 22): string {
  let out = ''
  for (const byte of crypto.getRandomValues(new Uint8Array(length))) out += ALPHABET[byte & 63]
  return out
}
