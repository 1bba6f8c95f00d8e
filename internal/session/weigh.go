// SPDX-License-Identifier: Apache-2.0

package session

import (
	"bytes"
	"strings"

	"bavard/internal/route"
	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// weigh says whether a stanza can wait while nobody looks at the device: other
// people's presence, chat states, receipts and markers, and what changed in
// nodes (XEP-0352 §behaviour-user @1.0.0). All else goes at once. Of several on the
// same topic, if it is not "", the newest is enough.
func weigh(o *route.Out) (waits bool, topic string) {
	switch {
	case o.Name == "iq":
		return false, ""
	case o.Name == "message" && bytes.Contains(o.Rest, []byte("<body")):
		return false, "" // the most frequent, without a closer look
	}
	b := make([]byte, 0, 64+len(o.To)+len(o.Rest))
	b = appendItem(b, &item{Out: *o}, true)
	st, err := xmlstream.ParseElement(b, xmlstream.AfterAuth)
	if err != nil {
		return false, "" // larger than what clients may send
	}
	if o.Name == "presence" {
		return weighPresence(st)
	}
	return weighMessage(st, false)
}

// weighPresence lets who is there wait, but no question, no error, and nothing
// that says that the device itself has entered or left a room (XEP-0045 §enter-pres
// @1.35.5: status 110).
func weighPresence(st *xmlstream.Element) (waits bool, topic string) {
	if t := st.Get("type"); t != "" && t != "unavailable" {
		return false, ""
	}
	for _, c := range st.Child(stanza.NSMUCUser, "x").Elements() {
		if c.Is(stanza.NSMUCUser, "status") && c.Get("code") == "110" {
			return false, ""
		}
	}
	return true, topicOf("presence", st.Get("from"))
}

// weighMessage lets wait what has nothing but what is known to be able to. own:
// another device of the account has sent it.
func weighMessage(st *xmlstream.Element, own bool) (waits bool, topic string) {
	if st.Get("type") == "error" {
		return false, ""
	}
	typing, more := false, false
	for _, c := range st.Elements() {
		switch c.Name.Space {
		case stanza.NSCarbons:
			copied := c.Child(stanza.NSForward, "forwarded").Child(stanza.NSClient, "message")
			if copied == nil {
				return false, ""
			}
			return weighMessage(copied, c.Name.Local == "sent")
		case stanza.NSPubsubEvent:
			return weighEvent(st, c)
		case stanza.NSChatStates:
			typing = true
		case stanza.NSMarkers:
			if own && c.Name.Local == "displayed" {
				return false, "" // read elsewhere: the device takes its notification back
			}
			more = true
		case stanza.NSReceipts:
			more = true
		case stanza.NSHints, stanza.NSSID, stanza.NSOccupantID:
		default:
			if !c.Is(stanza.NSClient, "thread") {
				return false, ""
			}
		}
	}
	if typing && !more {
		return true, topicOf("state", st.Get("from"), st.Get("to"))
	}
	return true, ""
}

// weighEvent lets changes of nodes wait (XEP-0060 §events @1.30.0), but not that
// something was read on another device: as above.
func weighEvent(st, event *xmlstream.Element) (waits bool, topic string) {
	items := event.Child(stanza.NSPubsubEvent, "items")
	if items.Get("node") == stanza.NSDisplayed {
		return false, ""
	}
	if list := items.Elements(); len(list) == 1 && list[0].Is(stanza.NSPubsubEvent, "item") {
		return true, topicOf("item", st.Get("from"), items.Get("node"), list[0].Get("id"))
	}
	return true, ""
}

func topicOf(parts ...string) string { return strings.Join(parts, "\x00") }
