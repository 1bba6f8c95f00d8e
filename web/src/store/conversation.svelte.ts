// SPDX-License-Identifier: Apache-2.0

import { PENDING, type Change, type Db, type Message } from './schema'

const PAGE = 80
/** What is gone to is shown with so many before it, and so many from it on. */
const BEFORE = 25
const AFTER = 50
/** Of what was read, so much is shown above what was not. */
const READ = 3

/**
 * The part of a conversation that is on screen or near it: the newest messages, or those around one of them, and older
 * and newer ones as they are asked for. It follows what is written.
 */
export class Conversation {
  /** In order. Where there are more on a side, the outermost is not among them: see `before` and `after`. */
  messages = $state.raw<Message[]>([])
  /** The one before the first, so that what is shown of the first does not change when older ones come. */
  before = $state.raw<Message | undefined>(undefined)
  /** The one after the last, likewise. */
  after = $state.raw<Message | undefined>(undefined)
  /** The store has nothing older. */
  exhausted = $state(false)
  /** The store has nothing newer: what is said is added as it comes. */
  latest = $state(true)
  /** Counts how often it went elsewhere, to messages that do not follow on those before. */
  place = $state(0)
  /** It was painted: there is time for what else is to be done. */
  shown = $state(false)
  /** Up to there it has been on screen. */
  seen = $state(-Infinity)
  /** The last change put messages before the others, none behind them. */
  prepended = $state.raw(false)
  /** What was written while something is read from the store; undefined for what was removed. */
  private written: Map<number, Message | undefined> | undefined
  private reading: Promise<unknown> = Promise.resolve()

  /** @param ends the positions of the oldest and newest settled message, as far as they are known */
  constructor(
    private readonly db: Db,
    readonly peer: string,
    private readonly ends: () => { head: number; tail: number } | undefined = () => undefined,
    /** So many fill the screen; what is beside them is loaded once they are painted. */
    private readonly screen = 50,
  ) {}

  /** Loads the newest; or, where more than a screen of them follows on that position, those. */
  open(fromPos?: number): Promise<void> {
    return fromPos !== undefined && (this.ends()?.tail ?? Infinity) - fromPos > this.screen ? this.reach(fromPos + 1, READ, this.screen) : this.newest()
  }

  /** Goes to the newest. */
  newest(): Promise<void> {
    return this.turn(async () => {
      const rows = await this.read(this.screen)
      this.go(rows, rows.length < this.screen, true)
    })
  }

  /** Goes to that position, if it is not among what is loaded. */
  reach(pos: number, before = BEFORE, after = AFTER): Promise<void> {
    return this.turn(async () => {
      const [first, last] = [this.messages[0], this.messages.at(-1)]
      if (first && last && (this.exhausted || first.pos <= pos) && (this.latest || pos <= last.pos)) return
      const [older, newer] = await Promise.all([this.read(before, pos), this.readFrom(pos, after)])
      this.go([...older, ...newer], older.length < before, newer.length < after)
    })
  }

  /** Loads older ones from the store; gives how many. */
  older(): Promise<number> {
    return this.turn(async () => {
      if (this.exhausted) return 0
      const rows = await this.read(PAGE, this.before?.pos ?? this.messages[0]?.pos)
      const { length } = this.messages
      this.prepended = true
      this.take([...rows, ...this.held], rows.length < PAGE, this.latest)
      return this.messages.length - length
    })
  }

  /** Loads newer ones from the store; gives how many. */
  newer(): Promise<number> {
    return this.turn(async () => {
      if (this.latest) return 0
      const last = this.messages.at(-1) ?? this.before
      const rows = await this.readFrom(last ? last.pos + 1 : -Infinity, PAGE)
      const { length } = this.messages
      this.after = undefined // it may stand elsewhere by now
      this.prepended = false
      this.take([...rows, ...this.held], this.exhausted, rows.length < PAGE)
      return this.messages.length - length
    })
  }

  /** There may be older ones in the store again: history came in. */
  refill(): void {
    this.exhausted = false
  }

  /** Takes what was written. */
  apply(change: Change): void {
    const mine = change.messages.filter((m) => m.peer === this.peer)
    if (mine.length === 0 && change.removed.length === 0) return
    for (const key of change.removed) this.written?.set(key, undefined)
    for (const m of mine) this.written?.set(m.key, m)
    // What comes before the oldest is history, and asked for; but what waits comes after all that is new.
    const first = this.messages[0]?.pos
    const oldest = first === undefined || (this.exhausted && first >= PENDING) ? -Infinity : first
    const newest = this.latest ? Infinity : (this.messages.at(-1)?.pos ?? -Infinity)
    const byKey = new Map(this.messages.map((m) => [m.key, m]))
    for (const key of change.removed) {
      byKey.delete(key)
      if (key === this.before?.key) this.before = undefined
      if (key === this.after?.key) this.after = undefined
    }
    for (const m of mine) {
      if (m.key === this.before?.key) this.before = m
      else if (m.key === this.after?.key) this.after = m
      else if ((byKey.get(m.key)?.rev ?? 0) > m.rev) continue // tabs hear of each other's writes late
      else if (byKey.has(m.key) || (m.pos >= oldest && m.pos <= newest)) byKey.set(m.key, m)
      else if (m.pos < oldest) this.refill() // it came for somebody else: another tab, or what was on screen before
    }
    this.prepended = false
    this.messages = [...byKey.values()].sort((a, b) => a.pos - b.pos)
  }

  /** Reads one after the other, and knows what is written meanwhile. */
  private turn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.reading.then(async () => {
      this.written = new Map()
      try {
        return await work()
      } finally {
        this.written = undefined
      }
    })
    this.reading = done.catch(() => undefined)
    return done
  }

  private go(...there: Parameters<Conversation['take']>): void {
    this.place++
    this.prepended = false
    this.take(...there)
  }

  /** What is loaded, with those before and after it. */
  private get held(): Message[] {
    return [this.before ?? [], this.messages, this.after ?? []].flat()
  }

  /**
   * Holds these. What is written while they were read counts for more.
   *
   * @param exhausted there is nothing before them
   * @param latest there is nothing after them
   */
  private take(all: Message[], exhausted: boolean, latest: boolean): void {
    const byKey = new Map(all.map((m) => [m.key, m]))
    const end = all.reduce((pos, m) => (m.pos < PENDING ? Math.max(pos, m.pos) : pos), -Infinity)
    for (const [key, m] of this.written ?? []) {
      const known = byKey.get(key)
      if (!m) byKey.delete(key)
      else if (known ? known.rev <= m.rev : latest && m.pos > end) byKey.set(key, m)
    }
    const inOrder = [...byKey.values()].sort((a, b) => a.pos - b.pos)
    this.exhausted = exhausted
    this.latest = latest
    this.before = exhausted ? undefined : inOrder.shift()
    this.after = latest ? undefined : inOrder.pop()
    this.messages = inOrder
  }

  /** So many from that position on, in order. */
  private readFrom(pos: number, count: number): Promise<Message[]> {
    return this.db.getAllFromIndex('messages', 'pos', IDBKeyRange.bound([this.peer, pos], [this.peer, Infinity]), count)
  }

  /** The newest so many, before a position if one is given, in order. */
  private async read(count: number, end?: number): Promise<Message[]> {
    const index = this.db.transaction('messages').store.index('pos')
    const below = (from: number): IDBKeyRange =>
      IDBKeyRange.bound([this.peer, from], [this.peer, end ?? Infinity], false, end !== undefined)
    // Positions have few gaps: one question mostly brings all that is wanted.
    const ends = this.ends()
    if (ends) {
      const from = Math.min(end ?? Infinity, ends.tail + 1) - count
      const found = await index.getAll(below(from))
      if (found.length >= count || from <= ends.head) return found.slice(-count)
    }
    const range = below(-Infinity)
    const rows: Message[] = []
    for (let c = await index.openCursor(range, 'prev'); c && rows.length < count; c = await c.continue()) {
      rows.push(c.value)
    }
    return rows.reverse()
  }
}
