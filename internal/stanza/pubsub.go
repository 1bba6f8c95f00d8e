// SPDX-License-Identifier: Apache-2.0

package stanza

import "bavard/internal/xmlstream"

// Namespaces of publish-subscribe.
const (
	NSPubsub       = "http://jabber.org/protocol/pubsub"        // XEP-0060
	NSPubsubEvent  = "http://jabber.org/protocol/pubsub#event"  // XEP-0060
	NSPubsubOwner  = "http://jabber.org/protocol/pubsub#owner"  // XEP-0060
	NSPubsubErrors = "http://jabber.org/protocol/pubsub#errors" // XEP-0060
)

// Namespaces of pictures of people; those of XEP-0084 are also names of nodes.
const (
	NSAvatarData     = "urn:xmpp:avatar:data"            // XEP-0084
	NSAvatarMetadata = "urn:xmpp:avatar:metadata"        // XEP-0084
	NSVCardUpdate    = "vcard-temp:x:update"             // XEP-0153
	NSConversion     = "urn:xmpp:pep-vcard-conversion:0" // XEP-0398
)

// Namespaces of what has been read; the first is also the name of a node.
const (
	NSDisplayed       = "urn:xmpp:mds:displayed:0"     // XEP-0490
	NSDisplayedAssist = "urn:xmpp:mds:server-assist:0" // XEP-0490
)

// Namespaces of private data and bookmarks; that of XEP-0402 is also the name
// of a node.
const (
	NSPrivate         = "jabber:iq:private"           // XEP-0049
	NSStorage         = "storage:bookmarks"           // XEP-0048
	NSBookmarks       = "urn:xmpp:bookmarks:1"        // XEP-0402
	NSBookmarksCompat = "urn:xmpp:bookmarks:1#compat" // XEP-0402
)

// Namespaces of pushes.
const (
	NSPush        = "urn:xmpp:push:0"             // XEP-0357
	NSPublishOpts = NSPubsub + "#publish-options" // XEP-0060
	NSWebPush     = "urn:bavard:push:0"           // docs/push.md
)

// PubsubErr makes an error with a condition of XEP-0060 §errors @1.30.0.
func PubsubErr(t ErrorType, c Condition, app, text string) *Error {
	e := Err(t, c, text)
	e.App = xmlstream.New(NSPubsubErrors, app)
	return e
}
