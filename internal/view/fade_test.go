// SPDX-License-Identifier: Apache-2.0

package view

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"bavard/internal/command"
	"bavard/internal/stanza"
	"bavard/internal/state"
)

func retracting(from, to, id, target string) *command.Command {
	c := message(from, to, id)
	m := c.GetMessage()
	m.Payload, m.Retracts, m.Flags = []byte("<retract xmlns='urn:xmpp:message-retract:1' id='"+target+"'/>"), target, 0
	return c
}

func correcting(from, to, id, target string) *command.Command {
	c := message(from, to, id)
	m := c.GetMessage()
	m.Payload, m.Replaces = []byte("<body>better</body><replace xmlns='urn:xmpp:message-correct:0' id='"+target+"'/>"), target
	return c
}

func timed(from, to, id string, seconds uint32) *command.Command {
	c := message(from, to, id)
	c.GetMessage().Timer = seconds
	return c
}

func displayed(from, to, id, target string) *command.Command {
	c := message(from, to, id)
	m := c.GetMessage()
	m.Payload, m.Flags = []byte("<displayed xmlns='urn:xmpp:chat-markers:0' id='"+target+"'/>"), command.FlagDisplayed
	return c
}

func blank() *command.Command {
	return &command.Command{Request: &command.Command_ArchiveBlank{ArchiveBlank: &command.ArchiveBlank{}}}
}

// blank does what there is to do by now, and counts the slices.
func (c *cellOf) blank() (slices int) {
	c.t.Helper()
	for {
		blanking, err := c.v.Blanking(c.now.UnixMilli())
		if err != nil {
			c.t.Fatal(err)
		}
		if !blanking {
			return slices
		}
		c.accept(blank())
		slices++
	}
}

// seen gives what somebody's archive shows: bodies, and what is left.
func (c *cellOf) seen(q state.Query) string {
	c.t.Helper()
	q.Max = maxPage
	var out []string
	for _, e := range c.archive(q).Entries {
		switch m := e.Message; {
		case m.Tombstone != nil && len(m.Payload) == 0:
			out = append(out, "("+m.Id+" by "+m.Tombstone.Id+")")
		case strings.Contains(string(m.Payload), "<ephemeral"):
			out = append(out, "["+m.Id+"]")
		default:
			out = append(out, m.Id)
		}
	}
	return strings.Join(out, " ")
}

func (c *cellOf) seenBy(want string, who ...string) {
	c.t.Helper()
	for _, name := range who {
		if got := c.seen(state.Query{Account: at(name)}); got != want {
			c.t.Errorf("%s sees %s, want %s", name, got, want)
		}
	}
}

// Only who has said something can take it back; then it is gone for both, with
// its corrections, and its place stays.
func TestRetract(t *testing.T) {
	c := newCell(t, "ann", "bob", "eve")
	c.accept(message("ann/x", "bob", "m1"))
	before := c.archive(state.Query{Account: at("bob")}).Entries[0]
	c.apply(message("ann/x", "bob", "m2"), correcting("ann/y", "bob", "m3", "m1"), message("bob/x", "ann", "m4"), message("ann/x", "eve", "m1"))
	c.accept(retracting("bob/x", "ann", "r1", "m1")) // not bob's
	c.accept(retracting("eve/x", "ann", "r2", "m1")) // said by ann, not eve
	c.seenBy("m1 m2 m3 m4 r1", "bob")
	c.accept(retracting("ann/z", "bob/y", "r3", "m1"))
	c.seenBy("(m1 by r3) m2 (m3 by r3) m4 r1 r3", "bob")
	c.seenBy("(m1 by r3) m2 (m3 by r3) m4 m1 r1 r2 r3", "ann")
	after := c.archive(state.Query{Account: at("bob")}).Entries[0]
	if after.Position != before.Position || !after.Time.Equal(before.Time) || after.Message.From != before.Message.From || after.Message.To != before.Message.To {
		t.Errorf("%v became %v", before, after)
	}
	// What was taken back is not looked at again, and a retraction is not taken back.
	c.accept(retracting("ann/x", "bob", "r4", "m1"))
	c.accept(retracting("ann/x", "bob", "r5", "r3"))
	c.seenBy("(m1 by r3) m2 (m3 by r3) m4 r1 r3 r4 r5", "bob")
	// In one batch, said and taken back, repeated and all.
	said := message("bob/x", "ann", "m6")
	c.apply(said, retracting("bob/x", "ann", "r6", "m6"), said, message("bob/x", "bob", "m7"), retracting("bob/x", "bob", "r7", "m7"))
	c.seenBy("(m1 by r3) m2 (m3 by r3) m4 r1 r3 r4 r5 (m6 by r6) r6 (m7 by r7) r7", "bob")
	c.blank()
	c.scrub()
	c.reopen()
	c.scrub()
	c.seenBy("(m1 by r3) m2 (m3 by r3) m4 r1 r3 r4 r5 (m6 by r6) r6 (m7 by r7) r7", "bob")
}

// What was said long ago is looked for in slices, over restarts, and not for
// ever.
func TestRetractLongAfter(t *testing.T) {
	c := newCell(t, "ann", "bob")
	c.accept(message("ann/x", "bob", "first"))
	for n := 0; n < 1000; n += 200 {
		var batch []*command.Command
		for i := range 200 {
			batch = append(batch, message("bob/x", "ann", fmt.Sprint("m", n+i)))
		}
		c.apply(batch...)
	}
	gone := func() bool { return strings.HasPrefix(c.seen(state.Query{Account: at("bob")}), "(first by r)") }
	c.accept(retracting("ann/x", "bob", "r", "first"))
	c.accept(retracting("ann/x", "bob", "never", "said"))
	if gone() {
		t.Fatal("a command looked at a thousand messages")
	}
	c.accept(blank())
	c.reopen()
	if slices := c.blank(); slices < 4 || slices > 10 {
		t.Errorf("%d slices", slices)
	}
	if !gone() {
		t.Error("what was said long ago is there still")
	}
	var many []*command.Command
	for i := range retractNotes + 10 {
		many = append(many, retracting("ann/x", "bob", fmt.Sprint("r", i), "nothing"))
	}
	c.apply(many...)
	notes, err := c.v.count(tableLook)
	if err != nil || notes != retractNotes {
		t.Errorf("%d notes, %v", notes, err)
	}
	c.accept(remove("ann"))
	if notes, err := c.v.count(tableLook); err != nil || notes != 0 {
		t.Errorf("%d notes of a deleted account, %v", notes, err)
	}
	c.scrub()
}

func (v *View) count(table byte) (n int, err error) {
	err = v.each(func(key, _ []byte) error {
		if key[0] == table {
			n++
		}
		return nil
	})
	return n, err
}

// The time of a message runs from when it was read, over restarts; then its
// content is gone for both, and what says when is gone, too.
func TestTimer(t *testing.T) {
	c := newCell(t, "ann", "bob", "eve")
	c.accept(timed("ann/x", "bob", "m1", 60))
	c.accept(timed("ann/x", "bob", "m2", 3600))
	c.accept(message("ann/x", "bob", "m3"))
	c.accept(timed("ann/x", "ann", "self", 60))
	c.now = c.now.Add(time.Hour)
	c.blank()
	c.seenBy("m1 m2 m3", "bob") // unread
	c.seenBy("m1 m2 m3 [self]", "ann")
	c.accept(timed("ann/x", "bob", "m4", 60))
	c.accept(displayed("eve/x", "ann", "d0", "m3"))
	c.accept(displayed("ann/x", "bob", "d1", "m3")) // not the reader
	c.accept(displayed("bob/x", "ann", "d2", "m3"))
	c.blank()
	c.seenBy("m1 m2 m3 m4 d1 d2", "bob")
	c.reopen()
	c.now = c.now.Add(time.Minute)
	c.blank()
	c.seenBy("[m1] m2 m3 m4 d1 d2", "bob")
	c.scrub()
	c.now = c.now.Add(time.Hour)
	c.blank()
	c.seenBy("[m1] [m2] m3 m4 d1 d2", "bob")
	c.accept(retracting("ann/x", "bob", "r", "m4"))
	c.now = c.now.Add(40 * 24 * time.Hour) // nobody has told that it was read
	c.blank()
	c.seenBy("[m1] [m2] m3 (m4 by r) d1 d2 r", "bob")
	c.scrub()
	c.reopen()
	if n, err := c.v.count(tableExpiry); err != nil || n != 0 || len(c.v.apply.expiring) != 0 {
		t.Errorf("%d entries of the index are left, %v, %v", n, c.v.apply.expiring, err)
	}
}

// Reading on any device starts the time, whether who wrote is told or the account's
// own devices alone, and a later reading is not forgotten for an earlier one.
func TestTimerOfWhatWasReadElsewhere(t *testing.T) {
	c := newCell(t, "ann", "bob", "eve")
	said := map[string]command.Position{}
	for _, id := range []string{"m1", "m2", "m3"} {
		c.accept(timed("ann/x", "bob", id, 60))
		said[id] = c.v.Applied()
	}
	c.accept(displays("bob", "eve", said["m3"]))
	c.accept(displays("ann", "bob", said["m3"])) // not the reader
	c.accept(displays("bob", "nobody", said["m3"]))
	future := said["m3"]
	future.Revision += 1000
	c.accept(displays("bob", "ann", future))
	c.accept(displays("bob", "ann", command.Position{}))
	c.blank()
	c.now = c.now.Add(time.Hour)
	c.blank()
	c.seenBy("m1 m2 m3", "ann", "bob")
	c.accept(displays("bob", "ann", said["m2"]))
	c.accept(displayed("bob/x", "ann", "d1", "m1"))
	c.reopen()
	c.blank()
	c.now = c.now.Add(time.Minute)
	c.blank()
	c.seenBy("[m1] [m2] m3 d1", "ann", "bob")
	with := message("bob/x", "ann", "m4")
	with.Level, with.Displayed = 1, displays("bob", "ann", said["m3"]).GetPubsubPublish()
	c.accept(with)
	c.blank()
	c.now = c.now.Add(time.Minute)
	c.blank()
	c.seenBy("[m1] [m2] [m3] d1 m4", "ann", "bob")
	c.scrub()
}

// displays publishes up to where somebody has read what another wrote.
func displays(account, peer string, upTo command.Position) *command.Command {
	c := publish(account, stanza.NSDisplayed, at(peer), "<displayed xmlns='urn:xmpp:mds:displayed:0'/>", keeps(0))
	c.Level, c.GetPubsubPublish().Read = 1, upTo.AppendTo(nil)
	return c
}

// Many messages whose time has come go in slices.
func TestTimersAreBounded(t *testing.T) {
	c := newCell(t, "ann", "bob")
	var batch []*command.Command
	for i := range 200 {
		batch = append(batch, timed("ann/x", "bob", fmt.Sprint("m", i), 60))
	}
	c.apply(batch...)
	c.accept(displayed("bob/x", "ann", "d", "m199"))
	c.now = c.now.Add(time.Hour)
	c.accept(message("bob/x", "ann", "now"))
	if n := c.blank(); n < 200*sweepMessage/sweepWork {
		t.Errorf("%d slices for 200 messages", n)
	}
	if got := strings.Count(c.seen(state.Query{Account: at("ann")}), "["); got != 200 {
		t.Errorf("%d are blank", got)
	}
	c.scrub()
}

// In a room the time runs from when it was said.
func TestTimerInRoom(t *testing.T) {
	c := newCell(t, "ann", "bob")
	c.accept(makeRoom("hall", "ann", open()))
	said := says("hall", "ann", "m1", speaker)
	said.GetRoomMessage().Timer = 60
	c.accept(said)
	c.accept(says("hall", "ann", "m2", speaker))
	c.now = c.now.Add(time.Minute)
	c.blank()
	entries := c.archive(state.Query{Room: in("hall")}).Entries
	if len(entries) != 2 || string(entries[0].Room.Payload) != "<ephemeral xmlns='urn:xmpp:ephemeral:0' timer='60'/>" ||
		entries[0].Number != 1 || entries[0].Room.Id != "m1" || !strings.Contains(string(entries[1].Room.Payload), "m2") {
		t.Errorf("%+v", entries)
	}
	c.scrub()
	again := says("hall", "ann", "m3", speaker)
	again.GetRoomMessage().Timer = 60
	c.accept(again)
	c.accept(destroyRoom("hall", "ann"))
	c.now = c.now.Add(time.Minute)
	c.blank()
	c.scrub()
}

// randomFading draws messages that blank others or become blank.
func randomFading(r *rapid.T, from, to string, i int) *command.Command {
	id, target := fmt.Sprint("f", i), fmt.Sprint("m", rapid.IntRange(0, 4).Draw(r, "target"))
	switch rapid.IntRange(0, 6).Draw(r, "fading") {
	case 0:
		return retracting(from+"/x", to, id, target)
	case 1:
		return correcting(from+"/x", to, id, target)
	case 2:
		return timed(from+"/x", to, target, rapid.SampledFrom([]uint32{1, 86_400, 1 << 31}).Draw(r, "timer"))
	case 3:
		return displayed(from+"/x", to, id, target)
	case 4:
		said := says(rapid.SampledFrom([]string{"r0", "r1"}).Draw(r, "room"), from, id, speaker)
		said.GetRoomMessage().Timer = 5
		return said
	case 5:
		read := displays(from, to, command.Position{Revision: uint64(rapid.IntRange(1, i+1).Draw(r, "read"))})
		if rapid.Bool().Draw(r, "with a message") {
			with := message(from+"/x", to, target)
			with.Level, with.Displayed = 1, read.GetPubsubPublish()
			return with
		}
		return read
	}
	return blank()
}
