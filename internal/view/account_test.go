// SPDX-License-Identifier: Apache-2.0

package view

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"bavard/internal/command"
	"bavard/internal/stanza"
	"bavard/internal/state"
)

func invite(token string, uses uint32, expires time.Time, inviter, circle string) *command.Command {
	hash := sha256.Sum256([]byte(token))
	i := &command.InviteCreate{TokenHash: hash[:], Uses: uses, Circle: circle}
	if inviter != "" {
		i.Inviter = at(inviter)
	}
	if !expires.IsZero() {
		i.ExpiresMs = expires.UnixMilli()
	}
	return &command.Command{Request: &command.Command_InviteCreate{InviteCreate: i}}
}

func TestAccounts(t *testing.T) {
	c := newCell(t, "ann")
	c.accept(createWith("bob", "Bob B.", ""))
	a, err := c.v.Account(at("bob"))
	if err != nil || a.Name != "Bob B." || a.JID != at("bob") || a.ID == 0 || !a.Created.Equal(start) ||
		!bytes.Equal(a.Credentials.ScramSha1.Salt, []byte("salt")) {
		t.Fatalf("account %+v, %v", a, err)
	}
	if _, err := c.v.Account(at("eve")); !errors.Is(err, state.ErrNotFound) {
		t.Fatalf("error %v", err)
	}
	c.refused(create("bob"), stanza.Conflict)
	for _, jid := range []string{"", "ann", domain, "@" + domain, "x@example.com", "x@" + domain + "/r", strings.Repeat("x", 4000) + "@" + domain} {
		cmd := create("x")
		cmd.GetAccountCreate().Jid = jid
		c.refused(cmd, stanza.JIDMalformed)
	}
	c.refused(createWith("long", strings.Repeat("x", maxName+1), ""), stanza.NotAcceptable)
	for _, n := range []string{"eve", "dan"} {
		c.accept(create(n))
	}
	var names []string
	for after := ""; ; {
		page, err := c.v.Accounts(after, 3)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, a := range page {
			names = append(names, a.JID)
		}
		after = page[len(page)-1].JID
	}
	if want := []string{at("ann"), at("bob"), at("dan"), at("eve")}; !slices.Equal(names, want) {
		t.Fatalf("accounts %v", names)
	}
}

func TestCredentials(t *testing.T) {
	c := newCell(t, "ann")
	set := func(jid string) *command.Command {
		return &command.Command{Request: &command.Command_CredentialsSet{CredentialsSet: &command.CredentialsSet{
			Jid: jid, Credentials: &command.Credentials{ScramSha256: &command.ScramKeys{Iterations: 7}},
		}}}
	}
	events := c.accept(set(at("ann")))
	if len(events) != 1 || events[0].Kind != state.EventCredentials || events[0].Account != at("ann") {
		t.Fatalf("events %+v", events)
	}
	a, err := c.v.Account(at("ann"))
	if err != nil || a.Credentials.ScramSha1 != nil || a.Credentials.ScramSha256.Iterations != 7 {
		t.Fatalf("account %+v, %v", a, err)
	}
	c.refused(set(at("eve")), stanza.ItemNotFound)
}

func TestInvites(t *testing.T) {
	c := newCell(t)
	c.accept(createWith("ann", "Ann", ""))
	c.refused(createWith("bob", "", "token"), stanza.NotAllowed)
	c.accept(invite("token", 2, start.Add(time.Hour), "ann", ""))
	c.refused(invite("token", 1, time.Time{}, "", ""), stanza.Conflict)
	c.refused(invite("other", 0, time.Time{}, "", ""), stanza.BadRequest)
	c.refused(invite("other", 1, time.Time{}, "nobody", ""), stanza.ItemNotFound)
	hash := sha256.Sum256([]byte("token"))
	if i, err := c.v.Invite(hash[:]); err != nil || i.Uses != 2 || i.Inviter != at("ann") || !i.Expires.Equal(start.Add(time.Hour)) {
		t.Fatalf("invite %+v, %v", i, err)
	}

	events := c.accept(createWith("bob", "Bob", "token"))
	if len(events) != 2 {
		t.Fatalf("events %+v", events)
	}
	for i, want := range []struct{ account, jid, name string }{{"bob", "ann", "Ann"}, {"ann", "bob", "Bob"}} {
		e := events[i]
		if e.Kind != state.EventRoster || e.Account != at(want.account) || e.Item.JID != at(want.jid) || e.Item.Name != want.name ||
			e.Item.Subscription != "both" || !e.Item.Listed {
			t.Fatalf("event %+v", e)
		}
	}
	// A taken name does not use the invite up.
	c.refused(createWith("bob", "", "token"), stanza.Conflict)
	if i, _ := c.v.Invite(hash[:]); i.Uses != 1 {
		t.Fatalf("uses %d", i.Uses)
	}
	// Presented in time, redeemed a little later; then it is over.
	c.now = start.Add(time.Hour + inviteGrace - time.Second)
	c.refused(createWith("bob", "", "token"), stanza.Conflict)
	c.now = start.Add(time.Hour + inviteGrace)
	c.refused(createWith("dan", "", "token"), stanza.NotAllowed)

	c.accept(invite("once", 1, time.Time{}, "", ""))
	if events := c.accept(createWith("eve", "", "once")); len(events) != 0 {
		t.Fatalf("events %+v", events)
	}
	c.refused(createWith("fay", "", "once"), stanza.NotAllowed)
	if _, err := c.v.Invite(make([]byte, 32)); !errors.Is(err, state.ErrNotFound) {
		t.Fatalf("error %v", err)
	}
}

func TestCircle(t *testing.T) {
	c := newCell(t)
	c.accept(invite("one", 30, time.Time{}, "", "town"))
	c.accept(invite("two", 30, time.Time{}, "", "town"))
	for i := range 20 {
		c.accept(createWith(fmt.Sprintf("u%d", i), "", []string{"one", "two"}[i%2]))
	}
	for i, want := range map[int]int{0: 19, 1: 19, 15: 19, 16: 16, 19: 16} {
		items, _, err := c.v.Roster(at(fmt.Sprintf("u%d", i)))
		if err != nil || len(items) != want {
			t.Errorf("u%d has %d contacts, want %d (%v)", i, len(items), want, err)
		}
		for _, item := range items {
			if item.Subscription != "both" {
				t.Errorf("item %+v", item)
			}
		}
	}
}

// Who gets the name of a deleted account inherits neither its invites nor its
// circles.
func TestANewAccountInheritsNothing(t *testing.T) {
	c := newCell(t, "ann", "bob")
	c.accept(invite("of ann", 5, time.Time{}, "ann", ""))
	c.accept(invite("town", 9, time.Time{}, "", "town"))
	c.accept(createWith("cat", "", "town"))
	c.accept(createWith("dan", "", "town"))
	c.accept(remove("ann"))
	c.refused(createWith("eve", "", "of ann"), stanza.NotAllowed)
	c.accept(remove("cat"))
	for _, name := range []string{"ann", "cat"} {
		c.accept(createWith(name, "", ""))
	}
	c.refused(createWith("eve", "", "of ann"), stanza.NotAllowed)
	hash := sha256.Sum256([]byte("of ann"))
	if _, err := c.v.Invite(hash[:]); !errors.Is(err, state.ErrNotFound) {
		t.Errorf("the invite is still there: %v", err)
	}
	c.accept(createWith("eve", "", "town"))
	items, _, err := c.v.Roster(at("eve"))
	if err != nil || len(items) != 1 || items[0].JID != at("dan") {
		t.Errorf("eve has the contacts %+v, %v", items, err)
	}
	c.scrub()
}

// Records of before ids were kept with names are believed unless the name was
// given anew.
func TestRecordsWithoutIDs(t *testing.T) {
	c := newCell(t, "ann", "bob")
	old := func(name, inviter string) {
		hash := sha256.Sum256([]byte(name))
		if err := c.v.db.Set(inviteKey(hash[:]), appendInvite(nil, &state.Invite{Uses: 9, Inviter: at(inviter), Circle: "town"}), pebble.NoSync); err != nil {
			t.Fatal(err)
		}
	}
	old("of ann", "ann")
	old("of bob", "bob")
	if err := c.v.db.Set(circleKey("town"), appendCircle(nil, []person{{jid: at("ann")}, {jid: at("bob")}}), pebble.NoSync); err != nil {
		t.Fatal(err)
	}
	c.accept(remove("bob"))
	c.accept(createWith("bob", "", ""))
	c.refused(createWith("cat", "", "of bob"), stanza.NotAllowed)
	c.accept(createWith("cat", "", "of ann"))
	items, _, err := c.v.Roster(at("cat"))
	if err != nil || len(items) != 1 || items[0].JID != at("ann") {
		t.Errorf("cat has the contacts %+v, %v", items, err)
	}
}

// Invites that are no good any more do not pile up, and the same ones go
// wherever batches begin and end.
func TestInvitesAreSwept(t *testing.T) {
	one, many := newCell(t), newCell(t)
	stored := func(c *cellOf) (n int) {
		keys, err := (&txn{a: &applier{v: c.v}}).next([]byte{tableInvite}, prefixEnd([]byte{tableInvite}), 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		return len(keys)
	}
	most := 0
	for day := range 100 {
		now := start.Add(time.Duration(day) * 24 * time.Hour)
		one.now, many.now = now, now
		var batch []*command.Command
		for i := range 20 {
			batch = append(batch, invite(fmt.Sprintf("%d %d", day, i), 1, now.Add(time.Hour), "", ""))
		}
		for _, cmd := range batch {
			one.accept(cmd)
		}
		many.apply(batch...)
		most = max(most, stored(one))
	}
	if most > 200 { // of 2,000 made, 20 are good at a time
		t.Errorf("%d invites were kept", most)
	}
	if a, b := stored(one), stored(many); a != b {
		t.Errorf("%d one by one, %d in batches", a, b)
	}
}

func TestCellInit(t *testing.T) {
	c := &cellOf{t: t, v: openView(t, vfs.NewMem(), Options{}), now: start}
	c.refused(create("ann"), stanza.ServiceUnavailable)
	if _, ok := c.v.ArchiveKey(); ok {
		t.Fatal("a cell that is not initialised has a key")
	}
	c.accept(cellInit())
	first := c.v.Applied()
	second := cellInit()
	second.GetCellInit().ArchiveKey = bytes.Repeat([]byte{1}, 16)
	if o := c.apply(second).Outcomes[0]; o.Verdict != command.Duplicate || o.Original != first {
		t.Fatalf("outcome %+v", o)
	}
	if key, ok := c.v.ArchiveKey(); !ok || !bytes.Equal(key, make([]byte, 16)) || c.v.Domain() != domain {
		t.Fatalf("key %x, domain %q", key, c.v.Domain())
	}
}

func TestOfflineCursor(t *testing.T) {
	c := newCell(t, "ann")
	move := func(account string, p command.Position) *command.Command {
		return &command.Command{Request: &command.Command_OfflineCursor{
			OfflineCursor: &command.OfflineCursor{Account: account, Position: p.AppendTo(nil)},
		}}
	}
	if p, err := c.v.OfflineCursor(at("ann")); err != nil || !p.IsZero() {
		t.Fatalf("%v %v", p, err)
	}
	high, low := command.Position{Revision: 9, Index: 1}, command.Position{Revision: 8, Index: 7}
	for _, p := range []command.Position{low, high, low} {
		c.accept(move(at("ann"), p))
	}
	if p, err := c.v.OfflineCursor(at("ann")); err != nil || p != high {
		t.Fatalf("%v %v", p, err)
	}
	c.refused(move(at("eve"), low), stanza.ItemNotFound)
	bad := move(at("ann"), low)
	bad.GetOfflineCursor().Position = []byte("short")
	c.refused(bad, stanza.BadRequest)
	if _, err := c.v.OfflineCursor(at("eve")); !errors.Is(err, state.ErrNotFound) {
		t.Fatalf("error %v", err)
	}
}
