// SPDX-License-Identifier: Apache-2.0

package room

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"bavard/internal/command"
	"bavard/internal/state"
)

// crowded fills an open room: an owner, then many others. It gives the owner's
// device and theirs.
func crowded(t testing.TB, h *Hub, room string, people int) (owner *device, others []*device) {
	t.Helper()
	owner = &device{}
	h.enter(owner, entry(t, "owner@localhost/x", room+"/owner"))
	for i := range people {
		d := &device{}
		others = append(others, d)
		h.enter(d, entry(t, fmt.Sprintf("u%d@localhost/x", i), fmt.Sprintf("%s/n%04d", room, i)))
	}
	h.settle(room)
	return owner, others
}

// sees counts the occupants that a device knows to be there, of all that it got.
func (d *device) sees() map[string]bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	there := map[string]bool{}
	for _, s := range d.got {
		if !strings.HasPrefix(s, "<presence ") {
			continue
		}
		_, nick, _ := strings.Cut(s, "rooms.localhost/")
		nick, _, _ = strings.Cut(nick, "'")
		if strings.Contains(s, "type='unavailable'") {
			delete(there, nick)
		} else {
			there[nick] = true
		}
	}
	return there
}

// affiliate has the view tell a room of a change.
func (h *Hub) affiliate(room, who string, a command.Affiliation, revision uint64) {
	h.Offer([]state.Event{{Kind: state.EventRoom, Account: room, Position: command.Position{Revision: revision}, Room: &state.RoomEvent{
		By: "owner@localhost/x", Changes: []state.RoomChange{{JID: who, New: a}},
	}}})
	h.settle(room)
}

// In a room that is open to all and has filled, all see the same people, and
// themselves; moderators see everybody. Nobody who was seen stays when gone.
func TestACrowdIsSeenByModerators(t *testing.T) {
	h := newHub(t)
	const room, people = "r@rooms.localhost", publicMost + 50
	owner, others := crowded(t, h, room, people)
	if n := len(owner.sees()); n != people+1 {
		t.Errorf("the owner sees %d of %d", n, people+1)
	}
	for i, d := range others {
		want := publicMost // with the owner, and perhaps itself
		if i >= publicMost-1 {
			want++
		}
		there := d.sees()
		if len(there) != want || !there["owner"] || !there[fmt.Sprintf("n%04d", i)] {
			t.Fatalf("the %dth sees %d, %d are right", i, len(there), want)
		}
		if !strings.Contains(d.all(), "<status code='110'/>") || !strings.Contains(d.all(), "<subject>") {
			t.Fatalf("the %dth does not know that it is in", i)
		}
	}
	// Who is not seen by all leaves: moderators are told. Who is seen leaves: all are.
	last, first := people-1, others[people-2]
	h.Gone(others[last])
	h.Gone(others[0])
	h.settle(room)
	if there := owner.sees(); there["n0000"] || there[fmt.Sprintf("n%04d", last)] {
		t.Error("the owner sees who has left")
	}
	if first.sees()["n0000"] || strings.Contains(first.all(), fmt.Sprintf("n%04d", last)) {
		t.Error("who has left is seen, or it is told that somebody has who was not seen")
	}
	// There is room for one more that all see: the next who changes its presence.
	q := entry(t, fmt.Sprintf("u%d@localhost/x", people-2), fmt.Sprintf("%s/n%04d", room, people-2))
	q.x = nil
	h.enter(first, q)
	h.settle(room)
	if !others[1].sees()[fmt.Sprintf("n%04d", people-2)] {
		t.Error("who comes to be seen is not shown")
	}
	// A new moderator is shown to all, and sees all.
	h.affiliate(room, fmt.Sprintf("u%d@localhost", people-3), command.Affiliation_AFFILIATION_ADMIN, 1)
	if !others[1].sees()[fmt.Sprintf("n%04d", people-3)] || len(others[people-3].sees()) != people-1 {
		t.Errorf("a new moderator sees %d of %d", len(others[people-3].sees()), people-1)
	}
	h.affiliate(room, fmt.Sprintf("u%d@localhost", people-3), command.Affiliation_AFFILIATION_NONE, 2)
	h.Gone(others[people-4])
	h.settle(room)
	if others[people-3].sees()[fmt.Sprintf("n%04d", people-4)] {
		t.Error("who was a moderator sees somebody who has left")
	}
}

// reconfigure has the view tell a room that its owner has changed what is set by change.
func (h *Hub) reconfigure(room string, revision uint64, change func(*command.RoomConfig)) {
	c := h.o.View.(open).config
	old := proto.CloneOf(c)
	change(c)
	h.Offer([]state.Event{{Kind: state.EventRoom, Account: room, Position: command.Position{Revision: revision}, Room: &state.RoomEvent{Configured: true, Old: old}}})
	h.settle(room)
}

// In a crowd whose owner has nobody but moderators seen, nobody but moderators is,
// and what it costs to enter does not depend on how many are there.
func TestACrowdIsSeenAsItsOwnerWants(t *testing.T) {
	h := newHub(t)
	const room, people = "r@rooms.localhost", publicMost + 50
	owner, others := crowded(t, h, room, people)
	first, last := others[0], others[people-1]
	h.reconfigure(room, 1, func(c *command.RoomConfig) { setSeen(c, []string{"moderator"}) })
	if len(owner.sees()) != people+1 || !maps.Equal(first.sees(), map[string]bool{"owner": true, "n0000": true}) {
		t.Errorf("the owner sees %d, the first %v", len(owner.sees()), first.sees())
	}
	before := h.Stats().Handed
	late := &device{}
	h.enter(late, entry(t, "late@localhost/x", room+"/late"))
	h.settle(room)
	// Owner, self, subject; and the owner sees it come.
	if n := h.Stats().Handed - before; n != 4 || !maps.Equal(late.sees(), map[string]bool{"owner": true, "late": true}) {
		t.Errorf("who enters costs %d and sees %v", n, late.sees())
	}
	h.reconfigure(room, 2, func(c *command.RoomConfig) { setSeen(c, nil) })
	if !maps.Equal(last.sees(), map[string]bool{fmt.Sprintf("n%04d", people-1): true}) || !owner.sees()["owner"] {
		t.Errorf("the last sees %v", last.sees())
	}
	h.reconfigure(room, 3, func(c *command.RoomConfig) { setSeen(c, roles[:]) })
	if n := len(last.sees()); n < publicMost || n > publicMost+2 || !last.sees()["owner"] {
		t.Errorf("the last sees %d", n)
	}
}

// Whatever happens in a room, everybody knows exactly who is there of those whom
// they are to see: nobody stays who has gone, nobody is missing.
func TestEverybodySeesWhoIsThere(t *testing.T) {
	for seed := range uint64(30) {
		h := newHub(t)
		rnd := rand.New(rand.NewPCG(seed, 1))
		const room, people = "r@rooms.localhost", 6
		devices := map[int]*device{}
		for step := range uint64(60) {
			i := rnd.IntN(people)
			who := fmt.Sprintf("u%d@localhost", i)
			switch op := rnd.IntN(10); {
			case devices[i] == nil || op < 2: // enters, is called otherwise, or asks again
				if devices[i] == nil {
					devices[i] = &device{}
				}
				h.enter(devices[i], entry(t, who+"/x", fmt.Sprintf("%s/u%d-%d", room, i, rnd.IntN(2))))
			case op < 4:
				h.Gone(devices[i])
				delete(devices, i)
			case op < 8:
				h.affiliate(room, who, []command.Affiliation{0, command.Affiliation_AFFILIATION_MEMBER, command.Affiliation_AFFILIATION_ADMIN}[rnd.IntN(3)], step+1)
			default:
				h.reconfigure(room, step+1, func(c *command.RoomConfig) {
					c.Unseen, c.Moderated = proto.Uint32(rnd.Uint32N(command.RoomUnseen+1)), proto.Bool(rnd.IntN(2) == 0)
				})
			}
			h.settle(room)
			h.sees(t, room, fmt.Sprintf("seed %d, step %d", seed, step))
		}
	}
}

// sees compares what each device in a room knows with who is there.
func (h *Hub) sees(t *testing.T, room, when string) {
	t.Helper()
	r := h.shard(room).rooms[room]
	if r == nil {
		return
	}
	for _, v := range r.visits {
		want := map[string]bool{}
		for nick, o := range r.occupants {
			if o == v.is || v.all || o.public {
				want[nick] = true
			}
		}
		if got := v.device.(*device).sees(); !maps.Equal(got, want) {
			t.Fatalf("%s: %s sees %v, there are %v", when, v.to, got, want)
		}
	}
	for nick, o := range r.occupants {
		if o.public != r.seen(o) || o.public != (r.public[nick] == o) {
			t.Fatalf("%s: %s is seen by all: %v", when, nick, o.public)
		}
	}
}

// Who is called otherwise is seen by those who saw them.
func TestACrowdRenames(t *testing.T) {
	h := newHub(t)
	const room, people = "r@rooms.localhost", publicMost + 20
	owner, others := crowded(t, h, room, people)
	for _, i := range []int{3, people - 1} {
		h.enter(others[i], entry(t, fmt.Sprintf("u%d@localhost/x", i), fmt.Sprintf("%s/new%04d", room, i)))
	}
	h.settle(room)
	for name, want := range map[string][2]bool{"new0003": {true, true}, "n0003": {false, false}, fmt.Sprintf("new%04d", people-1): {true, false}, fmt.Sprintf("n%04d", people-1): {false, false}} {
		if owner.sees()[name] != want[0] || others[5].sees()[name] != want[1] {
			t.Errorf("%s: the owner sees it: %v, others: %v", name, owner.sees()[name], others[5].sees()[name])
		}
	}
	if !others[people-1].sees()[fmt.Sprintf("new%04d", people-1)] {
		t.Error("it does not see itself")
	}
}

// In a room for members, all see all.
func TestMembersSeeEachOther(t *testing.T) {
	h := newHub(t)
	h.o.View.(open).config.MembersOnly = new(bool)
	*h.o.View.(open).config.MembersOnly = false
	const room, people = "r@rooms.localhost", publicMost + 10
	_, others := crowded(t, h, room, people)
	if n := len(others[people-1].sees()); n != publicMost+1 {
		t.Fatalf("%d", n)
	}
	old := command.DefaultRoom()
	*old.MembersOnly = false
	*h.o.View.(open).config.MembersOnly = true
	for i := range people { // they become members first
		h.affiliate(room, fmt.Sprintf("u%d@localhost", i), command.Affiliation_AFFILIATION_MEMBER, uint64(i+1))
	}
	h.Offer([]state.Event{{Kind: state.EventRoom, Account: room, Position: command.Position{Revision: 999}, Room: &state.RoomEvent{Configured: true, Old: old}}})
	h.settle(room)
	for _, i := range []int{0, people - 1} {
		if n := len(others[i].sees()); n != people+1 {
			t.Errorf("the %dth sees %d of %d", i, n, people+1)
		}
	}
}

// What it takes that very many enter an open room does not grow with their square.
func TestVeryManyEnter(t *testing.T) {
	h := newHub(t)
	const room, people = "r@rooms.localhost", 1500
	began := time.Now()
	owner, others := crowded(t, h, room, people-1)
	took, st := time.Since(began), h.Stats()
	t.Logf("%d entered in %v, %d stanzas", people, took, st.Handed)
	if st.Visits != people || st.Handed > people*(publicMost+10) || len(owner.sees()) != people || len(others[people-2].sees()) != publicMost+1 {
		t.Errorf("%+v", st)
	}
}

func BenchmarkEnter(b *testing.B) {
	c := command.DefaultRoom()
	*c.MembersOnly = false
	o := open{c}
	for b.Loop() {
		h := NewHub(Options{Domain: "rooms.localhost", View: o, IDs: o, Do: o.Do, OccupantKey: []byte("0123456789abcdef")})
		crowded(b, h, "r@rooms.localhost", 5000)
		h.Close()
	}
}

// BenchmarkEnterTheLast is what it costs that the 5,000th enters an open room, and
// leaves it.
func BenchmarkEnterTheLast(b *testing.B) {
	c := command.DefaultRoom()
	*c.MembersOnly = false
	o := open{c}
	h := NewHub(Options{Domain: "rooms.localhost", View: o, IDs: o, Do: o.Do, OccupantKey: []byte("0123456789abcdef")})
	defer h.Close()
	const room = "r@rooms.localhost"
	owner, _ := crowded(b, h, room, command.RoomOccupants-2)
	before := h.Stats().Handed
	for b.Loop() {
		last := &device{}
		h.enter(last, entry(b, "last@localhost/x", room+"/last"))
		h.Gone(last)
		h.settle(room)
		owner.mu.Lock()
		owner.got = owner.got[:0]
		owner.mu.Unlock()
	}
	b.ReportMetric(float64(h.Stats().Handed-before)/float64(b.N), "stanzas/op")
}
