// SPDX-License-Identifier: Apache-2.0

import type { CatchUp } from './catchup'
import type { Deletions } from './deletions'
import type { Space } from './full'
import type { Outbox } from './outbox/outbox'
import type { People } from './people'
import type { Pictures } from './pictures'
import type { Profile } from './profile'
import type { Rooms } from './rooms'
import type { Settings } from './settings'
import type { Stars } from './stars'
import { applyContact, take, takeRead, type Taken } from './store/receive'
import { isFull, type Account, type Change, type Db } from './store/schema'
import { editChat } from './store/write'
import { buildReceipt } from './wire/compose'
import { readItems, readPresence } from './wire/contacts'
import { bare } from './wire/jid'
import { readMessage, type Incoming } from './wire/message'
import { NS } from './wire/ns'
import { readPublished, type Published } from './wire/pep'
import { readPrivacy } from './wire/privacy'
import { readBlocking, readName } from './wire/profile'
import { token } from './wire/random'
import type { Session } from './wire/session'
import type { XmlElement } from './wire/xml'

export interface IntakeOptions {
  db: Db
  account: Account
  changed: (change: Change) => void
  session: () => Session | undefined
  space: Space
  outbox: Outbox
  catchUp: CatchUp
  people: People
  rooms: Rooms
  pictures: Pictures
  stars: Stars
  deletions: Deletions
  settings: Settings
  profile: Profile
}

/** So many messages are taken together also where there is little room for them. */
const FEW = 20

/** Says that a message has come, ready to be kept and sent. */
export const receipt = (peer: string, messageId: string): { id: string; frame: string } => {
  const id = token()
  return { id, frame: buildReceipt(peer, id, messageId) }
}

/** What comes in: each stanza goes to who knows what it means, and messages into the store. */
export class Intake {
  constructor(private readonly options: IntakeOptions) {}

  /** Takes what came in, in its order. */
  async stanzas(batch: XmlElement[]): Promise<void> {
    const { db, account, people, rooms, changed, session } = this.options
    let messages: Incoming[] = []
    const flush = async (): Promise<void> => {
      if (messages.length > 0) await this.messages(messages)
      messages = []
    }
    for (const el of batch) {
      if (el.name === 'message') {
        const m = await this.read(el)
        if (m) messages.push(m)
        continue
      }
      await flush()
      if (el.name === 'presence' && rooms.has(bare(el.attr('from') ?? ''))) await rooms.presence(el)
      else if (el.name === 'presence') {
        const presence = readPresence(el)
        if (presence) await people.presence(presence, session())
      } else {
        const blocking = readBlocking(el)
        if (blocking) await people.blocked(blocking.jids, blocking.blocked)
        for (const item of readItems(el)) {
          changed(await editChat(db, item.jid, (c) => applyContact(c, item.contact), account.bornHere))
        }
      }
    }
    await flush()
  }

  private async messages(batch: Incoming[]): Promise<void> {
    const { people, rooms, catchUp } = this.options
    for (const m of batch) people.heard(m)
    for (const [room, said] of Map.groupBy(batch, (m) => (m.sender ? m.peer : ''))) {
      if (room === '' ? catchUp.hold(said) : rooms.hold(room, said)) continue
      await this.take(said, said.findLast((m) => m.archiveId !== undefined)?.archiveId, room || undefined)
    }
  }

  /** Reads a message; what is none for the person is dealt with here. */
  private async read(el: XmlElement): Promise<Incoming | undefined> {
    const { account, rooms } = this.options
    const type = el.attr('type')
    if (type === 'error') return undefined
    if (type === 'groupchat') return rooms.read(el)
    const published = readPublished(el, account.jid)
    if (!published) return readMessage(el, account.jid)
    await this.published(published)
    return undefined
  }

  private async published(published: Published): Promise<void> {
    const { db, account, rooms, pictures, stars, deletions, settings, profile } = this.options
    const session = this.options.session()
    // Threat: forged bookmarks. XEP-0402 §security @1.2.0: only our own.
    if (published.node === NS.avatarMetadata) {
      if (session) await pictures.published(session, published)
    } else if (published.from !== account.jid) return
    else if (published.node === NS.nick) await profile.keepName(readName(published.items.at(-1)))
    else if (published.node === NS.bookmarks) {
      await settings.bookmarked(published)
      if (session) await rooms.published(session, published)
    } else if (published.node === NS.chats) {
      await settings.published(published, (peer, upTo) => {
        // Else it is asked for once the archive has been caught up with.
        if (session && rooms.ready) void deletions.published(session, peer, upTo).catch(() => undefined)
      })
    } else if (published.node === NS.privacy) await profile.keepPrivacy(readPrivacy(published.items.at(-1)))
    else if (published.node === NS.stars) await stars.published(published)
    else if (published.node === NS.mds) {
      for (const item of published.items) {
        const id = item.child('displayed', NS.mds)?.child('stanza-id', NS.sid)?.attr('id')
        if (id) this.options.changed(await takeRead(db, bare(item.attr('id') ?? ''), id))
      }
    }
  }

  /** Takes messages into the store, with what follows from them; lastId is where their archive is then known up to. */
  async take(batch: Incoming[], lastId: string | undefined, group?: string): Promise<void> {
    const { db, account, space, rooms, outbox, changed } = this.options
    const options = { lastId, complete: account.bornHere, receipt, now: Date.now(), group }
    const work = (): Promise<Taken> => take(db, batch, options)
    // Before they count as known: where this page ends in between, they are asked for again.
    for (const m of batch) if (m.invitation) await rooms.invited(m)
    let taken: Taken
    try {
      taken = await (batch.length > FEW ? work() : space.keep(work))
    } catch (e) {
      if (!isFull(e) || batch.length <= FEW) throw e
      // Less at a time needs less room: then no more goes for it than must.
      const first = batch.slice(0, batch.length >> 1)
      await this.take(first, first.findLast((m) => m.archiveId !== undefined)?.archiveId, group)
      return this.take(batch.slice(first.length), lastId, group)
    }
    outbox.settle(taken.settled)
    changed(taken)
    if (taken.queued) outbox.pump()
  }
}
