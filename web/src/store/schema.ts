// SPDX-License-Identifier: Apache-2.0

import { openDB, type DBSchema, type IDBPDatabase, type IDBPTransaction, type StoreNames } from 'idb'

/** How far a message of ours has come. The numbers are stored: they never change their meaning. */
export const Tick = {
  refused: -1,
  /** In the outbox: a clock. */
  waiting: 0,
  /** The server has it on disk: one tick. */
  sent: 1,
  /** Delivered: two ticks. */
  delivered: 2,
  /** Read: two blue ticks. */
  read: 3,
} as const
export type Tick = (typeof Tick)[keyof typeof Tick]

export interface Message {
  /** Local name; made by the database. */
  key: number
  peer: string
  /**
   * Place in the conversation: that of the archive as far as it is known.
   * Messages that still wait come after all others, from PENDING up.
   */
  pos: number
  out: boolean
  body: string
  /** Milliseconds since the epoch. */
  time: number
  /** Only of those that go out; `sent` for those that came in. */
  tick: Tick
  /** The id attribute of its stanza: receipts and markers name it. */
  id?: string | undefined
  originId?: string | undefined
  archiveId?: string | undefined
  /** Why it was refused: a stanza error condition, and the server's words. */
  error?: { condition: string; text: string } | undefined
  /** What it can be found by (see `named`); for the index. */
  names: string[]
  /** Counts its writes. */
  rev: number
}

export const PENDING = 2 ** 50

/** A conversation, also with somebody nothing was yet said to. */
export interface Chat {
  peer: string
  /** As the roster has it, or as they named themselves; may be "". */
  name: string
  contact: boolean
  subscription: 'none' | 'to' | 'from' | 'both'
  /** The person wants them as a contact; to be told to the server. */
  wanted: boolean
  /** They asked to see when we are online, and wait for an answer. */
  asks: boolean
  /** Positions of the oldest and newest settled message. */
  head: number
  tail: number
  /** Counts what was composed, for positions of what waits. */
  composed: number
  /** The device has everything from the beginning. */
  complete: boolean
  unread: number
  /** All up to here was read by us. */
  readPos: number
  /** The newest message that came in, for marking it displayed. */
  lastIn: { pos: number; id: string | undefined; markable: boolean } | undefined
  /** The message that we last marked as displayed. */
  marked: string | undefined
  /** Highest positions of ours known to be delivered and read. */
  peerGot: number
  peerRead: number
  last: { key: number; pos: number; out: boolean; tick: Tick; body: string } | undefined
  /** When something last happened; 0 for never. */
  time: number
  /** Counts its writes. */
  rev: number
}

/** One stanza that must arrive, kept as the octets that are sent each time. */
export interface Outgoing {
  n: number
  id: string
  peer: string
  frame: string
  /** The key of the message that it carries; none for receipts and markers. */
  message?: number | undefined
}

export interface Account {
  jid: string
  password: string
  name: string
  /** Names this device to the server. */
  resource: string
  /** Registered on this device, so that it knows everything from the beginning. */
  bornHere: boolean
  created: number
}

/** A registration under way, kept so that a lost answer does not lose the account. */
export interface SignUp {
  invite: string
  username: string
  password: string
  name: string
}

export interface Sync {
  /** The archive up to here is in the store. */
  lastId: string | undefined
}

export interface Meta {
  account: Account
  signUp: SignUp
  sync: Sync
  addresses: string[]
  /** When the server was last heard. */
  lastContact: number
}

interface Schema extends DBSchema {
  meta: { key: string; value: unknown }
  chats: { key: string; value: Chat }
  messages: {
    key: number
    value: Message
    indexes: { pos: [string, number]; names: string; archive: string }
  }
  outbox: { key: number; value: Outgoing; indexes: { message: number } }
  loose: { key: string; value: { name: string; tick: Tick } }
  drafts: { key: string; value: { peer: string; text: string } }
}

export type Db = IDBPDatabase<Schema>
export type WriteTx = IDBPTransaction<Schema, StoreNames<Schema>[], 'readwrite'>

/** What the stores hold is documented by the types above; a change of them is a new version and a migration here. */
export function openStore(name = 'bavard'): Promise<Db> {
  return openDB<Schema>(name, 1, {
    upgrade(db) {
      db.createObjectStore('meta')
      db.createObjectStore('chats', { keyPath: 'peer' })
      const messages = db.createObjectStore('messages', { keyPath: 'key', autoIncrement: true })
      messages.createIndex('pos', ['peer', 'pos'])
      messages.createIndex('names', 'names', { multiEntry: true })
      messages.createIndex('archive', 'archiveId')
      const outbox = db.createObjectStore('outbox', { keyPath: 'n', autoIncrement: true })
      outbox.createIndex('message', 'message')
      db.createObjectStore('loose', { keyPath: 'name' })
      db.createObjectStore('drafts', { keyPath: 'peer' })
    },
    blocking(_current, _blocked, event) {
      ;(event.target as IDBDatabase).close() // a newer version of the app, in another tab, wants in
    },
  })
}

export async function getMeta<K extends keyof Meta>(db: Db, key: K): Promise<Meta[K] | undefined> {
  return (await db.get('meta', key)) as Meta[K] | undefined
}

export async function putMeta<K extends keyof Meta>(db: Db, key: K, value: Meta[K]): Promise<void> {
  await db.put('meta', value, key)
}

/** What a message with that id, in the conversation with that peer, is found by. */
export function named(peer: string, id: string): string {
  return `${peer} ${id}`
}

export function newChat(peer: string, complete: boolean): Chat {
  return {
    peer,
    name: '',
    contact: false,
    subscription: 'none',
    wanted: false,
    asks: false,
    head: 0,
    tail: 0,
    composed: 0,
    complete,
    unread: 0,
    readPos: 0,
    lastIn: undefined,
    marked: undefined,
    peerGot: -Infinity,
    peerRead: -Infinity,
    last: undefined,
    time: 0,
    rev: 0,
  }
}

/** Keeps a conversation's record; every write of one goes through here. */
export function putChat(tx: WriteTx, chat: Chat): void {
  chat.rev += 1
  void tx.objectStore('chats').put(chat)
}

/** What a write changed, for all tabs to show. */
export interface Change {
  messages: Message[]
  /** Keys of messages that are gone. */
  removed: number[]
  chats: Chat[]
}
