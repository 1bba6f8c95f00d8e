// SPDX-License-Identifier: Apache-2.0

import { openDB, type DBSchema, type IDBPDatabase, type IDBPTransaction, type StoreNames } from 'idb'
import type { Mention } from '../wire/message'
import type { Privacy } from '../wire/privacy'
import type { Shared } from '../wire/share'
import type { Outage, StatusPlaces } from '../wire/status'
import type { Token } from '../wire/token'

export type { Mention, Outage, Privacy, Shared }

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
  /** Who said it, in a group: their address where it may be seen, and what they were called. */
  from?: { who: string; nick: string } | undefined
  /** What it answers: named by its id, with the words as far as they are known, and who said them. */
  reply?: { id: string; text: string; out: boolean; nick: string } | undefined
  /** By who feels so: ME, or their address; an empty list for who no longer does. */
  reactions?: Record<string, string[]> | undefined
  /** The id of what it was last corrected by. */
  edited?: string | undefined
  /** Taken back; the body is gone. */
  deleted?: boolean | undefined
  /** Encrypted in that way, which we cannot read. */
  encrypted?: string | undefined
  mentions?: Mention[] | undefined
  /** Its sender wants no styling for it (XEP-0393 §disable @1.1.1). */
  unstyled?: boolean | undefined
  /** The file that it shares; the body is what is said about it. */
  file?: Shared | undefined
  /** 1 when the person wants to find it again; for the index. */
  starred?: 1 | undefined
  /** What happened in a group, instead of words. */
  event?: GroupEvent | undefined
  /** Ids of changes of it that are in the outbox. */
  acts?: string[] | undefined
  /** The last change of it was refused, and undone. */
  undone?: { condition: string; text: string } | undefined
  /** Counts its writes. */
  rev: number
}

/** Whose reaction it is: ours. */
export const ME = 'me'

export interface GroupEvent {
  kind: 'joined' | 'left' | 'removed' | 'admin' | 'member' | 'named' | 'created' | 'gone'
  /** Whom it is about; their address, "" for nobody. */
  who: string
  /** A name: theirs, or the group's new one. */
  name: string
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
  lastIn: { pos: number; id: string | undefined; markable: boolean; archiveId?: string | undefined } | undefined
  /** The message that we last marked as displayed. */
  marked: string | undefined
  /** Highest positions of ours known to be delivered and read. */
  peerGot: number
  peerRead: number
  last: { key: number; pos: number; out: boolean; tick: Tick; body: string; kind?: Kind | undefined; by?: string | undefined; file?: Label | undefined } | undefined
  /** Its place among those on top, from 1. */
  pinned?: number | undefined
  /** Put out of sight when this was the newest. */
  archivedAt?: number | undefined
  /** Marked as unread by hand. */
  markedUnread?: boolean | undefined
  /** Nothing is to be told of it: until then, or for ever. */
  muted?: { until: number | undefined } | undefined
  /** It was deleted up to the message with this archive id. */
  deletedUpTo?: string | undefined
  /** We take nothing from them. */
  blocked?: boolean | undefined
  /** Not with a person but with a group. */
  group?: Group | undefined
  /** When something last happened; 0 for never. */
  time: number
  /** Counts its writes. */
  rev: number
}

/** As much of a file as the list of chats tells. */
export type Label = Pick<Shared, 'name' | 'type' | 'length' | 'wave' | 'inline'>

/** What stands in the list of chats instead of words. */
export type Kind = 'deleted' | 'encrypted'

/** What we know of a group (XEP-0045). */
export interface Group {
  description: string
  /** What we are called in it. */
  nick: string
  /** Our name in it (XEP-0421), once we have been there. */
  occupant: string
  role: 'owner' | 'admin' | 'member' | 'none'
  /** All of them; none where the list is not for us to have. */
  members: Member[]
  /** Where members are not all who may be there, or are not told us: how many are there, and how often that was counted. */
  here?: { count: number; turn: number } | undefined
  /** Only admins write. */
  announcements: boolean
  /** Members may invite. */
  invites: boolean
  /** In it or not: invited and not yet decided, left, removed, or gone itself; forgotten when it is not to be listed either. */
  state: 'in' | 'invited' | 'left' | 'removed' | 'gone' | 'forgotten'
  /** Who invited us. */
  by: string
  /** The group's archive up to here is in the store. */
  lastId: string | undefined
  /** We were named in what was not read yet. */
  mentioned: boolean
  /** Up to which position each member has read, by address. */
  read: Record<string, number>
}

export interface Member {
  jid: string
  nick: string
  role: 'owner' | 'admin' | 'member'
}

/** People who are in a group now: by their own address, or that which they have in it. */
export type Occupants = (Pick<Member, 'jid' | 'nick'> & { role: Group['role'] })[]

/** One stanza that must arrive, kept as the octets that are sent each time. */
export interface Outgoing {
  n: number
  id: string
  peer: string
  frame: string
  /** The key of the message that it carries; none for receipts, markers and changes. */
  message?: number | undefined
  /** It goes to a group: it waits until we are in it, and is there when it comes back. */
  group?: boolean | undefined
  /** 1 while its file has to be uploaded first: there is no frame yet; for the index. */
  file?: 1 | undefined
  /** Where that file may be put, and got from then. */
  slot?: Slot | undefined
  /** It changes the message with that key; how to undo that when it is refused. */
  act?: { key: number; undo: Partial<Message> } | undefined
}

/** A place for one file (XEP-0363). */
export interface Slot {
  put: string
  get: string
  authorization?: string | undefined
}

/** A file on this device, under the key of its message. */
export interface Kept {
  key: number
  data: Blob
  size: number
  /** When it was last needed, for what may be thrown away; a file that is not uploaded yet has none, and stays. */
  used?: number | undefined
}

/** What came for a message that the store does not have yet, which is older. */
export interface Loose {
  name: string
  tick?: Tick | undefined
  edit?: { who: string; id: string; body: string; mentions: Mention[] | undefined; unstyled?: boolean | undefined } | undefined
  deleted?: { who: string } | undefined
  reactions?: Record<string, string[]> | undefined
}

export interface Account {
  jid: string
  /** Until there is a token. */
  password?: string | undefined
  /** What lets this device in. */
  token?: Token | undefined
  /** What did so before, newest first: a server that was restored from a backup may know no later one. */
  former?: Token[] | undefined
  /** Names this installation; a UUID. */
  device?: string | undefined
  /** The server does not let this device in any more. */
  out?: boolean | undefined
  name: string
  /** Names this device to servers that take its word for it. */
  resource: string
  /** Registered on this device, so that it knows everything from the beginning. */
  bornHere: boolean
  created: number
  /** What others are not to see; not known before the server was asked. */
  privacy?: Privacy | undefined
}

/** How somebody, or a group, looks. */
export interface Picture {
  jid: string
  /** SHA-1 of what it shows, or "" for none. */
  hash: string
  data: Blob | undefined
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
  /** The origin where this server has its files, when that is another than the app's; else "". */
  uploads: string
  /** Whether this server has a directory of people. */
  directory: boolean
  notify: Notified
  /** Where outages are told of. */
  status: StatusPlaces
  /** What was read there last, and when. */
  outage: { at: number; outage: Outage | undefined }
  /** What is starred on the server, as far as we know: conversations by the archive's names for the messages. */
  stars: Record<string, string>
}

/** What a notification says of which nothing more is known; by the kinds of docs/push.md. */
export interface NoticeWords {
  message: string
  call: string
  ended: string
  request: string
}

/** Whether this device is notified while the app is closed. */
export interface Notified {
  on: boolean
  /** What the server calls its registration. */
  node?: string | undefined
  /** What the service worker says; it has no words of its own. */
  words?: NoticeWords | undefined
}

interface Schema extends DBSchema {
  meta: { key: string; value: unknown }
  chats: { key: string; value: Chat }
  messages: {
    key: number
    value: Message
    indexes: { pos: [string, number]; names: string; archive: string; starred: number; shared: [string, number, string] }
  }
  outbox: { key: number; value: Outgoing; indexes: { message: number; id: string; file: number } }
  loose: { key: string; value: Loose }
  drafts: { key: string; value: { peer: string; text: string } }
  pictures: { key: string; value: Picture }
  files: { key: number; value: Kept; indexes: { used: number } }
}

export type Db = IDBPDatabase<Schema>
export type WriteTx = IDBPTransaction<Schema, StoreNames<Schema>[], 'readwrite'>

/** What is done when the store is taken from this tab while it is open. */
export interface Leaving {
  /** A newer version of the app, in another tab, wants in: what is not kept yet is kept first. */
  yields: () => Promise<unknown>
  /** It is closed: for that one, or by the browser, as when a person deletes a site's data. */
  closed: () => void
}

/**
 * What the stores hold is documented by the types above; a change of them is a new version and a migration here. While a tab
 * with an older version does not close the store, this waits.
 */
export function openStore(leaving?: Leaving): Promise<Db> {
  return openDB<Schema>('bavard', 4, {
    upgrade(db, from, _to, tx) {
      if (from < 1) {
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
      }
      if (from < 2) {
        tx.objectStore('messages').createIndex('starred', 'starred')
        tx.objectStore('outbox').createIndex('id', 'id')
        db.createObjectStore('pictures', { keyPath: 'jid' })
      }
      if (from < 3) {
        tx.objectStore('outbox').createIndex('file', 'file')
        db.createObjectStore('files', { keyPath: 'key' }).createIndex('used', 'used')
      }
      // Only what shares a file has such a key.
      if (from < 4) tx.objectStore('messages').createIndex('shared', ['peer', 'pos', 'file.name'])
    },
    blocking(_current, _blocked, event) {
      const db = event.target as IDBDatabase
      void Promise.resolve(leaving?.yields()).finally(() => {
        db.close()
        leaving?.closed()
      })
    },
    terminated: () => leaving?.closed(),
  })
}

export async function getMeta<K extends keyof Meta>(db: Db, key: K): Promise<Meta[K] | undefined> {
  return (await db.get('meta', key)) as Meta[K] | undefined
}

/** Changes what is kept of the account, if there is one still; what stays the same needs no room. On the disk once this has settled. */
export async function editAccount(db: Db, edit: (account: Account) => Account): Promise<Account | undefined> {
  const tx = db.transaction('meta', 'readwrite', { durability: 'strict' })
  const account = (await tx.store.get('account')) as Account | undefined
  const edited = account && edit(account)
  if (edited && edited !== account) void tx.store.put(edited, 'account')
  await tx.done
  return edited
}

export async function putMeta<K extends keyof Meta>(db: Db, key: K, value: Meta[K]): Promise<void> {
  await db.put('meta', value, key)
}

/** What a message with that id, in the conversation with that peer, is found by. */
export function named(peer: string, id: string): string {
  return `${peer} ${id}`
}

/** Whether a write failed because the browser has no room left. */
export function isFull(e: unknown): boolean {
  return e instanceof DOMException && e.name === 'QuotaExceededError'
}

/** The archive's name for the oldest message that the store has of a conversation, "" for none; it can be asked within a transaction. */
export const oldest = (db: Db | WriteTx, peer: string): Promise<string> => archived(db, peer, 'next')

/** That for the newest. */
export const newest = (db: Db | WriteTx, peer: string): Promise<string> => archived(db, peer, 'prev')

async function archived(db: Db | WriteTx, peer: string, direction: 'next' | 'prev'): Promise<string> {
  const store = 'objectStore' in db ? db.objectStore('messages') : db.transaction('messages').store
  const range = IDBKeyRange.bound([peer, -Infinity], [peer, Infinity])
  for (let c = await store.index('pos').openCursor(range, direction); c; c = await c.continue()) {
    if (c.value.archiveId !== undefined) return c.value.archiveId
  }
  return ''
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

export function isMuted(chat: Chat, now = Date.now()): boolean {
  return chat.muted !== undefined && (chat.muted.until ?? Infinity) > now
}

/** Out of sight: until something is said in it, unless it is silent. */
export function isArchived(chat: Chat, now = Date.now()): boolean {
  return chat.archivedAt !== undefined && (chat.tail <= chat.archivedAt || isMuted(chat, now))
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
  /** What is starred is different now, perhaps of messages that this device does not have. */
  stars?: boolean
}
