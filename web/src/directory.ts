// SPDX-License-Identifier: Apache-2.0

import { getMeta, putMeta, type Account, type Db } from './store/schema'
import { fetchListed, findDirectory, searchDirectory, setListed, type Found } from './wire/directory'
import type { Session } from './wire/session'

/** The server's directory of people: who is in it, and whether we are. */
export class Directory {
  private place: Promise<string | undefined> | undefined

  constructor(
    private readonly db: Db,
    private readonly account: Account,
  ) {}

  /** Another session: what was known of the server may be over. */
  begin(): void {
    this.place = undefined
  }

  /** Whether the server has one. */
  async there(session: Session): Promise<boolean> {
    return (await this.find(session)) !== undefined
  }

  async search(session: Session, text: string, after: string | undefined): Promise<Found> {
    const found = await searchDirectory(session, await this.need(session), text, after)
    return { ...found, people: found.people.filter((p) => p.jid !== this.account.jid) }
  }

  /** The name that we are found by; undefined when we are not. */
  async listed(session: Session): Promise<string | undefined> {
    return fetchListed(session, await this.need(session))
  }

  /** Lets others find us by what we are called, or no longer. */
  async list(session: Session, on: boolean): Promise<void> {
    await setListed(session, await this.need(session), on ? this.account.name : undefined)
  }

  /** We may be called something else now: who is found is found by that. */
  async renamed(session: Session): Promise<void> {
    const place = await this.find(session)
    if (place === undefined) return
    const listed = await fetchListed(session, place)
    if (listed !== undefined && listed !== this.account.name) await setListed(session, place, this.account.name)
  }

  private async need(session: Session): Promise<string> {
    const place = await this.find(session)
    if (place === undefined) throw new Error('no directory')
    return place
  }

  private async find(session: Session): Promise<string | undefined> {
    this.place ??= findDirectory(session).catch((e: unknown) => {
      this.place = undefined
      throw e
    })
    const place = await this.place
    const is = place !== undefined
    // Screens that are opened without a connection know it from here.
    if ((await getMeta(this.db, 'directory')) !== is) await putMeta(this.db, 'directory', is)
    return place
  }
}
