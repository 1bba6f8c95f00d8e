// SPDX-License-Identifier: Apache-2.0

package state

import (
	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// EventHidden: Account's presence is hidden from now on, or is not any more.
const EventHidden EventKind = 120

// HidesPresence reports whether an item of the node stanza.NSPrivacy says that
// nobody is to see when its account is there (docs/privacy.md). What is no such
// item hides nothing.
func HidesPresence(payload []byte) bool {
	e, err := xmlstream.ParseElement(payload, xmlstream.AfterAuth)
	return err == nil && e.Is(stanza.NSPrivacy, "privacy") && e.Child(stanza.NSPrivacy, "hidden") != nil
}
