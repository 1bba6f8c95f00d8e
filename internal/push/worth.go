// SPDX-License-Identifier: Apache-2.0

package push

import (
	"strings"
	"unicode"
	"unicode/utf8"

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
	if m := element(payload); m != nil {
		return worth(m)
	}
	return nothing
}

// element reads the children of a message, nil when they cannot be read.
func element(payload []byte) *xmlstream.Element {
	b := make([]byte, 0, 64+len(payload))
	b = append(append(append(b, "<message xmlns='"+stanza.NSClient+"'>"...), payload...), "</message>"...)
	m, err := xmlstream.ParseElement(b, xmlstream.AfterAuth)
	if err != nil {
		return nil
	}
	return m
}

// mentions reports whether the children of a message in a room mean somebody: by a
// reference (XEP-0372 §usecase_mention @0.5.0), or by their nick in the text.
func mentions(payload []byte, account, room, nick string) bool {
	m := element(payload)
	if m == nil {
		return false
	}
	for _, c := range m.Elements() {
		if c.Name.Space == stanza.NSReference && c.Get("type") == "mention" {
			if to := strings.TrimPrefix(c.Get("uri"), "xmpp:"); to == account || nick != "" && to == room+"/"+nick {
				return true
			}
		}
	}
	return nick != "" && names(m.Child(stanza.NSClient, "body").Text(), nick)
}

// names reports whether a text has a nick as a word of its own.
func names(text, nick string) bool {
	text, nick = strings.ToLower(text), strings.ToLower(nick)
	for {
		before, after, found := strings.Cut(text, nick)
		if !found {
			return false
		}
		last, _ := utf8.DecodeLastRuneInString(before)
		next, _ := utf8.DecodeRuneInString(after)
		if !unicode.IsLetter(last) && !unicode.IsDigit(last) && !unicode.IsLetter(next) && !unicode.IsDigit(next) {
			return true
		}
		text = after
	}
}
