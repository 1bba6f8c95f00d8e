// SPDX-License-Identifier: Apache-2.0

import { refuse } from '../store/receive'
import type { Change, Db, Message, Outgoing, Shared, Slot } from '../store/schema'
import { setSlot, uploaded } from '../store/uploaded'
import { StanzaError } from '../wire/errors'

/** What became of a file that was put somewhere: an HTTP status, and when to come again if that was said. */
export interface Answer {
  status: number
  afterMs?: number | undefined
}

export interface UploadsOptions {
  db: Db
  changed: (change: Change) => void
  /** Writes, with room made where there is none; rejects when there is none to be made. */
  keep: <T>(work: () => Promise<T>) => Promise<T>
  /** Asks for a place for a file. Rejects with StanzaError when there is none, with another error when nobody could be asked. */
  slot: (file: Shared) => Promise<Slot>
  /** Puts a file there; rejects when no answer came. */
  put: (slot: Slot, type: string, data: Blob, progress: (share: number) => void, signal: AbortSignal) => Promise<Answer>
  /** The message, now that its file has an address: the octets that will be sent. */
  frame: (message: Message, id: string) => string
  /** What waited for that conversation's file may go. */
  filed: (peer: string) => void
  /** How much of a message's file is uploaded, 0 to 1; undefined when it is over. */
  progress: (key: number, share: number | undefined) => void
  random?: () => number
}

/** So many files go at once, of different conversations. */
const AT_ONCE = 2
/** After a failure it is tried again, at the latest after so long. */
const AGAIN_MS = [1_000, 3_000, 10_000, 30_000, 60_000] as const
/** A server that refuses so many places one after the other will refuse the next. */
const MOST_SLOTS = 4

/** The server will not have it. */
class Refused extends Error {
  constructor(
    readonly condition: string,
    readonly text = '',
  ) {
    super(condition)
  }
}

/** It did not work this time. */
class NotNow extends Error {
  constructor(readonly afterMs?: number) {
    super('not now')
  }
}

interface Job {
  key: number
  abort: AbortController
}

/**
 * Uploads the files of messages in the outbox: those of one conversation in the
 * order in which they were given. A place that the server gave is written down
 * before it is used, so that after a crash, here or there, the file is put to
 * the same place: it is there once however often it was put. Only one tab may
 * run it.
 */
export class Uploads {
  private jobs = new Map<string, Job>()
  private failures = new Map<string, { tries: number; slots: number; timer: ReturnType<typeof setTimeout> | undefined }>()
  private running = false
  private looking = false
  private again = false

  constructor(private readonly options: UploadsOptions) {}

  /** There is a connection: everything is tried at once. */
  begin(): void {
    this.running = true
    for (const f of this.failures.values()) clearTimeout(f.timer)
    for (const f of this.failures.values()) f.timer = undefined
    this.pump()
  }

  close(): void {
    this.running = false
    for (const job of this.jobs.values()) job.abort.abort()
    for (const f of this.failures.values()) clearTimeout(f.timer)
    this.failures.clear()
  }

  /** There may be a new file. */
  pump(): void {
    if (!this.running) return
    if (this.looking) {
      this.again = true
      return
    }
    this.looking = true
    void this.look().finally(() => (this.looking = false))
  }

  /** That message is gone. */
  cancel(peer: string, key: number): void {
    const job = this.jobs.get(peer)
    if (job && job.key !== key) return
    this.jobs.delete(peer)
    job?.abort.abort()
    clearTimeout(this.failures.get(peer)?.timer)
    this.failures.delete(peer)
    this.options.filed(peer)
    this.pump()
  }

  private async look(): Promise<void> {
    do {
      this.again = false
      const waiting = await this.options.db.getAllFromIndex('outbox', 'file', 1)
      const first = new Map<string, Outgoing>()
      for (const record of waiting) if (!first.has(record.peer)) first.set(record.peer, record)
      for (const [peer, record] of first) {
        if (!this.running || this.jobs.size >= AT_ONCE) break
        if (record.message === undefined || this.jobs.has(peer) || this.failures.get(peer)?.timer !== undefined) continue
        void this.work(record, record.message)
      }
    } while (this.again)
  }

  private async work(record: Outgoing, key: number): Promise<void> {
    const { peer } = record
    const job: Job = { key, abort: new AbortController() }
    this.jobs.set(peer, job)
    try {
      await this.upload(record, key, job.abort.signal)
      this.failures.delete(peer)
    } catch (e) {
      if (job.abort.signal.aborted) return
      if (e instanceof Refused && (await this.refuse(record, e))) this.failures.delete(peer)
      else this.later(peer, e instanceof NotNow ? e.afterMs : undefined)
    } finally {
      this.options.progress(key, undefined)
      if (this.jobs.get(peer) === job) this.jobs.delete(peer)
      if (!this.failures.has(peer)) this.options.filed(peer)
      this.pump()
    }
  }

  /** Whether the store has it that the server will not have that file: without room it is asked again later. */
  private refuse(record: Outgoing, { condition, text }: Refused): Promise<boolean> {
    const { db, changed, keep } = this.options
    return keep(() => refuse(db, record.id, { condition, text }, Date.now())).then(changed).then(() => true, () => false)
  }

  private async upload(record: Outgoing, key: number, signal: AbortSignal): Promise<void> {
    const { db, frame, changed, progress, keep } = this.options
    const [message, kept] = await Promise.all([db.get('messages', key), db.get('files', key)])
    const file = message?.file
    if (!file) throw new Refused('item-not-found')
    let url = file.url
    if (url === undefined) {
      if (!kept) throw new Refused('gone')
      progress(key, 0)
      const slot = record.slot ?? (await this.newSlot(record, { ...file, size: kept.size }))
      const answer = await this.options.put(slot, file.type, kept.data, (share) => progress(key, share), signal)
      await this.judge(record, answer)
      url = slot.get
    }
    if (signal.aborted) return
    changed(await keep(() => uploaded(db, record.n, url, (m) => frame(m, record.id), Date.now())))
  }

  private async newSlot(record: Outgoing, file: Shared): Promise<Slot> {
    const slot = await this.options.slot(file).catch((e: unknown) => {
      throw e instanceof StanzaError ? refusal(e) : new NotNow()
    })
    await this.options.keep(() => setSlot(this.options.db, record.n, slot))
    return slot
  }

  private async judge(record: Outgoing, { status, afterMs }: Answer): Promise<void> {
    if (status === 201 || status === 200) return
    if (status === 507) throw new Refused('file-quota')
    if (status === 401 || status === 403) throw new Refused('forbidden')
    if (status === 408 || status === 429 || status >= 500 || status === 0) throw new NotNow(afterMs)
    // Too old, or spoilt: with another place it goes better.
    await this.options.keep(() => setSlot(this.options.db, record.n, undefined))
    const failed = this.failed(record.peer)
    failed.slots++
    if (failed.slots >= MOST_SLOTS) throw new Refused('file-refused')
    throw new NotNow(0)
  }

  private failed(peer: string): NonNullable<ReturnType<typeof this.failures.get>> {
    let f = this.failures.get(peer)
    if (!f) this.failures.set(peer, (f = { tries: 0, slots: 0, timer: undefined }))
    return f
  }

  /** Tries again after a while: full jitter, so that not all who were cut off come back at once. */
  private later(peer: string, afterMs: number | undefined): void {
    const f = this.failed(peer)
    const most = AGAIN_MS[Math.min(f.tries, AGAIN_MS.length - 1)]!
    f.tries++
    clearTimeout(f.timer)
    f.timer = setTimeout(() => {
      f.timer = undefined
      this.pump()
    }, (afterMs ?? 0) + most * (this.options.random ?? Math.random)())
  }
}

/** Why there is no place for a file (XEP-0363 §errors @1.2.0). */
function refusal(e: StanzaError): Error {
  switch (e.condition) {
    case 'not-acceptable':
      return new Refused('file-too-large', e.text)
    case 'resource-constraint':
      return new Refused('file-quota', e.text)
    case 'remote-server-timeout':
    case 'internal-server-error':
      return new NotNow()
    case 'item-not-found':
    case 'service-unavailable':
      return new Refused('file-unsupported')
  }
  return e.type === 'wait' ? new NotNow() : new Refused(e.condition, e.text)
}
