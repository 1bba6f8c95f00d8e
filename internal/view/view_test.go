// SPDX-License-Identifier: Apache-2.0

package view

import (
	"context"
	"crypto/sha256"
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"google.golang.org/protobuf/proto"

	"bavard/internal/command"
	"bavard/internal/stanza"
	"bavard/internal/state"
)

const domain = "example.org"

// cellOf is a view under test with a clock and a journal of one command per
// batch.
type cellOf struct {
	t        testing.TB
	v        *View
	fs       vfs.FS
	revision uint64
	now      time.Time
	kept     *[]Batch // takes what is applied; nil: nothing does
}

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func openView(t testing.TB, fs vfs.FS, o Options) *View {
	t.Helper()
	o.FS = fs
	if o.Domain == "" {
		o.Domain = domain
	}
	v, err := Open("/view", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = v.Close() })
	return v
}

// newCell gives an initialised cell with these accounts.
func newCell(t testing.TB, accounts ...string) *cellOf {
	t.Helper()
	fs := vfs.NewMem()
	c := &cellOf{t: t, v: openView(t, fs, Options{}), fs: fs, now: start}
	c.accept(cellInit())
	for _, a := range accounts {
		c.accept(create(a))
	}
	return c
}

func cellInit() *command.Command {
	return &command.Command{Request: &command.Command_CellInit{
		CellInit: &command.CellInit{Domain: domain, ArchiveKey: make([]byte, 16)},
	}}
}

func create(name string) *command.Command { return createWith(name, "", "") }

func createWith(name, display, invite string) *command.Command {
	return &command.Command{Request: &command.Command_AccountCreate{AccountCreate: &command.AccountCreate{
		Jid: name + "@" + domain, Name: display, Invite: invite,
		Credentials: &command.Credentials{ScramSha1: &command.ScramKeys{Iterations: 4096, Salt: []byte("salt")}},
	}}}
}

// message from a full or bare JID without domain to another, deduplicated by
// id.
func message(from, to, id string) *command.Command {
	m := &command.Message{
		From: at(from), To: at(to), Type: command.MessageType_MESSAGE_TYPE_CHAT, Id: id, OriginId: id,
		Payload: []byte("<body>" + id + "</body>"), Flags: command.FlagBody,
	}
	if id != "" {
		sum := sha256.Sum256([]byte(bare(m.From) + "\n" + m.To + "\n" + id))
		m.Dedupe = sum[:dedupeSize]
	}
	return &command.Command{Request: &command.Command_Message{Message: m}}
}

// at adds the domain to a name with or without resource.
func at(name string) string {
	b := bare(name)
	return b + "@" + domain + name[len(b):]
}

func subscribing(from, to string, typ command.SubscriptionType) *command.Command {
	return &command.Command{Request: &command.Command_Subscription{
		Subscription: &command.Subscription{From: at(from), To: at(to), Type: typ, Id: "s", Payload: []byte("<status>hi</status>")},
	}}
}

func encode(t testing.TB, cmds ...*command.Command) [][]byte {
	t.Helper()
	var out [][]byte
	for _, c := range cmds {
		b, err := proto.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, b)
	}
	return out
}

// apply applies commands as one batch at the cell's time.
func (c *cellOf) apply(cmds ...*command.Command) Result {
	c.t.Helper()
	c.revision++
	for _, cmd := range cmds {
		if cmd.TimeMs == 0 {
			cmd.TimeMs = c.now.UnixMilli()
		}
	}
	b := Batch{Revision: c.revision, Commands: encode(c.t, cmds...)}
	r, err := c.v.Apply(b)
	if err != nil {
		c.t.Fatal(err)
	}
	if c.kept != nil {
		*c.kept = append(*c.kept, b)
	}
	if len(r.Outcomes) != len(cmds) {
		c.t.Fatalf("%d outcomes for %d commands", len(r.Outcomes), len(cmds))
	}
	return r
}

// accept applies one command that must be accepted and returns its events.
func (c *cellOf) accept(cmd *command.Command) []state.Event {
	c.t.Helper()
	r := c.apply(cmd)
	if o := r.Outcomes[0]; o.Verdict != command.Accepted {
		c.t.Fatalf("verdict %d, error %v", o.Verdict, o.Err)
	}
	return r.Events
}

// refused applies one command that must be refused with this condition.
func (c *cellOf) refused(cmd *command.Command, cond stanza.Condition) {
	c.t.Helper()
	r := c.apply(cmd)
	if o := r.Outcomes[0]; o.Verdict != command.Refused || o.Err.Condition != cond || o.Err.Text == "" {
		c.t.Fatalf("verdict %d, error %v, want %s", o.Verdict, o.Err, cond)
	}
	if len(r.Events) != 0 {
		c.t.Fatalf("a refused command made events: %v", r.Events)
	}
}

func (c *cellOf) archive(q state.Query) state.Page {
	c.t.Helper()
	p, err := c.v.Archive(context.Background(), q)
	if err != nil {
		c.t.Fatal(err)
	}
	return p
}

// positionOf the message of this id in bob's archive.
func (c *cellOf) positionOf(id string) command.Position {
	c.t.Helper()
	for _, e := range c.archive(state.Query{Account: at("bob")}).Entries {
		if e.Message.Id == id {
			return e.Position
		}
	}
	c.t.Fatalf("no message %q", id)
	return command.Position{}
}

// ids of the messages of a page.
func ids(p state.Page) string {
	var s string
	for _, e := range p.Entries {
		s += e.Message.Id + " "
	}
	return fmt.Sprintf("%s%v", s, p.Complete)
}

func TestMessageIsArchivedForBoth(t *testing.T) {
	c := newCell(t, "ann", "bob", "eve")
	events := c.accept(message("ann/phone", "bob", "m1"))
	if len(events) != 2 || events[0].Account != at("ann") || events[0].Incoming || events[1].Account != at("bob") || !events[1].Incoming {
		t.Fatalf("events %+v", events)
	}
	if events[0].Position != c.v.Applied() || events[0].Message.Id != "m1" || !events[0].Time.Equal(start) {
		t.Fatalf("event %+v", events[0])
	}
	c.accept(message("bob/desk", "ann/phone", "m2"))
	c.accept(message("eve/x", "ann", "m3"))
	for q, want := range map[string]string{
		"ann":                     "m1 m2 m3 true",
		"bob":                     "m1 m2 true",
		"eve":                     "m3 true",
		"ann bob@example.org":     "m1 m2 true",
		"bob ann@example.org":     "m1 m2 true",
		"eve bob@example.org":     "true",
		"ann bob@example.org/xyz": "true",
	} {
		var account, with string
		_, _ = fmt.Sscan(q, &account, &with)
		if got := ids(c.archive(state.Query{Account: at(account), With: with})); got != want {
			t.Errorf("%s: %q, want %q", q, got, want)
		}
	}
}
