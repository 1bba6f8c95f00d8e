// SPDX-License-Identifier: Apache-2.0

/**
 * Addresses (RFC 7622): localpart@domain/resource. The server normalises and
 * has the last word; here they are only taken apart, compared in lower case
 * and recognised in what people type.
 */

export function bare(jid: string): string {
  const slash = jid.indexOf('/')
  return slash < 0 ? jid : jid.slice(0, slash)
}

export function resource(jid: string): string {
  const slash = jid.indexOf('/')
  return slash < 0 ? '' : jid.slice(slash + 1)
}

/** Whether a conversation is a private one with somebody in a group, who has no other address for us (XEP-0045 §privatemessage @1.35.5). */
export function occupant(peer: string): boolean {
  return peer.includes('/')
}

export function local(jid: string): string {
  const b = bare(jid)
  const at = b.indexOf('@')
  return at < 0 ? '' : b.slice(0, at)
}

export function domain(jid: string): string {
  const b = bare(jid)
  return b.slice(b.indexOf('@') + 1)
}

// RFC 7622 §3.3.1: not in a localpart.
const LOCAL = /^[^"&'/:<>@\s\p{Cc}]{1,255}$/u
const DOMAIN = /^(?:[\p{L}\p{N}](?:[\p{L}\p{N}-]*[\p{L}\p{N}])?)(?:\.[\p{L}\p{N}](?:[\p{L}\p{N}-]*[\p{L}\p{N}])?)*\.?$|^\[[0-9a-f:.]+\]$/iu

/** The address of a person, bare and in lower case, or undefined when it is none. */
export function person(address: string): string | undefined {
  const at = address.indexOf('@')
  if (at < 1) return undefined
  const localpart = address.slice(0, at)
  const host = bare(address.slice(at + 1)).replace(/\.$/, '')
  if (!LOCAL.test(localpart) || !DOMAIN.test(host) || host.length > 255) return undefined
  return `${localpart.normalize('NFC').toLowerCase()}@${host.toLowerCase()}`
}

/** The address of a conversation: of a person, a group, or somebody in a group. */
export function conversation(address: string): string | undefined {
  const whose = person(bare(address))
  return whose && occupant(address) ? `${whose}/${resource(address)}` : whose
}

/**
 * Understands what people paste to reach somebody: an address, an xmpp: URI
 * (RFC 5122), a link of this app (https://host/c/address). A name alone means
 * somebody on the same server. Undefined when it is none of these.
 */
export function readAddress(typed: string, homeDomain: string): string | undefined {
  const text = typed.trim()
  const uri = /^xmpp:(?:\/\/[^/]*\/)?([^?#]+)/i.exec(text)
  if (uri) return person(decode(uri[1]!))
  const link = /^(?:https?:\/\/[^/]+)?\/c\/([^/?#]+)/i.exec(text)
  if (link) return person(decode(link[1]!))
  if (text.includes('@')) return person(text)
  return LOCAL.test(text) ? person(`${text}@${homeDomain}`) : undefined
}

function decode(s: string): string {
  try {
    return decodeURIComponent(s)
  } catch {
    return s
  }
}
