// SPDX-License-Identifier: Apache-2.0

package push

import (
	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// kind of a notification.
type kind uint8

const (
	nothing kind = iota
	message      // somebody wrote, or invites to a room
	call         // somebody calls, and waits
)

// worth says whether a message is worth a notification: something new to read,
// an invitation, or a call (XEP-0353 §intent @0.8.0). Receipts, markers, typing,
// reactions, corrections and what takes messages back are not.
func worth(m *xmlstream.Element) kind {
	found := nothing
	if t := m.Get("type"); t == "error" || t == "headline" {
		return nothing
	}
	for _, c := range m.Elements() {
		switch c.Name.Space {
		case stanza.NSClient:
			if c.Name.Local == "body" {
				found = max(found, message)
			}
		case stanza.NSOmemo, stanza.NSOmemoLegacy:
			// Without a payload it only renews keys (XEP-0384 §usecases-messagesend @0.9.1).
			if c.Name.Local == "encrypted" && c.Child(c.Name.Space, "payload") != nil {
				found = max(found, message)
			}
		case stanza.NSInvitation:
			found = max(found, message)
		case stanza.NSJMI:
			if c.Name.Local == "propose" {
				found = call
			}
		case stanza.NSCorrect, stanza.NSRetract, stanza.NSReactions, stanza.NSFasten:
			return nothing
		}
	}
	return found
}

// worthOf is worth for the children of a message, as they are stored.
func worthOf(payload []byte) kind {
	b := make([]byte, 0, 64+len(payload))
	b = append(append(append(b, "<message xmlns='"+stanza.NSClient+"'>"...), payload...), "</message>"...)
	m, err := xmlstream.ParseElement(b, xmlstream.AfterAuth)
	if err != nil {
		return nothing
	}
	return worth(m)
}
