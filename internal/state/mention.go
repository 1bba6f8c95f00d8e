// SPDX-License-Identifier: Apache-2.0

package state

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// Somebody is who a message of a room may be meant for.
type Somebody struct {
	Room, JID string // bare
	Nicks     []string
	Occupant  string // occupant-id (XEP-0421), "" when it is not known
}

// Meant reports whether a child of a message of the room says that it is meant for
// them: it refers to them (XEP-0372 §usecase_mention @0.5.0, XEP-0513 §individual
// @0.1.0), to all (§channel), or to what they said (XEP-0461).
func (who *Somebody) Meant(e *xmlstream.Element) bool {
	switch {
	case e.Is(stanza.NSReference, "reference"):
		return e.Get("type") == "mention" && who.address(strings.TrimPrefix(e.Get("uri"), "xmpp:"))
	case e.Is(stanza.NSMentions, "mention"):
		if e.Child(stanza.NSMentions, "noping") != nil {
			return false
		}
		switch e.Get("mentions") {
		case "":
			return who.address(e.Get("jid")) || who.Occupant != "" && e.Get("occupantid") == who.Occupant
		case stanza.NSMentions + "#channel":
			uri := strings.TrimPrefix(e.Get("uri"), "xmpp:")
			return uri == "" || uri == who.Room
		}
	case e.Is(stanza.NSReply, "reply"):
		return who.address(e.Get("to"))
	}
	return false
}

// address reports whether an address is somebody's: their own, or as an
// occupant.
func (who *Somebody) address(s string) bool {
	if bare, _, _ := strings.Cut(s, "/"); bare == who.JID {
		return true
	}
	for _, nick := range who.Nicks {
		if s == who.Room+"/"+nick {
			return true
		}
	}
	return false
}

// Named reports whether a text holds one of their nicks, in upper or lower case, that
// is not part of a longer word.
func (who *Somebody) Named(text string) bool {
	text = strings.ToLower(text)
	for _, nick := range who.Nicks {
		if named(text, strings.ToLower(nick)) {
			return true
		}
	}
	return false
}

func named(text, nick string) bool {
	if nick == "" {
		return false
	}
	for at := 0; ; {
		i := strings.Index(text[at:], nick)
		if i < 0 {
			return false
		}
		i += at
		before, _ := utf8.DecodeLastRuneInString(text[:i])
		after, _ := utf8.DecodeRuneInString(text[i+len(nick):])
		if !wordRune(before) && !wordRune(after) {
			return true
		}
		at = i + len(nick)
	}
}

func wordRune(r rune) bool {
	return r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r) || r == '_')
}
