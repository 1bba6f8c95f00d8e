// SPDX-License-Identifier: Apache-2.0

package room

import (
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bavard/internal/command"
	"bavard/internal/jid"
	"bavard/internal/route"
	"bavard/internal/stanza"
	"bavard/internal/state"
	"bavard/internal/xmlstream"
)

// open is a view in which every room exists, is open, and everybody owns it
// who is called so.
type open struct{ config *command.RoomConfig }

func (o open) Room(j string) (state.Room, error) {
	if strings.HasPrefix(j, "nowhere@") {
		return state.Room{}, state.ErrNotFound
	}
	return state.Room{JID: j, Config: o.config}, nil
}

func (open) RoomMember(_, j string) (state.RoomMember, error) {
	m := state.RoomMember{JID: j}
	if strings.HasPrefix(j, "owner") {
		m.Affiliation = command.Affiliation_AFFILIATION_OWNER
	}
	return m, nil
}

func (open) RoomMembers(string) ([]state.RoomMember, error)           { return nil, nil }
func (open) RoomNick(string, string) (string, error)                  { return "", nil }
func (open) Rooms(string, int) ([]state.Room, error)                  { return nil, nil }
func (open) Archive(context.Context, state.Query) (state.Page, error) { return state.Page{}, nil }
func (open) Applied() command.Position                                { return command.Position{} }
func (open) VCard(string) ([]byte, error)                             { return nil, state.ErrNotFound }

func (open) Invite([]byte) (state.Invite, error)            { return state.Invite{}, state.ErrNotFound }
func (open) RoomLinks(string) ([]state.ListedInvite, error) { return nil, nil }
func (open) AccountID(string) (uint64, error)               { return 1, nil }
func (open) Blocked(string, string) (bool, error)           { return false, nil }
func (open) ID(p command.Position) string                   { return p.String() }
func (open) Position(string) (command.Position, bool)       { return command.Position{}, false }

func (open) Do(context.Context, *command.Command) (command.Outcome, error) {
	return command.Outcome{}, nil
}

// device collects what it gets.
type device struct {
	mu     sync.Mutex
	got    []string
	behind bool
}

func (d *device) Enqueue(o route.Out) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.got = append(d.got, "<"+o.Name+" to='"+o.To+"'"+string(o.Rest))
}

func (d *device) Behind() { d.mu.Lock(); d.behind = true; d.mu.Unlock() }

func (d *device) all() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Join(d.got, "\n")
}

func newHub(t *testing.T) *Hub {
	t.Helper()
	c := command.DefaultRoom()
	*c.MembersOnly = false
	o := open{c}
	h := NewHub(Options{Domain: "rooms.localhost", View: o, IDs: o, Do: o.Do, OccupantKey: []byte("0123456789abcdef")})
	t.Cleanup(h.Close)
	return h
}

func entry(t testing.TB, from, to string) *entering {
	t.Helper()
	st := xmlstream.New(stanza.NSClient, "presence", "from", from, "to", to).Add(xmlstream.New(stanza.NSMUC, "x"))
	f, err1 := jid.Parse(from)
	j, err2 := jid.Parse(to)
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	return &entering{
		Request: &route.Request{From: f, To: j, Stanza: st}, room: j.Bare().String(), nick: j.Resource(), x: st.Child(stanza.NSMUC, "x"),
	}
}

// settle waits until a room's shard has done what was posted before.
func (h *Hub) settle(room string) {
	done := make(chan struct{})
	h.post(room, 2*queueMost, func() { close(done) })
	<-done
}

// However many come and go, with sessions that end in the middle, nobody is
// left in a room who is gone, and nothing is remembered of them.
func TestNobodyStaysBehind(t *testing.T) {
	h := newHub(t)
	const people, rooms = 40, 5
	var wg sync.WaitGroup
	for i := range people {
		wg.Go(func() {
			for round := range 10 {
				d := &device{}
				for r := range rooms {
					h.enter(d, entry(t, fmt.Sprintf("u%d@localhost/x", i), fmt.Sprintf("r%d@rooms.localhost/n%d", r, i)))
				}
				if round%2 == 0 { // some leave one room by themselves
					q := entry(t, fmt.Sprintf("u%d@localhost/x", i), fmt.Sprintf("r0@rooms.localhost/n%d", i))
					h.exit(d, q.Request)
				}
				h.Gone(d)
			}
		})
	}
	wg.Wait()
	for r := range rooms {
		h.settle(fmt.Sprintf("r%d@rooms.localhost", r))
	}
	h.mu.Lock()
	known := len(h.where)
	h.mu.Unlock()
	if st := h.Stats(); st.Rooms != 0 || st.Visits != 0 || known != 0 {
		t.Fatalf("%+v, %d devices are remembered", st, known)
	}
}

// A resource that another session takes over is in the room only if that one
// enters, too.
func TestResourceTakenOver(t *testing.T) {
	h := newHub(t)
	old, now, other := &device{}, &device{}, &device{}
	const room = "r@rooms.localhost"
	h.enter(other, entry(t, "bob@localhost/x", room+"/bob"))
	h.enter(old, entry(t, "ann@localhost/x", room+"/ann"))
	h.enter(now, entry(t, "ann@localhost/x", room+"/ann"))
	h.Gone(old) // comes late
	h.settle(room)
	if st := h.Stats(); st.Visits != 2 {
		t.Fatalf("%+v", st)
	}
	h.Offer([]state.Event{{Kind: state.EventRoom, Account: room, Position: command.Position{Revision: 1}, Room: &state.RoomEvent{
		Message: &command.RoomMessage{Room: room, From: "bob@localhost/x", Nick: "bob", Payload: []byte("<body>hi</body>")},
	}}})
	h.settle(room)
	if strings.Contains(old.all(), "<body>") || !strings.Contains(now.all(), "<body>") {
		t.Fatalf("old has\n%s\nnew has\n%s", old.all(), now.all())
	}
}

// Everybody in a room gets what is said in one order, each once.
func TestOneOrder(t *testing.T) {
	h := newHub(t)
	const room, n = "r@rooms.localhost", 200
	var devices []*device
	for i := range 10 {
		devices = append(devices, &device{})
		h.enter(devices[i], entry(t, fmt.Sprintf("u%d@localhost/x", i), fmt.Sprintf("%s/n%d", room, i)))
	}
	for i := range n {
		h.Offer([]state.Event{{Kind: state.EventRoom, Account: room, Position: command.Position{Revision: uint64(i + 1)}, Room: &state.RoomEvent{
			Message: &command.RoomMessage{Room: room, From: "u0@localhost/x", Nick: "n0", Payload: []byte(fmt.Sprintf("<body>%d</body>", i))},
		}}})
	}
	h.settle(room)
	for i, d := range devices {
		at := -1
		for j := range n {
			k := strings.Index(d.all(), fmt.Sprintf("<body>%d</body>", j))
			if k <= at {
				t.Fatalf("device %d: message %d is missing or out of order", i, j)
			}
			at = k
		}
	}
}

func TestWhoMayNotEnter(t *testing.T) {
	h := newHub(t)
	d := &device{}
	h.enter(d, entry(t, "ann@localhost/x", "nowhere@rooms.localhost/ann"))
	h.settle("nowhere@rooms.localhost")
	if !strings.Contains(d.all(), "item-not-found") || h.Stats().Rooms != 0 {
		t.Fatalf("%s\n%+v", d.all(), h.Stats())
	}
	for i := range roomsMost + 1 {
		h.enter(d, entry(t, "ann@localhost/x", fmt.Sprintf("r%d@rooms.localhost/ann", i)))
	}
	if !strings.Contains(d.all(), "too many rooms") {
		t.Fatal("one device may be in any number of rooms")
	}
}

// A temporary room is not empty while a resource changes hands.
func TestTemporaryRoomOutlivesATakeover(t *testing.T) {
	c := command.DefaultRoom()
	*c.MembersOnly, *c.Persistent = false, false
	o := open{c}
	removed := make(chan string, 9)
	h := NewHub(Options{
		Domain: "rooms.localhost", View: o, IDs: o, OccupantKey: []byte("0123456789abcdef"),
		Do: func(_ context.Context, c *command.Command) (command.Outcome, error) {
			removed <- c.GetRoomDestroy().GetRoom()
			return command.Outcome{}, nil
		},
	})
	const room = "r@rooms.localhost"
	old, now := &device{}, &device{}
	h.enter(old, entry(t, "ann@localhost/x", room+"/ann"))
	h.enter(now, entry(t, "ann@localhost/x", room+"/ann"))
	h.Gone(old)
	h.settle(room)
	if st := h.Stats(); st.Visits != 1 || len(removed) != 0 {
		t.Fatalf("%+v, %d removals", st, len(removed))
	}
	h.Gone(now)
	h.settle(room)
	h.Close()
	if len(removed) != 1 || <-removed != room {
		t.Fatal("the empty room stays")
	}
}

// busy is a device that takes a while for all that it gets, as a write does.
type busy struct{ takes *atomic.Int64 }

func (d *busy) Enqueue(route.Out) {
	for began := time.Now(); time.Since(began) < time.Duration(d.takes.Load()); {
	}
}

func (d *busy) Behind() {}

// echo answers on a connection of its own, byte by byte, and counts.
func echo(t *testing.T) *atomic.Int64 {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		if c, err := l.Accept(); err == nil {
			defer c.Close()
			_, _ = io.Copy(c, c)
		}
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	n := &atomic.Int64{}
	go func() {
		for b := [1]byte{}; ; n.Add(1) {
			if _, err := c.Write(b[:]); err != nil {
				return
			}
			if _, err := io.ReadFull(c, b[:]); err != nil {
				return
			}
		}
	}()
	return n
}

// While something is said to many, others get their turn and the network is
// heard, on one processor as well: again and again, however fast the machine is.
func TestALargeRoomGivesWay(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	h := newHub(t)
	const room, people = "r@rooms.localhost", 256
	takes := &atomic.Int64{}
	for i := range people {
		h.enter(&busy{takes}, entry(t, fmt.Sprintf("u%d@localhost/x", i), fmt.Sprintf("%s/n%d", room, i)))
	}
	h.settle(room)
	takes.Store(int64(20 * time.Microsecond))
	answers, meanwhile := echo(t), int64(0)
	for i := range 8 {
		before := answers.Load()
		h.Offer([]state.Event{{Kind: state.EventRoom, Account: room, Position: command.Position{Revision: uint64(i + 1)}, Room: &state.RoomEvent{
			Message: &command.RoomMessage{Room: room, From: "u0@localhost/x", Nick: "n0", Payload: []byte("<body>hi</body>")},
		}}})
		h.settle(room)
		meanwhile += answers.Load() - before
	}
	t.Logf("%d answers while %d times something was said to %d", meanwhile, 8, people)
	if h.Stats().Handed < 8*people || meanwhile < 30 {
		t.Errorf("%d answers; %+v", meanwhile, h.Stats())
	}
}

// A shard that has more to do than it may have waiting sheds what nobody misses
// first; then those in its rooms are told to read the archive. Both are counted.
func TestAFullShard(t *testing.T) {
	h := newHub(t)
	const room = "r@rooms.localhost"
	inside, late := &device{}, &device{}
	h.enter(inside, entry(t, "ann@localhost/x", room+"/ann"))
	h.settle(room)
	release, held := make(chan struct{}), make(chan struct{})
	h.post(room, queueMost, func() { close(held); <-release })
	<-held
	said := state.Event{Kind: state.EventRoom, Account: room, Position: command.Position{Revision: 1}, Room: &state.RoomEvent{
		Message: &command.RoomMessage{Room: room, From: "ann@localhost/x", Nick: "ann", Payload: []byte("<body>hi</body>")},
	}}
	for range softMost {
		h.Offer([]state.Event{said})
	}
	h.enter(late, entry(t, "bob@localhost/x", room+"/bob"))
	if st := h.Stats(); st.Queued != softMost || st.Shed != 1 || st.Behind != 0 || !strings.Contains(late.all(), "overloaded") {
		t.Errorf("%+v: %s", st, late.all())
	}
	for range queueMost - softMost + 3 {
		h.Offer([]state.Event{said})
	}
	inside.mu.Lock()
	behind := inside.behind
	inside.mu.Unlock()
	if st := h.Stats(); st.Queued != queueMost || st.Behind != 3 || !behind {
		t.Errorf("%+v, behind: %v", st, behind)
	}
	close(release)
	h.settle(room)
	if st := h.Stats(); st.Queued != 0 || st.Handed < queueMost {
		t.Errorf("%+v", st)
	}
}
