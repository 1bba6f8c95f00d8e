// SPDX-License-Identifier: Apache-2.0

/** Reads the WebSocket addresses out of host-meta.json (XEP-0156 §http @1.4.0), in its order. */
export function readHostMeta(document: unknown, secureOnly: boolean): string[] {
  const links = (document as { links?: unknown } | null)?.links
  if (!Array.isArray(links)) return []
  const addresses = links.flatMap((link: { rel?: unknown; href?: unknown } | null) => {
    if (link?.rel !== 'urn:xmpp:alt-connections:websocket' || typeof link.href !== 'string') return []
    if (!URL.canParse(link.href)) return []
    const { protocol } = new URL(link.href)
    return protocol === 'wss:' || (protocol === 'ws:' && !secureOnly) ? [link.href] : []
  })
  return [...new Set(addresses)].slice(0, 16)
}

/** The WebSocket address on the page's own origin. */
export function ownAddress(origin: string): string {
  return origin.replace(/^http/, 'ws') + '/xmpp-websocket'
}
