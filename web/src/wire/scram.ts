// SPDX-License-Identifier: Apache-2.0

import { decode64, encode64 } from './base64'
import { token } from './random'

/**
 * SCRAM-SHA-256 (RFC 5802, RFC 7677) without channel binding, which browsers
 * do not offer. The password never leaves the device, and the server must
 * prove that it knows the account too.
 */

export class ScramError extends Error {}

// RFC 7677 §4 recommends at least 4,096; far more would only stall the device.
const MIN_ITERATIONS = 4096
const MAX_ITERATIONS = 1_000_000

const utf8 = new TextEncoder()

export class Scram {
  private readonly clientFirstBare: string
  private serverSignature: string | undefined

  constructor(
    username: string,
    private readonly password: string,
    private readonly nonce = token(32),
  ) {
    const name = username.replace(/=/g, '=3D').replace(/,/g, '=2C')
    this.clientFirstBare = `n=${name},r=${this.nonce}`
  }

  /** The first message, in base64. */
  first(): string {
    return encode64(utf8.encode('n,,' + this.clientFirstBare))
  }

  /** Answers the server's challenge; both in base64. */
  async respond(challenge: string): Promise<string> {
    const serverFirst = readText(challenge)
    const fields = readFields(serverFirst)
    const nonce = fields.get('r') ?? ''
    const iterations = Number(fields.get('i'))
    if (fields.has('m')) throw new ScramError('mandatory extension')
    if (!nonce.startsWith(this.nonce) || nonce.length === this.nonce.length) throw new ScramError('nonce')
    if (!(iterations >= MIN_ITERATIONS && iterations <= MAX_ITERATIONS)) throw new ScramError('iterations')
    const salted = await saltPassword(this.password, decode64(fields.get('s') ?? ''), iterations)

    const final = `c=biws,r=${nonce}`
    const authMessage = utf8.encode(`${this.clientFirstBare},${serverFirst},${final}`)
    const clientKey = await hmac(salted, utf8.encode('Client Key'))
    const storedKey = new Uint8Array(await crypto.subtle.digest('SHA-256', clientKey))
    const signature = await hmac(storedKey, authMessage)
    const proof = clientKey.map((byte, i) => byte ^ signature[i]!)
    const serverKey = await hmac(salted, utf8.encode('Server Key'))
    this.serverSignature = encode64(await hmac(serverKey, authMessage))
    return encode64(utf8.encode(`${final},p=${encode64(proof)}`))
  }

  /** Checks the server's proof (in base64), which comes with its success. Throws when it is missing or wrong. */
  verify(success: string): void {
    const expected = this.serverSignature
    if (expected === undefined || readFields(readText(success)).get('v') !== expected) {
      throw new ScramError('the server did not prove itself')
    }
  }
}

async function saltPassword(password: string, salt: Uint8Array<ArrayBuffer>, iterations: number) {
  // SASLprep (RFC 4013) in its effect on what people type: compatibility forms folded.
  const key = await crypto.subtle.importKey('raw', utf8.encode(password.normalize('NFKC')), 'PBKDF2', false, ['deriveBits'])
  return new Uint8Array(await crypto.subtle.deriveBits({ name: 'PBKDF2', hash: 'SHA-256', salt, iterations }, key, 256))
}

async function hmac(key: Uint8Array<ArrayBuffer>, data: Uint8Array<ArrayBuffer>) {
  const k = await crypto.subtle.importKey('raw', key, { name: 'HMAC', hash: 'SHA-256' }, false, ['sign'])
  return new Uint8Array(await crypto.subtle.sign('HMAC', k, data))
}

function readText(base64: string): string {
  return new TextDecoder().decode(decode64(base64))
}

function readFields(message: string): Map<string, string> {
  const fields = new Map<string, string>()
  for (const part of message.split(',')) {
    if (part[1] === '=' && !fields.has(part[0]!)) fields.set(part[0]!, part.slice(2))
  }
  return fields
}
