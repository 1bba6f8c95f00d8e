// SPDX-License-Identifier: Apache-2.0

package stanza

// Namespaces of lists of chats, of finding people, and of what people show.
const (
	NSInbox    = "urn:xmpp:inbox:1"                 // XEP-0430
	NSNotify   = "urn:xmpp:notification-settings:1" // XEP-0492
	NSMentions = "urn:xmpp:mentions:0"              // XEP-0513
	NSReply    = "urn:xmpp:reply:0"                 // XEP-0461
	NSSearch   = "jabber:iq:search"                 // XEP-0055
	NSChats    = "urn:bavard:chats:0"               // docs/chats.md
	NSPrivacy  = "urn:bavard:privacy:0"             // docs/privacy.md
)
