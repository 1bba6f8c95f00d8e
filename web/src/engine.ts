// SPDX-License-Identifier: Apache-2.0

import { Outbox } from './outbox/outbox'
import { Uploads } from './outbox/uploads'
import { put } from './put'
import { CatchUp } from './catchup'
import { Deletions } from './deletions'
import { Directory } from './directory'
import { makeRoom } from './files'
import { Space } from './full'
import { Gate } from './gate'
import { History } from './history'
import { Outages, type Told } from './outage'
import { Keys } from './keys'
import { Intake, receipt } from './intake'
import { People, type Typing } from './people'
import { Pictures } from './pictures'
import { Notify } from './notify'
import { Profile } from './profile'
import { Rooms } from './rooms'
import { Settings } from './settings'
import { Slots } from './slots'
import { Stars } from './stars'
import { AT_ONCE } from './tabs'
import { editAccount, getMeta, putMeta, type Account, type Change, type Db, type Message, type Picture } from './store/schema'
import { discard } from './store/act'
import { takeList } from './store/receive'
import * as access from './wire/access'
import { queryArchive } from './wire/archive'
import { enableCarbons, saveContact } from './wire/contacts'
import { readHostMeta } from './wire/discover'
import * as inbox from './wire/inbox'
import { Link, type LinkState } from './wire/link'
import { buildChatState, type ChatState } from './wire/chatstate'
import { buildChat } from './wire/compose'
import { fetchPushKey, type Subscription } from './wire/push'
import { fetchLast, type Privacy } from './wire/privacy'
import { fetchAbout, type About, type Image, type Report } from './wire/profile'
import { fetchRoomLinks, makeRoomLink, revokeRoomLink } from './wire/roomlink'
import { removeAccount, setPassword } from './wire/register'
import type { Session } from './wire/session'
import { sharing } from './wire/share'
import type { Dial } from './wire/transport'

/** What is true only now, and is kept nowhere. */
export interface Soft {
  link: LinkState
  /** When the server was last heard; 0 for never. */
  lastContact: number
  /** Bare addresses of who is online. */
  online: string[]
  typing: Typing[]
  /** This device has no room left for what comes in. */
  full: boolean
  /** While the server cannot be reached. */
  told?: Told | undefined
}

export interface EngineOptions {
  db: Db
  account: Account
  /** Where to dial, first choice first. */
  address: string
  /** Where the server lists all its addresses. */
  hostMeta: string
  /** What the account's list of devices calls this one. */
  device: { software: string; device: string }
  dial: Dial
  online: () => boolean
  watched: () => boolean
  changed: (change: Change) => void
  soft: (soft: Soft) => void
  /** Something of the account is different now. */
  kept: (account: Account) => void
  /** Somebody looks different now. */
  looks: (picture: Picture) => void
  /** The page's own origin. */
  origin: string
  /** What this browser is notified by, if the person wants that. */
  subscription: () => Promise<Subscription | undefined>
  /** The server does not let this device in any more. */
  shutOut: () => void
  /** How much of a message's file is uploaded, 0 to 1; undefined when it is over. */
  uploading: (key: number, share: number | undefined) => void
}

/** Whoever does not say for so long that it is there counts as away. */
const PROBE_MS = 4_000

/** What a person is told about the connection, if anything. */
const told = (state: LinkState): string | undefined => ('problem' in state ? state.problem : undefined)

/** The server fails us, not our network. */
function fails(state: LinkState): boolean {
  const problem = told(state)
  return problem !== undefined && problem !== 'offline'
}

/** Nothing is heard of anybody, and that is told. */
function severed(state: LinkState): boolean {
  return state.kind === 'stopped' || told(state) !== undefined
}

/** What can be done once the archive has been caught up with. */
const SETTLED = new Set(['group', 'deleteChat', 'stars'])

/** The one connection of all tabs: brings wire, store and outbox together. Runs in the leading tab. */
export class Engine {
  private readonly link: Link
  private readonly space: Space
  private readonly outbox: Outbox
  private readonly uploads: Uploads
  private readonly slots: Slots
  private readonly directory: Directory
  private readonly notify: Notify
  private readonly people: People
  private readonly catchUp: CatchUp
  private readonly rooms: Rooms
  private readonly pictures: Pictures
  private readonly gate: Gate
  private readonly outages: Outages
  private readonly stars: Stars
  private readonly histories: History
  private readonly deletions: Deletions
  private readonly settings: Settings
  private readonly profile: Profile
  private readonly intake: Intake
  private over = false
  /** Groups that we are in and whose archive we have. */
  private open = new Set<string>()
  private addresses: string[]

  constructor(private readonly options: EngineOptions) {
    const { db, account } = options
    this.addresses = [options.address]
    this.space = new Space(db, options.changed, () => this.tellSoft())
    this.outbox = new Outbox({ db, changed: options.changed, keep: (work) => this.space.keep(work), ready: (group) => this.ready(group), lost: (group) => this.rooms.lost(group) })
    this.slots = new Slots(db, options.origin)
    this.directory = new Directory(db, account)
    this.notify = new Notify(db, options.subscription)
    this.uploads = new Uploads({
      db,
      changed: options.changed,
      keep: (work) => this.space.keep(work),
      slot: (file) => this.slots.ask(this.need(), file),
      put,
      frame: (message, id) => this.frameOf(message, id),
      filed: (peer) => {
        this.outbox.filed(peer)
        void makeRoom(db).catch(() => undefined)
      },
      progress: options.uploading,
    })
    this.people = new People({ db, account, changed: options.changed, soft: () => this.tellSoft() })
    this.catchUp = new CatchUp({
      lastId: async () => (await getMeta(db, 'sync'))?.lastId,
      bornHere: account.bornHere,
      query: queryArchive,
      take: (batch, lastId) => this.intake.take(batch, lastId),
      fill: (session) => this.fill(session),
    })
    this.rooms = new Rooms({
      db,
      account,
      changed: options.changed,
      take: (room, batch, lastId) => this.intake.take(batch, lastId, room),
      open: (room) => {
        this.open.add(room)
        this.outbox.open()
        if (this.link.live) void this.deletions.open(this.link.live, room).catch(() => undefined)
      },
      closed: (room) => this.outbox.refuseAll(room),
      poke: () => this.outbox.pump(),
      picture: (room, hash) => {
        const session = this.link.live
        if (session) void this.pictures.ofRoom(session, room, hash)
      },
    })
    this.pictures = new Pictures({ db, account, changed: options.looks, session: () => this.link.live })
    this.gate = new Gate(() => {
      const { state } = this.link
      return this.over || state.kind === 'stopped' || (state.kind === 'waiting' && state.problem === 'offline')
    })
    this.stars = new Stars({ db, changed: options.changed, ofRoom: (session, room, query) => this.rooms.query(session, room, query) })
    this.histories = new History({ db, changed: options.changed, keep: (work, whole) => this.space.keep(work, whole), ofRoom: (session, room, before, max) => this.rooms.history(session, room, before, max) })
    this.deletions = new Deletions({ db, changed: options.changed, history: this.histories, unstar: (session, peer) => this.stars.deleted(session, peer), caughtUp: (room) => this.open.has(room) })
    this.outages = new Outages({ db, changed: () => this.tellSoft(), watched: options.watched })
    this.settings = new Settings({ db, changed: options.changed })
    this.profile = new Profile({
      db,
      account,
      kept: options.kept,
      renamed: async () => {
        if (this.link.live) await this.directory.renamed(this.link.live)
      },
    })
    const { space, outbox, catchUp, people, rooms, pictures, stars, deletions, settings, profile } = this
    const session = (): Session | undefined => this.link.live
    this.intake = new Intake({ db, account, changed: options.changed, session, space, outbox, catchUp, people, rooms, pictures, stars, deletions, settings, profile })
    const keys = new Keys(db, options.device)
    this.link = new Link({
      account: account.jid,
      credentials: () => keys.credentials(),
      denied: () => keys.deny(),
      keep: (token) => this.space.keep(() => keys.keep(token)),
      resource: account.resource,
      addresses: () => this.addresses,
      dial: options.dial,
      online: options.online,
      watched: options.watched,
      probe: () => this.probe(),
      state: () => this.linkChanged(),
      session: (session, resumed) => {
        void keys.accepted()
        this.begin(session, resumed)
      },
      stanzas: (batch) => this.intake.stanzas(batch),
      refused: (id, error) => void this.outbox.refused(id, error),
      acked: (ids) => this.outbox.acked(ids),
    })
  }

  async start(): Promise<void> {
    const { db } = this.options
    const [known, contact] = await Promise.all([getMeta(db, 'addresses'), getMeta(db, 'lastContact')])
    this.useAddresses(known ?? [])
    await this.outages.start()
    await this.slots.start()
    this.link.lastContact = contact ?? 0
    this.link.start()
  }

  stop(): void {
    this.over = true
    this.gate.look()
    this.outbox.close()
    this.uploads.close()
    this.rooms.close()
    this.link.stop()
    this.outages.close()
  }

  softState(): Soft {
    const { online, typing } = this.people
    const { state, lastContact } = this.link
    return { link: state, lastContact, online: severed(state) ? [] : online(), typing: typing(), full: this.space.full, told: fails(state) ? this.outages.told(lastContact) : undefined }
  }

  /** There is something new in the outbox. */
  poke(): void {
    this.outbox.pump()
    this.uploads.pump()
  }

  /** That message, whose file was to be uploaded, is gone. */
  withdrawn(peer: string, key: number): void {
    this.uploads.cancel(peer, key)
  }

  /** Takes a message off this device that was not sent yet. False: it was, or may have been. */
  async recall(peer: string, key: number): Promise<boolean> {
    const { db, changed } = this.options
    const records = await db.getAllFromIndex('outbox', 'message', key)
    if (records.length === 0 || !records.every((r) => this.outbox.recall(r.id))) return false
    changed(await discard(db, key))
    this.withdrawn(peer, key)
    this.outbox.filed(peer) // what came after a file waits for it no longer
    return true
  }

  /** There is a new person to tell the server about. */
  async announce(): Promise<void> {
    await this.people.announceWanted(this.need())
  }

  nudge(): void {
    this.link.nudge()
  }

  doubt(): void {
    this.link.doubt()
  }

  retry(): void {
    this.link.retry()
  }

  /** Tells the other side that the person types, if they are there to see it. */
  chatState(peer: string, state: ChatState): void {
    const group = this.rooms.isIn(peer)
    if (group || this.people.isOnline(peer)) this.link.live?.send(buildChatState(peer, state, group))
  }

  /** Lets somebody who asked see when we are online. */
  async accept(peer: string): Promise<void> {
    await this.people.accept(this.need(), peer)
  }

  /** Fetches an older page of a conversation into the store. Rejects when there is no connection. */
  async history(peer: string): Promise<void> {
    await this.histories.older(this.need(), peer)
  }

  /** What another tab, or this one, asks the leader for: a person's wish waits for the connection until then, in ms since the epoch. */
  async called(method: string, args: unknown[], until: number, begun: () => void): Promise<unknown> {
    if (AT_ONCE.has(method)) return this.do(method, args)
    const open = (): boolean => this.link.live !== undefined && (!SETTLED.has(method) || this.rooms.ready)
    return this.gate.pass(open, until, () => {
      begun()
      return this.do(method, args)
    })
  }

  private do(method: string, args: unknown[]): unknown {
    const peer = args[0] as string
    switch (method) {
      case 'hello':
        return this.softState()
      case 'history':
        return this.history(peer)
      case 'accept':
        return this.accept(peer)
      case 'announce':
        return this.announce()
      case 'chatState':
        return this.chatState(peer, args[1] as ChatState)
      case 'picture':
        return this.setPicture(peer, args[1] as { type: string; bytes: Uint8Array<ArrayBuffer> } | undefined, args[2] as number)
      case 'about':
        return this.about(peer)
      case 'setAbout':
        return this.profile.setAbout(this.need(), args[0] as { name: string; about: string })
      case 'directory':
        return this.directory.there(this.need())
      case 'findPeople':
        return this.directory.search(this.need(), peer, args[1] as string | undefined)
      case 'listed':
        return this.directory.listed(this.need())
      case 'list':
        return this.directory.list(this.need(), args[0] as boolean)
      case 'meet':
        return this.people.meet(peer, args[1] as string)
      case 'block':
        return this.people.block(this.need(), peer, args[1] as boolean, args[2] as Omit<Report, 'messages'> | undefined)
      case 'lastSeen':
        return fetchLast(this.need(), peer, Date.now())
      case 'setPrivacy':
        return this.profile.setPrivacy(this.need(), peer as keyof Privacy, args[1] as boolean)
      case 'deleteChat':
        return this.deletions.remove(this.need(), peer)
      case 'setChat':
        return this.settings.set(this.need(), peer, args[1] as inbox.SettingName, args[2])
      case 'star':
        return this.stars.toggled(this.need(), args[0] as number)
      case 'stars':
        return this.stars.elsewhere(this.need())
      case 'devices':
        return access.fetchClients(this.need())
      case 'revoke':
        return access.revoke(this.need(), peer)
      case 'link':
        return access.makeLink(this.need())
      case 'recovery':
        return access.recoveryState(this.need())
      case 'makeRecovery':
        return access.makeRecovery(this.need())
      case 'pushKey':
        return fetchPushKey(this.need())
      case 'notify':
        return this.notify.set(this.need(), args[0] as Subscription | undefined)
      case 'setPassword':
        return this.setPassword(peer)
      case 'removeAccount':
        return removeAccount(this.need())
      case 'rename':
        return this.rename(peer, args[1] as string)
      case 'group':
        return this.group(peer, args.slice(1))
      case 'uploadLimit':
        return this.slots.limit(this.need())
      case 'recall':
        return this.recall(peer, args[1] as number)
      case 'withdrawn':
        return this.withdrawn(peer, args[1] as number)
      case 'retry':
        return this.retry()
      case 'nudge':
        return this.nudge()
      case 'doubt':
        return this.doubt()
      default:
        throw new Error(method)
    }
  }

  /** What a person does with groups; the names are those of Rooms. */
  group(what: string, args: unknown[]): Promise<unknown> {
    const [room, ...rest] = args as [string, ...never[]]
    switch (what) {
      case 'create':
        return this.rooms.create(room, rest[0]!)
      case 'invite':
        return this.rooms.invite(room, rest[0]!)
      case 'configure':
        return this.rooms.configure(room, rest[0]!)
      case 'affiliate':
        return this.rooms.affiliate(room, rest[0]!, rest[1]!)
      case 'moderate':
        return this.rooms.moderate(room, rest[0]!)
      case 'leave':
        return this.rooms.leave(room)
      case 'accept':
        return this.rooms.accept(room)
      case 'here':
        return Promise.resolve(this.rooms.here(room))
      case 'makeLink':
        return makeRoomLink(this.need(), room, rest[0]!, rest[1]!)
      case 'links':
        return fetchRoomLinks(this.need(), room)
      case 'revokeLink':
        return revokeRoomLink(this.need(), room, rest[0]!)
      case 'show':
        return this.rooms.show(this.need(), room, rest[0]!)
      default:
        throw new Error(what)
    }
  }

  /** Another picture of ours, or of a group, or none. */
  async setPicture(room: string, image: Image | undefined, size: number): Promise<void> {
    await this.pictures.set(this.need(), room, image, size)
  }

  /** What somebody says of themselves. */
  about(jid: string): Promise<About> {
    return fetchAbout(this.need(), jid === this.options.account.jid ? undefined : jid)
  }

  /** Gives the account another password; all other devices have to log in again. */
  async setPassword(password: string): Promise<void> {
    await setPassword(this.need(), this.options.account.jid, password)
  }

  /** Calls somebody something else, for us. */
  async rename(jid: string, name: string): Promise<void> {
    await saveContact(this.need(), jid, name)
  }

  /** A message with a file, once that has an address. */
  private frameOf(message: Message, id: string): string {
    const { peer, body, reply, mentions, unstyled, file } = message
    const group = message.from !== undefined
    const to = group ? `${peer}/${reply?.nick ?? ''}` : reply?.out ? this.options.account.jid : peer
    const answered = reply && { id: reply.id, to, text: reply.text }
    return buildChat(peer, id, { body, group, mentions, unstyled, reply: answered, rest: file && sharing(file, body) })
  }

  private ready(group: string): boolean {
    return this.open.has(group) && this.rooms.isIn(group)
  }

  private need(): Session {
    const session = this.link.live
    if (!session) throw new Error('not connected')
    return session
  }

  private begin(session: Session, resumed: boolean): void {
    if (!resumed) {
      this.people.forgetPresence()
      this.open.clear()
      this.deletions.begin()
      this.outbox.catchingUp()
      this.slots.begin()
      this.directory.begin()
      if (!session.carbons) void enableCarbons(session).catch(() => undefined)
      // The archive is asked before presence is sent: then the server need not send twice what waits.
      const appear = (): void => void this.people.begin(session).catch(() => undefined)
      void this.catchUp.run(session, appear).then((done) => done && this.caughtUp(session))
    } else this.rooms.resumed(session)
    this.outbox.begin(session, resumed)
    this.uploads.begin()
  }

  private caughtUp(session: Session): void {
    this.outbox.caughtUp()
    void this.rooms.begin(session).catch((e: unknown) => console.warn('groups:', e))
    this.gate.look()
    void this.people.announceWanted(session)
    void this.list(session, false).catch(() => undefined)
    void this.deletions.all(session).catch(() => undefined)
    void this.people.fetchBlocked(session).catch(() => undefined)
    void this.profile.learnPrivacy(session).catch(() => undefined)
    void this.pictures.own(session).catch(() => undefined)
    void this.learnAddresses()
    void this.slots.learn()
    void this.outages.learn(session).catch(() => undefined)
    void this.profile.learnName(session).catch(() => undefined)
    void this.stars.begin(session).catch(() => undefined)
    void this.notify.begin(session).catch(() => undefined)
  }

  /** A device that knows nothing begins with the list of chats: what is older is fetched when somebody looks. */
  private async fill(session: Session): Promise<{ upTo: string | undefined } | undefined> {
    // What is said meanwhile comes after this, or is held back.
    this.deletions.fill()
    const upTo = session.archiveEnd ?? (await queryArchive(session, { before: '', max: 1 })).last
    return (await this.list(session, true, upTo)) ? { upTo } : undefined
  }

  /** Takes the list of chats; false where the server has none. */
  private async list(session: Session, fill: boolean, lastId?: string): Promise<boolean> {
    const listed = await inbox.fetchList(session, fill)
    if (!listed) return false
    const taken = await this.space.keep(() => takeList(this.options.db, listed, { lastId, fill, receipt, now: Date.now() }))
    this.options.changed(taken)
    if (taken.queued) this.outbox.pump()
    return true
  }

  private linkChanged(): void {
    const { state } = this.link
    const { kind } = state
    if (state.kind === 'stopped' && state.reason === 'credentials') {
      void editAccount(this.options.db, (a) => ({ ...a, out: true })).catch(() => undefined) // else the next session is told again
      this.options.shutOut()
    }
    if (kind !== 'live') {
      this.outbox.pause()
      this.rooms.pause()
    }
    this.gate.look()
    this.outages.look(!this.over && fails(state))
    if (kind !== 'connecting') void putMeta(this.options.db, 'lastContact', this.link.lastContact).catch(() => undefined)
    this.tellSoft()
  }

  private tellSoft(): void {
    this.options.soft(this.softState())
  }

  /** Whether the server that the page is from answers, for little. */
  private async probe(): Promise<boolean> {
    const signal = AbortSignal.timeout(PROBE_MS)
    const init: RequestInit = { method: 'HEAD', cache: 'no-store', credentials: 'omit', signal }
    return fetch(`${this.options.origin}/readyz`, init).then((answer) => answer.ok, () => false)
  }

  private async learnAddresses(): Promise<void> {
    try {
      const answer = await fetch(this.options.hostMeta)
      if (!answer.ok) return
      const listed = readHostMeta(await answer.json(), this.options.address.startsWith('wss:'))
      await putMeta(this.options.db, 'addresses', listed)
      this.useAddresses(listed)
    } catch {
      // It is there to find other ways in when this one fails; now it does not.
    }
  }

  private useAddresses(listed: string[]): void {
    this.addresses = [...new Set([this.options.address, ...listed])]
  }
}
