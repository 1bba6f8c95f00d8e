// SPDX-License-Identifier: Apache-2.0

package push

import (
	"bavard/internal/stanza"
	"bavard/internal/state"
	"bavard/internal/xmlstream"
)

// Kind of a notification.
type Kind uint8

// Kinds, as docs/push.md describes them.
const (
	Nothing Kind = iota
	Message      // somebody wrote, or invites to a room
	Call         // somebody calls, and waits
	Ended        // the call that was told of is over: given up, declined, or answered elsewhere
	Request      // somebody asks to become a contact
)

// worth says whether a message is worth a notification: something new to read,
// an invitation, or a call that begins or ends, whose id is given, too (XEP-0353
// §intent @0.8.0). Receipts, markers, typing, reactions, corrections and what takes
// messages back are not.
func worth(m *xmlstream.Element) (found Kind, callID string) {
	if t := m.Get("type"); t == "error" || t == "headline" {
		return Nothing, ""
	}
	for _, c := range m.Elements() {
		switch c.Name.Space {
		case stanza.NSClient:
			if c.Name.Local == "body" {
				found = max(found, Message)
			}
		case stanza.NSOmemo, stanza.NSOmemoLegacy:
			// Without a payload it only renews keys (XEP-0384 §usecases-messagesend @0.9.1).
			if c.Name.Local == "encrypted" && c.Child(c.Name.Space, "payload") != nil {
				found = max(found, Message)
			}
		case stanza.NSInvitation:
			found = max(found, Message)
		case stanza.NSJMI:
			switch c.Name.Local {
			case "propose":
				found, callID = Call, c.Get("id")
			case "retract", "reject", "finish", "accept", "proceed":
				found, callID = Ended, c.Get("id")
			}
		case stanza.NSCorrect, stanza.NSRetract, stanza.NSReactions, stanza.NSFasten:
			return Nothing, ""
		}
	}
	return found, callID
}

// sealed reports whether what is said is encrypted: then a body only says that.
func sealed(m *xmlstream.Element) bool {
	return m.Child(stanza.NSOmemo, "encrypted") != nil || m.Child(stanza.NSOmemoLegacy, "encrypted") != nil
}

// mentions reports whether a message in a room is meant for somebody, as the list of
// chats shows it.
func mentions(m *xmlstream.Element, who *state.Somebody) bool {
	if m == nil {
		return false
	}
	for _, c := range m.Elements() {
		if who.Meant(c) {
			return true
		}
	}
	return !sealed(m) && who.Named(m.Child(stanza.NSClient, "body").Text())
}
