// SPDX-License-Identifier: Apache-2.0

package route

import (
	"strconv"

	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// Said reports whether a person would call it a message of its own: it has a
// body, a file, a place, or content that is encrypted. A correction (XEP-0308), a
// reaction (XEP-0444) and a retraction (XEP-0424) are none, whatever they hold
// for clients that do not know them (XEP-0428 §overview @0.2.1), and neither is
// an encrypted message without content, which hands over keys.
func Said(m *xmlstream.Element) bool {
	said := false
	for i := range m.Children {
		e := m.Children[i].Element
		if e == nil {
			continue
		}
		switch e.Name.Space {
		case stanza.NSReactions, stanza.NSCorrect, stanza.NSRetract:
			return false
		case stanza.NSClient:
			said = said || e.Name.Local == "body"
		case stanza.NSOmemoLegacy, stanza.NSOmemo:
			said = said || e.Child(e.Name.Space, "payload") != nil
		case stanza.NSReference:
			said = said || e.Get("type") == "data"
		case stanza.NSOpenPGP, stanza.NSPGP, stanza.NSFile, stanza.NSOOB, stanza.NSGeoloc:
			said = true
		case stanza.NSEME: // what it is encrypted with need not be known here
			said = said || e.Get("namespace") != stanza.NSOmemoLegacy && e.Get("namespace") != stanza.NSOmemo
		}
	}
	return said
}

// Repeat gives what a repeat of a message is known by, "" for nothing: its origin-id
// (XEP-0359 §origin-id @0.7.0); and of one that tells what was read (XEP-0333), which
// clients send without one, the id of the stanza.
func Repeat(m *xmlstream.Element) string {
	if id := m.Child(stanza.NSSID, "origin-id").Get("id"); id != "" {
		return id
	}
	if !Said(m) && (m.Child(stanza.NSMarkers, "displayed") != nil || m.Child(stanza.NSMarkers, "acknowledged") != nil) {
		return m.Get("id")
	}
	return ""
}

// Timer gives after how many seconds a message's content is to be gone
// (XEP-0466 §sending @0.1.0), 0 for never; false when what it says is no number.
func Timer(m *xmlstream.Element) (uint32, bool) {
	e := m.Child(stanza.NSEphemeral, "ephemeral")
	if e == nil {
		return 0, true
	}
	n, err := strconv.ParseUint(e.Get("timer"), 10, 32)
	return uint32(n), err == nil
}

// NoTimer answers a message whose timer is no number: nobody would know that
// its content is to go.
func (r *Request) NoTimer() []Effect {
	return r.Err(stanza.Modify, stanza.BadRequest, "the timer of an ephemeral message is a number of seconds")
}
