// SPDX-License-Identifier: Apache-2.0

// Package stanza holds the values that XMPP exchanges: namespaces, stanza and
// stream errors, replies. It is a package of words.
package stanza

// Namespaces, by specification.
const (
	NSClient      = "jabber:client"                          // RFC 6120
	NSStream      = "http://etherx.jabber.org/streams"       // RFC 6120
	NSStreamError = "urn:ietf:params:xml:ns:xmpp-streams"    // RFC 6120 §4.9
	NSStanzaError = "urn:ietf:params:xml:ns:xmpp-stanzas"    // RFC 6120 §8.3
	NSTLS         = "urn:ietf:params:xml:ns:xmpp-tls"        // RFC 6120 §5
	NSSASL        = "urn:ietf:params:xml:ns:xmpp-sasl"       // RFC 6120 §6
	NSSASLCB      = "urn:xmpp:sasl-cb:0"                     // XEP-0440
	NSSASL2       = "urn:xmpp:sasl:2"                        // XEP-0388
	NSBind2       = "urn:xmpp:bind:0"                        // XEP-0386
	NSFAST        = "urn:xmpp:fast:0"                        // XEP-0484
	NSCAM         = "urn:xmpp:cam:0"                         // XEP-0494
	NSLink        = "urn:bavard:link:0"                      // docs/login.md
	NSFiles       = "urn:bavard:files:0"                     // docs/media.md
	NSRecovery    = "urn:bavard:recovery:0"                  // docs/login.md
	NSBind        = "urn:ietf:params:xml:ns:xmpp-bind"       // RFC 6120 §7
	NSSession     = "urn:ietf:params:xml:ns:xmpp-session"    // RFC 3921 §3
	NSFraming     = "urn:ietf:params:xml:ns:xmpp-framing"    // RFC 7395
	NSRoster      = "jabber:iq:roster"                       // RFC 6121 §2
	NSRosterVer   = "urn:xmpp:features:rosterver"            // RFC 6121 §2.6
	NSPreApproval = "urn:xmpp:features:pre-approval"         // RFC 6121 §3.4
	NSDiscoInfo   = "http://jabber.org/protocol/disco#info"  // XEP-0030
	NSDiscoItems  = "http://jabber.org/protocol/disco#items" // XEP-0030
	NSData        = "jabber:x:data"                          // XEP-0004
	NSVCard       = "vcard-temp"                             // XEP-0054
	NSRSM         = "http://jabber.org/protocol/rsm"         // XEP-0059
	NSRegister    = "jabber:iq:register"                     // XEP-0077
	NSRegFeature  = "http://jabber.org/features/iq-register" // XEP-0077
	NSChatStates  = "http://jabber.org/protocol/chatstates"  // XEP-0085
	NSVersion     = "jabber:iq:version"                      // XEP-0092
	NSCaps        = "http://jabber.org/protocol/caps"        // XEP-0115
	NSReceipts    = "urn:xmpp:receipts"                      // XEP-0184
	NSSM          = "urn:xmpp:sm:3"                          // XEP-0198
	NSServerInfo  = "http://jabber.org/network/serverinfo"   // XEP-0157
	NSOutage      = "urn:xmpp:sos:0"                         // XEP-0455
	NSPing        = "urn:xmpp:ping"                          // XEP-0199
	NSTime        = "urn:xmpp:time"                          // XEP-0202
	NSDelay       = "urn:xmpp:delay"                         // XEP-0203
	NSLast        = "jabber:iq:last"                         // XEP-0012
	NSBlocking    = "urn:xmpp:blocking"                      // XEP-0191
	NSReporting   = "urn:xmpp:reporting:1"                   // XEP-0377
	NSReports     = "urn:bavard:reports:0"                   // what people report: docs/operations.md
	NSBlockError  = "urn:xmpp:blocking:errors"               // XEP-0191
	NSCarbons     = "urn:xmpp:carbons:2"                     // XEP-0280
	Offline       = "msgoffline"                             // XEP-0160 §disco @1.0.1
	NSOmemoLegacy = "eu.siacs.conversations.axolotl"         // XEP-0384, 0.3
	NSOmemo       = "urn:xmpp:omemo:2"                       // XEP-0384
	NSCommands    = "http://jabber.org/protocol/commands"    // XEP-0050
	NSInvitation  = "jabber:x:conference"                    // XEP-0249
	NSForward     = "urn:xmpp:forward:0"                     // XEP-0297
	NSMAM         = "urn:xmpp:mam:2"                         // XEP-0313
	NSMAMExtended = "urn:xmpp:mam:2#extended"                // XEP-0313
	NSMarkers     = "urn:xmpp:chat-markers:0"                // XEP-0333
	NSHints       = "urn:xmpp:hints"                         // XEP-0334
	NSSID         = "urn:xmpp:sid:0"                         // XEP-0359
	NSPARS        = "urn:xmpp:pars:0"                        // XEP-0379, XEP-0445
	NSInvite      = "urn:xmpp:invite"                        // XEP-0401
	NSRoomInvite  = "urn:bavard:invite:0"                    // ours: links to rooms
	NSIBRToken    = "urn:xmpp:ibr-token:0"                   // XEP-0445
	NSReactions   = "urn:xmpp:reactions:0"                   // XEP-0444
	NSCorrect     = "urn:xmpp:message-correct:0"             // XEP-0308
	NSRetract     = "urn:xmpp:message-retract:1"             // XEP-0424
	NSNick        = "http://jabber.org/protocol/nick"        // XEP-0172
	NSJMI         = "urn:xmpp:jingle-message:0"              // XEP-0353
	NSMUC         = "http://jabber.org/protocol/muc"         // XEP-0045
	NSMUCUser     = NSMUC + "#user"                          // XEP-0045
	NSMUCAdmin    = NSMUC + "#admin"                         // XEP-0045
	NSMUCOwner    = NSMUC + "#owner"                         // XEP-0045
	NSConference  = "jabber:x:conference"                    // XEP-0249
	NSSelfPing    = NSMUC + "#self-ping-optimization"        // XEP-0410
	NSOccupantID  = "urn:xmpp:occupant-id:0"                 // XEP-0421
	NSModerate    = "urn:xmpp:message-moderate:1"            // XEP-0425
	NSModerate0   = "urn:xmpp:message-moderate:0"            // XEP-0425, 0.2
	NSCSI         = "urn:xmpp:csi:0"                         // XEP-0352
	NSFasten      = "urn:xmpp:fasten:0"                      // XEP-0425, 0.2
	NSUpload      = "urn:xmpp:http:upload:0"                 // XEP-0363
	NSPurpose     = "urn:xmpp:http:upload:purpose:0"         // XEP-0363
	NSOOB         = "jabber:x:oob"                           // XEP-0066
	NSFile        = "urn:xmpp:sfs:0"                         // XEP-0447
	NSTombstone   = NSRetract + "#tombstone"                 // XEP-0424
	NSCallInvite  = "urn:xmpp:call-invites:0"                // XEP-0482
	NSFallback    = "urn:xmpp:fallback:0"                    // XEP-0428
	NSReference   = "urn:xmpp:reference:0"                   // XEP-0372, XEP-0385
	NSGeoloc      = "http://jabber.org/protocol/geoloc"      // XEP-0080
	NSEME         = "urn:xmpp:eme:0"                         // XEP-0380
	NSOpenPGP     = "urn:xmpp:openpgp:0"                     // XEP-0373
	NSPGP         = "jabber:x:encrypted"                     // XEP-0027
	NSEphemeral   = "urn:xmpp:ephemeral:0"                   // XEP-0466
	NSLimits      = "urn:xmpp:stream-limits:0"               // XEP-0478
	NSExtDisco    = "urn:xmpp:extdisco:2"                    // XEP-0215
)
