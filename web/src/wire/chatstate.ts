// SPDX-License-Identifier: Apache-2.0

import { privately } from './compose'
import { NS } from './ns'
import { xml, type XmlElement } from './xml'

/** Chat states (XEP-0085 §definitions @2.1). Who records a voice message is composing to others, and says so besides (docs/chats.md). */
export type ChatState = 'active' | 'composing' | 'recording' | 'paused' | 'inactive' | 'gone'

/** Says what the person does: types, records, or no longer; never stored. */
export function buildChatState(to: string, state: ChatState, group = false): string {
  const type = group ? 'groupchat' : 'chat'
  const voice = state === 'recording'
  const standard = xml(voice ? 'composing' : state, { xmlns: NS.chatStates })
  return xml('message', { xmlns: NS.client, type, to }, standard, voice && xml(state, { xmlns: NS.recording }), privately(to), xml('no-store', { xmlns: NS.hints })).toString()
}

/** The chat state in a message, if it has one. */
export function readChatState(el: XmlElement): ChatState | undefined {
  const state = el.elements().find((e) => e.ns === NS.chatStates)?.name as ChatState | undefined
  return state === 'composing' && el.child('recording', NS.recording) ? 'recording' : state
}
