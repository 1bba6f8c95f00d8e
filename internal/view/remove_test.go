// SPDX-License-Identifier: Apache-2.0

package view

import (
	"errors"
	"strings"
	"testing"

	"bavard/internal/command"
	"bavard/internal/stanza"
	"bavard/internal/state"
)

func disable(account string, enable bool) *command.Command {
	return &command.Command{Request: &command.Command_AccountDisable{AccountDisable: &command.AccountDisable{Jid: at(account), Enable: enable}}}
}

func remove(account string) *command.Command {
	return &command.Command{Request: &command.Command_AccountDelete{AccountDelete: &command.AccountDelete{Jid: at(account)}}}
}

// sweep removes what deleted accounts have left, and counts the slices.
func (c *cellOf) sweep() (slices int) {
	c.t.Helper()
	for {
		sweeping, err := c.v.Sweeping()
		if err != nil {
			c.t.Fatal(err)
		}
		if !sweeping {
			return slices
		}
		c.accept(&command.Command{Request: &command.Command_ArchiveSweep{ArchiveSweep: &command.ArchiveSweep{}}})
		slices++
	}
}

// scrub finds nothing wrong with a view.
func (c *cellOf) scrub() {
	c.t.Helper()
	if err := c.v.Scrub(c.t.Context(), nil); err != nil {
		c.t.Fatal(err)
	}
}

func TestDisable(t *testing.T) {
	c := newCell(t, "ann")
	events := c.accept(disable("ann", false))
	if len(events) != 1 || events[0].Kind != state.EventDisabled || events[0].Account != at("ann") {
		t.Errorf("events %+v", events)
	}
	if a, err := c.v.Account(at("ann")); err != nil || !a.Disabled {
		t.Errorf("%+v, %v", a, err)
	}
	c.scrub()
	if events := c.accept(disable("ann", true)); len(events) != 0 {
		t.Errorf("events %+v", events)
	}
	if a, err := c.v.Account(at("ann")); err != nil || a.Disabled {
		t.Errorf("%+v, %v", a, err)
	}
	c.refused(disable("bob", false), stanza.ItemNotFound)
}

func TestKeysTellCredentialsApart(t *testing.T) {
	c := newCell(t, "ann")
	before, _ := c.v.Account(at("ann"))
	c.accept(disable("ann", false))
	same, _ := c.v.Account(at("ann"))
	events := c.accept(&command.Command{Request: &command.Command_CredentialsSet{CredentialsSet: &command.CredentialsSet{
		Jid: at("ann"), By: at("ann/x"), Credentials: &command.Credentials{ScramSha1: &command.ScramKeys{Iterations: 1}},
	}}})
	after, _ := c.v.Account(at("ann"))
	if before.Keys != same.Keys || before.Keys == after.Keys || events[0].By != at("ann/x") {
		t.Errorf("%x %x %x, %+v", before.Keys, same.Keys, after.Keys, events)
	}
}

// A deleted account leaves nothing of its own; its peers keep their side of
// what was said, and find it by its name.
func TestDelete(t *testing.T) {
	c := newCell(t, "ann", "bob", "eve")
	c.accept(message("ann/x", "bob", "m1"))
	c.accept(message("bob/x", "ann", "m2"))
	c.accept(message("eve/x", "ann", "m3"))
	c.accept(message("ann/x", "ann", "own"))
	c.accept(vcardSet("ann", []byte("<vCard/>")))
	c.accept(left("ann"))
	c.accept(block("ann", at("eve")))
	c.accept(subscribing("bob", "ann", subscribeType))
	c.accept(subscribing("ann", "bob", subscribedType))
	c.accept(subscribing("ann", "bob", subscribeType))
	id, err := c.v.accountID(c.v.db, at("ann"))
	if err != nil {
		t.Fatal(err)
	}
	// What the same batch has done is removed as well.
	r := c.apply(message("ann/x", "bob", "m4"), rosterSet("ann", at("eve"), "Eve", "g"), remove("ann"), create("ann"), message("ann/y", "bob", "m5"), message("bob/x", "ann", "m6"))
	for i, o := range r.Outcomes {
		if o.Verdict != command.Accepted {
			t.Fatalf("command %d: %+v", i, o)
		}
	}
	var kinds []string
	for _, e := range r.Events {
		switch {
		case e.Kind == state.EventDeleted:
			kinds = append(kinds, "deleted "+e.Account)
		case e.Kind == state.EventSubscription:
			kinds = append(kinds, "presence "+e.Presence.Type.String()+" to "+e.Account)
		case e.Kind == state.EventRoster && e.Account == at("bob"):
			kinds = append(kinds, "roster "+e.Item.Subscription)
		}
	}
	want := "presence SUBSCRIPTION_TYPE_UNSUBSCRIBE to bob@example.org, presence SUBSCRIPTION_TYPE_UNSUBSCRIBED to bob@example.org, roster none, deleted ann@example.org"
	if got := strings.Join(kinds, ", "); got != want {
		t.Errorf("events: %s\nwant    %s", got, want)
	}
	for q, want := range map[*state.Query]string{
		{Account: at("bob")}:                                          "m1 m2 m4 m5 m6 true",
		{Account: at("bob"), With: at("ann")}:                         "m1 m2 m4 m5 m6 true",
		{Account: at("bob"), With: at("ann"), Backward: true, Max: 2}: "m5 m6 false",
		{Account: at("eve")}:                                          "m3 true",
		{Account: at("eve"), With: at("ann")}:                         "m3 true",
		{Account: at("eve"), With: at("bob")}:                         "true",
		{Account: at("ann")}:                                          "m5 m6 true",
		{Account: at("ann"), With: at("bob")}:                         "m5 m6 true",
	} {
		if got := ids(c.archive(*q)); got != want {
			t.Errorf("%+v: %q, want %q", *q, got, want)
		}
	}
	c.scrub() // what is not swept is still counted
	c.sweep()
	for _, table := range append(ownTables(), tableArchive) {
		if keys, err := c.v.apply.txn.under(idKey(table, id)); err != nil || len(keys) > 0 {
			t.Errorf("table %q still has %q, %v", table, keys, err)
		}
	}
	if list, err := c.v.Blocklist(at("ann")); err != nil || len(list) > 0 {
		t.Errorf("blocklist %v, %v", list, err)
	}
	c.accept(message("eve/x", "ann", "m7"))
	c.scrub()
	checkRosters(t, c.v)
	c.accept(remove("ann"))
	c.refused(remove("ann"), stanza.ItemNotFound)
	c.refused(message("bob/x", "ann", "m8"), stanza.ServiceUnavailable)
	if _, err := c.v.Account(at("ann")); !errors.Is(err, state.ErrNotFound) {
		t.Error(err)
	}
	// With the last of both, the messages go.
	c.accept(remove("bob"))
	c.accept(remove("eve"))
	c.sweep()
	c.scrub()
	if n := c.v.Stats(); n.Records != 0 || n.Accounts != 0 {
		t.Errorf("%d records, %d accounts are left", n.Records, n.Accounts)
	}
	if err := c.v.Flush(); err != nil {
		t.Fatal(err)
	}
	_ = c.v.Close()
	c.v = openView(t, c.fs, Options{})
	c.accept(create("ann"))
	if got := ids(c.archive(state.Query{Account: at("ann")})); got != "true" {
		t.Errorf("the new account has %q", got)
	}
}

// Who registers gets no name that an account had; the operator may give it.
func TestDeletedNamesAreNotRegistered(t *testing.T) {
	c := newCell(t, "ann")
	c.accept(remove("ann"))
	create := func(registered bool) *command.Command {
		return &command.Command{Request: &command.Command_AccountCreate{AccountCreate: &command.AccountCreate{Jid: at("ann"), Registered: registered}}}
	}
	c.refused(create(true), stanza.Conflict)
	c.accept(create(false))
	c.scrub()
}
