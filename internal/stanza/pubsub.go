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

// PubsubErr makes an error with a condition of XEP-0060 §errors @1.30.0.
func PubsubErr(t ErrorType, c Condition, app, text string) *Error {
	e := Err(t, c, text)
	e.App = xmlstream.New(NSPubsubErrors, app)
	return e
}
