// SPDX-License-Identifier: Apache-2.0

import { decode64, encode64 } from './base64'

/** What lets a device in instead of a password (XEP-0484), until it expires or is revoked. */
export interface Token {
  mechanism: typeof TOKEN_MECHANISM
  token: string
  /** Milliseconds since the epoch. */
  expires: number
}

/** Without channel binding, which browsers do not offer. */
export const TOKEN_MECHANISM = 'HT-SHA-256-NONE'

const utf8 = new TextEncoder()

/** What shows a token (draft-schmaus-kitten-sasl-ht): a hash, not the token itself; and the server's answer, which shows that it knows it too. In base64. */
export async function showToken(username: string, { token }: Token): Promise<{ initial: string; answer: string }> {
  const key = await crypto.subtle.importKey('raw', utf8.encode(token), { name: 'HMAC', hash: 'SHA-256' }, false, ['sign'])
  const mac = async (text: string): Promise<Uint8Array> => new Uint8Array(await crypto.subtle.sign('HMAC', key, utf8.encode(text)))
  const [initiator, responder] = await Promise.all([mac('Initiator'), mac('Responder')])
  const name = utf8.encode(username + '\0')
  const initial = new Uint8Array(name.length + initiator.length)
  initial.set(name)
  initial.set(initiator, name.length)
  return { initial: encode64(initial), answer: encode64(responder) }
}

/** Whether two texts in base64 are of the same octets. */
export function sameOctets(a: string, b: string): boolean {
  try {
    return encode64(decode64(a.trim())) === encode64(decode64(b))
  } catch {
    return false
  }
}
