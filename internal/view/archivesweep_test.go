// SPDX-License-Identifier: Apache-2.0

package view

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"bavard/internal/command"
	"bavard/internal/state"
)

// TestSweep: whatever the batches, a large archive goes in slices, each of bounded
// work; what others have stays, count and sum are right at every step, and a
// restart in between goes on.
func TestSweep(t *testing.T) {
	messages := 6000
	if s := os.Getenv("BAVARD_SWEEP"); s != "" {
		messages, _ = strconv.Atoi(s)
	}
	c := newCell(t, "ann", "bob", "eve")
	c.accept(remove("eve"))
	c.accept(create("eve"))
	for n := 0; n < messages; {
		var batch []*command.Command
		for range 200 {
			to := []string{"bob", "ann", "eve"}[n%3]
			batch = append(batch, message("ann/x", to, fmt.Sprint("m", n)))
			n++
		}
		c.apply(batch...)
	}
	c.accept(message("eve/x", "bob", "kept"))
	c.accept(remove("eve")) // first of two that have said something to each other
	before := time.Now()
	c.accept(remove("ann"))
	took := time.Since(before)
	sweep := &command.Command{Request: &command.Command_ArchiveSweep{ArchiveSweep: &command.ArchiveSweep{}}}
	slices, worst, all := 0, time.Duration(0), time.Duration(0)
	for {
		sweeping, err := c.v.Sweeping()
		if err != nil {
			t.Fatal(err)
		}
		if !sweeping {
			break
		}
		before := time.Now()
		c.apply(sweep, sweep)
		took := time.Since(before)
		worst, all = max(worst, took), all+took
		if slices++; messages < 10_000 && slices%7 == 0 {
			c.scrub()
			if err := c.v.Flush(); err != nil {
				t.Fatal(err)
			}
			_ = c.v.Close()
			c.v = openView(t, c.fs, Options{})
		}
	}
	t.Logf("%d messages: deleting took %v, %d batches of two slices, %v each, the longest %v", messages, took, slices, all/time.Duration(slices), worst)
	if slices < messages/1000 {
		t.Errorf("%d messages were removed in %d batches", messages, slices)
	}
	c.scrub()
	// Bob has a third of the messages, and the one of eve: an index entry and a message each.
	if n := c.v.Stats().Records; n != uint64(2*((messages+2)/3+1)) {
		t.Errorf("%d records are left", n)
	}
	c.accept(remove("bob"))
	c.sweep()
	c.scrub()
	if n := c.v.Stats().Records; n != 0 {
		t.Errorf("%d records are left in the end", n)
	}
}

// A removed room's archive goes in slices as well; one that was removed and made
// anew in the same batch as messages were said keeps what is the new one's.
func TestSweepOfARoom(t *testing.T) {
	c := newCell(t, "ann", "bob")
	c.accept(makeRoom("choir", "ann", open()))
	const messages = 3000
	for n := 0; n < messages; {
		var batch []*command.Command
		for range 200 {
			batch = append(batch, says("choir", "ann", fmt.Sprint("m", n), moderator))
			n++
		}
		c.apply(batch...)
	}
	c.accept(remove("bob"))
	for i, o := range c.apply(says("choir", "ann", "last", moderator), destroyRoom("choir", "ann"), makeRoom("choir", "ann", open()), says("choir", "ann", "first", moderator),
		&command.Command{Request: &command.Command_ArchiveSweep{ArchiveSweep: &command.ArchiveSweep{}}}).Outcomes {
		if o.Verdict != command.Accepted {
			t.Fatalf("%d: %+v", i, o)
		}
	}
	c.scrub()
	if n := c.v.Stats().Records; n < messages {
		t.Errorf("%d records are left at once", n)
	}
	if slices := c.sweep(); slices < messages*sweepSaid/sweepWork {
		t.Errorf("%d messages went in %d slices", messages, slices)
	}
	c.scrub()
	if n := c.v.Stats().Records; n != 1 {
		t.Errorf("%d records are left", n)
	}
	if got := c.said(state.Query{Room: in("choir")}); got != "first" {
		t.Errorf("archive %q", got)
	}
}

// Whose account said something stays known when the name is given again: the
// newcomer cannot take back what is not theirs.
func TestSenderOfTheSameName(t *testing.T) {
	c := newCell(t, "ann", "bob")
	c.accept(makeRoom("choir", "ann", open()))
	at0 := c.apply(says("choir", "bob", "m1", speaker)).Outcomes[0].Position
	old, err := c.v.AccountID(at("bob"))
	if err != nil || old == 0 {
		t.Fatal(old, err)
	}
	c.accept(remove("bob"))
	if id, err := c.v.AccountID(at("bob")); id != 0 || err != nil {
		t.Fatal(id, err)
	}
	c.accept(create("bob"))
	back := says("choir", "bob", "m2", speaker)
	back.GetRoomMessage().Retracts = at0.AppendTo(nil)
	c.accept(back)
	if got := c.said(state.Query{Room: in("choir")}); got != "m1 m2" {
		t.Errorf("archive %q", got)
	}
	p := c.archive(state.Query{Room: in("choir")}).Entries
	if p[0].Sender != old || p[1].Sender == old || p[1].Sender == 0 {
		t.Errorf("senders %d and %d, the first was %d", p[0].Sender, p[1].Sender, old)
	}
}

func TestJournalIsBoundOnce(t *testing.T) {
	c := newCell(t)
	bind := func(id string) *command.Command {
		return &command.Command{Request: &command.Command_CellJournal{CellJournal: &command.CellJournal{Id: []byte(id)}}}
	}
	if id, _, err := c.v.Journal(); err != nil || id != nil {
		t.Fatalf("%x, %v", id, err)
	}
	c.accept(bind("0123456789abcdef"))
	if o := c.apply(bind("0123456789abcdef"), bind("another one here"), bind("short")).Outcomes; o[0].Verdict != command.Duplicate || o[1].Verdict != command.Refused || o[2].Verdict != command.Refused {
		t.Errorf("outcomes %+v", o)
	}
	if id, epoch, err := c.v.Journal(); err != nil || epoch != 0 || string(id) != "0123456789abcdef" {
		t.Fatalf("%x, %v", id, err)
	}
	c.scrub()
}
