// SPDX-License-Identifier: Apache-2.0

package mesh

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"bavard/internal/charter"
	"bavard/internal/dispatch"
	"bavard/internal/jid"
	"bavard/internal/room"
	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// hub keeps what it is told.
type hub struct {
	mu      sync.Mutex
	arrived []string
	changed []string
}

func (h *hub) Arrived(node string, p dispatch.Passed) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.arrived = append(h.arrived, fmt.Sprintf("%s: %s to %s: %s", node, p.From, p.To, p.Stanza.Name.Local))
}

func (h *hub) Changed(node string, was, is *dispatch.Bound, lost bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	text := node + ": "
	switch {
	case is != nil:
		text += "+" + is.JID.String()
	case lost:
		text += "lost " + was.JID.String()
	default:
		text += "-" + was.JID.String()
	}
	h.changed = append(h.changed, text)
}

func (h *hub) has(what string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, list := range [][]string{h.arrived, h.changed} {
		for _, s := range list {
			if s == what {
				return true
			}
		}
	}
	return false
}

// world is a cell of meshes.
type world struct {
	t         testing.TB
	dirs      map[string]*charter.Member
	addresses map[string]string
	meshes    map[string]*Mesh
	hubs      map[string]*hub
	change    func(*Options)
}

// patient: a busy machine is no silent one.
func patient(o *Options) { o.Silence = 30 * time.Second }

// newWorld makes a cell of a, b and c; none is started.
func newWorld(t testing.TB, change func(*Options)) *world {
	t.Helper()
	w := &world{t: t, dirs: map[string]*charter.Member{}, addresses: map[string]string{}, meshes: map[string]*Mesh{}, hubs: map[string]*hub{}, change: change}
	names := []string{"a", "b", "c"}
	common := map[string][]byte{}
	for _, path := range charter.Common() {
		common[path] = []byte("x")
	}
	bundles, err := charter.Found("localhost", names, common, time.Now(), time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range names {
		dir := filepath.Join(t.TempDir(), name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := charter.Join(dir, bundles[i], time.Now()); err != nil {
			t.Fatal(err)
		}
		if w.dirs[name], err = charter.Read(dir); err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		w.addresses[name] = l.Addr().String()
		defer l.Close()
	}
	t.Cleanup(func() {
		for _, m := range w.meshes {
			m.Close()
		}
	})
	return w
}

func (w *world) make(node string) *Mesh {
	w.t.Helper()
	dir := w.dirs[node]
	identity, err := dir.Identity()
	if err != nil {
		w.t.Fatal(err)
	}
	o := Options{
		Domain: "localhost", Rooms: "rooms.localhost", Cell: dir.Cell, Node: node, Peers: map[string]string{}, Listen: w.addresses[node],
		Serving: identity.Serving(), Calling: identity.Calling, Log: slog.New(slog.DiscardHandler),
	}
	for name, address := range w.addresses {
		if name != node {
			o.Peers[name] = address
		}
	}
	if w.change != nil {
		w.change(&o)
	}
	m, err := New(o)
	if err != nil {
		w.t.Fatal(err)
	}
	return m
}

func (w *world) start(nodes ...string) {
	w.t.Helper()
	for _, node := range nodes {
		m := w.make(node)
		w.meshes[node], w.hubs[node] = m, &hub{}
		w.until("it listens at its address", func() bool { return m.Start(w.t.Context(), w.hubs[node], roomHub{w.hubs[node]}) == nil })
	}
}

func (w *world) stop(node string) {
	w.meshes[node].Close()
	delete(w.meshes, node)
}

func (w *world) until(what string, condition func() bool) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			w.t.Fatalf("in vain: %s", what)
		}
	}
}

// knows waits until a node knows how many resources of an account are elsewhere.
func (w *world) knows(node, account string, n int) []dispatch.Remote {
	w.t.Helper()
	w.until(fmt.Sprintf("%s knows %d of %s", node, n, account), func() bool { return len(w.meshes[node].Bound(account)) == n })
	return w.meshes[node].Bound(account)
}

func (w *world) told(node, what string) {
	w.t.Helper()
	w.until(node+" is told "+what, func() bool { return w.hubs[node].has(what) })
}

func address(t testing.TB, s string) jid.JID {
	t.Helper()
	j, err := jid.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func online(t testing.TB, full string) dispatch.Bound {
	t.Helper()
	return dispatch.Bound{
		JID: address(t, full), Since: time.UnixMilli(1), Turn: 1, Available: true, Priority: -3, Carbons: true, Client: "phone",
		Presence:  xmlstream.New(stanza.NSClient, "presence", "from", full).Add(xmlstream.NewText(stanza.NSClient, "status", "é&<")),
		Attention: dispatch.Attention{Here: true, Looking: true},
	}
}

func composing(t testing.TB, from, to string) dispatch.Passed {
	t.Helper()
	return dispatch.Passed{
		From: address(t, from), To: address(t, to), Bounce: true,
		Stanza: xmlstream.New(stanza.NSClient, "message", "from", from, "to", to).Add(xmlstream.New(stanza.NSChatStates, "composing")),
	}
}

// TestNodesKnow: what is so on one node is known on the others, whole and then as
// it changes.
func TestNodesKnow(t *testing.T) {
	t.Parallel()
	w := newWorld(t, patient)
	w.start("a")
	for i := range 3 * chunkMost { // more than one part of a snapshot
		w.meshes["a"].Tell(online(t, fmt.Sprintf("u%d@localhost/x", i)), false)
	}
	w.start("b", "c")
	for _, node := range []string{"b", "c"} {
		w.knows(node, fmt.Sprintf("u%d@localhost", 3*chunkMost-1), 1)
		got, want := w.knows(node, "u0@localhost", 1)[0], online(t, "u0@localhost/x")
		if p := got.Presence; got.Node != "a" || p == nil || p.Get("from") != "u0@localhost/x" || p.Child(stanza.NSClient, "status").Text() != "é&<" {
			t.Errorf("%s knows %+v", node, got)
		}
		if got.Presence = want.Presence; got.Bound != want {
			t.Errorf("%s knows %+v, want %+v", node, got.Bound, want)
		}
	}
	w.meshes["b"].Tell(online(t, "u0@localhost/y"), false)
	w.knows("c", "u0@localhost", 2)
	w.meshes["a"].Tell(online(t, "u0@localhost/x"), true)
	w.told("b", "a: -u0@localhost/x")
	if got := w.knows("c", "u0@localhost", 1); got[0].Node != "b" {
		t.Errorf("c knows %+v", got)
	}
	w.until("a reaches b", func() bool { return w.meshes["a"].Pass("b", composing(t, "u1@localhost/x", "u0@localhost/y")) })
	w.told("b", "a: u1@localhost/x to u0@localhost/y: message")
	for _, m := range w.meshes {
		w.until("all is known", m.Whole)
	}
	if m := w.meshes["a"]; m.Pass("nobody", composing(t, "u1@localhost/x", "u0@localhost/y")) || m.Stats().Shed == 0 {
		t.Errorf("%+v", m.Stats())
	}
}

// TestNodeGoes: what is known of a node is kept for a while, and what comes back
// meanwhile was never away.
func TestNodeGoes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *Options) { o.Grace, o.Silence = 4*time.Second, 30*time.Second })
	w.start("a", "b", "c")
	for _, full := range []string{"u@localhost/back", "u@localhost/away"} {
		w.meshes["a"].Tell(online(t, full), false)
	}
	w.knows("b", "u@localhost", 2)
	w.stop("a")
	w.until("b has lost a", func() bool { return !w.meshes["b"].Whole() })
	w.knows("b", "u@localhost", 2)
	m := w.make("a")
	m.Tell(online(t, "u@localhost/back"), false)
	w.meshes["a"] = m
	w.until("it listens", func() bool { return m.Start(t.Context(), &hub{}, roomHub{&hub{}}) == nil })
	w.told("b", "a: lost u@localhost/away")
	if got := w.knows("b", "u@localhost", 1); got[0].JID.Resource() != "back" {
		t.Errorf("%+v", got)
	}
	if w.hubs["b"].has("a: lost u@localhost/back") {
		t.Error("who came back was away")
	}
	w.stop("a")
	w.told("b", "a: lost u@localhost/back")
	w.knows("b", "u@localhost", 0)
	w.until("a is given up", w.meshes["b"].Whole)
}

// TestFlood: what is too much is dropped, and all sessions are known in the end.
func TestFlood(t *testing.T) {
	t.Parallel()
	w := newWorld(t, patient)
	w.start("a", "b")
	a := w.meshes["a"]
	w.until("a reaches b", func() bool { return a.Pass("b", composing(t, "u@localhost/x", "v@localhost/y")) })
	// b does not read: what is told to it waits.
	p := w.meshes["b"].peers["a"]
	p.applying.Lock()
	large := online(t, "u@localhost/x")
	large.Presence.Add(xmlstream.NewText(stanza.NSClient, "status", strings.Repeat("x", 100<<10)))
	dropped := func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.peers["b"].out == nil || a.peers["b"].out.whole
	}
	for i := 0; !dropped(); i++ {
		large.Turn = uint64(i)
		a.Tell(large, false)
		if i > 100_000 {
			t.Fatal("the queue has no bound")
		}
	}
	if st := a.Stats(); st.Queued > queueMost || st.Bytes > queueBytes {
		t.Errorf("%+v", st)
	}
	a.Tell(online(t, "u@localhost/last"), false)
	p.applying.Unlock()
	w.knows("b", "u@localhost", 2)
	if st := a.Stats(); st.Snapshots < 2 {
		t.Errorf("%+v", st)
	}
}

// frozen takes connections and says nothing.
func frozen(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = c.Close() })
		}
	}()
	return l.Addr().String()
}

// TestFrozen: a node that does not answer, and one that falls silent.
func TestFrozen(t *testing.T) {
	t.Parallel()
	silence := 2 * time.Second
	w := newWorld(t, func(o *Options) { o.Grace, o.Silence, o.Beat = time.Second, silence, silence/5 })
	w.addresses["c"] = frozen(t)
	w.start("a", "b")
	w.until("c is given up", w.meshes["a"].Whole)

	stream := w.dial("c", "a")
	for _, f := range []*Frame{w.hello("c"), {Content: &Frame_Snapshot{&Snapshot{Generation: 1, Begins: true, Ends: true, Sessions: []*Session{{Jid: "u@localhost/x"}}}}}} {
		if err := stream.SendMsg(f); err != nil {
			t.Fatal(err)
		}
	}
	w.told("a", "c: +u@localhost/x")
	if got := ended(stream); got != codes.DeadlineExceeded {
		t.Errorf("a silent node: %v", got)
	}
	w.told("a", "c: lost u@localhost/x")
}

func (w *world) hello(node string) *Frame {
	return &Frame{Content: &Frame_Hello{&Hello{Format: format, Cell: w.dirs[node].Cell, Node: node, Incarnation: []byte("x")}}}
}

// dial opens a stream to a node with the certificate of another.
func (w *world) dial(as, to string) grpc.ClientStream {
	w.t.Helper()
	m := w.make(as)
	conn, err := grpc.NewClient("passthrough:///"+w.addresses[to], grpc.WithTransportCredentials(credentials.NewTLS(m.o.Calling(to))))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = conn.Close() })
	stream, err := openStream(w.t.Context(), conn)
	if err != nil {
		w.t.Fatal(err)
	}
	return stream
}

// ended reads until a stream ends, and says why.
func ended(stream grpc.ClientStream) codes.Code {
	for {
		var f Frame
		if err := stream.RecvMsg(&f); err != nil {
			return status.Code(err)
		}
	}
}

// TestRemoved: with a node that is not in the cell any more, though it has a certificate, nothing is exchanged; what is
// known of it goes, and when it is in the cell again it is as before.
func TestRemoved(t *testing.T) {
	t.Parallel()
	var out atomic.Bool
	w := newWorld(t, func(o *Options) {
		o.Grace, o.Silence = time.Second, 30*time.Second
		if o.Node == "a" { // the removed one has its own opinion
			o.Member = func(node string) bool { return node != "c" || !out.Load() }
		}
	})
	w.start("a", "b", "c")
	w.meshes["a"].Tell(online(t, "u@localhost/a"), false)
	w.meshes["c"].Tell(online(t, "u@localhost/c"), false)
	w.knows("a", "u@localhost", 1)
	w.knows("c", "u@localhost", 1)
	out.Store(true)
	w.told("a", "c: lost u@localhost/c")
	w.until("c is told nothing", func() bool { return !w.meshes["a"].Pass("c", composing(t, "u@localhost/a", "u@localhost/c")) })
	if got := ended(w.dial("c", "a")); got != codes.PermissionDenied {
		t.Errorf("a stream of c: %v", got)
	}
	w.meshes["a"].Tell(online(t, "u@localhost/new"), false)
	w.knows("b", "u@localhost", 3) // also that of c, which b knows
	out.Store(false)
	w.knows("c", "u@localhost", 2)
	w.knows("a", "u@localhost", 1)
}

// TestStrangers: what is not of this cell, or makes no sense, ends the stream.
func TestStrangers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, patient)
	w.start("a")
	hello := w.hello("b")
	other := func(change func(*Hello)) *Frame {
		f := proto.Clone(hello).(*Frame)
		change(f.GetHello())
		return f
	}
	frames := bad(hello, other)
	maps.Copy(frames, badInRooms(hello))
	for what, frames := range frames {
		stream := w.dial("b", "a")
		for _, f := range frames {
			_ = stream.SendMsg(f) // it may have ended already
		}
		if got := ended(stream); got != codes.InvalidArgument {
			t.Errorf("%s: %v", what, got)
		}
	}
	if got := w.meshes["a"].Stats().Sessions; got != 0 {
		t.Errorf("%d sessions", got)
	}
	// A node of another cell does not get through.
	strange := newWorld(t, nil)
	strange.addresses["a"] = w.addresses["a"]
	config := strange.make("b").o.Calling("a")
	config.InsecureSkipVerify, config.NextProtos = true, []string{"h2"} //nolint:gosec // what the server does is looked at
	conn, err := tls.Dial("tcp", w.addresses["a"], config)
	if err == nil {
		_, err = conn.Read(make([]byte, 1))
		_ = conn.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a node of another cell: %v", err)
	}
}

func bad(hello *Frame, other func(func(*Hello)) *Frame) map[string][]*Frame {
	snapshot := func(s *Snapshot) *Frame { return &Frame{Content: &Frame_Snapshot{s}} }
	change := func(c *Change) *Frame { return &Frame{Content: &Frame_Change{c}} }
	one := func(s *Stanza) *Frame { return &Frame{Content: &Frame_Stanza{s}} }
	whole := snapshot(&Snapshot{Generation: 1, Begins: true, Ends: true})
	return map[string][]*Frame{
		"no hello":            {{Content: &Frame_Beat{&Beat{}}}},
		"nothing":             {{}},
		"another format":      {other(func(h *Hello) { h.Format = 2 })},
		"another cell":        {other(func(h *Hello) { h.Cell = "x" })},
		"another node":        {other(func(h *Hello) { h.Node = "c" })},
		"two hellos":          {hello, hello},
		"an empty frame":      {hello, {}},
		"a part of nothing":   {hello, snapshot(&Snapshot{Generation: 1})},
		"an old generation":   {hello, whole, whole},
		"an early change":     {hello, change(&Change{Number: 1, What: &Change_Gone{"u@localhost/x"}})},
		"a lost change":       {hello, whole, change(&Change{Generation: 1, Number: 2, What: &Change_Gone{"u@localhost/x"}})},
		"a change of nothing": {hello, whole, change(&Change{Generation: 1, Number: 1})},
		"a bare session":      {hello, whole, change(&Change{Generation: 1, Number: 1, What: &Change_Session{&Session{Jid: "u@localhost"}}})},
		"no session":          {hello, whole, change(&Change{Generation: 1, Number: 1, What: &Change_Session{}})},
		"another domain":      {hello, whole, change(&Change{Generation: 1, Number: 1, What: &Change_Session{&Session{Jid: "u@example.org/x"}}})},
		"a priority":          {hello, snapshot(&Snapshot{Generation: 1, Begins: true, Sessions: []*Session{{Jid: "u@localhost/x", Priority: 128}}})},
		"a turn":              {hello, snapshot(&Snapshot{Generation: 1, Begins: true, Sessions: []*Session{{Jid: "u@localhost/x", Turn: 1<<62 + 1}}})},
		"a presence":          {hello, snapshot(&Snapshot{Generation: 1, Begins: true, Sessions: []*Session{{Jid: "u@localhost/x", Presence: []byte("<iq/>")}}})},
		"no stanza":           {hello, one(nil)},
		"no address":          {hello, one(&Stanza{From: "u@localhost/x", Xml: []byte("<iq xmlns='jabber:client'/>")})},
		"no XML":              {hello, one(&Stanza{From: "u@localhost/x", To: "v@localhost", Xml: []byte("<iq")})},
		"another element":     {hello, one(&Stanza{From: "u@localhost/x", To: "v@localhost", Xml: []byte("<x xmlns='jabber:client'/>")})},
		"a way":               {hello, one(&Stanza{From: "u@localhost/x", To: "v@localhost", Xml: []byte("<iq xmlns='jabber:client'/>"), Way: 3})},
	}
}

// FuzzFrame: whatever a node says, nobody panics, and what is known stays consistent.
func FuzzFrame(f *testing.F) {
	hello := &Frame{Content: &Frame_Hello{&Hello{}}}
	all := bad(hello, func(func(*Hello)) *Frame { return hello })
	maps.Copy(all, badInRooms(hello))
	for _, frames := range all {
		for _, frame := range frames {
			b, err := proto.Marshal(frame)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b, b)
		}
	}
	f.Fuzz(func(t *testing.T, one, two []byte) {
		p := newPeer("b", "")
		m := &Mesh{
			o: Options{Domain: "localhost", Rooms: "rooms.localhost"}, hub: &hub{}, rooms: roomHub{&hub{}}, peers: map[string]*peer{"b": p},
			accounts: map[string][]dispatch.Remote{}, crowds: map[string]map[seat]*room.Visit{},
		}
		in := m.open(p, nil)
		for _, b := range [][]byte{one, two} {
			var f Frame
			if proto.Unmarshal(b, &f) == nil {
				_ = m.frame(in, &f) // an error ends the stream
			}
		}
		n := 0
		m.All(func(r dispatch.Remote) {
			n++
			if p.known[r.JID] == nil {
				t.Errorf("%s is not known", r.JID)
			}
		})
		if n != len(p.known) {
			t.Errorf("%d of %d are known", n, len(p.known))
		}
	})
}
