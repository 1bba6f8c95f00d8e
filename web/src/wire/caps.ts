// SPDX-License-Identifier: Apache-2.0

import { encode64 } from './base64'
import { NS } from './ns'
import { xml, type XmlElement } from './xml'

/**
 * What this app can do (XEP-0115). What ends in "+notify" is what we want to
 * be told about (XEP-0163).
 */

const IDENTITY = { category: 'client', type: 'web', name: 'bavard' }
const NODE = 'urn:bavard:app'
const FEATURES = [
  NS.caps,
  NS.chatStates,
  NS.info,
  NS.muc,
  NS.avatarMetadata + '+notify',
  NS.invitation,
  NS.bookmarks + '+notify',
  NS.chats + '+notify',
  NS.mds + '+notify',
  NS.nick + '+notify',
  NS.privacy + '+notify',
  NS.stars + '+notify',
  NS.markers,
  NS.replace,
  NS.retract,
  NS.ping,
  NS.reactions,
  NS.receipts,
  NS.reply,
  NS.styling, // XEP-0393 §disco @1.1.1
].sort()

/** The hash of all that (XEP-0115 §ver-gen @1.6.0). */
export async function capsHash(): Promise<string> {
  const { category, type, name } = IDENTITY
  const text = [`${category}/${type}//${name}`, ...FEATURES].map((s) => s + '<').join('')
  return encode64(new Uint8Array(await crypto.subtle.digest('SHA-1', new TextEncoder().encode(text))))
}

export function buildCaps(ver: string): XmlElement {
  return xml('c', { xmlns: NS.caps, hash: 'sha-1', node: NODE, ver })
}

/** Answers who asks what we can do (XEP-0030). */
export function buildInfo(query: XmlElement): XmlElement {
  const features = FEATURES.map((f) => xml('feature', { var: f }))
  return xml('query', { xmlns: NS.info, node: query.attr('node') }, xml('identity', IDENTITY), ...features)
}
