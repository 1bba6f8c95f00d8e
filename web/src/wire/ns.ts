// SPDX-License-Identifier: Apache-2.0

/** XML namespaces, by specification. */
export const NS = {
  client: 'jabber:client', // RFC 6120
  stream: 'http://etherx.jabber.org/streams', // RFC 6120
  streamError: 'urn:ietf:params:xml:ns:xmpp-streams', // RFC 6120 §4.9
  stanzaError: 'urn:ietf:params:xml:ns:xmpp-stanzas', // RFC 6120 §8.3
  framing: 'urn:ietf:params:xml:ns:xmpp-framing', // RFC 7395
  sasl: 'urn:ietf:params:xml:ns:xmpp-sasl', // RFC 6120 §6
  sasl2: 'urn:xmpp:sasl:2', // XEP-0388
  bind2: 'urn:xmpp:bind:0', // XEP-0386
  inbox: 'urn:xmpp:inbox:1', // XEP-0430 0.2.0
  chats: 'urn:bavard:chats:0', // docs/chats.md
  privacy: 'urn:bavard:privacy:0', // docs/privacy.md
  last: 'jabber:iq:last', // XEP-0012
  notify: 'urn:xmpp:notification-settings:1', // XEP-0492
  stars: 'urn:bavard:stars:0', // docs/chats.md
  mds: 'urn:xmpp:mds:displayed:0', // XEP-0490
  fast: 'urn:xmpp:fast:0', // XEP-0484
  cam: 'urn:xmpp:cam:0', // XEP-0494
  link: 'urn:bavard:link:0', // docs/login.md
  recovery: 'urn:bavard:recovery:0', // docs/login.md
  csi: 'urn:xmpp:csi:0', // XEP-0352
  bind: 'urn:ietf:params:xml:ns:xmpp-bind', // RFC 6120 §7
  roster: 'jabber:iq:roster', // RFC 6121 §2
  commands: 'http://jabber.org/protocol/commands', // XEP-0050
  roomInvite: 'urn:bavard:invite:0', // links to rooms
  data: 'jabber:x:data', // XEP-0004
  search: 'jabber:iq:search', // XEP-0055
  rsm: 'http://jabber.org/protocol/rsm', // XEP-0059
  oob: 'jabber:x:oob', // XEP-0066
  register: 'jabber:iq:register', // XEP-0077
  chatStates: 'http://jabber.org/protocol/chatstates', // XEP-0085
  nick: 'http://jabber.org/protocol/nick', // XEP-0172
  muc: 'http://jabber.org/protocol/muc', // XEP-0045
  mucUser: 'http://jabber.org/protocol/muc#user', // XEP-0045
  mucAdmin: 'http://jabber.org/protocol/muc#admin', // XEP-0045
  mucOwner: 'http://jabber.org/protocol/muc#owner', // XEP-0045
  info: 'http://jabber.org/protocol/disco#info', // XEP-0030
  serverInfo: 'http://jabber.org/network/serverinfo', // XEP-0157
  outage: 'urn:xmpp:sos:0', // XEP-0455
  items: 'http://jabber.org/protocol/disco#items', // XEP-0030
  vcard: 'vcard-temp', // XEP-0054
  pubsub: 'http://jabber.org/protocol/pubsub', // XEP-0060
  pubsubEvent: 'http://jabber.org/protocol/pubsub#event', // XEP-0060
  avatarData: 'urn:xmpp:avatar:data', // XEP-0084
  avatarMetadata: 'urn:xmpp:avatar:metadata', // XEP-0084
  caps: 'http://jabber.org/protocol/caps', // XEP-0115
  receipts: 'urn:xmpp:receipts', // XEP-0184
  blocking: 'urn:xmpp:blocking', // XEP-0191
  reporting: 'urn:xmpp:reporting:1', // XEP-0377
  pgp: 'jabber:x:encrypted', // OpenPGP, the old way
  invitation: 'jabber:x:conference', // XEP-0249
  sm: 'urn:xmpp:sm:3', // XEP-0198
  push: 'urn:xmpp:push:0', // XEP-0357
  webPush: 'urn:bavard:push:0', // docs/push.md
  ping: 'urn:xmpp:ping', // XEP-0199
  delay: 'urn:xmpp:delay', // XEP-0203
  carbons: 'urn:xmpp:carbons:2', // XEP-0280
  urlData: 'http://jabber.org/protocol/url-data', // in XEP-0447
  thumbs: 'urn:xmpp:thumbs:1', // XEP-0264
  forward: 'urn:xmpp:forward:0', // XEP-0297
  replace: 'urn:xmpp:message-correct:0', // XEP-0308
  mam: 'urn:xmpp:mam:2', // XEP-0313
  markers: 'urn:xmpp:chat-markers:0', // XEP-0333
  hints: 'urn:xmpp:hints', // XEP-0334
  sid: 'urn:xmpp:sid:0', // XEP-0359
  upload: 'urn:xmpp:http:upload:0', // XEP-0363
  purpose: 'urn:xmpp:http:upload:purpose:0', // XEP-0363
  reference: 'urn:xmpp:reference:0', // XEP-0372
  styling: 'urn:xmpp:styling:0', // XEP-0393
  pars: 'urn:xmpp:pars:0', // XEP-0379, XEP-0445
  encryption: 'urn:xmpp:eme:0', // XEP-0380
  omemo: 'eu.siacs.conversations.axolotl', // XEP-0384
  bookmarks: 'urn:xmpp:bookmarks:1', // XEP-0402
  occupant: 'urn:xmpp:occupant-id:0', // XEP-0421
  retract: 'urn:xmpp:message-retract:1', // XEP-0424
  moderate: 'urn:xmpp:message-moderate:1', // XEP-0425
  fallback: 'urn:xmpp:fallback:0', // XEP-0428
  reactions: 'urn:xmpp:reactions:0', // XEP-0444
  file: 'urn:xmpp:file:metadata:0', // XEP-0446
  sharing: 'urn:xmpp:sfs:0', // XEP-0447
  reply: 'urn:xmpp:reply:0', // XEP-0461
  waveform: 'urn:bavard:waveform:0', // docs/media.md
  recording: 'urn:bavard:recording:0', // docs/chats.md
} as const
