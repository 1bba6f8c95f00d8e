// SPDX-License-Identifier: Apache-2.0

import { acknowledge, place, refuse, refuseAll } from '../store/receive'
import { isFull, type Change, type Db, type Outgoing } from '../store/schema'
import type { StanzaError } from '../wire/errors'
import type { Session } from '../wire/session'

/** How many stanzas may be on their way without an answer. */
const WINDOW = 64
/** How long to wait before what the server put off, or what was answered for and could not be noted, is sent again. */
const PUT_OFF_MS = [2_000, 5_000, 15_000, 30_000] as const
/** What is said after a file waits so long for it. */
const PATIENCE_MS = 10_000

export interface OutboxOptions {
  db: Db
  changed: (change: Change) => void
  /** Does a write; where there is no room for it, some is made. */
  keep?: <T>(work: () => Promise<T>) => Promise<T>
  /** Whether we are in that group, so that it takes what we send. */
  ready?: (group: string) => boolean
  /** A group says that we are not in it. */
  lost?: (group: string) => void
  random?: () => number
}

/**
 * Sends what is in the store's outbox, in its order, the same octets however
 * often, until the server answers for it. Only one tab may run it.
 *
 * A stanza leaves the outbox when an acknowledgement covers it and no error
 * came before that, or when it is refused for good. After a connection that
 * could not be resumed all that is left is sent again: the server knows a
 * repeat by its origin-id.
 *
 * What goes to a group waits until we are in it, and holds up nothing else. It
 * leaves the outbox when it comes back from the group (see Fold): that, and no
 * acknowledgement, says that it was said there, and where.
 *
 * A message with a file goes once the file is uploaded (see Uploads). What is
 * said in the same conversation after it waits for that, so that a picture comes
 * before the words about it; but not for long: a large file on a slow line must
 * not hold up a cry for help.
 */
export class Outbox {
  private session: Session | undefined
  /** Sent and not yet answered for, by id. */
  private onWay = new Map<string, { refusal: StanzaError | undefined; group: string | undefined }>()
  /** Acknowledged, and not yet back from the group. */
  private returning = new Set<string>()
  /** They are not to be sent any more, and leave the store. */
  private recalled = new Set<string>()
  /** All up to this record was sent on the present session. */
  private sentTo = 0
  /** Conversations in which a file is waited for, and until when. */
  private patience = new Map<string, number>()
  /** Of these a file was passed over since the store was last read from the beginning. */
  private behind = new Set<string>()
  private patient: ReturnType<typeof setTimeout> | undefined
  private pumping = false
  private again = false
  private holding = false
  private putOffs = 0
  private timer: ReturnType<typeof setTimeout> | undefined
  private writes = Promise.resolve()
  private accepted: string[] | undefined
  /** Acknowledged messages take their place in the conversation at once. */
  private placing = true

  constructor(private readonly options: OutboxOptions) {}

  /** A session is there to send on. When it is not a resumed one, everything is sent anew. */
  begin(session: Session, resumed: boolean): void {
    this.session = session
    if (!resumed) this.restart()
    this.pump()
  }

  /** There is no connection. */
  pause(): void {
    this.session = undefined
  }

  close(): void {
    this.pause()
    clearTimeout(this.timer)
    clearTimeout(this.patient)
  }

  /** Keeps that stanza back, if it is not on its way: what was sent on a connection that may be resumed is. */
  recall(id: string): boolean {
    if (this.onWay.has(id) || this.returning.has(id)) return false
    this.recalled.add(id)
    return true
  }

  /** There is something new in the outbox. */
  pump(): void {
    if (this.pumping) {
      this.again = true
      return
    }
    this.pumping = true
    void this.run().finally(() => (this.pumping = false))
  }

  /** The server refused the stanza with that id; heard before the acknowledgement that counts it. */
  refused(id: string, error: StanzaError): boolean {
    const entry = this.onWay.get(id)
    if (entry) entry.refusal = error
    return entry !== undefined
  }

  /** The server answers for these; what it refused it merely has dealt with. */
  acked(ids: string[]): void {
    for (const id of ids) {
      const entry = this.onWay.get(id)
      this.onWay.delete(id)
      if (entry?.group !== undefined && entry.refusal?.condition === 'not-acceptable') this.options.lost?.(entry.group)
      else if (entry?.group !== undefined && !entry.refusal) this.returning.add(id)
      else if (!entry?.refusal) this.accept(id)
      else if (entry.refusal.type === 'wait') this.holding = true
      else this.refuse(id, entry.refusal)
    }
    if (!this.holding) this.pump()
    else if (this.onWay.size === 0) this.putOff()
  }

  private refuse(id: string, error: StanzaError): void {
    this.accepted = undefined // what is accepted after this is written after it
    const { condition, text } = error // of an Error the store would keep nothing else than its name
    this.write(() => refuse(this.options.db, id, { condition, text }, Date.now()))
  }

  /** What is accepted while the store is busy is written together, in its place among the other writes. */
  private accept(id: string): void {
    if (this.accepted) {
      this.accepted.push(id)
      return
    }
    const batch = (this.accepted = [id])
    this.write(async () => {
      if (this.accepted === batch) this.accepted = undefined
      const change = await acknowledge(this.options.db, batch, this.placing, Date.now())
      this.putOffs = 0
      return change
    })
  }

  /** These arrived: the archive has them, though no acknowledgement came. */
  settle(ids: string[]): void {
    for (const id of ids) {
      this.onWay.delete(id)
      this.returning.delete(id)
    }
  }

  /** We are in a group now: what was passed over goes. */
  open(): void {
    this.fromBeginning()
    this.pump()
  }

  /** A file of that conversation is uploaded, or will not be. */
  filed(peer: string): void {
    this.patience.delete(peer)
    this.open()
  }

  private fromBeginning(): void {
    this.sentTo = 0
    this.behind.clear()
  }

  /** Nothing that waits for that group will be taken. */
  refuseAll(group: string): void {
    this.accepted = undefined
    this.write(() => refuseAll(this.options.db, group, { condition: 'forbidden', text: '' }, Date.now()))
  }

  /** The archive is being caught up with: what came before an acknowledged message may not be here yet. */
  catchingUp(): void {
    this.placing = false
  }

  /** The store has all of the archive: what was acknowledged meanwhile comes after it. */
  caughtUp(): void {
    this.write(() => {
      this.placing = true
      return place(this.options.db, Date.now())
    })
  }

  private async run(): Promise<void> {
    do {
      this.again = false
      await this.writes // what is answered for must be out of the store before it is read again
      const session = this.session
      if (!session || this.holding) return
      const room = WINDOW - this.onWay.size
      if (room <= 0) return
      const from = this.sentTo
      const next = await this.options.db.getAll('outbox', IDBKeyRange.lowerBound(from, true), room)
      if (session !== this.session || from !== this.sentTo) this.again = true
      else if (this.send(session, next)) session.askAck()
      if (next.length === room) this.again = true // some may have been passed over
    } while (this.again)
  }

  private send(session: Session, records: Outgoing[]): boolean {
    let sent = false
    for (const record of records) {
      const group = record.group ? record.peer : undefined
      const wait = (group !== undefined && !(this.options.ready?.(group) ?? true)) || this.waitsForFile(record)
      if (!wait && !this.onWay.has(record.id) && !this.returning.has(record.id) && !this.recalled.has(record.id)) {
        if (!session.send(record.frame, record.id)) return false
        this.onWay.set(record.id, { refusal: undefined, group })
        sent = true
      }
      this.sentTo = record.n
    }
    return sent
  }

  /** Whether it has no file yet, or comes after one that is waited for. */
  private waitsForFile(record: Outgoing): boolean {
    const { peer } = record
    const now = Date.now()
    if (record.file) {
      this.behind.add(peer)
      if (!this.patience.has(peer)) this.patience.set(peer, now + PATIENCE_MS)
      return true
    }
    const said = record.message !== undefined || record.act !== undefined
    const until = said && this.behind.has(peer) ? (this.patience.get(peer) ?? 0) : 0
    if (until <= now) return false
    this.patient ??= setTimeout(() => {
      this.patient = undefined
      this.open()
    }, until - now)
    return true
  }

  private restart(): void {
    clearTimeout(this.timer)
    this.patience.clear()
    this.onWay.clear()
    this.returning.clear()
    this.fromBeginning()
    this.holding = false
  }

  /** The server asked to wait, or the store has no room. What is left goes again, in order, after a while. */
  private putOff(): void {
    const most = PUT_OFF_MS[Math.min(this.putOffs, PUT_OFF_MS.length - 1)]!
    this.putOffs++
    clearTimeout(this.timer)
    this.timer = setTimeout(
      () => {
        this.restart()
        this.pump()
      },
      most * (0.5 + 0.5 * (this.options.random ?? Math.random)()),
    )
  }

  private write(work: () => Promise<Change>): void {
    const { keep = (w) => w() } = this.options
    this.writes = this.writes.then(() => keep(work)).then(this.options.changed, (e: unknown) => {
      if (isFull(e)) console.warn('outbox:', e)
      else console.error('outbox:', e)
      // The store still has them: they go again, but not as fast as they come back.
      this.accepted = undefined
      this.restart()
      this.holding = true
      this.putOff()
    })
  }
}
