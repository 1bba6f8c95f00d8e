// SPDX-License-Identifier: Apache-2.0

import { createContext, type Component } from 'svelte'
import type { Message } from '../store/schema'

/** What is being done to messages of the conversation on screen. */
export class Deeds {
  /** The message whose menu is open, and where. */
  menu = $state.raw<{ message: Message; at: DOMRect; more: boolean } | undefined>(undefined)
  /** The message that is being answered, or given other words. */
  reply = $state.raw<Message | undefined>(undefined)
  correct = $state.raw<Message | undefined>(undefined)
  forward = $state.raw<Message[] | undefined>(undefined)
  remove = $state.raw<Message[] | undefined>(undefined)
  info = $state.raw<Message | undefined>(undefined)
  /** The picture or film that is looked at. */
  view = $state.raw<Message | undefined>(undefined)
  /** Those that are selected, by their keys, while any can be; and what shows beside each whether it is. */
  picked = $state.raw<Map<number, Message> | undefined>(undefined)
  Pick = $state.raw<Component<{ message: Message }> | undefined>(undefined)
  /** Messages are looked for here; which was found last: it stands out, and where one types stays where it is. */
  finding = $state(false)
  found = $state<number | undefined>(undefined)
  /** Those beside it; undefined: what the conversation has. */
  beside = $state.raw<Message[] | undefined>(undefined)
  /** The message that others know by that id, if it is on screen or near. */
  near: (id: string) => Message | undefined = () => undefined
  /** Shows the message that others know by that id. */
  jump: (id: string) => void = () => undefined

  /** Opens the menu of a message at an element, or at a point. */
  open(message: Message, at: Element | { x: number; y: number }, more = false): void {
    this.menu = { message, more, at: at instanceof Element ? at.getBoundingClientRect() : new DOMRect(at.x, at.y, 0, 0) }
  }

  answer(message: Message): void {
    this.correct = undefined
    this.reply = message
  }

  rewrite(message: Message): void {
    this.reply = undefined
    this.correct = message
  }
}

export const [getDeeds, setDeeds] = createContext<Deeds>()

/** A message to go to once its conversation is on screen, or at once when it is. */
export const landing: { message: Message | undefined; go: (() => void) | undefined } = { message: undefined, go: undefined }
