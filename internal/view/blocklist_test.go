// SPDX-License-Identifier: Apache-2.0

package view

import (
	"fmt"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"bavard/internal/command"
	"bavard/internal/stanza"
	"bavard/internal/state"
)

func block(account string, jids ...string) *command.Command {
	return &command.Command{Request: &command.Command_Block{Block: &command.Block{Account: at(account), Jids: jids}}}
}

func unblock(account string, jids ...string) *command.Command {
	return &command.Command{Request: &command.Command_Unblock{Unblock: &command.Unblock{Account: at(account), Jids: jids}}}
}

// XEP-0191 §matching @1.3.
func TestBlockedAddresses(t *testing.T) {
	c := newCell(t, "ann", "bob")
	for _, x := range []struct {
		entry   string
		blocked []string
		passes  []string
	}{
		{at("bob/x"), []string{at("bob/x")}, []string{at("bob"), at("bob/y"), at("eve/x"), domain}},
		{at("bob"), []string{at("bob"), at("bob/x")}, []string{at("eve"), domain}},
		{"away.example", []string{"away.example", "a@away.example", "a@away.example/x", "away.example/x"}, []string{"example", at("bob")}},
		{"away.example/x", []string{"away.example/x"}, []string{"away.example", "a@away.example/x"}},
		{domain, []string{at("bob"), at("eve/x"), domain}, []string{at("ann"), at("ann/x")}},
	} {
		c.accept(block("ann", x.entry))
		for i, j := range append(slices.Clone(x.blocked), x.passes...) {
			got, err := c.v.Blocked(at("ann"), j)
			if want := i < len(x.blocked); got != want || err != nil {
				t.Errorf("%s on the list: %s blocked: %v, %v", x.entry, j, got, err)
			}
		}
		c.accept(unblock("ann"))
	}
}

func TestBlockedMessagesAreArchivedForNeither(t *testing.T) {
	c := newCell(t, "ann", "bob")
	c.accept(message("bob/x", "ann", "before"))
	events := c.accept(block("ann", at("bob")))
	if len(events) != 1 || events[0].Kind != state.EventBlocks || !events[0].Blocks.Added || events[0].Blocks.JIDs[0] != at("bob") {
		t.Fatalf("events %+v", events)
	}
	c.refused(message("bob/x", "ann", "m1"), stanza.ServiceUnavailable)
	c.refused(message("ann/x", "bob", "m2"), stanza.NotAcceptable)
	if o := c.apply(message("bob/x", "ann", "before")).Outcomes[0]; o.Verdict != command.Duplicate {
		t.Errorf("what was accepted before is no duplicate: %+v", o)
	}
	c.accept(message("ann/x", "ann/y", "own"))
	if got := ids(c.archive(state.Query{Account: at("ann")})); got != "before own true" {
		t.Errorf("ann has %q", got)
	}
	if got := ids(c.archive(state.Query{Account: at("bob")})); got != "before true" {
		t.Errorf("bob has %q", got)
	}
	// In one batch, and after the view was opened anew.
	r := c.apply(unblock("ann", at("bob")), message("bob/x", "ann", "m3"), block("ann", at("bob/x")), message("bob/x", "ann", "m4"), message("bob/y", "ann", "m5"))
	for i, want := range []command.Verdict{command.Accepted, command.Accepted, command.Accepted, command.Refused, command.Accepted} {
		if r.Outcomes[i].Verdict != want {
			t.Errorf("command %d: %+v", i, r.Outcomes[i])
		}
	}
	if err := c.v.Flush(); err != nil {
		t.Fatal(err)
	}
	_ = c.v.Close()
	c.v = openView(t, c.fs, Options{})
	c.refused(message("bob/x", "ann", "m6"), stanza.ServiceUnavailable)
	if list, err := c.v.Blocklist(at("ann")); err != nil || !slices.Equal(list, []string{at("bob/x")}) {
		t.Errorf("list %v, %v", list, err)
	}
}

func TestBlocklistIsBounded(t *testing.T) {
	c := newCell(t, "ann", "bob")
	var many []string
	for i := range maxBlocked {
		many = append(many, fmt.Sprintf("u%d@away.example", i))
	}
	c.refused(block("ann", append(slices.Clone(many), "one@more.example")...), stanza.PolicyViolation)
	c.accept(block("ann", many...))
	c.accept(block("ann", many[:10]...))
	c.refused(block("ann", at("bob")), stanza.ResourceConstraint)
	c.accept(unblock("ann", many[0], many[0], at("nobody")))
	c.accept(block("ann", at("bob")))
	events := c.accept(unblock("ann"))
	if b := events[0].Blocks; !b.All || len(b.JIDs) != maxBlocked {
		t.Errorf("%d taken off", len(b.JIDs))
	}
	if list, err := c.v.Blocklist(at("ann")); err != nil || len(list) != 0 {
		t.Errorf("list %v, %v", list, err)
	}
	c.refused(block("ann"), stanza.BadRequest)
	c.refused(block("ann", at("ann/x")), stanza.NotAllowed)
	c.refused(block("ann", ""), stanza.JIDMalformed)
	c.refused(block("nobody", at("bob")), stanza.NotAuthorized)
}

// What a blocked account does about subscriptions is not seen; that they end
// is.
func TestBlockedSubscriptions(t *testing.T) {
	c := newCell(t, "ann", "bob")
	c.accept(block("ann", at("bob")))
	for _, e := range c.accept(subscribing("bob", "ann", subscribeType)) {
		if e.Account == at("ann") {
			t.Errorf("ann is told: %+v", e)
		}
	}
	c.refused(subscribing("ann", "bob", subscribeType), stanza.NotAcceptable)
	c.accept(unblock("ann"))
	c.accept(subscribing("bob", "ann", subscribeType))
	c.accept(subscribing("ann", "bob", command.SubscriptionType_SUBSCRIPTION_TYPE_SUBSCRIBED))
	c.accept(block("ann", at("bob")))
	for _, e := range c.accept(subscribing("bob", "ann", command.SubscriptionType_SUBSCRIPTION_TYPE_UNSUBSCRIBE)) {
		if e.Kind == state.EventSubscription && e.Account == at("ann") {
			t.Errorf("ann is shown %+v", e.Presence)
		}
	}
	if item, err := c.v.RosterItem(at("ann"), at("bob")); err != nil || item.Subscription != "none" {
		t.Errorf("ann has %+v, %v", item, err)
	}
}

// An account that blocks nobody costs no read.
func TestNoBlocklistCostsNoRead(t *testing.T) {
	c := newCell(t, "ann", "bob", "eve")
	c.accept(block("eve", at("ann")))
	c.accept(block("ann", at("eve")))
	c.accept(unblock("ann"))
	_ = c.v.Close()
	if _, err := c.v.Blocked(at("ann"), at("bob")); err != nil {
		t.Errorf("it was read: %v", err)
	}
	if _, err := c.v.Blocked(at("eve"), at("bob")); err == nil {
		t.Error("the list was not read")
	}
}

func TestUnblockAllInOneBatch(t *testing.T) {
	v := memView(t, vfs.NewMem())
	defer func() { _ = v.Close() }()
	run(t, v, []Batch{{Revision: 1, Commands: encode(t, cellInit(), create("ann"), block("ann", "x.example", "y.example"),
		unblock("ann", "x.example"), block("ann", "z.example"), unblock("ann"))}})
	if list, err := v.Blocklist(at("ann")); err != nil || len(list) != 0 {
		t.Errorf("list %v, %v", list, err)
	}
	if err := v.Scrub(t.Context(), nil); err != nil {
		t.Error(err)
	}
}
