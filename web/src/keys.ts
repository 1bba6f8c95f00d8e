// SPDX-License-Identifier: Apache-2.0

import { named } from './device'
import { editAccount, type Db } from './store/schema'
import type { Credentials } from './wire/negotiate'
import type { Token } from './wire/token'

/** So many tokens from before are kept: they are replaced each week. */
const MOST_FORMER = 4

/**
 * What lets this device in. Beside its token it keeps those that came before: a server
 * that was restored from a backup knows one of them, and nothing of the newest. To
 * any other they mean nothing.
 */
export class Keys {
  private readonly denied = new Set<string>()
  private given: Token | undefined

  constructor(
    private readonly db: Db,
    private readonly device: { software: string; device: string },
  ) {}

  /** What is to be shown next. As the store has it: another tab may have led meanwhile. */
  async credentials(): Promise<Credentials> {
    const account = await editAccount(this.db, (a) => (a.device ? a : { ...a, device: crypto.randomUUID() }))
    if (!account) throw new Error('no account')
    const { jid, token, password } = account
    const all = token ? [token, ...(account.former ?? [])] : []
    this.given = all.find((t) => !this.denied.has(t.token)) ?? this.given ?? token
    const secret = this.given ? ({ kind: 'token', token: this.given } as const) : ({ kind: 'password', secret: password ?? '' } as const)
    return { jid, secret, device: { ...named(this.device, account.device!), id: account.device! } }
  }

  /** The server does not know what was shown. */
  deny(): void {
    if (this.given) this.denied.add(this.given.token)
  }

  /** From now on the device has this token; the password is nowhere on it. */
  async keep(token: Token): Promise<void> {
    this.given = token
    await editAccount(this.db, (a) => ({ ...a, token, former: former(a.token, a.former), password: undefined }))
  }

  /** What was shown let the device in: it is what to show from now on. */
  async accepted(): Promise<void> {
    if (this.denied.size === 0) return
    this.denied.clear()
    const { given } = this
    if (given) await editAccount(this.db, (a) => (a.token?.token === given.token ? a : { ...a, token: given, former: former(a.token, a.former?.filter((t) => t.token !== given.token)) }))
  }
}

function former(last: Token | undefined, before: Token[] | undefined): Token[] {
  return [...(last ? [last] : []), ...(before ?? [])].filter((t) => t.expires > Date.now()).slice(0, MOST_FORMER)
}
