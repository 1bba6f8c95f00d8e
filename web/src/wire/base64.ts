// SPDX-License-Identifier: Apache-2.0

export function encode64(bytes: Uint8Array): string {
  let s = ''
  for (const b of bytes) s += String.fromCharCode(b)
  return btoa(s)
}

/** Throws when it is not base64. */
export function decode64(s: string): Uint8Array<ArrayBuffer> {
  const raw = atob(s)
  const bytes = new Uint8Array(raw.length)
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i)
  return bytes
}
