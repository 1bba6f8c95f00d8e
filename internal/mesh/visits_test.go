// SPDX-License-Identifier: Apache-2.0

package mesh

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"bavard/internal/command"
	"bavard/internal/room"
	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// roomHub keeps what it is told of rooms.
type roomHub struct{ *hub }

func (h roomHub) Visited(node string, p room.Place, why room.Cause) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.changed = append(h.changed, fmt.Sprintf("%s: %s in %s %d", node, p.JID, p.Room, why.Status))
}

func (h roomHub) Arrived(node string, p *room.Passed) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if g := p.Giving; g != nil {
		h.arrived = append(h.arrived, fmt.Sprintf("%s: in %s %+v", node, p.Room, *g))
		return
	}
	h.arrived = append(h.arrived, fmt.Sprintf("%s: in %s to %s: %s", node, p.Room, p.To, p.Stanza.Name.Local))
}

const hall = "hall@rooms.localhost"

func visiting(t testing.TB, full string) *room.Visit {
	t.Helper()
	return &room.Visit{
		Place: room.Place{Room: hall, JID: address(t, full)}, Nick: "é " + full[:2], ID: "id", Affiliation: command.Affiliation_AFFILIATION_ADMIN,
		Role: command.RoomRole_ROOM_ROLE_MODERATOR, Public: true, Presence: []*xmlstream.Element{xmlstream.NewText(stanza.NSClient, "show", "away")},
	}
}

func (w *world) crowd(node string, n int) {
	w.t.Helper()
	w.until(fmt.Sprintf("%s knows %d in the room", node, n), func() bool { return w.meshes[node].Rooms().Crowd(hall) == n })
}

// TestVisits: who is in a room on one node is known on the others, whole and then as
// it changes, with why; and not any more once the node is given up.
func TestVisits(t *testing.T) {
	t.Parallel()
	var reached, voters atomic.Bool
	reached.Store(true)
	voters.Store(true)
	w := newWorld(t, func(o *Options) {
		o.Grace, o.Silence = 500*time.Millisecond, 30*time.Second
		o.Reached = func(string) bool { return reached.Load() }
		o.Voter = func(string) bool { return voters.Load() }
	})
	w.start("a")
	a := w.meshes["a"].Rooms()
	for i := range 2*chunkMost + 1 { // more than one part of a snapshot
		v := visiting(t, fmt.Sprintf("u%d@localhost/x", i))
		a.Tell(v.Place, v, room.Cause{})
	}
	w.start("b", "c")
	w.crowd("b", 2*chunkMost+1)
	want := visiting(t, "u0@localhost/x")
	b := w.meshes["b"].Rooms()
	got := b.Visit("a", want.Place)
	if got == nil || got.Presence[0].Text() != "away" || b.Visit("c", want.Place) != nil {
		t.Fatalf("b knows %+v", got)
	}
	want.Presence = got.Presence
	if !want.Same(got) {
		t.Errorf("b knows %+v, want %+v", got, want)
	}
	for _, m := range w.meshes {
		w.until("all is known", m.Rooms().Certain)
	}
	changed := visiting(t, "u0@localhost/x")
	changed.Nick = "else"
	a.Tell(changed.Place, changed, room.Cause{})
	w.until("b knows the nick", func() bool { return b.Visit("a", want.Place).Nick == "else" })
	if !slices.Equal(b.Visit("a", want.Place).Presence, got.Presence) {
		t.Error("the same presence is another one")
	}
	outcast := command.Affiliation_AFFILIATION_OUTCAST
	a.Tell(want.Place, nil, room.Cause{Status: []int{301}, Reason: "why", Actor: "who", Affiliation: &outcast})
	w.told("b", "a: u0@localhost/x in "+hall+" [301]")
	w.crowd("c", 2*chunkMost)

	w.stop("a")
	w.crowd("b", 0)
	w.until("a is given up", w.meshes["b"].Whole)
	if b.Certain() {
		t.Error("a may be there: the journal reaches it")
	}
	reached.Store(false)
	w.until("a is gone", b.Certain)
	w.stop("c")
	w.until("c is lost", func() bool { return len(w.meshes["b"].hears()) == 0 })
	w.until("c is given up", w.meshes["b"].Whole)
	if b.Certain() {
		t.Error("a node that hears nobody is certain")
	}
	voters.Store(false)
	if !b.Certain() {
		t.Error("a node is not certain although no other is in the cell")
	}
}

// TestVisitsOfOlderNodes: a node that does not know of rooms is told nothing of
// them, and while it is there nobody is certain of who is in one.
func TestVisitsOfOlderNodes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, patient)
	w.start("a")
	v := visiting(t, "u0@localhost/x")
	w.meshes["a"].Rooms().Tell(v.Place, v, room.Cause{})
	older := w.make("b")
	o := older.attach(older.peers["a"], false)
	if _, all := older.take(o); len(all.visits) != 0 {
		t.Error("it is told of rooms at first")
	}
	older.Rooms().Tell(v.Place, v, room.Cause{})
	older.Tell(online(t, "u0@localhost/x"), false)
	if frames, _ := older.take(o); len(frames) != 1 || frames[0].frame.GetChange().GetSession() == nil {
		t.Errorf("it is told %v", frames)
	}
	stream := w.dial("b", "a")
	for _, f := range []*Frame{w.hello("b"), {Content: &Frame_Snapshot{&Snapshot{Generation: 1, Begins: true, Ends: true}}}} {
		if err := stream.SendMsg(f); err != nil {
			t.Fatal(err)
		}
	}
	w.until("b is heard", func() bool { return slices.Equal(w.meshes["a"].hears(), []string{"b"}) })
	w.start("c")
	w.until("c is heard", func() bool { return len(w.meshes["a"].hears()) == 2 })
	if w.meshes["a"].Rooms().Certain() {
		t.Error("b may have somebody in the room")
	}
}

// TestHeardByOthers: a node that another one hears is not gone.
func TestHeardByOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, patient)
	m := w.make("a")
	m.o.Reached = func(string) bool { return false }
	c, b := m.peers["c"], m.peers["b"]
	in := m.open(c, &Hello{Rooms: true})
	c.heard, b.given = true, true
	if !m.Rooms().Certain() {
		t.Error("b is gone")
	}
	if err := m.frame(in, &Frame{Content: &Frame_Beat{&Beat{Hears: []string{"a", "b"}}}}); err != nil || m.Rooms().Certain() {
		t.Errorf("c hears b: %v", err)
	}
}

// badInRooms are frames about rooms that make no sense.
func badInRooms(hello *Frame) map[string][]*Frame {
	snapshot := func(s *Snapshot) *Frame { return &Frame{Content: &Frame_Snapshot{s}} }
	change := func(c *Change) *Frame { return &Frame{Content: &Frame_Change{c}} }
	pass := func(p *Passed) *Frame { return &Frame{Content: &Frame_Passed{p}} }
	whole := snapshot(&Snapshot{Generation: 1, Begins: true, Ends: true})
	return map[string][]*Frame{
		"another room":        {hello, snapshot(&Snapshot{Generation: 1, Begins: true, Visits: []*Visit{{Room: "r@example.org", Jid: "u@localhost/x", Nick: "u"}}})},
		"no room":             {hello, snapshot(&Snapshot{Generation: 1, Begins: true, Visits: []*Visit{{Room: "r@rooms.localhost/u", Jid: "u@localhost/x", Nick: "u"}}})},
		"nobody in a room":    {hello, snapshot(&Snapshot{Generation: 1, Begins: true, Visits: []*Visit{{Room: "r@rooms.localhost", Jid: "u@localhost", Nick: "u"}}})},
		"no nick":             {hello, snapshot(&Snapshot{Generation: 1, Begins: true, Visits: []*Visit{{Room: "r@rooms.localhost", Jid: "u@localhost/x"}}})},
		"a role":              {hello, snapshot(&Snapshot{Generation: 1, Begins: true, Visits: []*Visit{{Room: "r@rooms.localhost", Jid: "u@localhost/x", Nick: "u", Role: 3}}})},
		"an affiliation":      {hello, snapshot(&Snapshot{Generation: 1, Begins: true, Visits: []*Visit{{Room: "r@rooms.localhost", Jid: "u@localhost/x", Nick: "u", Affiliation: 1 << 31}}})},
		"what a visitor says": {hello, snapshot(&Snapshot{Generation: 1, Begins: true, Visits: []*Visit{{Room: "r@rooms.localhost", Jid: "u@localhost/x", Nick: "u", Presence: []byte("<iq/>")}}})},
		"who left":            {hello, whole, change(&Change{Generation: 1, Number: 1, What: &Change_Left{&Left{Room: "r@rooms.localhost", Jid: "u@localhost"}}})},
		"a status code":       {hello, whole, change(&Change{Generation: 1, Number: 1, What: &Change_Left{&Left{Room: "r@rooms.localhost", Jid: "u@localhost/x"}}, Cause: &Cause{Status: []uint32{7}}})},
		"what is passed on":   {hello, pass(&Passed{Room: hall})},
		"a room's presence":   {hello, pass(&Passed{Room: hall, Xml: []byte("<presence xmlns='jabber:client'/>")})},
		"passed nowhere":      {hello, pass(&Passed{Room: "hall@example.org", Xml: []byte("<iq xmlns='jabber:client'/>")})},
		"passed to nobody":    {hello, pass(&Passed{Room: hall, To: "u@localhost", Xml: []byte("<iq xmlns='jabber:client'/>")})},
		"a role for nobody":   {hello, pass(&Passed{Room: hall, Giving: &Giving{Nick: "u"}})},
		"a role of no kind":   {hello, pass(&Passed{Room: hall, Giving: &Giving{Nick: "u", Jid: "u@localhost", Role: 4}})},
	}
}

// TestPassedInRooms: what is said in a room, answers and roles reach a node that
// knows of rooms, and no other.
func TestPassedInRooms(t *testing.T) {
	t.Parallel()
	w := newWorld(t, patient)
	w.start("a", "b")
	a := w.meshes["a"].Rooms()
	u := address(t, "u@localhost/x")
	st := xmlstream.New(stanza.NSClient, "message", "from", hall+"/v").Add(xmlstream.New(stanza.NSChatStates, "composing"))
	w.until("a reaches b", func() bool { return a.Pass("b", &room.Passed{Room: hall, Stanza: st}) })
	for _, p := range []*room.Passed{
		{Room: hall, To: u, Stanza: xmlstream.New(stanza.NSClient, "iq", "type", "get")},
		{Room: hall, Giving: &room.Giving{Nick: "u", Who: u.Bare(), Role: -1, Reason: "why", Actor: "v"}},
	} {
		if !a.Pass("b", p) {
			t.Errorf("%+v is not passed on", p)
		}
	}
	w.told("b", "a: in "+hall+" to : message")
	w.told("b", "a: in "+hall+" to u@localhost/x: iq")
	w.told("b", "a: in "+hall+" {Nick:u Who:u@localhost Role:-1 Reason:why Actor:v}")
	older := w.make("b")
	older.attach(older.peers["a"], false)
	if older.Rooms().Pass("a", &room.Passed{Room: hall, Stanza: st}) || older.Stats().Shed != 1 {
		t.Error("an older node is told of rooms")
	}
	long := xmlstream.NewText(stanza.NSClient, "message", strings.Repeat("x", stanzaMost))
	if a.Pass("b", &room.Passed{Room: hall, Stanza: long}) {
		t.Error("a stanza has no bound")
	}
}
