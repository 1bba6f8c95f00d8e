// SPDX-License-Identifier: Apache-2.0

package stanza

// Namespaces of lists of chats and of finding people.
const (
	NSInbox    = "urn:xmpp:inbox:1"                 // XEP-0430
	NSNotify   = "urn:xmpp:notification-settings:1" // XEP-0492
	NSMentions = "urn:xmpp:mentions:0"              // XEP-0513
	NSReply    = "urn:xmpp:reply:0"                 // XEP-0461
	NSSearch   = "jabber:iq:search"                 // XEP-0055
	NSChats    = "urn:bavard:chats:0"               // docs/chats.md
)
