// SPDX-License-Identifier: Apache-2.0

import { PENDING, type Change, type Db, type Message } from './schema'

const FIRST = 50
const PAGE = 80
/** What is jumped to is shown with so many before it. */
const BEFORE = 25
const MOST_UNREAD = 4_000

/**
 * The part of a conversation that is on screen or near it: the newest
 * messages, and older ones as they are asked for. It follows what is written.
 */
export class Conversation {
  /** In order. The oldest of a conversation with more before it is not among them: see `before`. */
  messages = $state.raw<Message[]>([])
  /** The one before the first, so that what is shown of the first does not change when older ones come. */
  before = $state.raw<Message | undefined>(undefined)
  /** The store has nothing older. */
  exhausted = $state(false)
  loaded = $state(false)
  /** The last change put messages before the others, none behind them. */
  prepended = $state.raw(false)
  private loading: Promise<number> | undefined

  /** @param ends the positions of the oldest and newest settled message, as far as they are known */
  constructor(
    private readonly db: Db,
    readonly peer: string,
    private readonly ends: () => { head: number; tail: number } | undefined = () => undefined,
  ) {}

  /** Loads the newest, and at least all from that position on, within reason. */
  async open(fromPos?: number): Promise<void> {
    let wanted = FIRST
    let rows = await this.read(wanted)
    if (fromPos !== undefined && rows.length === wanted && rows[0]!.pos > fromPos) {
      wanted = MOST_UNREAD
      rows = await this.read(wanted)
    }
    this.take(rows, rows.length < wanted)
    this.loaded = true
  }

  /** Loads older ones from the store; gives how many. */
  older(): Promise<number> {
    if (this.exhausted) return Promise.resolve(0)
    this.loading ??= this.loadOlder().finally(() => (this.loading = undefined))
    return this.loading
  }

  /** Loads everything from that position on. */
  async reach(pos: number): Promise<void> {
    const first = this.messages[0]
    if (this.exhausted || (first && first.pos <= pos)) return
    const index = this.db.transaction('messages').store.index('pos')
    const rows = await index.getAll(IDBKeyRange.bound([this.peer, pos - BEFORE], [this.peer, Infinity]))
    this.prepended = true
    // Where nothing is before it, it is the oldest there is, and to be shown like the others.
    this.take(rows, (rows[0]?.pos ?? pos) >= pos)
  }

  /** There may be older ones in the store again: history came in. */
  refill(): void {
    this.exhausted = false
  }

  /** Takes what was written. */
  apply(change: Change): void {
    const mine = change.messages.filter((m) => m.peer === this.peer)
    if (mine.length === 0 && change.removed.length === 0) return
    // What comes before the oldest is history, and asked for; but what waits comes after all that is new.
    const first = this.messages[0]?.pos
    const oldest = first === undefined || (this.exhausted && first >= PENDING) ? -Infinity : first
    const byKey = new Map(this.messages.map((m) => [m.key, m]))
    for (const key of change.removed) {
      byKey.delete(key)
      if (key === this.before?.key) this.before = undefined
    }
    for (const m of mine) {
      if (m.key === this.before?.key) this.before = m
      else if ((byKey.get(m.key)?.rev ?? 0) > m.rev) continue // tabs hear of each other's writes late
      else if (byKey.has(m.key) || m.pos >= oldest) byKey.set(m.key, m)
      else this.refill() // it came for somebody else: another tab, or what was on screen before
    }
    this.prepended = false
    this.messages = [...byKey.values()].sort((a, b) => a.pos - b.pos)
  }

  private async loadOlder(): Promise<number> {
    const end = this.before?.pos ?? this.messages[0]?.pos
    const rows = await this.read(PAGE, end)
    const count = this.messages.length
    this.prepended = true
    this.take(rows, rows.length < PAGE)
    return this.messages.length - count
  }

  /** Adds what was read. What is here already stays as it is: it has followed all writes since. */
  private take(rows: Message[], all: boolean): void {
    const held = [...(this.before ? [this.before] : []), ...this.messages]
    const byKey = new Map([...rows, ...held].map((m) => [m.key, m]))
    const inOrder = [...byKey.values()].sort((a, b) => a.pos - b.pos)
    this.exhausted = all
    this.before = all ? undefined : inOrder.shift()
    this.messages = inOrder
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
