// SPDX-License-Identifier: Apache-2.0

package view

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"bavard/internal/command"
	"bavard/internal/stanza"
	"bavard/internal/state"
)

const (
	subscribeType    = command.SubscriptionType_SUBSCRIPTION_TYPE_SUBSCRIBE
	subscribedType   = command.SubscriptionType_SUBSCRIPTION_TYPE_SUBSCRIBED
	unsubscribeType  = command.SubscriptionType_SUBSCRIPTION_TYPE_UNSUBSCRIBE
	unsubscribedType = command.SubscriptionType_SUBSCRIPTION_TYPE_UNSUBSCRIBED
)

func rosterSet(account, jid, name string, groups ...string) *command.Command {
	return &command.Command{Request: &command.Command_RosterSet{
		RosterSet: &command.RosterSet{Account: at(account), Jid: jid, Name: name, Groups: groups},
	}}
}

func rosterRemove(account, jid string) *command.Command {
	return &command.Command{Request: &command.Command_RosterRemove{
		RosterRemove: &command.RosterRemove{Account: at(account), Jid: jid},
	}}
}

// told writes events as a client of the account would see them: "ann: push bob
// both", "ann: subscribe from bob".
func told(events []state.Event) []string {
	short := func(jid string) string { return strings.TrimSuffix(jid, "@"+domain) }
	var out []string
	for _, e := range events {
		s := short(e.Account) + ": "
		switch e.Kind {
		case state.EventRoster:
			s += "push " + short(e.Item.JID) + " " + e.Item.Subscription
			if e.Item.Ask {
				s += " ask"
			}
			if e.Item.Approved {
				s += " approved"
			}
		case state.EventSubscription:
			s += strings.ToLower(strings.TrimPrefix(e.Presence.Type.String(), "SUBSCRIPTION_TYPE_")) + " from " + short(e.Presence.From)
			if e.Presence.To != e.Account {
				s += " misdirected"
			}
		default:
			s += fmt.Sprint(e.Kind)
		}
		out = append(out, s)
	}
	return out
}

func (c *cellOf) tells(cmd *command.Command, want ...string) {
	c.t.Helper()
	if got := told(c.accept(cmd)); !slices.Equal(got, want) {
		c.t.Fatalf("got  %q\nwant %q", got, want)
	}
}

func (c *cellOf) item(account, peer string) state.RosterItem {
	c.t.Helper()
	i, err := c.v.RosterItem(at(account), at(peer))
	if err != nil {
		c.t.Fatal(err)
	}
	return i
}

func TestSubscriptionBothWays(t *testing.T) {
	c := newCell(t, "ann", "bob")
	c.tells(subscribing("ann", "bob", subscribeType), "bob: subscribe from ann", "ann: push bob none ask")
	// The request waits, is no item, and is kept as it came.
	i := c.item("bob", "ann")
	if !i.PendingIn || i.Listed || i.Pending.From != at("ann") || i.Pending.To != at("bob") ||
		string(i.Pending.Payload) != "<status>hi</status>" || i.Pending.ID != "s" {
		t.Fatalf("item %+v", i)
	}
	_, version, err := c.v.Roster(at("bob"))
	if err != nil || !version.IsZero() {
		t.Fatalf("a waiting request changed the roster's version: %v, %v", version, err)
	}
	c.tells(subscribing("ann", "bob", subscribeType))
	c.tells(subscribing("bob", "ann", subscribedType), "ann: subscribed from bob", "ann: push bob to", "bob: push ann from")
	c.tells(subscribing("bob", "ann", subscribeType), "ann: subscribe from bob", "bob: push ann from ask")
	c.tells(subscribing("ann", "bob", subscribedType), "bob: subscribed from ann", "bob: push ann both", "ann: push bob both")
	if i := c.item("ann", "bob"); i.Subscription != "both" || i.PendingIn || i.Pending.ID != "" {
		t.Fatalf("item %+v", i)
	}
	// Already subscribed: the server answers itself, and the answer changes nothing.
	c.tells(subscribing("ann", "bob", subscribeType))
	c.tells(subscribing("ann", "bob", unsubscribeType), "bob: unsubscribe from ann", "bob: push ann to", "ann: push bob from")
	c.tells(subscribing("ann", "bob", unsubscribedType), "bob: unsubscribed from ann", "bob: push ann none", "ann: push bob none")
	items, _, err := c.v.Roster(at("ann"))
	if err != nil || len(items) != 1 || !items[0].Listed {
		t.Fatalf("roster %+v, %v", items, err)
	}
}

func TestSubscriptionDenied(t *testing.T) {
	c := newCell(t, "ann", "bob")
	c.accept(subscribing("ann", "bob", subscribeType))
	c.tells(subscribing("bob", "ann", unsubscribedType), "ann: unsubscribed from bob", "ann: push bob none")
	if _, err := c.v.RosterItem(at("bob"), at("ann")); !errors.Is(err, state.ErrNotFound) {
		t.Fatalf("error %v", err)
	}
}

// RFC 6121 §3.1.3: the server answers for an account that is not there.
func TestSubscriptionToNobody(t *testing.T) {
	c := newCell(t, "ann")
	c.tells(subscribing("ann", "nobody", subscribeType), "ann: unsubscribed from nobody", "ann: push nobody none")
	c.tells(subscribing("ann", "nobody", unsubscribeType))
}

// RFC 6121 §3.4.
func TestPreApproval(t *testing.T) {
	c := newCell(t, "ann", "bob")
	c.tells(subscribing("bob", "ann", subscribedType), "bob: push ann none approved")
	c.tells(subscribing("bob", "ann", unsubscribedType), "bob: push ann none")
	c.tells(subscribing("bob", "ann", subscribedType), "bob: push ann none approved")
	c.tells(subscribing("ann", "bob", subscribeType), "bob: push ann from", "ann: subscribed from bob", "ann: push bob to")
}

func TestSubscriptionIsRefused(t *testing.T) {
	c := newCell(t, "ann", "bob")
	c.refused(subscribing("nobody", "bob", subscribeType), stanza.NotAuthorized)
	c.refused(subscribing("ann", "ann", subscribeType), stanza.NotAllowed)
	c.refused(subscribing("ann", "bob/x", subscribeType), stanza.JIDMalformed)
	foreign, large := subscribing("ann", "bob", subscribeType), subscribing("ann", "bob", subscribeType)
	foreign.GetSubscription().To = "bob@example.com"
	large.GetSubscription().Payload = make([]byte, maxPresence+1)
	c.refused(foreign, stanza.RemoteServerNotFound)
	c.refused(large, stanza.PolicyViolation)
}

func TestRosterSetAndRemove(t *testing.T) {
	c := newCell(t, "ann", "bob", "eve")
	c.tells(rosterSet("ann", at("bob"), "Bob", "friends", "work"), "ann: push bob none")
	if i := c.item("ann", "bob"); i.Name != "Bob" || !slices.Equal(i.Groups, []string{"friends", "work"}) || !i.Listed {
		t.Fatalf("item %+v", i)
	}
	c.tells(rosterSet("ann", at("bob"), "Bob"), "ann: push bob none")
	_, version, err := c.v.Roster(at("ann"))
	if err != nil || version != c.v.Applied() {
		t.Fatalf("version %v, %v", version, err)
	}
	c.tells(rosterSet("ann", "carol@example.com", ""), "ann: push carol@example.com none")
	c.tells(rosterRemove("ann", "carol@example.com"), "ann: push carol@example.com remove")
	c.refused(rosterRemove("ann", "carol@example.com"), stanza.ItemNotFound)

	// Removing an item ends the subscriptions, RFC 6121 §2.5.2.
	for _, s := range []struct{ a, b string }{{"ann", "bob"}, {"bob", "ann"}} {
		c.accept(subscribing(s.a, s.b, subscribeType))
		c.accept(subscribing(s.b, s.a, subscribedType))
	}
	c.tells(rosterRemove("ann", at("bob")), "ann: push bob remove",
		"bob: unsubscribe from ann", "bob: unsubscribed from ann", "bob: push ann none")
	if i := c.item("bob", "ann"); i.Subscription != "none" || !i.Listed {
		t.Fatalf("item %+v", i)
	}
	// A request that waits goes on waiting.
	c.accept(subscribing("eve", "ann", subscribeType))
	c.accept(rosterSet("ann", at("eve"), "Eve"))
	c.tells(rosterRemove("ann", at("eve")), "ann: push eve remove")
	if i := c.item("ann", "eve"); i.Listed || !i.PendingIn || i.Name != "" {
		t.Fatalf("item %+v", i)
	}
	c.refused(rosterRemove("ann", at("eve")), stanza.ItemNotFound)
	// Cancelling a request takes it back.
	c.tells(rosterRemove("eve", at("ann")), "eve: push ann remove", "ann: unsubscribe from eve")
	if _, err := c.v.RosterItem(at("ann"), at("eve")); !errors.Is(err, state.ErrNotFound) {
		t.Fatalf("error %v", err)
	}
}

func TestRosterSetIsRefused(t *testing.T) {
	c := newCell(t, "ann")
	groups := make([]string, maxGroups+1)
	for i := range groups {
		groups[i] = fmt.Sprint(i)
	}
	for _, row := range []struct {
		cmd  *command.Command
		cond stanza.Condition
	}{
		{rosterSet("nobody", at("bob"), ""), stanza.NotAuthorized},
		{rosterSet("ann", "", ""), stanza.JIDMalformed},
		{rosterSet("ann", at("ann"), ""), stanza.NotAllowed},
		{rosterSet("ann", at("bob"), strings.Repeat("x", maxName+1)), stanza.NotAcceptable},
		{rosterSet("ann", at("bob"), "", "a", ""), stanza.NotAcceptable},
		{rosterSet("ann", at("bob"), "", "a", "b", "a"), stanza.BadRequest},
		{rosterSet("ann", at("bob"), "", groups...), stanza.PolicyViolation},
	} {
		c.refused(row.cmd, row.cond)
	}
}

func TestRosterIsBounded(t *testing.T) {
	c := newCell(t, "ann", "bob")
	var cmds []*command.Command
	for i := range maxItems {
		cmds = append(cmds, rosterSet("ann", fmt.Sprintf("x%d@%s", i, domain), ""))
	}
	for _, o := range c.apply(cmds...).Outcomes {
		if o.Verdict != command.Accepted {
			t.Fatalf("outcome %+v", o)
		}
	}
	c.refused(rosterSet("ann", at("bob"), ""), stanza.ResourceConstraint)
	c.refused(subscribing("ann", "bob", subscribeType), stanza.ResourceConstraint)
	if _, err := c.v.RosterItem(at("bob"), at("ann")); !errors.Is(err, state.ErrNotFound) {
		t.Fatalf("a refused request waits: %v", err)
	}
	c.accept(rosterSet("ann", fmt.Sprintf("x7@%s", domain), "still to be renamed"))
	c.accept(rosterRemove("ann", fmt.Sprintf("x8@%s", domain)))
	c.accept(rosterSet("ann", at("bob"), ""))
}

func TestWaitingRequestsAreBounded(t *testing.T) {
	var names []string
	for i := range maxWaiting + 1 {
		names = append(names, fmt.Sprintf("u%d", i))
	}
	c := newCell(t, append(names, "ann")...)
	var cmds []*command.Command
	for _, n := range names[:maxWaiting] {
		cmds = append(cmds, subscribing(n, "ann", subscribeType))
	}
	c.apply(cmds...)
	c.refused(subscribing(names[maxWaiting], "ann", subscribeType), stanza.ResourceConstraint)
	c.accept(subscribing("ann", names[0], unsubscribedType))
	c.accept(subscribing(names[maxWaiting], "ann", subscribeType))
}
