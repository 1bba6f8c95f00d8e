// SPDX-License-Identifier: Apache-2.0

/** XML namespaces, by specification. */
export const NS = {
  client: 'jabber:client', // RFC 6120
  stream: 'http://etherx.jabber.org/streams', // RFC 6120
  streamError: 'urn:ietf:params:xml:ns:xmpp-streams', // RFC 6120 §4.9
  stanzaError: 'urn:ietf:params:xml:ns:xmpp-stanzas', // RFC 6120 §8.3
  framing: 'urn:ietf:params:xml:ns:xmpp-framing', // RFC 7395
  sasl: 'urn:ietf:params:xml:ns:xmpp-sasl', // RFC 6120 §6
  bind: 'urn:ietf:params:xml:ns:xmpp-bind', // RFC 6120 §7
  roster: 'jabber:iq:roster', // RFC 6121 §2
  data: 'jabber:x:data', // XEP-0004
  rsm: 'http://jabber.org/protocol/rsm', // XEP-0059
  register: 'jabber:iq:register', // XEP-0077
  chatStates: 'http://jabber.org/protocol/chatstates', // XEP-0085
  nick: 'http://jabber.org/protocol/nick', // XEP-0172
  receipts: 'urn:xmpp:receipts', // XEP-0184
  sm: 'urn:xmpp:sm:3', // XEP-0198
  ping: 'urn:xmpp:ping', // XEP-0199
  delay: 'urn:xmpp:delay', // XEP-0203
  carbons: 'urn:xmpp:carbons:2', // XEP-0280
  forward: 'urn:xmpp:forward:0', // XEP-0297
  mam: 'urn:xmpp:mam:2', // XEP-0313
  markers: 'urn:xmpp:chat-markers:0', // XEP-0333
  hints: 'urn:xmpp:hints', // XEP-0334
  sid: 'urn:xmpp:sid:0', // XEP-0359
  pars: 'urn:xmpp:pars:0', // XEP-0379, XEP-0445
} as const
