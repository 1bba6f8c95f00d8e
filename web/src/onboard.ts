// SPDX-License-Identifier: Apache-2.0

import { named } from './device'
import { getMeta, putMeta, type Account, type Db, type SignUp } from './store/schema'
import { StanzaError, StreamFailure } from './wire/errors'
import { endToken, fetchToken, type Credentials, type Secret } from './wire/negotiate'
import { token } from './wire/random'
import { register, showInvite } from './wire/register'
import { Stream } from './wire/stream'
import type { Token } from './wire/token'
import type { Dial } from './wire/transport'

/** How somebody comes to have an account here: by an invite, or with one that they have. */

export type OnboardReason =
  | 'invite' // unknown, used up or expired
  | 'unreachable'
  | 'credentials'
  | 'refused' // the server says no; text says why

export class OnboardError extends Error {
  constructor(
    readonly reason: OnboardReason,
    readonly text = '',
  ) {
    super(`${reason} ${text}`)
  }
}

export interface OnboardOptions {
  db: Db
  dial: Dial
  address: string
  domain: string
  /** What the account's list of devices calls this one. */
  device: { software: string; device: string }
}

const STEP_MS = 15_000
/** Nobody waits longer for leaving. */
const FAREWELL_MS = 2_000

/** Asks the server whether an invite is good, without spending it, and to which group it leads, if to one. Rejects with OnboardError. */
export async function checkInvite(options: OnboardOptions, invite: string): Promise<{ jid: string; name: string } | undefined> {
  return connected(options, (stream) => showInvite(stream, invite))
}

/** Makes an account out of nothing but a name, with an invite, or with "" where anybody may. Asked again after a lost answer, it finds the account that it had made. */
export async function signUp(options: OnboardOptions, invite: string, name: string): Promise<Account> {
  const { db } = options
  const earlier = await getMeta(db, 'signUp')
  if (earlier?.invite === invite) {
    const made = await finishEarlier(options, earlier)
    if (made) return made
  }
  return connected(options, async (stream) => {
    if (invite === '') await stream.open()
    else await showInvite(stream, invite)
    for (const username of usernames(name)) {
      const attempt: SignUp = { invite, username, password: token(24), name }
      await putMeta(db, 'signUp', attempt)
      try {
        await register(stream, attempt)
        return await keep(options, attempt)
      } catch (e) {
        if (!(e instanceof StanzaError) || !['conflict', 'not-acceptable', 'jid-malformed'].includes(e.condition)) throw e
      }
    }
    throw new OnboardError('refused')
  })
}

/**
 * Takes an account that exists. Rejects with OnboardError when the server does
 * not accept what is shown. What this device keeps of another account goes; what
 * it has of this one, from before it was logged out, stays.
 */
export async function logIn(options: OnboardOptions, jid: string, secret: Secret): Promise<Account> {
  const { db } = options
  const before = await getMeta(db, 'account')
  const device = crypto.randomUUID()
  const token = await connected(options, (stream) => fetchToken(stream, credentials(options, jid, secret, device)))
  const password = token || secret.kind !== 'password' ? undefined : secret.secret
  const known: Account =
    before?.jid === jid ? before : { jid, name: jid.slice(0, jid.indexOf('@')), resource: deviceName(), bornHere: false, created: Date.now() }
  const account: Account = { ...known, device, token, password, out: undefined }
  if (before && before.jid !== jid) await forgetAll(db)
  await putMeta(db, 'account', account)
  return account
}

/** Clears the store. */
export async function forgetAll(db: Db): Promise<void> {
  const stores = [...db.objectStoreNames]
  const tx = db.transaction(stores, 'readwrite')
  for (const name of stores) void tx.objectStore(name).clear()
  await tx.done
}

/** Has the server forget this device, if it can be told now. */
export async function logOut(options: OnboardOptions): Promise<void> {
  const account = await getMeta(options.db, 'account')
  const { token, jid, device } = account ?? {}
  if (token && jid && device) await connected(options, (stream) => endToken(stream, credentials(options, jid, { kind: 'token', token }, device)), FAREWELL_MS)
}

function credentials({ device }: OnboardOptions, jid: string, secret: Secret, id: string): Credentials {
  return { jid, secret, device: { ...named(device, id), id } }
}

async function finishEarlier(options: OnboardOptions, earlier: SignUp): Promise<Account | undefined> {
  try {
    const jid = `${earlier.username}@${options.domain}`
    const device = crypto.randomUUID()
    const token = await connected(options, (stream) =>
      fetchToken(stream, credentials(options, jid, { kind: 'password', secret: earlier.password }, device)),
    )
    return await keep(options, earlier, device, token)
  } catch (e) {
    if (e instanceof OnboardError && e.reason === 'credentials') return undefined
    throw e
  }
}

async function keep({ db, domain }: OnboardOptions, made: SignUp, device?: string, token?: Token): Promise<Account> {
  const account: Account = {
    jid: `${made.username}@${domain}`,
    password: token ? undefined : made.password,
    token,
    device,
    name: made.name,
    resource: deviceName(),
    bornHere: true,
    created: Date.now(),
  }
  const tx = db.transaction('meta', 'readwrite', { durability: 'strict' })
  void tx.store.put(account, 'account')
  void tx.store.delete('signUp')
  await tx.done
  return account
}

function deviceName(): string {
  return `bavard-${token(8)}`
}

/** Runs work on a fresh stream, and says what went wrong in words that can be shown. */
async function connected<T>(options: OnboardOptions, work: (stream: Stream) => Promise<T>, ms = STEP_MS): Promise<T> {
  const stream = new Stream(options.dial, options.address, options.domain)
  const deadline = setTimeout(() => stream.fail(new StreamFailure('silent')), ms)
  try {
    return await work(stream)
  } catch (e) {
    if (e instanceof StanzaError && e.condition === 'item-not-found') throw new OnboardError('invite', e.text)
    if (e instanceof StanzaError) throw new OnboardError('refused', e.text || e.condition)
    if (e instanceof StreamFailure && e.fault === 'credentials') throw new OnboardError('credentials', e.text)
    if (e instanceof StreamFailure) throw new OnboardError('unreachable', e.text)
    throw e
  } finally {
    clearTimeout(deadline)
    stream.close()
  }
}

const LETTERS: Record<string, string> = { ß: 'ss', æ: 'ae', œ: 'oe', ø: 'o', đ: 'd', ð: 'd', ł: 'l', þ: 'th', ı: 'i' }

/** What an address can be made of: "Zoë Müller" becomes "zoe.muller"; "" when nothing is left. */
export function slug(name: string): string {
  return name
    .toLowerCase()
    .replace(/[ßæœøđðłþı]/g, (c) => LETTERS[c]!)
    .normalize('NFKD')
    .replace(/\p{M}/gu, '')
    .replace(/['’]/g, '')
    .replace(/[^a-z0-9]+/g, '.')
    .slice(0, 24)
    .replace(/^\.+|\.+$/g, '')
}

/** Addresses to try: the name, then with ever more digits, at last something that nobody has. */
function* usernames(name: string): Generator<string> {
  const base = slug(name)
  if (base !== '') {
    yield base
    for (const digits of [1, 2, 3, 4, 6]) yield base + digitsOf(digits)
  }
  yield `${base || 'someone'}.${token(10).toLowerCase().replace(/[^a-z0-9]/g, '0')}`
}

function digitsOf(n: number): string {
  const random = crypto.getRandomValues(new Uint32Array(n))
  return Array.from(random, (r, i) => (i === 0 ? 2 + (r % 8) : r % 10)).join('')
}

/** What the server that the page is from says of itself. */
export async function fetchServer(): Promise<{ domain: string; open: boolean }> {
  try {
    const answer = await fetch('/.well-known/bavard.json')
    const { domain, registration } = (await answer.json()) as { domain?: unknown; registration?: unknown }
    if (typeof domain === 'string' && domain !== '') return { domain, open: registration === true }
  } catch {
    // It cannot be reached, or is an older one: its name is that of the page.
  }
  return { domain: location.hostname, open: false }
}
