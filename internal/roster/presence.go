// SPDX-License-Identifier: Apache-2.0

package roster

import (
	"context"

	"bavard/internal/jid"
	"bavard/internal/route"
	"bavard/internal/stanza"
	"bavard/internal/state"
	"bavard/internal/xmlstream"
)

// available handles presence without a type: broadcast (RFC 6121 §4.2, §4.4)
// or directed (§4.6). The contacts are probed when it is initial, and only then.
func (f *roster) available(r *route.Request) []route.Effect {
	if r.Target != route.ToSelf || !r.To.IsZero() {
		return f.directed(r, true)
	}
	p, err := priority(r.Stanza)
	if err != nil {
		return r.Err(stanza.Modify, stanza.BadRequest, err.Error())
	}
	return []route.Effect{route.Available{Priority: p, Stanza: r.Stanza, Then: func(initial bool) []route.Effect {
		items := f.items(r.From.Bare())
		effects := f.broadcast(r, items)
		if initial {
			effects = append(effects, f.contacts(r.From, items)...)
		}
		return effects
	}}}
}

func (f *roster) unavailable(r *route.Request) []route.Effect {
	if r.Target != route.ToSelf || !r.To.IsZero() {
		return f.directed(r, false)
	}
	return []route.Effect{
		// Reads come in order: it leaves the rooms that it was about to enter, too.
		route.Read{Do: func(context.Context) []route.Effect {
			return append(f.broadcast(r, f.items(r.From.Bare())), route.Leave{})
		}},
		route.Unavailable{Stanza: r.Stanza},
	}
}

// directed presence goes to whom it is addressed, whoever that is.
func (f *roster) directed(r *route.Request, available bool) []route.Effect {
	if r.Target == route.ToServer {
		return nil
	}
	p := r.Stanza
	if available {
		// Who need not be a contact learns of pictures that all may see alone
		// (XEP-0398 §privacy @1.0.0).
		if h := f.view.AvatarHash(r.From.Bare().String()); h.Open || h.Hash == "" {
			p = WithPhoto(p, h)
		}
	}
	deliver, note := route.Deliver{To: r.To, Stanza: p}, route.Directed{To: r.To, Available: available}
	if available {
		return []route.Effect{note, deliver} // who gets it may ask something at once
	}
	return []route.Effect{deliver, note}
}

// items of an account; none when they cannot be read: presence is soft, the
// next one repeats it.
func (f *roster) items(account jid.JID) []state.RosterItem {
	items, _, err := f.view.Roster(account.String())
	if err != nil {
		return nil
	}
	return items
}

// broadcast sends the presence to all who may see it and to the account's own
// resources, the sender's included (RFC 6121 §4.2.2).
func (f *roster) broadcast(r *route.Request, items []state.RosterItem) []route.Effect {
	own, p := r.From.Bare(), r.Stanza
	if p.Get("type") == "" {
		p = WithPhoto(p, f.view.AvatarHash(own.String()))
	}
	effects := []route.Effect{deliver(own, p)}
	for i := range items {
		if !From(&items[i]) {
			continue
		}
		if to, err := jid.Parse(items[i].JID); err == nil {
			d := deliver(to, p)
			d.Broadcast = true
			effects = append(effects, d)
		}
	}
	return effects
}

func deliver(to jid.JID, p *xmlstream.Element) route.Deliver {
	c := *p
	c.Attr = append([]xmlstream.Attr(nil), p.Attr...)
	c.Set("to", to.String())
	return route.Deliver{To: to, Stanza: &c, Quiet: true, Told: true}
}

// contacts shows the sender the presence of those it is subscribed to, of its
// own other resources, and the subscription requests that wait for an answer
// (RFC 6121 §3.1.3, §4.3.2). Probes are answered on the spot because all
// contacts are served here.
func (f *roster) contacts(me jid.JID, items []state.RosterItem) []route.Effect {
	var effects []route.Effect
	show := func(account string) {
		for _, p := range f.seenOf(account, me) {
			if p.Get("from") == me.String() || f.barred(account, me) || f.bars(me, p.Get("from")) {
				continue
			}
			effects = append(effects, reply(p, me))
		}
	}
	show(me.Bare().String())
	for i := range items {
		if To(&items[i]) {
			show(items[i].JID)
		}
		if items[i].PendingIn {
			effects = append(effects, route.Send{Out: SubscriptionOut(items[i].Pending)})
		}
	}
	return effects
}

// seenOf gives the presences of an account that a device may see: none of one
// that hides them, unless it is the device's own.
func (f *roster) seenOf(account string, device jid.JID) []*xmlstream.Element {
	if account != device.Bare().String() && f.view.Hidden(account) {
		return nil
	}
	return f.who.Presences(account)
}

// barred reports whether an account has blocked a device; when that cannot be
// read, it has.
func (f *roster) barred(account string, device jid.JID) bool {
	blocked, err := f.view.Blocked(account, device.String())
	return blocked || err != nil
}

// bars is the reverse: the device's account has blocked an address.
func (f *roster) bars(device jid.JID, address string) bool {
	blocked, err := f.view.Blocked(device.Bare().String(), address)
	return blocked || err != nil
}

func reply(p *xmlstream.Element, to jid.JID) route.Effect {
	c := *p
	c.Attr = append([]xmlstream.Attr(nil), p.Attr...)
	c.Set("to", to.String())
	return route.Reply{Stanza: &c}
}

// probe answers a client's own probe as a server's (RFC 6121 §4.3.2).
func (f *roster) probe(r *route.Request) []route.Effect {
	account := r.To.Bare()
	if account.IsZero() {
		return nil
	}
	return []route.Effect{route.Read{Do: func(context.Context) []route.Effect {
		switch { // XEP-0191 §block @1.3
		case f.bars(r.From, r.To.String()):
			return []route.Effect{route.Reply{Stanza: stanza.Blocked().Reply(r.Stanza)}}
		case f.barred(account.String(), r.From):
			return nil
		}
		if account != r.From.Bare() {
			if _, sees := f.seen(r.From.Bare().String(), account.String()); !sees {
				return []route.Effect{route.Reply{Stanza: xmlstream.New(stanza.NSClient, "presence",
					"type", "unsubscribed", "from", account.String(), "to", r.From.Bare().String())}}
			}
		}
		var effects []route.Effect
		for _, p := range f.seenOf(account.String(), r.From) {
			if r.To.IsBare() || p.Get("from") == r.To.String() {
				effects = append(effects, reply(p, r.From))
			}
		}
		if len(effects) == 0 {
			effects = append(effects, route.Reply{Stanza: xmlstream.New(stanza.NSClient, "presence",
				"type", "unavailable", "from", r.To.String(), "to", r.From.String())})
		}
		return effects
	}}}
}

// subscriptionTypes by number.
var subscriptionTypes = [...]string{"subscribe", "subscribed", "unsubscribe", "unsubscribed"} // immutable

// SubscriptionOut serialises a subscription stanza.
func SubscriptionOut(s state.Subscription) route.Out {
	var b []byte
	b = xmlstream.AppendAttr(b, "from", s.From)
	b = xmlstream.AppendAttr(b, "to", s.To)
	if s.ID != "" {
		b = xmlstream.AppendAttr(b, "id", s.ID)
	}
	if int(s.Type) < len(subscriptionTypes) && s.Type >= 0 {
		b = xmlstream.AppendAttr(b, "type", subscriptionTypes[s.Type])
	}
	b = append(b, '>')
	b = append(b, s.Payload...)
	return route.Out{Name: "presence", Rest: append(b, "</presence>"...)}
}
