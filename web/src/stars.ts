// SPDX-License-Identifier: Apache-2.0

import { getMeta, Tick, type Change, type Db, type Message } from './store/schema'
import { identify, takeStars } from './store/receive'
import { addStar, fetchStars, MOST_STARS, readStars, removeStar, type Star } from './wire/stars'
import { queryArchive, type ArchivePage, type ArchiveQuery } from './wire/archive'
import { StanzaError } from './wire/errors'
import type { Incoming } from './wire/message'
import type { Published } from './wire/pep'
import type { Session } from './wire/session'

export interface StarsOptions {
  db: Db
  changed: (change: Change) => void
  /** Asks the archive of a group; rejects when we are not in it. */
  ofRoom: (session: Session, room: string, query: ArchiveQuery) => Promise<ArchivePage>
}

/** So far back is looked for what the archive calls a message of ours. */
const NEAR = 100
/** So many are asked for in one query. */
const PAGE = 50
/** Of so many it is asked in one session. */
const MOST_SOUGHT = 50

/**
 * Stars are the account's: the server keeps them for all devices. What was
 * starred here while nobody could be told is told with the next session: it is what is
 * starred and was not on the server, the last time that we looked.
 */
export class Stars {
  private work: Promise<unknown> = Promise.resolve()

  constructor(private readonly options: StarsOptions) {}

  /** A new session: brings the device and the server together. */
  begin(session: Session): Promise<void> {
    return this.after(() => this.meet(session))
  }

  /** The person has starred a message, or no longer does. */
  toggled(session: Session, key: number): Promise<void> {
    return this.after(async () => {
      const message = await this.options.db.get('messages', key)
      const id = message && (await this.nameOf(session, message))
      if (!message || id === undefined) return // the next session tries again
      const known = await this.known()
      if (message.starred) {
        if (known.has(id)) return
        await addStar(session, { id, peer: message.peer })
        known.set(id, message.peer)
      } else {
        if (!known.delete(id)) return
        await removeStar(session, id)
      }
      await this.keep(known, [], [])
    })
  }

  /** Another device has. */
  published(p: Published): Promise<void> {
    return this.after(async () => {
      const known = await this.known()
      const stars = readStars(p.items)
      for (const { id, peer } of stars) known.set(id, peer)
      for (const id of p.gone) known.delete(id)
      await this.keep(known, stars.map((s) => s.id), p.gone)
    })
  }

  /** A conversation is deleted: nothing of it is to be found again, on any device. */
  deleted(session: Session, peer: string): Promise<void> {
    return this.after(async () => {
      const known = await this.known()
      const gone = [...known].flatMap(([id, of]) => (of === peer ? [id] : []))
      for (const id of gone) await removeStar(session, id)
      for (const id of gone) known.delete(id)
      if (gone.length > 0) await this.keep(known, [], gone)
    })
  }

  /** What is starred and not on this device, as far as it can be had; under no keys of the store. Waits until this is known. */
  async elsewhere(session: Session): Promise<Message[]> {
    const { db, ofRoom } = this.options
    await this.work
    const missing: Star[] = []
    for (const [id, peer] of await this.known()) if (!(await db.getKeyFromIndex('messages', 'archive', id))) missing.push({ id, peer })
    const found: Message[] = []
    const groups = new Set((await db.getAll('chats')).filter((c) => c.group).map((c) => c.peer))
    for (const room of ['', ...groups]) {
      const stars = missing.filter((s) => (room ? s.peer === room : !groups.has(s.peer)))
      const ask = (ids: string[]): Promise<ArchivePage> => {
        const query = { ids, max: PAGE }
        return room ? ofRoom(session, room, query) : queryArchive(session, query)
      }
      for (let i = 0; i < stars.length; i += PAGE) {
        const said = await named(ask, stars.slice(i, i + PAGE).map((s) => s.id)).catch(() => [])
        for (const m of said) if (m.body !== undefined || m.file || m.encrypted !== undefined) found.push(asMessage(m, -1 - found.length))
      }
    }
    return found
  }

  private async meet(session: Session): Promise<void> {
    const { db } = this.options
    const listed = await fetchStars(session)
    const there = new Map(listed?.map((s) => [s.id, s.peer]))
    // Where there is nothing at all, nothing was taken away: it is put there.
    const before = listed ? await this.known() : new Map<string, string>()
    const here = new Set<string>()
    const added: Star[] = []
    let sought = 0
    for (const m of (await db.getAllFromIndex('messages', 'starred', 1)).sort((a, b) => b.time - a.time)) {
      const id = m.archiveId ?? (sought++ < MOST_SOUGHT ? await this.nameOf(session, m) : undefined)
      if (id === undefined) continue
      here.add(id)
      if (!there.has(id) && !before.has(id) && added.length < MOST_STARS) added.push({ id, peer: m.peer })
    }
    for (const star of added.reverse()) {
      await addStar(session, star)
      there.set(star.id, star.peer)
    }
    for (const id of [...there.keys()]) {
      if (!before.has(id) || here.has(id) || !(await db.getKeyFromIndex('messages', 'archive', id))) continue
      await removeStar(session, id)
      there.delete(id)
    }
    await this.keep(there, [...there.keys()].filter((id) => !here.has(id)), [...before.keys()].filter((id) => !there.has(id)))
  }

  /** What the archive calls a message; of one that went out from here it does not tell by itself. */
  private async nameOf(session: Session, message: Message): Promise<string | undefined> {
    const { db, changed } = this.options
    const { archiveId, originId, peer, pos } = message
    if (archiveId !== undefined || originId === undefined || message.from) return archiveId
    let before = ''
    for (let c = await db.transaction('messages').store.index('pos').openCursor(IDBKeyRange.bound([peer, pos], [peer, Infinity])); c; c = await c.continue()) {
      if (c.value.archiveId === undefined) continue
      before = c.value.archiveId
      break
    }
    const page = await queryArchive(session, { with: peer, before, max: NEAR })
    const id = page.entries.find((m) => m.mine && m.originId === originId)?.archiveId
    if (id !== undefined) changed(await identify(db, message.key, id))
    return id
  }

  private async known(): Promise<Map<string, string>> {
    return new Map(Object.entries((await getMeta(this.options.db, 'stars')) ?? {}))
  }

  private async keep(stars: Map<string, string>, marked: string[], unmarked: string[]): Promise<void> {
    const kept = Object.fromEntries([...stars].slice(-MOST_STARS))
    this.options.changed(await takeStars(this.options.db, kept, marked, unmarked))
  }

  /** One after the other: each begins with what the one before has kept. */
  private after(work: () => Promise<void>): Promise<void> {
    const done = this.work.then(work)
    this.work = done.catch(() => undefined)
    return done
  }
}

/** Those of them that are there: where one is not, the archive gives none (XEP-0313 §query-limit-id @1.1.3). */
async function named(ask: (ids: string[]) => Promise<ArchivePage>, ids: string[]): Promise<Incoming[]> {
  try {
    return (await ask(ids)).entries
  } catch (e) {
    if (!(e instanceof StanzaError) || e.condition !== 'item-not-found') throw e
    if (ids.length === 1) return []
    const half = ids.length >> 1
    return [...(await named(ask, ids.slice(0, half))), ...(await named(ask, ids.slice(half)))]
  }
}

function asMessage(m: Incoming, key: number): Message {
  const { peer, id, originId, archiveId, sender, file, encrypted } = m
  const known = { peer, id, originId, archiveId, file, encrypted, from: sender, deleted: m.retracted }
  return { ...known, key, pos: 0, out: m.mine, body: m.body ?? '', time: m.stamp ?? 0, tick: Tick.sent, names: [], starred: 1, rev: 0 }
}
