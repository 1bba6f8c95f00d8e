// SPDX-License-Identifier: Apache-2.0

import { markOf } from './device'
import { makeRoom } from './files'
import { forgetAll, logOut, type OnboardOptions } from './onboard'
import { backwards, matching } from './store/find'
import { getMeta, putMeta, Tick, type Db, type Message, type NoticeWords, type Occupants } from './store/schema'
import type { Client } from './wire/access'
import type { Found, Listed } from './wire/directory'
import type { Subscription } from './wire/push'
import { token } from './wire/random'
import type { RoomLink as GroupLink } from './wire/roomlink'
import { clean } from './wire/xml'

export type { GroupLink, Listed }

/** So many of the newest messages, in so many chats, are looked at for those that were refused. */
const LATELY = 20
const MOST_LOOKED = 500

/** A device that the account is used on. */
export interface LinkedDevice {
  id: string
  name: string
  self: boolean
  connected: boolean
  lastSeen: number
}

/** What is to be different about a group. */
export interface GroupSettings {
  name?: string
  description?: string
  announcements?: boolean
  invites?: boolean
}

/** Whether this device is notified while the app is closed; or why that cannot be. */
export type Notifying =
  | 'on'
  | 'off'
  | 'blocked' // the browser does not let the app: the person said no, there or in its settings
  | 'install' // this system notifies only apps on its home screen
  | 'never' // not by this browser, or not by this server

/** So many messages are in memory at once. */
const EXPORT_SLICE = 500

type Ask = (method: string, ...args: unknown[]) => Promise<unknown>

/** What concerns one's own account and this device. */
export class Own {
  constructor(
    private readonly db: Db,
    private readonly me: string,
    private readonly ask: Ask,
  ) {}

  /** Where the account is used, this device first. */
  async devices(): Promise<LinkedDevice[]> {
    const [clients, account] = await Promise.all([this.ask('devices') as Promise<Client[]>, getMeta(this.db, 'account')])
    const mark = ` #${markOf(account?.device ?? '')}`
    return clients
      .map((c) => ({ id: c.id, name: (c.device || c.software).replace(/ #\w{6}$/, ''), self: c.device.endsWith(mark), connected: c.connected, lastSeen: c.lastSeen }))
      .sort((a, b) => Number(b.self) - Number(a.self) || b.lastSeen - a.lastSeen)
  }

  /** False when only a new password keeps it out. */
  async revokeDevice(id: string): Promise<boolean> {
    return (await this.ask('revoke', id)) as boolean
  }

  /** The address that lets one more device in. */
  async makeLink(): Promise<string> {
    return `${location.origin}/?link#${this.me}/${(await this.ask('link')) as string}`
  }

  /** What others are not to see, on all devices. */
  async setPrivacy(what: 'hidden' | 'noReceipts', on: boolean): Promise<void> {
    await this.ask('setPrivacy', what, on)
  }

  // --- the directory of people

  /** Whether the server has one; without a connection, as it was last known. */
  async hasDirectory(live: boolean): Promise<boolean> {
    const known = await getMeta(this.db, 'directory')
    return ((live ? await this.ask('directory').catch(() => known) : known) as boolean | undefined) ?? false
  }

  /** People whose names or addresses begin so; the next ones come after what the last answer says. */
  findPeople(text: string, after?: string): Promise<Found> {
    return this.ask('findPeople', clean(text), after) as Promise<Found>
  }

  /** The name that others find us by; undefined when they do not. */
  listed(): Promise<string | undefined> {
    return this.ask('listed') as Promise<string | undefined>
  }

  /** Lets others find us, or no longer. */
  async setListed(on: boolean): Promise<void> {
    await this.ask('list', on)
  }

  /** Somebody was found who calls themselves that. */
  async meet(jid: string, name: string): Promise<void> {
    await this.ask('meet', jid, name)
  }

  // --- people

  /** When somebody was last here, in ms since the epoch. Rejects when they do not tell us. */
  lastSeen(jid: string): Promise<number> {
    return this.ask('lastSeen', jid) as Promise<number>
  }

  /** How many messages of a conversation were not sent yet. */
  async waiting(peer: string): Promise<number> {
    return (await this.db.getAll('outbox')).filter((o) => o.peer === peer && o.message !== undefined).length
  }

  /**
   * What waits to be sent, and what was refused, the oldest first: lately, which takes long to find out, or of what was
   * given before, and waited or was refused then.
   */
  async outbox(before?: Message[]): Promise<Message[]> {
    const known = before ?? (await this.refused())
    const waiting = (await this.db.getAll('outbox')).flatMap((r) => r.message ?? [])
    const { store } = this.db.transaction('messages')
    const all = await Promise.all([...new Set([...waiting, ...known.map((m) => m.key)])].map((key) => store.get(key)))
    return all.filter((m): m is Message => m?.tick === Tick.waiting || m?.tick === Tick.refused).sort((a, b) => a.time - b.time)
  }

  /** What was refused lately, chat by chat. */
  private async refused(): Promise<Message[]> {
    const chats = await this.db.getAll('chats')
    const { store } = this.db.transaction('messages')
    const refused = chats.slice(0, MOST_LOOKED).map(async ({ peer }) => {
      const found: Message[] = []
      const range = IDBKeyRange.bound([peer, -Infinity], [peer, Infinity])
      let c = await store.index('pos').openCursor(range, 'prev')
      for (let n = 0; c && n < LATELY; n++, c = await c.continue()) if (c.value.tick === Tick.refused) found.push(c.value)
      return found
    })
    return (await Promise.all(refused)).flat()
  }

  /** Takes a message off this device that was not sent yet. False: it was, or may have been. */
  recall(message: Message): Promise<boolean> {
    return this.ask('recall', message.peer, message.key) as Promise<boolean>
  }

  /** Deletes a conversation for us, on all devices; what was not sent yet stays, and is sent. */
  async deleteChat(peer: string): Promise<void> {
    await this.ask('deleteChat', peer)
  }

  async recovery(): Promise<{ made: number | undefined; expires: number | undefined }> {
    return (await this.ask('recovery')) as { made: number | undefined; expires: number | undefined }
  }

  async makeRecovery(): Promise<string> {
    return (await this.ask('makeRecovery')) as string
  }

  /** Gives the account a new password; all other devices have to log in again. */
  async makePassword(): Promise<string> {
    const password = token(24)
    await this.ask('setPassword', password)
    return password
  }

  // --- profiles

  /** Shows others a picture of ours, or of a group, or none. */
  async setPicture(room: string, image: { type: string; bytes: Uint8Array<ArrayBuffer> } | undefined, size: number): Promise<void> {
    await this.ask('picture', room, image, size)
  }

  /** What somebody says of themselves. */
  about(jid: string): Promise<{ name: string; about: string }> {
    return this.ask('about', jid) as Promise<{ name: string; about: string }>
  }

  /** Takes nothing from somebody any more, or again; with a report of them to the server. */
  async block(jid: string, blocked: boolean, report?: { reason: 'spam' | 'abuse'; text: string }): Promise<void> {
    await this.ask('block', jid, blocked, report)
  }

  /** Calls a contact something else, for us. */
  async rename(jid: string, name: string): Promise<void> {
    await this.ask('rename', jid, clean(name))
  }

  // --- what is starred

  /** The messages that are on this device, the newest first. */
  async starred(): Promise<Message[]> {
    return (await this.db.getAllFromIndex('messages', 'starred', 1)).sort((a, b) => b.time - a.time)
  }

  /** Those that are not: under no key of the store. Rejects while nobody can be asked. */
  starredElsewhere(): Promise<Message[]> {
    return this.ask('stars') as Promise<Message[]>
  }

  // --- what was shared

  /** The messages of a conversation that share a file and are on this device, the newest first, at most so many. */
  async shared(peer: string, most: number): Promise<Message[]> {
    const index = this.db.transaction('messages').store.index('shared')
    const found: Message[] = []
    for (let c = await index.openCursor(IDBKeyRange.bound([peer], [peer, []]), 'prev'); c && found.length < most; c = await c.continue()) found.push(c.value)
    return found
  }

  /** The messages of a conversation on this device that say that, before a position and after another, the newest first: as they are found, and down to where all were looked at. */
  async *saying(peer: string, says: (message: Message) => boolean, before?: number, after?: number): AsyncGenerator<{ found: Message[]; down: number }> {
    for await (const batch of backwards(this.db, peer, before, after)) yield { found: batch.filter(says), down: batch.at(-1)?.pos ?? Infinity }
  }

  /** Those in which all the words stand. */
  with(peer: string, words: string, before?: number): AsyncGenerator<{ found: Message[]; down: number }> {
    return this.saying(peer, matching(words), before)
  }

  message(key: number): Promise<Message | undefined> {
    return this.db.get('messages', key)
  }

  /** The oldest of a conversation that is on this device. */
  async oldest(peer: string): Promise<Message | undefined> {
    return (await this.db.getAllFromIndex('messages', 'pos', IDBKeyRange.bound([peer, -Infinity], [peer, Infinity]), 1))[0]
  }

  /** Fetches a page of messages that are older than those on this device. Rejects while nobody can be asked. */
  async older(peer: string): Promise<void> {
    await this.ask('history', peer)
  }

  // --- groups

  /** Makes one with these people in it; gives its address. */
  async createGroup(name: string, people: string[]): Promise<string> {
    return (await this.ask('group', 'create', clean(name).trim(), people)) as string
  }

  async inviteToGroup(room: string, people: string[]): Promise<void> {
    await this.ask('group', 'invite', room, people)
  }

  async configureGroup(room: string, settings: GroupSettings): Promise<void> {
    await this.ask('group', 'configure', room, settings)
  }

  async setMember(room: string, jid: string, role: 'owner' | 'admin' | 'member' | 'none'): Promise<void> {
    await this.ask('group', 'affiliate', room, jid, role)
  }

  async leaveGroup(room: string): Promise<void> {
    await this.ask('group', 'leave', room)
  }

  /** Takes an invitation. */
  async acceptGroup(room: string): Promise<void> {
    await this.ask('group', 'accept', room)
  }

  /** Who is in a group now, as far as it shows us. */
  peopleIn(room: string): Promise<Occupants> {
    return this.ask('group', 'here', room) as Promise<Occupants>
  }

  // --- links to groups

  /** The address of one that is made: for so many people, for so many days, 0 for ever. */
  async makeGroupLink(room: string, days: number, uses: number): Promise<string> {
    return `${location.origin}/i/${(await this.ask('group', 'makeLink', room, days * 86_400, uses)) as string}`
  }

  /** Those that still let somebody in. */
  async groupLinks(room: string): Promise<GroupLink[]> {
    return (await this.ask('group', 'links', room)) as GroupLink[]
  }

  async revokeGroupLink(room: string, id: string): Promise<void> {
    await this.ask('group', 'revokeLink', room, id)
  }

  /** The group that an invite leads to; undefined when to none, or to nothing any more. */
  async invitedTo(invite: string): Promise<{ jid: string; name: string } | undefined> {
    return this.ask('group', 'show', invite, false).catch((e: unknown) => {
      if (e instanceof Error && /item-not-found/.test(e.message)) return undefined
      throw e
    }) as Promise<{ jid: string; name: string } | undefined>
  }

  /** Becomes a member of that group. */
  async joinBy(invite: string): Promise<string | undefined> {
    return ((await this.ask('group', 'show', invite, true)) as { jid: string } | undefined)?.jid
  }

  // --- being notified

  private key: string | undefined

  /** How it is. Rejects while the server cannot be asked. */
  async notifying(): Promise<Notifying> {
    const can = 'serviceWorker' in navigator && 'PushManager' in window && 'Notification' in window
    if (!can) return (navigator as { standalone?: boolean }).standalone === false ? 'install' : 'never'
    if (Notification.permission === 'denied') return 'blocked'
    const kept = await getMeta(this.db, 'notify')
    if (kept?.on && Notification.permission === 'granted' && (await subscription())) return 'on'
    this.key ??= (await this.ask('pushKey').catch((e: unknown) => {
      if (e instanceof Error && /(service-unavailable|not-found|not-implemented)/.test(e.message)) return ''
      throw e
    })) as string
    return this.key === '' ? 'never' : 'off'
  }

  /** Notifies the person from now on, if they let it; call it from a click, after notifying. */
  async notify(words: NoticeWords): Promise<Notifying> {
    if ((await Notification.requestPermission()) !== 'granted') return this.notifying()
    const registration = await navigator.serviceWorker.ready
    // The server's key may be another than that of the subscription there is.
    await (await registration.pushManager.getSubscription())?.unsubscribe()
    await registration.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: bytes(this.key ?? '') })
    await putMeta(this.db, 'notify', { ...(await getMeta(this.db, 'notify')), on: true, words })
    await this.ask('notify', await subscription())
    return 'on'
  }

  async notifyNoMore(): Promise<void> {
    await unsubscribe()
    await this.ask('notify', undefined)
  }

  /**
   * All of a conversation, oldest first, a slice at a time: what the device does not
   * have is fetched first, as long as signal lets it; had is told how much is there.
   */
  async *all(peer: string, signal: AbortSignal, had: (messages: number) => void): AsyncGenerator<Message[]> {
    const index = (): Promise<number> => this.db.countFromIndex('messages', 'pos', IDBKeyRange.bound([peer, -Infinity], [peer, Infinity]))
    for (;;) {
      signal.throwIfAborted()
      had(await index())
      const chat = await this.db.get('chats', peer)
      // Of a group that we are not in, the device has all that we can have.
      if (!chat || chat.complete || (chat.group && chat.group.state !== 'in')) break
      await this.ask('history', peer)
    }
    for (let after = -Infinity; ; ) {
      signal.throwIfAborted()
      const slice = await this.db.getAllFromIndex('messages', 'pos', IDBKeyRange.bound([peer, after], [peer, Infinity], true), EXPORT_SLICE)
      if (slice.length > 0) yield slice
      if (slice.length < EXPORT_SLICE) return
      after = slice.at(-1)!.pos
    }
  }

  // --- leaving

  /** Deletes the account on the server, with all that is its own. */
  async removeAccount(): Promise<void> {
    await this.ask('removeAccount')
  }

  /** Nothing of the account stays on this device. The server is told that it leaves, unless the account is no more. */
  async leave(options: OnboardOptions, removed: boolean): Promise<void> {
    await this.forgetNotices().catch(() => undefined)
    if (!removed) await logOut(options).catch(() => undefined) // the server forgets it in time, too
    await forgetAll(this.db)
    if (!removed) return
    localStorage.clear()
    for (const name of await caches.keys()) await caches.delete(name)
  }

  /** Another device has logged this one out: what the server would give again goes, and nothing more is told. What was said, and waits to be sent, stays for who logs in again. */
  async shutOut(): Promise<void> {
    await makeRoom(this.db, 0)
    await this.forgetNotices()
    await putMeta(this.db, 'notify', { ...(await getMeta(this.db, 'notify')), on: false, node: undefined })
  }

  /** The browser tells nothing more. The server forgets the rest as it lets the device out. */
  private async forgetNotices(): Promise<void> {
    await unsubscribe()
    const registration = await navigator.serviceWorker?.getRegistration()
    for (const n of (await registration?.getNotifications?.()) ?? []) n.close()
    await navigator.clearAppBadge?.()
  }
}

async function unsubscribe(): Promise<void> {
  const registration = await navigator.serviceWorker?.getRegistration()
  await (await registration?.pushManager?.getSubscription())?.unsubscribe()
}

/** What this browser is subscribed with, if it is and may still show something. */
export async function subscription(): Promise<Subscription | undefined> {
  if (!('Notification' in globalThis) || Notification.permission !== 'granted') return undefined
  const registration = await navigator.serviceWorker?.getRegistration()
  const { endpoint, keys } = (await registration?.pushManager?.getSubscription())?.toJSON() ?? {}
  const [p256dh, auth] = [keys?.['p256dh'], keys?.['auth']]
  return endpoint && p256dh && auth ? { endpoint, p256dh, auth } : undefined
}

function bytes(base64url: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(base64url.replaceAll('-', '+').replaceAll('_', '/')), (c) => c.charCodeAt(0))
}
