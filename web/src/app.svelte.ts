// SPDX-License-Identifier: Apache-2.0

import { SvelteMap } from 'svelte/reactivity'
import type { Acts } from './acts'
import type { Soft } from './engine'
import { Drafts } from './drafts'
import { Held } from './held'
import { Lead } from './lead'
import type { OnboardOptions } from './onboard'
import { Conversation } from './store/conversation.svelte'
import { getMeta, isArchived, isFull, isMuted, putMeta, named, openStore, Tick, type Account, type Change, type Chat, type Db, type Message, type Picture, type Shared } from './store/schema'
import { begin, compose, editChat, markRead } from './store/write'
import type { Own } from './own'
import { ownAddress } from './wire/discover'
import { bare, occupant, resource } from './wire/jid'
import { buildChat, buildDisplayed, type Say } from './wire/compose'
import type { ChatState } from './wire/chatstate'
import type { Mention } from './wire/message'
import { token } from './wire/random'
import { clean } from './wire/xml'

export type { GroupLink, GroupSettings, LinkedDevice, Listed, Notifying } from './own'

/** Longer bodies do not fit into a stanza (256 KiB) with certainty. */
export const MAX_BODY_BYTES = 64 * 1024

/** Before the store is given to a newer version, drafts have so long to be kept. */
const YIELD_MS = 1_000

/** A page that lost its store begins anew, at most once in so long. */
const ANEW_MS = 3_000

/** So much of a message is quoted in an answer. */
const QUOTED = 300
/** So many pages of history are looked through for a quoted message. */
const MOST_SOUGHT = 20
const MOST_FOUND = 100

/** Hardly a message is lower, on screen. */
const ROW_PX = 40

/** What comes with a text. */
export interface Saying {
  reply?: Message | undefined
  mentions?: Mention[] | undefined
  /** It was said without styling, and is handed on. */
  unstyled?: boolean | undefined
  /** A file, and what is in it when it is not uploaded yet. */
  file?: Shared | undefined
  data?: Blob | undefined
}

const NO_SOFT: Soft = { link: { kind: 'idle' }, lastContact: 0, online: [], typing: [], full: false }

/**
 * What the user interface sees: the state of everything, and what can be done.
 * Each tab has one; that of the leading tab also runs the engine.
 */
export class App {
  account = $state.raw<Account | undefined>(undefined)
  domain = $state('')
  readonly chats = new SvelteMap<string, Chat>()
  /** Where the pictures of people and groups are, by address. */
  readonly pictures = new SvelteMap<string, string>()
  readonly drafts = new SvelteMap<string, string>()
  /** How much of a message's file is uploaded, 0 to 1, by its key. */
  readonly uploading = new SvelteMap<number, number>()
  private soft = $state.raw<Soft>(NO_SOFT)
  link = $derived(this.soft.link)
  lastContact = $derived(this.soft.lastContact)
  cause = $derived(this.soft.told)
  private unkept = $state(false)
  /** The store does not answer: another tab holds it. */
  held = $state(false)
  private readonly patience = new Held((held) => (this.held = held))
  /** Counts the changes of what is starred. */
  stars = $state(0)
  /** There is no room on this device for what comes in, or for what is written. */
  full = $derived(this.unkept || this.soft.full)
  online = $derived(new Set(this.soft.online))
  typing = $derived(new Map(this.soft.typing.map((t) => [t.peer, t])))
  /** The server does not let this device in any more: somebody logged it out, or set a new password. */
  out = $derived(this.account?.out === true || (this.soft.link.kind === 'stopped' && this.soft.link.reason === 'credentials'))
  /** People are not told what we have read, and we do not see what they have. */
  quiet = $derived(this.account?.privacy?.noReceipts === true)
  /** Of those that may call for attention. */
  unread = $derived([...this.chats.values()].reduce((n, c) => n + (isMuted(c) || isArchived(c) ? 0 : c.unread), 0))

  private open = new Set<Conversation>()
  private composing: Promise<unknown> = Promise.resolve()

  private readonly lead: Lead
  private readonly writing: Drafts

  private constructor(private readonly db: Db) {
    this.writing = new Drafts({ db, texts: this.drafts, write: (work) => this.write(work), composed: () => this.composing })
    this.lead = new Lead({
      db,
      soft: (soft) => (this.soft = soft),
      account: (account) => (this.account = account),
      show: (change) => this.show(change),
      looks: (picture) => this.look(picture),
      uploading: (key, share) => this.uploads(key, share),
      shutOut: () => void this.own().then((own) => own.shutOut()).catch((e: unknown) => console.warn('shut out:', e)),
      unseen: () => void this.keepDrafts(),
      seen: () => this.probe(),
    })
  }

  /** Opens the store and shows what is in it; the network comes later. */
  static async boot(): Promise<App> {
    const app: App = new App(await openStore({ yields: () => app.yields(), closed: () => app.anew() }))
    await app.load()
    if (app.account && !app.account.out) app.lead.connect(app.account)
    return app
  }

  private async load(): Promise<void> {
    const [account, chats, drafts] = await Promise.all([
      getMeta(this.db, 'account'),
      this.db.getAll('chats'),
      this.db.getAll('drafts'),
    ])
    this.account = account
    for (const c of chats) this.chats.set(c.peer, c)
    void this.db.getAll('pictures').then((all) => all.forEach((p) => this.look(p)))
    for (const d of drafts) this.drafts.set(d.peer, d.text)
    this.domain = account ? account.jid.slice(account.jid.indexOf('@') + 1) : ''
  }

  private yields(): Promise<unknown> {
    return Promise.race([this.keepDrafts(), new Promise((resolve) => setTimeout(resolve, YIELD_MS))])
  }

  /** Without its store this page is worth nothing. */
  private anew(): void {
    this.lead.close()
    setTimeout(() => location.reload(), Math.max(0, ANEW_MS - performance.now()))
  }

  private look({ jid, data }: Picture): void {
    const before = this.pictures.get(jid)
    if (before) URL.revokeObjectURL(before)
    if (data) this.pictures.set(jid, URL.createObjectURL(data))
    else this.pictures.delete(jid)
  }

  // --- profiles

  /** Calls ourselves something else, and says something else about us. */
  async setAbout(name: string, about: string): Promise<void> {
    await this.ask('setAbout', { name: clean(name), about: clean(about) })
    const account = await getMeta(this.db, 'account')
    if (!account) return
    this.account = { ...account, name: clean(name) }
    await putMeta(this.db, 'account', this.account)
    this.lead.tell('account', this.account)
  }

  /** The account's devices, its ways back in, how this device is notified, what is done with profiles and groups: fetched when it is needed. */
  own = async (): Promise<Own> => {
    const { Own } = await import('./own')
    return (this.ownDeeds ??= new Own(this.db, this.me, (method, ...args) => this.ask(method, ...args)))
  }
  private ownDeeds: Own | undefined

  /** Our own bare address. */
  get me(): string {
    return this.account?.jid ?? ''
  }

  /** The name to show for somebody. */
  nameOf(peer: string): string {
    const known = this.chats.get(peer)?.name
    if (!known && occupant(peer)) return `${resource(peer)} · ${this.nameOf(bare(peer))}`
    return known || peer.slice(0, Math.max(peer.indexOf('@'), 0)) || peer
  }

  // --- becoming somebody

  async checkInvite(invite: string): Promise<{ jid: string; name: string } | undefined> {
    const { checkInvite } = await import('./onboard')
    return checkInvite(await this.onboarding(), invite)
  }

  async signUp(invite: string, name: string): Promise<void> {
    const { signUp } = await import('./onboard')
    this.enter(await signUp(await this.onboarding(), invite, name))
  }

  /** Lets this device in by a password, or by what stands for it. */
  async logIn(jid: string, secret: string, kind: 'password' | 'link' | 'recovery' = 'password'): Promise<void> {
    const { logIn } = await import('./onboard')
    const options = await this.onboarding()
    const account = await logIn({ ...options, domain: jid.slice(jid.indexOf('@') + 1) }, jid, { kind, secret })
    if (!this.account) this.enter(account)
    else this.reload() // what is in memory is from before
  }

  /** All tabs begin anew, also when this one was logged out and has no part in them. */
  private reload(): void {
    this.lead.dismiss(this.me)
    this.lead.close()
    location.assign('/')
  }

  /** How many messages were not sent yet. */
  waiting(): Promise<number> {
    return this.db.countFromIndex('outbox', 'message')
  }

  /** Forgets the account and everything that belongs to it on this device; first on the server, for good, if it is to be removed. */
  async logOut(remove = false): Promise<void> {
    const own = await this.own()
    if (remove) await own.removeAccount()
    this.lead.lost()
    await own.leave(await this.onboarding(), remove)
    this.reload()
  }

  /** The domain of the accounts here. */
  async homeDomain(): Promise<string> {
    if (this.domain === '') this.domain = (await (await import('./onboard')).fetchServer()).domain
    return this.domain
  }

  /** Whether anybody may make an account here, without an invite. */
  async isOpen(): Promise<boolean> {
    return (await (await import('./onboard')).fetchServer()).open
  }

  private async onboarding(): Promise<OnboardOptions> {
    await this.homeDomain()
    const [{ dialWebSocket }, { thisDevice }] = await Promise.all([import('./wire/transport'), import('./device')])
    return { db: this.db, dial: dialWebSocket, address: ownAddress(location.origin), domain: this.domain, device: thisDevice() }
  }

  private enter(account: Account): void {
    this.account = account
    this.domain = account.jid.slice(account.jid.indexOf('@') + 1)
    this.lead.connect(account)
  }

  // --- conversations

  async openConversation(peer: string): Promise<Conversation> {
    const conversation = new Conversation(this.db, peer, () => this.chats.get(peer), Math.ceil(innerHeight / ROW_PX))
    this.open.add(conversation)
    const chat = this.chats.get(peer)
    await conversation.open(chat && chat.unread > 0 ? chat.readPos : undefined)
    return conversation
  }

  closeConversation(conversation: Conversation): void {
    this.open.delete(conversation)
  }

  /** Loads older messages, from the store and then from the server; gives how many came. */
  async older(conversation: Conversation): Promise<number> {
    const before = conversation.messages.length
    const found = await conversation.older()
    if (found > 0) return found
    // It may have come meanwhile, asked for by another.
    if (!this.chats.get(conversation.peer)?.complete) await this.ask('history', conversation.peer)
    conversation.refill()
    await conversation.older()
    return conversation.messages.length - before
  }

  /** Puts a message on its way; once this has settled it outlives everything but the device. */
  async send(peer: string, text: string, more: Saying = {}): Promise<void> {
    const body = clean(text).trim()
    if (body === '' && !more.file) return
    const chat = this.chats.get(peer)
    const id = token()
    const group = chat?.group
    // Whoever writes to somebody knows them.
    if (group) {
      if (group.state !== 'in') return
    } else if (chat?.asks) void this.accept(peer).catch(() => undefined)
    else await this.addPerson(peer)
    const answered = more.reply && this.quote(more.reply)
    // A message with a file is made when that has an address.
    const frame = more.file ? '' : buildChat(peer, id, { ...more, body, group: group !== undefined, reply: answered?.say })
    const draft = { ...more, body, reply: answered?.kept, from: group && { who: this.me, nick: group.nick } }
    const work = this.write(() => compose(this.db, peer, draft, { id, frame }, Date.now(), more.data))
    this.composing = work.catch(() => undefined)
    this.changed(await work)
    this.poke()
    this.keepStore()
  }

  /** A message that is answered: as the wire has it, and as the conversation keeps it. */
  private quote(message: Message): { say: NonNullable<Say['reply']>; kept: NonNullable<Message['reply']> } | undefined {
    const id = this.nameToOthers(message)
    if (id === undefined) return undefined
    const text = (message.body || (message.file?.name ?? '')).slice(0, QUOTED)
    const group = this.chats.get(message.peer)?.group
    const to = group ? `${message.peer}/${message.from?.nick ?? ''}` : message.out ? this.me : message.peer
    return { say: { id, to, text }, kept: { id, text, out: message.out, nick: message.from?.nick ?? '' } }
  }

  /** What others know a message by (XEP-0444, XEP-0424, XEP-0461: in groups the group's name for it, else its sender's). */
  nameToOthers(message: Message): string | undefined {
    return this.chats.get(message.peer)?.group ? message.archiveId : (message.originId ?? message.id)
  }

  /** How far a message of ours has come, as far as we are to see it. */
  tickOf(tick: Tick, group: boolean): Tick {
    return tick === Tick.read && this.quiet && !group ? Tick.delivered : tick
  }

  /** Whether one may write there at all. */
  canWrite(peer: string): boolean {
    const group = this.chats.get(peer)?.group
    return !group || (group.state === 'in' && (!group.announcements || group.role === 'owner' || group.role === 'admin'))
  }

  canRetract(message: Message): boolean {
    const role = this.chats.get(message.peer)?.group?.role
    return message.out || role === 'owner' || role === 'admin'
  }

  /** The name of who said something in a conversation. */
  memberName(peer: string, from: { who: string; nick: string }): string {
    if (from.who === this.me && this.me !== '') return this.account?.name ?? ''
    const known = this.chats.get(from.who)?.name
    if (known) return known
    const group = this.chats.get(peer)?.group
    if (!group) return this.nameOf(peer)
    const member = group.members.find((m) => (from.who ? m.jid === from.who : m.nick === from.nick))
    return (member && this.chats.get(member.jid)?.name) || member?.nick || from.nick || from.who
  }

  /** The name of somebody who belongs to a group. */
  nameOfMember({ jid, nick }: { jid: string; nick: string }): string {
    return jid === this.me ? (this.account?.name ?? '') : this.chats.get(jid)?.name || nick || jid
  }

  /** Whether others can know which message we mean: in a group, once the group has it. */
  canRefer(message: Message): boolean {
    return message.tick !== Tick.refused && !message.deleted && this.nameToOthers(message) !== undefined
  }

  /** Does something to a message that there is; how is fetched when it is needed. */
  async act<K extends keyof Acts>(what: K, ...args: Parameters<Acts[K]>): Promise<void> {
    const { Acts } = await import('./acts')
    const acts = (this.acts ??= new Acts(this, this.db, {
      write: (work) => this.write(work),
      changed: (change) => this.changed(change),
      poke: () => this.poke(),
      ask: (method, ...rest) => this.ask(method, ...rest),
    }))
    await (acts[what] as (...given: unknown[]) => Promise<void>)(...args)
  }
  private acts: Acts | undefined

  /** What was said, on this device, with these words in it; goOn says whether it is still wanted. */
  async search(words: string, goOn: () => boolean): Promise<Message[]> {
    const { search } = await import('./store/find')
    return search(this.db, words, MOST_FOUND, goOn)
  }

  /** The message that others know by that id, if this device has it. */
  known(peer: string, id: string): Promise<Message | undefined> {
    return this.db.getFromIndex('messages', 'names', named(peer, id))
  }

  /** The message that others know by that id; sought on the server too when the device does not have it. */
  async findMessage(conversation: Conversation, id: string): Promise<Message | undefined> {
    const { peer } = conversation
    for (let tries = 0; ; tries++) {
      const found = await this.known(peer, id)
      conversation.refill() // also where another has fetched it meanwhile
      if (found || tries === MOST_SOUGHT || this.chats.get(peer)?.complete) return found
      await this.ask('history', peer)
    }
  }

  private keepStore = (): void => {
    this.keepStore = () => undefined
    void navigator.storage?.persist?.().catch(() => false) // else the browser may throw the store away
  }

  // --- files

  /** How large a file may be, in bytes; 0 when the server takes none. Rejects while nobody can be asked. */
  uploadLimit(): Promise<number> {
    return this.ask('uploadLimit') as Promise<number>
  }

  /** The file of a message: from this device, else from the server. Rejects when it cannot be had. */
  async fileOf(message: Message): Promise<Blob> {
    return (await import('./files')).fileOf(this.db, message)
  }

  /** The same, if it is on this device. */
  async keptFile(message: Message): Promise<Blob | undefined> {
    return (await this.db.get('files', message.key))?.data
  }

  /** The person has seen the conversation up to that position, or to its end; that is known where there is room to write it down. */
  async markRead(peer: string, upTo = Infinity): Promise<void> {
    if (this.chats.get(peer)?.markedUnread) void this.setChat(peer, 'unread', undefined).catch(() => undefined)
    // Until it is known whether people are told they are not.
    const quiet = this.account?.privacy?.noReceipts !== false
    const change = await this.write(() =>
      markRead(this.db, this.me, peer, quiet, (to, read) => {
        const id = token()
        return { id, frame: buildDisplayed(to, id, read, this.chats.get(to)?.group !== undefined) }
      }, upTo),
    )
    if (change.chats[0]?.rev !== this.chats.get(peer)?.rev) this.changed(change)
    if (change.queued) this.poke()
  }

  /** Sets something for a conversation, on all devices of ours; undefined takes it away. */
  async setChat(peer: string, name: 'pinned' | 'archived' | 'unread' | 'notify', value: unknown): Promise<void> {
    await this.ask('setChat', peer, name, value)
  }

  setTyping(peer: string, state: ChatState): void {
    void this.ask('chatState', peer, state).catch(() => undefined)
  }

  setDraft(peer: string, text: string): void {
    this.writing.set(peer, text)
  }

  /** Writes all drafts now: the page may go at any moment. */
  keepDrafts(): Promise<unknown> {
    return this.writing.keepAll()
  }

  /** Writes what the person does; where there is no room for it, some is made. Says so when there is none. */
  private async write<T>(work: () => Promise<T>): Promise<T> {
    try {
      const done = await this.patience.watch(work()).catch(async (e: unknown) => (await import('./full')).again(this.db, (c) => this.changed(c), e, work))
      this.unkept = false
      return done
    } catch (e) {
      this.unkept = isFull(e)
      throw e
    }
  }

  // --- people

  /** Makes somebody a contact. */
  private async addPerson(peer: string): Promise<void> {
    const chat = this.chats.get(peer)
    if (peer !== this.account?.jid && !chat?.contact && !chat?.wanted) {
      const change = await editChat(this.db, peer, (c) => {
        c.wanted = true
        if (c.time === 0) c.time = Date.now()
      })
      this.changed(change)
      void this.ask('announce').catch(() => undefined) // else with the next session
    }
  }

  async accept(peer: string): Promise<void> {
    await this.ask('accept', peer)
  }

  async ignoreRequest(peer: string): Promise<void> {
    this.changed(await editChat(this.db, peer, (c) => (c.asks = false)))
  }

  // --- groups

  /** Not that group, thank you; or it is over and need not be seen. */
  async forgetGroup(room: string): Promise<void> {
    this.changed(await editChat(this.db, room, (c) => c.group && (c.group.state = 'forgotten')))
  }

  private ask(method: string, ...args: unknown[]): Promise<unknown> {
    return this.lead.ask(method, ...args)
  }

  /** Whether a conversation is on the list. */
  isListed(chat: Chat): boolean {
    if (chat.group) return chat.group.state !== 'forgotten'
    return chat.contact || chat.wanted || chat.asks || chat.last !== undefined
  }

  // --- the connection

  /** Tries to connect now, or takes the connection back from elsewhere. */
  tryNow(): void {
    void this.ask('retry').catch(() => undefined)
  }

  /** Sees whether the store can be written. */
  private probe(): void {
    if (this.held) return // it is known, and told until it is over
    const asked = (): Promise<unknown> => begin(this.db, false, 'files').objectStore('meta').getKey('account')
    this.patience.watch(Promise.resolve().then(asked)).catch(() => undefined)
  }

  private poke(): void {
    this.lead.poke()
  }

  private changed(change: Change): void {
    this.lead.changed(change)
  }

  private uploads(key: number, share: number | undefined): void {
    if (share === undefined) this.uploading.delete(key)
    else this.uploading.set(key, share)
  }

  private show(change: Change): void {
    // Tabs hear of each other's writes late: what is newer stays.
    for (const c of change.chats) if (!((this.chats.get(c.peer)?.rev ?? 0) > c.rev)) this.chats.set(c.peer, c)
    for (const conversation of this.open) conversation.apply(change)
    if (change.stars || change.removed.length > 0 || change.messages.some((m) => m.starred || m.deleted)) this.stars++
  }
}
