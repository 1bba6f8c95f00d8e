// SPDX-License-Identifier: Apache-2.0

package room

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"bavard/internal/command"
	"bavard/internal/jid"
	"bavard/internal/stanza"
	"bavard/internal/state"
	"bavard/internal/xmlstream"
)

const hall = "hall@rooms.localhost"

// node is one of two nodes that tell each other everything at once, unless they
// are cut.
type node struct {
	name  string
	hub   *Hub
	other *node

	mu      sync.Mutex
	tells   map[Place]*Visit // what is so here
	known   map[Place]*Visit // of the other
	cut     bool
	unsure  bool
	removed []string
}

func (n *node) Tell(p Place, v *Visit, why Cause) {
	n.mu.Lock()
	if n.tells[p] = v; v == nil {
		delete(n.tells, p)
	}
	cut := n.cut
	n.mu.Unlock()
	if !cut {
		n.other.hears(p, v, why)
	}
}

func (n *node) hears(p Place, v *Visit, why Cause) {
	n.mu.Lock()
	if n.known[p] = v; v == nil {
		delete(n.known, p)
	}
	n.mu.Unlock()
	n.hub.Visited(n.other.name, p, why)
}

func (n *node) Visit(name string, p Place) *Visit {
	n.mu.Lock()
	defer n.mu.Unlock()
	if name != n.other.name {
		return nil
	}
	return n.known[p]
}

func (n *node) Visits(room string) (list []Remote) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for p, v := range n.known {
		if p.Room == room {
			list = append(list, Remote{n.other.name, v})
		}
	}
	return list
}

func (n *node) Pass(name string, p *Passed) bool {
	n.mu.Lock()
	cut := n.cut || name != n.other.name
	n.mu.Unlock()
	if cut {
		return false
	}
	c := *p
	c.Stanza = p.Stanza.Clone()
	n.other.hub.Arrived(n.name, &c)
	return true
}

func (n *node) Crowd(room string) int { return len(n.Visits(room)) }

func (n *node) Certain() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return !n.cut && !n.unsure
}

func (n *node) set(change func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change()
}

// heal ends a cut, on both sides; lose has both forget each other.
func (n *node) heal() { n.learn(); n.other.learn() }
func (n *node) lose() { n.forget(); n.other.forget() }

func (n *node) forget() {
	var gone []Place
	n.set(func() {
		for p := range n.known {
			gone = append(gone, p)
		}
		n.cut, n.known = true, map[Place]*Visit{}
	})
	for _, p := range gone {
		n.hub.Visited(n.other.name, p, Cause{})
	}
}

func (n *node) learn() {
	said := map[Place]*Visit{}
	n.other.set(func() {
		for p, v := range n.other.tells {
			said[p] = v
		}
	})
	n.set(func() { n.cut = false })
	for p, v := range said {
		n.hears(p, v, Cause{})
	}
}

// claims is a view whose nicks are held, and of which all nodes have the same.
type claims struct {
	open
	mu    *sync.Mutex
	nicks map[string]string
	gone  map[string]bool
}

func (c claims) Room(j string) (state.Room, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone[j] {
		return state.Room{}, state.ErrNotFound
	}
	return c.open.Room(j)
}

func (c claims) RoomNick(_, nick string) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nicks[nick], nil
}

// pair gives f two nodes on fake time, with an open, temporary room.
func pair(t *testing.T, f func(view claims, a, b *node)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		config := command.DefaultRoom()
		*config.MembersOnly, *config.Persistent = false, false
		view := claims{open: open{config}, mu: &sync.Mutex{}, nicks: map[string]string{}, gone: map[string]bool{}}
		var nodes []*node
		for _, name := range []string{"a", "b"} {
			n := &node{name: name, tells: map[Place]*Visit{}, known: map[Place]*Visit{}}
			n.hub = NewHub(Options{
				Domain: "rooms.localhost", View: view, IDs: view, OccupantKey: []byte("0123456789abcdef"), Elsewhere: n,
				Do: func(_ context.Context, c *command.Command) (command.Outcome, error) {
					room := c.GetRoomDestroy().GetRoom()
					view.mu.Lock()
					defer view.mu.Unlock()
					if view.gone[room] { // two may have it removed at once, and the second is refused
						return command.Outcome{Verdict: command.Refused, Err: stanza.Err(stanza.Cancel, stanza.ItemNotFound, "")}, nil
					}
					view.gone[room] = true
					n.set(func() { n.removed = append(n.removed, room) })
					return command.Outcome{}, nil
				},
			})
			nodes = append(nodes, n)
		}
		nodes[0].other, nodes[1].other = nodes[1], nodes[0]
		f(view, nodes[0], nodes[1])
		synctest.Wait()
		for _, n := range nodes {
			n.hub.Close()
		}
	})
}

// enters has a device of somebody come in.
func (n *node) enters(t *testing.T, who, nick string) *device {
	t.Helper()
	d := &device{}
	n.hub.enter(d, entry(t, who+"@localhost/x", hall+"/"+nick))
	synctest.Wait()
	return d
}

// take gives what a device got since the last time: of presence, the nick, whether it
// is gone, and the status codes.
func (d *device) take() (list []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.got {
		_, nick, _ := strings.Cut(s, hall)
		nick, _, _ = strings.Cut(strings.TrimPrefix(nick, "/"), "'")
		text := nick
		switch {
		case strings.HasPrefix(s, "<message"):
			text = "message " + nick
		case strings.Contains(s, "type='unavailable'"):
			text = "-" + nick
		}
		for _, code := range []int{110, 201, 301, 303, 307, 333} {
			if strings.Contains(s, fmt.Sprintf("code='%d'", code)) {
				text += fmt.Sprintf(" %d", code)
			}
		}
		list = append(list, strings.TrimSpace(text))
	}
	d.got = nil
	return list
}

func (d *device) gets(t *testing.T, what string, want ...string) {
	t.Helper()
	synctest.Wait()
	if got := d.take(); !slices.Equal(got, want) {
		t.Errorf("%s: it has %q, want %q", what, got, want)
	}
}

func (n *node) says(t *testing.T, d *device, who, to, typ string, children ...*xmlstream.Element) {
	t.Helper()
	q := entry(t, who+"@localhost/x", to)
	q.x, q.Stanza = nil, xmlstream.New(stanza.NSClient, "presence", "from", q.From.String(), "to", to, "type", typ).Add(children...)
	if typ == "unavailable" {
		n.hub.exit(d, q.Request)
	} else {
		n.hub.enter(d, q)
	}
	synctest.Wait()
}

// TestOccupantsElsewhere: who is on another node is seen as who is here, in the order
// of XEP-0045 §order @1.35.5.
func TestOccupantsElsewhere(t *testing.T) {
	pair(t, func(_ claims, a, b *node) {
		ann := a.enters(t, "ann", "ann")
		ann.gets(t, "ann enters", "ann 110", "message")
		bob := b.enters(t, "bob", "bob")
		bob.gets(t, "bob enters", "ann", "bob 110", "message")
		ann.gets(t, "bob has come", "bob")
		b.says(t, bob, "bob", hall+"/bob", "", xmlstream.NewText(stanza.NSClient, "show", "away"))
		ann.gets(t, "bob is away", "bob")
		b.says(t, bob, "bob", hall+"/rob", "")
		ann.gets(t, "bob is rob", "-bob 303", "rob")
		bob.take()
		if got := a.hub.Occupant(must(t, hall), "rob"); got.String() != "bob@localhost" || a.hub.Count(hall) != 2 {
			t.Errorf("rob is %s, of %d", got, a.hub.Count(hall))
		}
		if room, full := must(t, hall), must(t, "bob@localhost/x"); !a.hub.InsideOn("b", room, full) || a.hub.InsideOn("c", room, full) || a.hub.InsideOn("", room, full) || !b.hub.InsideOn("", room, full) {
			t.Error("where rob is is not known")
		}
		d := b.enters(t, "eve", "ann") // on the other node somebody has this nick
		if got := d.take(); len(got) != 1 || b.hub.Stats().Visits != 1 {
			t.Errorf("eve has %q", got)
		}
		// Another device of ann: she is there until both have gone.
		q := entry(t, "ann@localhost/y", hall+"/ann")
		tablet := &device{}
		b.hub.enter(tablet, q)
		tablet.gets(t, "ann's tablet enters", "rob", "ann 110", "message")
		ann.gets(t, "her tablet has come", "ann 110")
		bob.gets(t, "her tablet has come", "ann")
		a.says(t, ann, "ann", hall+"/ann", "unavailable")
		bob.gets(t, "ann's tablet is there")
		b.hub.Gone(tablet)
		bob.gets(t, "ann has gone", "-ann")
		b.hub.Gone(bob)
		synctest.Wait()
		if a.hub.Count(hall) != 0 || b.hub.Count(hall) != 0 || a.Crowd(hall)+b.Crowd(hall) != 0 {
			t.Error("somebody is left")
		}
	})
}

func must(t *testing.T, s string) jid.JID {
	t.Helper()
	j, err := jid.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// TestCutRooms: two nodes that did not hear of each other show the same when they
// do again, and of two who took one nick stays who has it durably.
func TestCutRooms(t *testing.T) {
	pair(t, func(view claims, a, b *node) {
		ann, bob := a.enters(t, "ann", "ann"), b.enters(t, "bob", "bob")
		a.lose()
		ann.gets(t, "b is lost", "ann 110", "message", "bob", "-bob")
		one, two := a.enters(t, "one", "same"), b.enters(t, "two", "same")
		view.mu.Lock()
		view.nicks["same"] = "two@localhost"
		view.mu.Unlock()
		one.take()
		two.take()
		bob.take()
		ann.take()
		a.heal()
		two.gets(t, "two stays", "ann")
		if got := one.take(); !slices.Contains(got, "-same 110 333") {
			t.Errorf("one has %q", got)
		}
		got := ann.take() // bob at any time
		if slices.Sort(got); !slices.Equal(got, []string{"-same 333", "bob", "same"}) {
			t.Errorf("ann has %q", got)
		}
		for _, n := range []*node{a, b} {
			if got := n.hub.Occupant(must(t, hall), "same"); got.String() != "two@localhost" || n.hub.Count(hall) != 3 {
				t.Errorf("on %s it is %s, of %d", n.name, got, n.hub.Count(hall))
			}
		}
	})
}

// TestLateClaim: a node that applies a claim later than it hears of the device shows
// it then.
func TestLateClaim(t *testing.T) {
	pair(t, func(view claims, a, b *node) {
		ann := a.enters(t, "ann", "ann")
		a.lose()
		one := a.enters(t, "one", "same")
		b.enters(t, "two", "same")
		a.heal()
		ann.take()
		one.take()
		view.mu.Lock()
		view.nicks["same"] = "two@localhost"
		view.mu.Unlock()
		a.hub.Offer([]state.Event{{Kind: state.EventRoom, Account: hall, Room: &state.RoomEvent{Nick: &command.RoomNick{Room: hall, Jid: "two@localhost", Nick: "same"}}}})
		ann.gets(t, "two has it", "-same 333", "same")
		one.gets(t, "and one does not", "-same 110 333")
	})
}

// TestTemporaryRoomOnTwoNodes: it goes when nobody is in it on any node, and only
// then.
func TestTemporaryRoomOnTwoNodes(t *testing.T) {
	count := func(a, b *node) int { return len(a.removed) + len(b.removed) }
	wait := func() { time.Sleep(20 * time.Second); synctest.Wait() }
	pair(t, func(_ claims, a, b *node) {
		ann, bob := a.enters(t, "ann", "ann"), b.enters(t, "bob", "bob")
		a.hub.Gone(ann)
		wait()
		if count(a, b) != 0 {
			t.Fatal("the room is removed while bob is in it")
		}
		ann = a.enters(t, "ann", "ann")
		ann.gets(t, "she is back", "bob", "ann 110", "message")
		a.hub.Gone(ann) // both at once
		b.hub.Gone(bob)
		wait()
		if count(a, b) != 1 {
			t.Fatalf("it was removed %d times", count(a, b))
		}
	})
	pair(t, func(_ claims, a, b *node) { // a node that is cut off does not decide
		ann, bob := a.enters(t, "ann", "ann"), b.enters(t, "bob", "bob")
		a.lose()
		a.hub.Gone(ann)
		wait()
		if count(a, b) != 0 {
			t.Fatal("a node that does not know of the other removes the room")
		}
		a.heal()
		wait()
		b.set(func() { b.unsure = true })
		a.set(func() { a.unsure = true })
		b.hub.Gone(bob)
		wait()
		if count(a, b) != 0 {
			t.Fatal("it is removed while a third node is not known")
		}
		b.set(func() { b.unsure = false })
		wait()
		if len(b.removed) != 1 {
			t.Fatalf("it was removed %d times", count(a, b))
		}
	})
	pair(t, func(_ claims, a, b *node) { // the node of the only occupant dies
		a.enters(t, "ann", "ann")
		b.forget()
		b.set(func() { b.cut = false })
		wait()
		if len(b.removed) != 1 {
			t.Fatal("the room stays")
		}
	})
}
