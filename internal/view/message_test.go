// SPDX-License-Identifier: Apache-2.0

package view

import (
	"strings"
	"testing"
	"time"

	"bavard/internal/command"
	"bavard/internal/stanza"
	"bavard/internal/state"
)

// on puts a command on a stream at a count.
func on(cmd *command.Command, stream byte, h uint32) *command.Command {
	id := make([]byte, streamSize)
	id[0] = stream
	cmd.Stream = &command.Stream{Id: id, H: h}
	return cmd
}

func streamOf(b byte) []byte {
	id := make([]byte, streamSize)
	id[0] = b
	return id
}

func TestMessageIsRefused(t *testing.T) {
	c := newCell(t, "ann", "bob")
	foreign := message("ann/x", "bob", "m")
	foreign.GetMessage().To = "bob@example.com"
	server := message("ann/x", "bob", "m")
	server.GetMessage().To = domain
	c.refused(message("nobody/x", "bob", "m"), stanza.NotAuthorized)
	c.refused(message("ann/x", "nobody", "m"), stanza.ServiceUnavailable)
	c.refused(foreign, stanza.RemoteServerNotFound)
	c.refused(server, stanza.ServiceUnavailable)
	if got := ids(c.archive(state.Query{Account: at("bob")})); got != "true" {
		t.Fatalf("archive %q", got)
	}
}

func TestMessageToOneself(t *testing.T) {
	c := newCell(t, "ann", "bob")
	events := c.accept(message("ann/x", "ann", "note"))
	if len(events) != 1 || !events[0].Incoming || events[0].Account != at("ann") {
		t.Fatalf("events %+v", events)
	}
	c.accept(message("ann/x", "bob", "m"))
	if got := ids(c.archive(state.Query{Account: at("ann"), With: at("ann")})); got != "note true" {
		t.Fatalf("notes %q", got)
	}
	if got := ids(c.archive(state.Query{Account: at("ann")})); got != "note m true" {
		t.Fatalf("all %q", got)
	}
}

// wantDuplicate applies a command that was accepted before.
func (c *cellOf) wantDuplicate(cmd *command.Command, original command.Position) {
	c.t.Helper()
	r := c.apply(cmd)
	if o := r.Outcomes[0]; o.Verdict != command.Duplicate || o.Original != original {
		c.t.Fatalf("verdict %d of %v, want a duplicate of %v", o.Verdict, o.Original, original)
	}
	if len(r.Events) != 1 || r.Events[0].Kind != state.EventDuplicate || r.Events[0].Position != original || r.Events[0].Account != at("ann") {
		c.t.Fatalf("events %+v", r.Events)
	}
}

// What a message publishes with it is published once, and only when it is accepted.
func TestDisplayedOfARepeatedMessage(t *testing.T) {
	c := newCell(t, "ann", "bob")
	read := func(cmd *command.Command, id string) *command.Command {
		cmd.Level, cmd.Displayed = 1, publish("ann", stanza.NSDisplayed, at("bob"), "<d xmlns='d' id='"+id+"'/>", nil).GetPubsubPublish()
		return cmd
	}
	items := func(want string) {
		t.Helper()
		if got := c.items("ann", stanza.NSDisplayed, state.PubsubQuery{}); !strings.Contains(got, want) {
			t.Errorf("items %s, want %s", got, want)
		}
	}
	c.accept(read(message("ann/x", "bob", "m"), "one"))
	original := c.v.Applied()
	items("one")
	c.accept(publish("ann", stanza.NSDisplayed, at("bob"), "<d xmlns='d' id='two'/>", nil))
	c.wantDuplicate(read(message("ann/y", "bob", "m"), "one"), original)
	items("two")
	c.refused(read(message("ann/x", "nobody", "n"), "three"), stanza.ServiceUnavailable)
	items("two")
	c.accept(read(&command.Command{Request: &command.Command_Noop{}}, "four"))
	items("four")
	// With anything else it means nothing.
	c.accept(read(rosterSet("ann", at("bob"), "Bob"), "five"))
	items("four")
	c.reopen()
	items("four")
}

func TestRepeatedMessage(t *testing.T) {
	c := newCell(t, "ann", "bob")
	c.accept(message("ann/x", "bob", "m"))
	original := c.v.Applied()
	c.wantDuplicate(message("ann/other", "bob", "m"), original)
	// In one batch, too.
	r := c.apply(message("ann/x", "bob", "n"), message("ann/x", "bob", "n"))
	if r.Outcomes[0].Verdict != command.Accepted || r.Outcomes[1].Verdict != command.Duplicate ||
		r.Outcomes[1].Original != r.Outcomes[0].Position {
		t.Fatalf("outcomes %+v", r.Outcomes)
	}
	if got := ids(c.archive(state.Query{Account: at("bob")})); got != "m n true" {
		t.Fatalf("archive %q", got)
	}
}

// A repeat is known for at least 14 days, wherever in its bucket it fell, and
// also by a view that was opened since.
func TestRepeatedMessageIsKnownFor14Days(t *testing.T) {
	for _, offset := range []time.Duration{0, time.Millisecond, 3 * 24 * time.Hour, 7*24*time.Hour - time.Millisecond} {
		c := newCell(t, "ann", "bob")
		c.now = time.UnixMilli(4000 * bucketMs).Add(offset)
		c.accept(message("ann/x", "bob", "m"))
		original := c.v.Applied()
		for range 14 {
			c.now = c.now.Add(24 * time.Hour)
			c.wantDuplicate(message("ann/x", "bob", "m"), original)
		}
		c.reopen()
		c.wantDuplicate(message("ann/x", "bob", "m"), original)
		c.now = c.now.Add(8 * 24 * time.Hour)
		c.accept(message("ann/x", "bob", "m"))
	}
}

// reopen flushes, closes and opens the view.
func (c *cellOf) reopen() {
	c.t.Helper()
	if err := c.v.Flush(); err != nil {
		c.t.Fatal(err)
	}
	if err := c.v.Close(); err != nil {
		c.t.Fatal(err)
	}
	c.v = openView(c.t, c.fs, Options{})
}

func TestBucketsAreDropped(t *testing.T) {
	c := newCell(t, "ann", "bob")
	for i := range 10 {
		c.accept(on(message("ann/x", "bob", string(rune('a'+i))), byte(i), 1))
		c.now = c.now.Add(7 * 24 * time.Hour)
	}
	n := map[byte]int{}
	if err := c.v.each(func(key, _ []byte) error { n[key[0]]++; return nil }); err != nil {
		t.Fatal(err)
	}
	if n[tableDedupe] != liveBuckets || n[tableStream] != liveBuckets || n[tableTalk] != 10 {
		t.Fatalf("%d dedupe keys, %d streams, %d messages", n[tableDedupe], n[tableStream], n[tableTalk])
	}
}

func TestStreamCount(t *testing.T) {
	c := newCell(t, "ann", "bob")
	plain := func() *command.Command { return message("ann/x", "bob", "") }
	if _, ok := c.v.StreamH(streamOf(1)); ok {
		t.Fatal("an unknown stream has a count")
	}
	c.accept(on(plain(), 1, 5))
	c.wantDuplicate(on(plain(), 1, 5), command.Position{})
	c.wantDuplicate(on(plain(), 1, 4), command.Position{})
	c.accept(on(plain(), 1, 6))
	c.accept(on(plain(), 2, 1))
	// Other commands advance the count and are not held against it.
	noop := func() *command.Command { return &command.Command{Request: &command.Command_Noop{}} }
	c.accept(on(noop(), 1, 9))
	c.accept(on(noop(), 1, 9))
	// A refused one does not advance it.
	c.refused(on(message("ann/x", "nobody", ""), 1, 10), stanza.ServiceUnavailable)
	if h, ok := c.v.StreamH(streamOf(1)); !ok || h != 9 {
		t.Fatalf("h %d %v", h, ok)
	}
	// Nor does what comes after it: the error may be lost with the stream.
	c.accept(on(plain(), 1, 11))
	if h, ok := c.v.StreamH(streamOf(1)); !ok || h != 9 {
		t.Fatalf("h %d %v after a refusal", h, ok)
	}
	c.wantDuplicate(on(plain(), 1, 11), command.Position{})
	// The node's own refusals are told by what comes after them. Where nothing came
	// before, any of those that were counted may have been refused: nothing is known.
	told := func(stream byte, h uint32) *command.Command {
		cmd := on(plain(), stream, h)
		cmd.Stream.Refused = true
		return cmd
	}
	c.accept(on(plain(), 5, 3))
	c.accept(told(5, 7))
	if h, ok := c.v.StreamH(streamOf(5)); !ok || h != 3 {
		t.Fatalf("h %d %v after the node's own refusal", h, ok)
	}
	c.accept(told(4, 7))
	if h, ok := c.v.StreamH(streamOf(4)); ok {
		t.Fatalf("h %d where the node has refused some of them", h)
	}
	c.wantDuplicate(told(4, 7), command.Position{})
	c.accept(on(plain(), 4, 8))
	if h, ok := c.v.StreamH(streamOf(4)); ok {
		t.Fatalf("h %d where the node has refused some of them", h)
	}
	// Modulo 2^32.
	c.accept(on(plain(), 3, 1<<32-1))
	c.accept(on(plain(), 3, 0))
	c.wantDuplicate(on(plain(), 3, 1<<32-1), command.Position{})
	// Known after a restart and three weeks.
	c.reopen()
	c.wantDuplicate(on(plain(), 3, 0), command.Position{})
	c.wantDuplicate(told(4, 8), command.Position{})
	if h, ok := c.v.StreamH(streamOf(4)); ok {
		t.Fatalf("h %d after a restart where the node has refused some of them", h)
	}
	c.now = c.now.Add(14 * 24 * time.Hour)
	c.wantDuplicate(on(plain(), 3, 0), command.Position{})
	if h, ok := c.v.StreamH(streamOf(3)); !ok || h != 0 {
		t.Fatalf("h %d %v", h, ok)
	}
}

// With a dedupe key the count of the stream does not decide.
func TestDedupeKeyBeatsStreamCount(t *testing.T) {
	c := newCell(t, "ann", "bob")
	c.accept(on(message("ann/x", "bob", "m"), 1, 5))
	c.accept(on(message("ann/x", "bob", "n"), 1, 5))
}

func TestTimeNeverGoesBack(t *testing.T) {
	c := newCell(t, "ann", "bob")
	late, early := message("ann/x", "bob", "m"), message("ann/x", "bob", "n")
	late.TimeMs, early.TimeMs = start.Add(time.Hour).UnixMilli(), start.UnixMilli()
	r := c.apply(late, early)
	for _, o := range r.Outcomes {
		if !o.Time.Equal(start.Add(time.Hour)) {
			t.Fatalf("time %v", o.Time)
		}
	}
	if e := c.accept(message("ann/x", "bob", "o")); !e[0].Time.Equal(start.Add(time.Hour)) {
		t.Fatalf("time %v", e[0].Time)
	}
}

// An index written per message is what apply costs: 4 keys, and one for the
// stream of all messages of a batch.
func TestKeysPerMessage(t *testing.T) {
	c := newCell(t, "ann", "bob")
	c.accept(message("ann/x", "bob", "first of this minute"))
	count := func() (n int) {
		if err := c.v.each(func([]byte, []byte) error { n++; return nil }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := count()
	var cmds []*command.Command
	for i := range 10 {
		cmds = append(cmds, on(message("ann/x", "bob", string(rune('a'+i))), 1, uint32(i)))
	}
	c.apply(cmds...)
	if n := count() - before; n != 10*4+1 {
		t.Fatalf("%d keys for 10 messages", n)
	}
}
