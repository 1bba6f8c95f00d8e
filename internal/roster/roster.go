// SPDX-License-Identifier: Apache-2.0

// Package roster is who knows whom and who is there: the contact list
// (RFC 6121 §2), subscriptions (§3) and presence (§4). Contacts and
// subscriptions are durable and live in the view; presence is soft.
package roster

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"bavard/internal/command"
	"bavard/internal/jid"
	"bavard/internal/route"
	"bavard/internal/stanza"
	"bavard/internal/state"
	"bavard/internal/xmlstream"
)

// Reader is what the roster reads from.
type Reader interface {
	Roster(account string) ([]state.RosterItem, command.Position, error)
	RosterItem(account, peer string) (state.RosterItem, error)
	// Blocked reports whether an account's blocklist holds an address.
	Blocked(account, address string) (bool, error)
	// AvatarHash tells which picture an account has; it is in memory.
	AvatarHash(account string) state.AvatarHash
	// Hidden reports whether nobody is to see an account's presence; it is in memory.
	Hidden(account string) bool
}

// Presences gives the last presence of each available resource of an account
// on this node.
type Presences interface {
	Presences(account string) []*xmlstream.Element
}

// Bounds of an item.
const (
	maxName    = 1023
	maxGroups  = 32
	maxPayload = 4 << 10
)

type roster struct {
	view Reader
	who  Presences
}

// Feature handles the roster and all presence.
func Feature(view Reader, who Presences) route.Feature {
	f := &roster{view, who}
	query := xmlstream.Name{Space: stanza.NSRoster, Local: "query"}
	any := route.ToSelf | route.ToServer | route.ToAccount | route.ToSession
	people := route.ToSelf | route.ToAccount | route.ToSession
	presence := func(typ string, to route.Target, h route.Handler) route.Entry {
		return route.Entry{Key: route.Key{Stanza: "presence", Type: typ}, Targets: to, Handle: h}
	}
	return route.Feature{
		Name: "roster",
		Entries: []route.Entry{
			{Key: route.Key{Stanza: "iq", Type: "get", Payload: query}, Targets: route.ToSelf, Handle: f.get},
			{Key: route.Key{Stanza: "iq", Type: "set", Payload: query}, Targets: route.ToSelf, Handle: f.set},
			presence("", any, f.available),
			presence("unavailable", any, f.unavailable),
			presence("probe", people, f.probe),
			presence("error", people, drop),
			presence("subscribe", people, subscription(command.SubscriptionType_SUBSCRIPTION_TYPE_SUBSCRIBE)),
			presence("subscribed", people, subscription(command.SubscriptionType_SUBSCRIPTION_TYPE_SUBSCRIBED)),
			presence("unsubscribe", people, subscription(command.SubscriptionType_SUBSCRIPTION_TYPE_UNSUBSCRIBE)),
			presence("unsubscribed", people, subscription(command.SubscriptionType_SUBSCRIPTION_TYPE_UNSUBSCRIBED)),
		},
		Domain:  []string{stanza.NSRoster},
		Account: []string{stanza.NSRoster, stanza.NSPrivacy},
		Stream:  []*xmlstream.Element{xmlstream.New(stanza.NSRosterVer, "ver"), xmlstream.New(stanza.NSPreApproval, "sub")},
	}
}

func drop(*route.Request) []route.Effect { return nil }

// get answers the roster, or nothing when the client's version is current
// (RFC 6121 §2.2, §2.6).
func (f *roster) get(r *route.Request) []route.Effect {
	return []route.Effect{route.Interested{}, r.Read(func(context.Context) []route.Effect {
		items, version, err := f.view.Roster(r.From.Bare().String())
		if err != nil {
			return r.Err(stanza.Wait, stanza.InternalServerError, "the roster could not be read; try again")
		}
		ver := Version(version)
		if known, ok := r.Payload.Lookup("ver"); ok && known == ver {
			return r.Result()
		}
		q := xmlstream.New(stanza.NSRoster, "query", "ver", ver)
		for i := range items {
			if Shown(&items[i]) {
				q.Add(Item(&items[i]))
			}
		}
		return r.Result(q)
	})}
}

// Version of a roster, as clients see it.
func Version(p command.Position) string {
	return strconv.FormatUint(p.Revision, 36) + "." + strconv.FormatUint(uint64(p.Index), 36) + "." + strconv.FormatUint(uint64(p.Epoch), 36)
}

// Shown reports whether an item is part of the roster: one in the state "None
// + Pending In" is not pushed (RFC 6121 §3.1.3).
func Shown(i *state.RosterItem) bool { return i.Listed }

// Item serialises a roster item (RFC 6121 §2.1.2).
func Item(i *state.RosterItem) *xmlstream.Element {
	e := xmlstream.New(stanza.NSRoster, "item", "jid", i.JID, "name", i.Name, "subscription", i.Subscription)
	if i.Ask {
		e.Set("ask", "subscribe")
	}
	if i.Approved {
		e.Set("approved", "true")
	}
	for _, g := range i.Groups {
		e.Add(xmlstream.NewText(stanza.NSRoster, "group", g))
	}
	return e
}

// set adds, updates or removes one item (RFC 6121 §2.3 to §2.5).
func (f *roster) set(r *route.Request) []route.Effect {
	items := r.Payload.Elements()
	if len(items) != 1 || !items[0].Is(stanza.NSRoster, "item") {
		return r.Err(stanza.Modify, stanza.BadRequest, "a roster set has exactly one item")
	}
	item := items[0]
	peer, err := jid.Parse(item.Get("jid"))
	if err != nil {
		return r.Err(stanza.Modify, stanza.JIDMalformed, "the item has no valid JID")
	}
	account := r.From.Bare().String()
	if peer.Bare() == r.From.Bare() {
		return r.Err(stanza.Cancel, stanza.NotAllowed, "nobody is their own contact")
	}
	var cmd command.Command
	if item.Get("subscription") == "remove" {
		cmd.Request = &command.Command_RosterRemove{RosterRemove: &command.RosterRemove{Account: account, Jid: peer.Bare().String()}}
	} else {
		groups, bad := groups(item)
		if bad != nil {
			return []route.Effect{route.Reply{Stanza: bad.Reply(r.Stanza)}}
		}
		cmd.Request = &command.Command_RosterSet{RosterSet: &command.RosterSet{
			Account: account, Jid: peer.Bare().String(), Name: item.Get("name"), Groups: groups,
		}}
	}
	return []route.Effect{route.Append{Command: &cmd, Then: func(out command.Outcome) []route.Effect {
		if out.Err != nil {
			return []route.Effect{route.Reply{Stanza: out.Err.Reply(r.Stanza)}}
		}
		return r.Result()
	}}}
}

// groups follows the error cases of RFC 6121 §2.3.3.
func groups(item *xmlstream.Element) ([]string, *stanza.Error) {
	if len(item.Get("name")) > maxName {
		return nil, stanza.Err(stanza.Modify, stanza.NotAcceptable, fmt.Sprintf("a name has at most %d bytes", maxName))
	}
	var out []string
	seen := map[string]bool{}
	for _, g := range item.Elements() {
		if !g.Is(stanza.NSRoster, "group") {
			continue
		}
		name := g.Text()
		switch {
		case name == "" || len(name) > maxName:
			return nil, stanza.Err(stanza.Modify, stanza.NotAcceptable, fmt.Sprintf("a group's name has 1 to %d bytes", maxName))
		case seen[name]:
			return nil, stanza.Err(stanza.Modify, stanza.BadRequest, "a group is named twice")
		case len(out) == maxGroups:
			return nil, stanza.Err(stanza.Modify, stanza.PolicyViolation, fmt.Sprintf("an item is in at most %d groups", maxGroups))
		}
		seen[name] = true
		out = append(out, name)
	}
	return out, nil
}

// subscription turns a presence stanza into a command (RFC 6121 §3). What it
// means is decided when it is applied.
func subscription(typ command.SubscriptionType) route.Handler {
	return func(r *route.Request) []route.Effect {
		if r.Target == route.ToSelf || r.To.Bare() == r.From.Bare() {
			return nil
		}
		s := &command.Subscription{
			From: r.From.Bare().String(), To: r.To.Bare().String(), Type: typ, Id: r.Stanza.Get("id"),
			Payload: xmlstream.AppendChildren(nil, r.Stanza, stanza.NSClient),
		}
		if len(s.Payload) > maxPayload || len(s.Id) > maxName {
			return r.Err(stanza.Modify, stanza.PolicyViolation, fmt.Sprintf("a subscription carries at most %d bytes", maxPayload))
		}
		return []route.Effect{route.Append{Command: &command.Command{Request: &command.Command_Subscription{Subscription: s}}}}
	}
}

// seen says whether peer may see the presence of account, and the reverse.
func (f *roster) seen(account, peer string) (peerSees, accountSees bool) {
	item, err := f.view.RosterItem(account, peer)
	if err != nil {
		return false, false
	}
	return From(&item), To(&item)
}

// From: the contact is subscribed to the account's presence.
func From(i *state.RosterItem) bool { return i.Subscription == "from" || i.Subscription == "both" }

// To: the account is subscribed to the contact's presence.
func To(i *state.RosterItem) bool { return i.Subscription == "to" || i.Subscription == "both" }

var errBadPriority = errors.New("a priority is a number from -128 to 127")

func priority(p *xmlstream.Element) (int8, error) {
	e := p.Child(stanza.NSClient, "priority")
	if e == nil {
		return 0, nil
	}
	n, err := strconv.ParseInt(e.Text(), 10, 8)
	if err != nil {
		return 0, errBadPriority
	}
	return int8(n), nil
}
