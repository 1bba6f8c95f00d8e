// SPDX-License-Identifier: Apache-2.0

package chat

import (
	"bavard/internal/command"
	"bavard/internal/route"
	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// content is what a look at the children tells.
type content struct {
	archive bool
	body    bool   // it has one, whatever for: nobody else says that it did not arrive
	flags   uint32 // of command.Message
	// retracts and replaces are ids of earlier messages.
	retracts, replaces string
	timer              uint32
	badTimer           bool
}

// classify decides what is archived: what has a body, and the bodyless
// messages that change what people see (receipts, markers, reactions,
// corrections, retractions, calls, invitations) or are all that there is to see (a
// file, XEP-0447 §body @0.3.1; an address, XEP-0066 §x-oob @1.5; a place; what is
// encrypted, XEP-0380 §usecases @0.4.0), but no chat states; hints overrule
// (XEP-0334 §hints @1.0.0).
func classify(m *xmlstream.Element) content {
	var c content
	var store, noStore bool
	for i := range m.Children {
		e := m.Children[i].Element
		if e == nil {
			continue
		}
		switch {
		case e.Name.Space == stanza.NSHints:
			store = store || e.Name.Local == "store"
			noStore = noStore || e.Name.Local == "no-store" || e.Name.Local == "no-permanent-store"
		case kept(e):
			c.archive = true
			c.note(e)
		}
	}
	if route.Said(m) {
		c.flags |= command.FlagBody
	}
	var ok bool
	if c.timer, ok = route.Timer(m); !ok {
		c.badTimer = true
	}
	if !c.archive {
		c.timer = 0 // it only says how long later messages stay (XEP-0466 §implicit-negotiation @0.1.0)
	}
	c.archive = (c.archive || store) && !noStore
	return c
}

// note takes down what an element says that the archive goes by.
func (c *content) note(e *xmlstream.Element) {
	switch {
	case e.Is(stanza.NSClient, "body"):
		c.body = true
	case e.Is(stanza.NSRetract, "retract"):
		c.retracts = e.Get("id")
	case e.Is(stanza.NSCorrect, "replace"):
		c.replaces = e.Get("id")
	case e.Is(stanza.NSMarkers, "displayed"), e.Is(stanza.NSMarkers, "acknowledged"):
		c.flags |= command.FlagDisplayed
	}
}

// kept reports whether a message is archived that has nothing but this child.
func kept(e *xmlstream.Element) bool {
	switch e.Name.Space {
	case stanza.NSClient:
		return e.Name.Local == "body" || e.Name.Local == "subject"
	case stanza.NSReceipts:
		return e.Name.Local == "received"
	case stanza.NSMarkers:
		return e.Name.Local != "markable"
	case stanza.NSReference: // XEP-0372 §usecases @0.5.0
		return e.Get("type") == "data" || e.Get("anchor") != ""
	case stanza.NSInvitation, // XEP-0249 §howitworks @1.2: nothing else need be there
		stanza.NSReactions, stanza.NSCorrect, stanza.NSRetract, stanza.NSGeoloc,
		stanza.NSOmemoLegacy, stanza.NSOmemo, stanza.NSOpenPGP, stanza.NSPGP, stanza.NSEME,
		stanza.NSJMI, stanza.NSCallInvite, stanza.NSFile, stanza.NSOOB:
		return true
	}
	return false
}
