// SPDX-License-Identifier: Apache-2.0

import type { Account, Db, Picture } from './store/schema'
import { NS } from './wire/ns'
import { fetchItems, type Published } from './wire/pep'
import { fetchPicture, fetchRoomPicture, hashOf, publishPicture, readPictureHash, setRoomPicture, type Image } from './wire/profile'
import type { Session } from './wire/session'

export interface PicturesOptions {
  db: Db
  account: Account
  /** Somebody looks different now. */
  changed: (picture: Picture) => void
  session: () => Session | undefined
}

/** So many may wait to be fetched; those left out come when they are told of again. */
const MOST_WAITING = 500

/** Pictures: fetched one after the other, once each, and kept. */
export class Pictures {
  private waiting = new Map<string, () => Promise<Image | undefined>>()
  private hashes = new Map<string, string>()
  private working = false

  constructor(private readonly options: PicturesOptions) {}

  /** Somebody says which picture they have. */
  async published(session: Session, p: Published): Promise<void> {
    const meta = p.items[0] && readPictureHash(p.items[0])
    if (meta) await this.heard(p.from, meta.hash, () => fetchPicture(session, p.from, meta.hash, meta.type))
  }

  /** A group has the picture with that hash. */
  async ofRoom(session: Session, room: string, hash: string): Promise<void> {
    await this.heard(room, hash, () => fetchRoomPicture(session, room))
  }

  /** Asks which picture we have ourselves: nobody else tells. */
  async own(session: Session): Promise<void> {
    const { jid } = this.options.account
    const item = (await fetchItems(session, NS.avatarMetadata)).at(-1)
    const meta = item && readPictureHash(item)
    if (meta) await this.heard(jid, meta.hash, () => fetchPicture(session, jid, meta.hash, meta.type))
  }

  /** Changes ours, or that of a group. */
  async set(session: Session, room: string, image: Image | undefined, size: number): Promise<void> {
    if (room === '') await this.keep(this.options.account.jid, await publishPicture(session, image, size), image)
    else {
      await setRoomPicture(session, room, image)
      await this.keep(room, image ? await hashOf(image.bytes) : '', image)
    }
  }

  private async heard(jid: string, hash: string, fetch: () => Promise<Image | undefined>): Promise<void> {
    const known = this.hashes.get(jid) ?? (await this.options.db.get('pictures', jid))?.hash ?? ''
    if (known === hash) return
    if (hash === '') {
      this.waiting.delete(jid)
      await this.keep(jid, '', undefined)
    } else if (this.waiting.size < MOST_WAITING) {
      this.hashes.set(jid, hash)
      this.waiting.set(jid, fetch)
      void this.work()
    }
  }

  private async work(): Promise<void> {
    if (this.working) return
    this.working = true
    for (const [jid, fetch] of this.waiting) {
      this.waiting.delete(jid)
      const hash = this.hashes.get(jid) ?? ''
      const image = await fetch().catch(() => undefined)
      if (image) await this.keep(jid, hash, image)
      else this.hashes.delete(jid) // another time
    }
    this.working = false
  }

  private async keep(jid: string, hash: string, image: Image | undefined): Promise<void> {
    this.hashes.set(jid, hash)
    const picture = { jid, hash, data: image && new Blob([image.bytes], { type: image.type }) }
    await this.options.db.put('pictures', picture)
    this.options.changed(picture)
  }
}
