// SPDX-License-Identifier: Apache-2.0

import { editAccount, type Account, type Db } from './store/schema'
import { changePrivacy, fetchPrivacy, type Privacy } from './wire/privacy'
import { fetchName, publishName, saveAbout, type About } from './wire/profile'
import type { Session } from './wire/session'

export interface ProfileOptions {
  db: Db
  account: Account
  /** Something of the account is different now. */
  kept: (account: Account) => void
  /** We are called something else now. */
  renamed: () => Promise<void>
}

/** What we are called, and what others are not to see of us: the same on all devices. */
export class Profile {
  constructor(private readonly options: ProfileOptions) {}

  /** Says something else of ourselves. */
  async setAbout(session: Session, about: About): Promise<void> {
    await saveAbout(session, about)
    this.options.account.name = about.name
    await this.options.renamed()
  }

  /** What others are not to see. */
  async setPrivacy(session: Session, what: keyof Privacy, on: boolean): Promise<void> {
    await this.keepPrivacy(await changePrivacy(session, what, on))
  }

  async learnPrivacy(session: Session): Promise<void> {
    await this.keepPrivacy(await fetchPrivacy(session))
  }

  /** What we are called is the same on all devices: the one that the account was made on tells the others. */
  async learnName(session: Session): Promise<void> {
    const { account } = this.options
    const name = await fetchName(session)
    if (name !== '') await this.keepName(name)
    else if (account.bornHere && account.name !== '') await publishName(session, account.name)
  }

  async keepName(name: string): Promise<void> {
    const { db, account } = this.options
    if (name === '' || name === account.name) return
    account.name = name
    const kept = await editAccount(db, (a) => ({ ...a, name }))
    if (kept) this.options.kept(kept)
    // Another client may have changed it that knows no directory.
    void this.options.renamed().catch(() => undefined)
  }

  async keepPrivacy(privacy: Privacy): Promise<void> {
    let same = false
    const kept = await editAccount(this.options.db, (a) => {
      same = JSON.stringify(a.privacy) === JSON.stringify(privacy)
      return { ...a, privacy }
    })
    if (kept && !same) this.options.kept(kept)
  }
}
