// SPDX-License-Identifier: Apache-2.0

package dispatch

import (
	"slices"

	"bavard/internal/command"
	"bavard/internal/jid"
	"bavard/internal/roster"
	"bavard/internal/route"
	"bavard/internal/stanza"
	"bavard/internal/state"
	"bavard/internal/xmlstream"
)

// event hands one event to the devices of its account.
func (h *Hub) event(s *shard, e *state.Event) {
	s.mu.Lock()
	list := s.resources(e.Account)
	targets := s.targets[:0]
	for _, r := range list {
		targets = append(targets, target{r, r.available, r.carbons, r.interested, r.blocklist, r.flushing, r.priority, r.floor, r.presence})
	}
	s.mu.Unlock()
	if len(targets) == 0 {
		return
	}
	s.targets = targets
	defer clear(targets)
	switch e.Kind {
	case state.EventMessage:
		h.message(e, targets)
	case state.EventRoster:
		h.push(e, targets)
	case state.EventSubscription:
		h.subscription(e, targets)
	case state.EventBlocks:
		h.blocks(s, e, targets)
	case state.EventAvatar:
		h.avatar(s, e, targets)
	case state.EventHidden:
		h.hidden(e, targets)
	case state.EventCredentials:
		dismiss(targets, func(r *Resource) bool { return r.JID.String() != e.By }, "the password has changed: log in again")
	case state.EventDisabled:
		dismiss(targets, nil, "this account has been switched off")
	case state.EventDeleted:
		dismiss(targets, nil, "this account has been removed")
	case state.EventRevoked:
		dismiss(targets, func(r *Resource) bool { return r.client == e.Client }, "this device has been logged out")
	}
}

// dismiss ends those sessions of an account that match, all for nil.
func dismiss(targets []target, match func(*Resource) bool, text string) {
	for i := range targets {
		if match == nil || match(targets[i].Resource) {
			targets[i].device.Dismissed(text)
		}
	}
}

// target is a copy of a resource's state, so that no lock is held while
// stanzas are serialised and queued.
type target struct {
	*Resource
	available  bool
	carbons    bool
	interested bool
	blocklist  bool
	flushing   bool
	priority   int8
	floor      command.Position
	presence   *xmlstream.Element
}

// message delivers an archived message (RFC 6121 §8.5) and its carbons
// (XEP-0280 §inbound @1.0.1, §outbound).
func (h *Hub) message(e *state.Event, targets []target) {
	id := h.o.IDs.ID(e.Position)
	sid := route.AppendStanzaID(make([]byte, 0, 96), e.Account, id)
	copied := e.Message.Flags&command.FlagNoCopy == 0
	inside := h.inside(e, targets)
	if !e.Incoming {
		if copied {
			h.carbons("sent", e, sid, targets, func(i int) bool {
				return targets[i].JID.String() == e.Message.From || inside != nil && !inside[i]
			})
		}
		return
	}
	out := route.Out{Name: "message", Position: e.Position}
	out.Rest = route.AppendMessage(make([]byte, 0, 256+len(e.Message.Payload)+len(sid)), e.Message, sid)
	got := addressed(e.Message.To, targets)
	if slices.Contains(inside, true) {
		got = inside // in the room; where nobody is any more it is a message like others
		copied = false
	}
	for i := range targets {
		if got[i] && !targets[i].flushing && targets[i].floor.Before(e.Position) {
			targets[i].device.Enqueue(out)
		}
	}
	if copied {
		h.carbons("received", e, sid, targets, func(i int) bool {
			t := &targets[i]
			flushed := t.flushing || !t.floor.Before(e.Position) // a flush brings the message itself
			return got[i] || flushed || t.JID.String() == e.Message.From
		})
	}
}

// inside marks the devices in the room of a private message, nil for other
// messages: they alone can answer it, and get it without carbons (XEP-0280
// §which-messages @1.0.1).
func (h *Hub) inside(e *state.Event, targets []target) []bool {
	if e.Whisper == "" {
		return nil
	}
	in := make([]bool, len(targets))
	room, err := jid.ParseBare(e.Whisper)
	if err != nil || h.o.InRoom == nil {
		return in
	}
	for i := range targets {
		in[i] = h.o.InRoom(room, targets[i].JID)
	}
	return in
}

// addressed marks who gets a message: the resource that it is addressed to
// when that is connected, else all available ones of non-negative priority
// (RFC 6121 §8.5.2.1.1, §8.5.3).
func addressed(to string, targets []target) []bool {
	got := make([]bool, len(targets))
	for i := range targets {
		if targets[i].JID.String() == to {
			got[i] = true
			return got
		}
	}
	for i := range targets {
		got[i] = targets[i].available && targets[i].priority >= 0
	}
	return got
}

func (h *Hub) carbons(kind string, e *state.Event, sid []byte, targets []target, skip func(int) bool) {
	var inner []byte
	for i := range targets {
		t := &targets[i]
		if !t.carbons || skip(i) {
			continue
		}
		if inner == nil {
			inner = route.AppendForwarded(nil, e.Message, zero, sid)
		}
		out := carbon(kind, e.Account, t.JID.String(), inner)
		if e.Incoming {
			out.Position = e.Position
		}
		t.device.Enqueue(out)
	}
}

func carbon(kind, account, to string, forwarded []byte) route.Out {
	b := make([]byte, 0, 160+len(forwarded))
	b = xmlstream.AppendAttr(b, "from", account)
	b = xmlstream.AppendAttr(b, "to", to)
	b = append(b, " type='chat'><"+kind+" xmlns='"+stanza.NSCarbons+"'>"...)
	b = append(b, forwarded...)
	b = append(b, "</"+kind+"></message>"...)
	return route.Out{Name: "message", Rest: b}
}

// push sends a roster push to who asked for the roster (RFC 6121 §2.1.6), and
// the presence that the change lets the account see (RFC 6121 §3.1.6).
func (h *Hub) push(e *state.Event, targets []target) {
	if e.Item.Listed || e.Item.Subscription == "remove" {
		q := xmlstream.New(stanza.NSRoster, "query", "ver", roster.Version(e.Position)).Add(roster.Item(&e.Item))
		for i := range targets {
			if targets[i].interested {
				iq := xmlstream.New(stanza.NSClient, "iq", "type", "set", "id", "push-"+roster.Version(e.Position),
					"to", targets[i].JID.String()).Add(q)
				targets[i].device.Enqueue(route.Serialise(iq))
			}
		}
	}
	if e.Appears {
		h.show(e.Item.JID, targets, true)
	}
}

// show gives the account's devices the presence of another account. Of one that
// hides it they have seen nothing, and do not.
func (h *Hub) show(account string, targets []target, available bool) {
	if h.o.View.Hidden(account) {
		return
	}
	for _, p := range h.Presences(account) {
		for i := range targets {
			if !targets[i].available || available && h.barred(p.Get("from"), targets[i].JID.String()) != passes {
				continue
			}
			c := *p
			c.Attr = append([]xmlstream.Attr(nil), p.Attr...)
			c.Set("to", targets[i].JID.String())
			if !available {
				c.Children = nil
				c.Set("type", "unavailable")
			}
			targets[i].device.Enqueue(route.Serialise(&c))
		}
	}
}

// subscription shows a subscription stanza (RFC 6121 §3) and, when it takes
// presence away, that the contact is gone: to the account whose subscription
// was cancelled, or to the peer that has ended its own.
func (h *Hub) subscription(e *state.Event, targets []target) {
	out := roster.SubscriptionOut(e.Presence)
	for i := range targets {
		if targets[i].interested || targets[i].available {
			targets[i].device.Enqueue(out)
		}
	}
	switch e.Presence.Type {
	case command.SubscriptionType_SUBSCRIPTION_TYPE_UNSUBSCRIBED: // RFC 6121 §3.2.3
		h.show(e.Presence.From, targets, false)
	case command.SubscriptionType_SUBSCRIPTION_TYPE_UNSUBSCRIBE: // RFC 6121 §3.3.3
		if h.o.View.Hidden(e.Account) {
			return
		}
		for i := range targets {
			if targets[i].available {
				h.pass(gone(targets[i].JID.String(), e.Presence.From))
			}
		}
	}
}

// gone is the presence of a device that an address sees no more.
func gone(from, to string) *xmlstream.Element {
	return xmlstream.New(stanza.NSClient, "presence", "type", "unavailable", "from", from, "to", to)
}

// Deliver hands on a soft stanza. answer is called, on a dispatcher's goroutine
// or at once, with the error that the sender gets, if it gets one; it may be
// nil.
func (h *Hub) Deliver(from jid.JID, d route.Deliver, answer func(*stanza.Error)) {
	account, sender, to := d.To.Bare().String(), from.String(), d.To.String()
	reply := func(err *stanza.Error) {
		if err != nil && answer != nil && !d.Quiet {
			answer(err)
		}
	}
	posted := h.post(account, func(s *shard) {
		if d.Broadcast && h.o.View.Hidden(from.Bare().String()) {
			return
		}
		if barred := h.barred(sender, to); barred != passes {
			reply(barred.answer(d.Stanza))
		} else {
			reply(h.hand(s, account, from, d))
		}
	})
	if !posted {
		reply(unheard(d))
	}
	if d.Carbons && account != from.Bare().String() {
		own := from.Bare().String()
		h.post(own, func(s *shard) {
			if h.barred(sender, to) == passes {
				h.softCarbons(s, "sent", own, sender, d.Stanza, nil)
				h.passCarbons(Sent, from, d.To, d, h.others(own), "")
			}
		})
	}
}

func (h *Hub) soft(s *shard, account string, d route.Deliver) bool {
	var got []*Resource
	only := !d.To.IsBare() && !forPerson(d.Stanza)
	s.mu.Lock()
	for _, r := range s.resources(account) {
		if !d.To.IsBare() && r.JID == d.To {
			got = []*Resource{r}
			break
		}
		if only || d.Stanza.Name.Local == "iq" {
			continue
		}
		if r.available && (r.priority >= 0 || d.Stanza.Name.Local == "presence") {
			got = append(got, r)
		}
	}
	s.mu.Unlock()
	if len(got) > 0 {
		out := route.Serialise(d.Stanza)
		for _, r := range got {
			r.device.Enqueue(out)
		}
	}
	if d.Carbons {
		h.softCarbons(s, "received", account, d.Stanza.Get("from"), d.Stanza, got)
	}
	return len(got) > 0
}

// forPerson: where the device that it is addressed to is not there, the others
// of the account get it (RFC 6121 §8.5.3.2.1). What is not known is normal (§5.2.2).
func forPerson(st *xmlstream.Element) bool {
	if st.Name.Local != "message" {
		return false
	}
	switch st.Get("type") {
	case "error", "groupchat", "headline":
		return false
	}
	return true
}

func (h *Hub) softCarbons(s *shard, kind, account, from string, st *xmlstream.Element, got []*Resource) {
	var to []*Resource
	s.mu.Lock()
next:
	for _, r := range s.resources(account) {
		for _, g := range got {
			if g == r {
				continue next
			}
		}
		if r.carbons && r.JID.String() != from {
			to = append(to, r)
		}
	}
	s.mu.Unlock()
	if len(to) == 0 {
		return
	}
	fwd := append([]byte("<forwarded xmlns='"+stanza.NSForward+"'>"), xmlstream.AppendElement(nil, st, stanza.NSForward)...)
	fwd = append(fwd, "</forwarded>"...)
	for _, r := range to {
		r.device.Enqueue(carbon(kind, account, r.JID.String(), fwd))
	}
}
