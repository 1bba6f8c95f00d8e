// SPDX-License-Identifier: Apache-2.0

import type { App } from './app.svelte'
import { act, composeAgain, discard, type Act } from './store/act'
import { ME, type Change, type Db, type Message } from './store/schema'
import { editMessage } from './store/write'
import { buildChat, buildReactions, buildRetract, type Say } from './wire/compose'
import type { Mention } from './wire/message'
import { token } from './wire/random'
import { clean } from './wire/xml'

/** For clients that know nothing of deletion; they show it as it is. */
const RETRACTED = 'This message was deleted, but your app does not support that.'

/** What the app does for it. */
export interface Doing {
  /** Writes to the store; where there is no room, some is made. */
  write: <T>(work: () => Promise<T>) => Promise<T>
  changed: (change: Change) => void
  /** There is something new in the outbox. */
  poke: () => void
  /** Asks the tab that talks to the server. */
  ask: (method: string, ...args: unknown[]) => Promise<unknown>
}

/** What a person does to messages that there are. */
export class Acts {
  constructor(
    private readonly app: App,
    private readonly db: Db,
    private readonly does: Doing,
  ) {}

  /** Adds a reaction of ours to a message, or takes it back: one each. */
  async react(message: Message, emoji: string): Promise<void> {
    const id = this.app.nameToOthers(message)
    if (id === undefined) return
    const all = message.reactions?.[ME]?.includes(emoji) ? [] : [emoji]
    await this.change(message, { kind: 'react', emoji: all }, (frame, group) => buildReactions(message.peer, frame, group, id, all))
  }

  /** Gives a message of ours other words. */
  async correct(message: Message, text: string, mentions?: Mention[]): Promise<void> {
    const body = clean(text).trim()
    if (body === '' || body === message.body || message.id === undefined) return
    const say: Say = { body, replaces: message.id, mentions, reply: this.answered(message) }
    await this.change(message, { kind: 'correct', body, mentions }, (frame, group) => buildChat(message.peer, frame, { ...say, group }))
  }

  /** Takes a message of ours back, for everyone. */
  async retract(message: Message): Promise<void> {
    const id = this.app.nameToOthers(message)
    if (id === undefined) return
    if (!message.out) {
      await this.does.ask('group', 'moderate', message.peer, id)
      return
    }
    await this.change(message, { kind: 'retract' }, (frame, group) => buildRetract(message.peer, frame, group, id, RETRACTED))
  }

  private async change(message: Message, what: Act, frameOf: (id: string, group: boolean) => string): Promise<void> {
    const id = token()
    const group = this.app.chats.get(message.peer)?.group !== undefined
    this.does.changed(await this.does.write(() => act(this.db, message.key, what, { id, frame: frameOf(id, group) })))
    this.does.poke()
  }

  /** Marks a message to be found again; on all devices, at once or with the next connection. */
  async star(message: Message): Promise<void> {
    const change = await this.does.write(() => editMessage(this.db, message.key, (m) => (m.starred = m.starred ? undefined : 1)))
    this.does.changed({ ...change, stars: true })
    void this.does.ask('star', message.key).catch(() => undefined)
  }

  /** What a message of ours answers, as the wire has it. */
  private answered({ peer, reply }: Message): Say['reply'] {
    if (!reply) return undefined
    const to = this.app.chats.get(peer)?.group ? `${peer}/${reply.nick}` : reply.out ? this.app.me : peer
    return { id: reply.id, to, text: reply.text }
  }

  /** Sends a refused message anew, as another. */
  async retry(message: Message): Promise<void> {
    const id = token()
    const { peer, body, mentions, unstyled, file } = message
    const group = this.app.chats.get(peer)?.group !== undefined
    const say: Say = { body, mentions, unstyled, group, reply: this.answered(message) }
    const frame = { id, frame: file ? '' : buildChat(peer, id, say) }
    this.does.changed(await this.does.write(() => composeAgain(this.db, message.key, frame, Date.now())))
    this.does.poke()
  }

  async discard(message: Message): Promise<void> {
    this.does.changed(await discard(this.db, message.key))
  }

  /** Takes a message back whose file is not uploaded yet. */
  async withdraw(message: Message): Promise<void> {
    this.does.changed(await discard(this.db, message.key, true))
    void this.does.ask('withdrawn', message.peer, message.key).catch(() => undefined)
  }
}
