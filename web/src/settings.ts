// SPDX-License-Identifier: Apache-2.0

import { takeSettings } from './store/receive'
import { newest, type Change, type Chat, type Db } from './store/schema'
import { editChat } from './store/write'
import * as inbox from './wire/inbox'
import { bare } from './wire/jid'
import { NS } from './wire/ns'
import type { Published } from './wire/pep'
import type { Session } from './wire/session'

export interface SettingsOptions {
  db: Db
  changed: (change: Change) => void
}

/** What a person sets for conversations, on all devices. */
export class Settings {
  constructor(private readonly options: SettingsOptions) {}

  /** What a person sets for a conversation, on all devices. */
  async set(session: Session, peer: string, name: inbox.SettingName, value: unknown): Promise<void> {
    const { db } = this.options
    const chat = await db.get('chats', peer)
    if (name === 'pinned') await inbox.changeSetting(session, peer, name, inbox.pinned(value as number | undefined))
    else if (name === 'archived' || name === 'unread') {
      const id = value ? await newest(db, peer) : undefined
      await inbox.changeSetting(session, peer, name, inbox.upTo(name, id))
    } else if (chat?.group) await inbox.muteGroup(session, peer, value as { until: number | undefined } | undefined)
    else await inbox.changeSetting(session, peer, name, inbox.muted(value as { until: number | undefined } | undefined))
    const edit = (c: Chat): void => {
      if (name === 'pinned') c.pinned = value as number | undefined
      else if (name === 'archived') c.archivedAt = value ? c.tail : undefined
      else if (name === 'unread') c.markedUnread = value ? true : undefined
      else c.muted = value as { until: number | undefined } | undefined
    }
    this.options.changed(await editChat(db, peer, edit))
  }

  /** What our bookmarks say of groups is different now. */
  async bookmarked(published: Published): Promise<void> {
    for (const item of published.items) {
      const peer = bare(item.attr('id') ?? '')
      if (!(await this.options.db.get('chats', peer))) continue
      const muted = inbox.readMuted(item.child('conference', NS.bookmarks)?.child('extensions')?.child('notify', NS.notify))
      this.options.changed(await editChat(this.options.db, peer, (c) => (c.muted = muted)))
    }
  }

  /** Another device of ours has set something; each chat that it deleted is handed on. */
  async published(published: Published, gone: (peer: string, upTo: string) => void): Promise<void> {
    const { db } = this.options
    for (const item of published.items) {
      const peer = bare(item.attr('id') ?? '')
      const deleted = inbox.readDeleted(item)
      if (deleted !== undefined) {
        gone(peer, deleted)
        continue
      }
      if (await db.get('chats', peer)) this.options.changed(await takeSettings(db, peer, inbox.readSettings(item)))
    }
    for (const id of published.gone) if (await db.get('chats', id)) this.options.changed(await takeSettings(db, id, {}))
  }
}
