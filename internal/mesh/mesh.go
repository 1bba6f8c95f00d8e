// SPDX-License-Identifier: Apache-2.0

// Package mesh lets the nodes of a cell know what is not stored: who is
// connected where, with which presence, and who is in which room; and it takes soft
// stanzas from one node to another. Each node opens a stream to every other, over TLS
// with the certificates of the cell, and says on it what is so on its side: all its
// sessions and who is in rooms first, then what changes.
//
// Nothing waits for the mesh. What is said to a node that is slow or away is
// bounded and dropped; what it has to know of sessions it then gets anew, whole.
// docs/formats/mesh.md describes what is sent.
package mesh

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"bavard/internal/dispatch"
	"bavard/internal/jid"
	"bavard/internal/room"
)

// Bounds.
const (
	// queueMost and queueBytes bound what waits for one node.
	queueMost  = 1 << 14
	queueBytes = 8 << 20
	// stanzaMost bounds one stanza, in bytes.
	stanzaMost = 1 << 20
	// frameMost bounds one frame, in bytes.
	frameMost = 2 << 20
	// chunkMost and chunkBytes bound a part of a snapshot.
	chunkMost  = 256
	chunkBytes = 128 << 10
	// sessionsMost bounds what is kept of one node.
	sessionsMost = 2_000_000
	// VersionMost bounds the name of a version, in bytes.
	VersionMost = 64
	// streamsMost bounds the streams of one connection: one is used.
	streamsMost = 4
)

// Times, unless others are given.
const (
	// Grace is how long what is known of a node that is away is kept.
	Grace = 10 * time.Second
	// Silence is how long nothing may come from a node before it is away.
	Silence = 3 * time.Second
	// BeatEvery is how often a node says that it works.
	BeatEvery = time.Second
)

// Hub is where what comes from other nodes goes.
type Hub interface {
	Arrived(node string, p dispatch.Passed)
	Changed(node string, was, is *dispatch.Bound, lost bool)
}

// RoomHub is where what comes of rooms goes.
type RoomHub interface {
	Visited(node string, p room.Place, why room.Cause)
	Arrived(node string, p *room.Passed)
}

// Options of a mesh.
type Options struct {
	Domain string
	Rooms  string            // the domain of rooms
	Cell   string            // its id
	Node   string            // this one's name
	Peers  map[string]string // host:port of each other node's mesh, by name
	Listen string            // address:port for the others
	// Serving and Calling are how nodes of the cell, and nobody else, are let in and
	// reached; they are told apart by the common name of their certificates.
	Serving *tls.Config
	Calling func(node string) *tls.Config
	// Reached reports whether the journal reaches a node; nil: it does.
	Reached func(node string) bool
	// Voter reports whether a node is in the cell, with a vote; nil: all are.
	Voter func(node string) bool
	// Member reports whether a node is in the cell; nil: all are. With one that is not, though it has a
	// certificate, nothing is exchanged.
	Member func(node string) bool
	// Version and Level, the highest feature level that it knows, are told to the others.
	Version string
	Level   uint32
	// Points are what is told of this node's view with each beat, the newest last; nil: nothing.
	// It is called often and must be quick.
	Points func() []Point
	// Clock is this node's own, by which the others judge theirs; nil is time.Now.
	Clock func() time.Time
	Log   *slog.Logger
	// Grace, Silence and Beat (BeatEvery); 0 is the constant.
	Grace, Silence, Beat time.Duration
}

// Mesh is this node's part. It implements dispatch.Elsewhere.
type Mesh struct {
	o           Options
	incarnation []byte
	began       time.Time
	hub         Hub
	rooms       RoomHub
	server      *grpc.Server
	address     string
	ctx         context.Context
	cancel      context.CancelFunc
	wg          sync.WaitGroup
	readers     sync.WaitGroup // Add under mu, while not closed

	shed, passed, arrived, snapshots atomic.Uint64
	drained, diverged                atomic.Bool
	pace                             atomic.Uint32
	apart                            atomic.Int64  // nanoseconds, as in Apart
	clocked                          chan struct{} // closed once another node has said its time
	clockOnce                        sync.Once

	mu       sync.Mutex // guards all below, and what is said to be under it
	sessions map[jid.JID]*dispatch.Bound
	peers    map[string]*peer
	accounts map[string][]dispatch.Remote    // sessions elsewhere; a slice is never written to once made
	visits   map[room.Place]*room.Visit      // of this node
	crowds   map[string]map[seat]*room.Visit // visits elsewhere, by room
	closed   bool
}

// peer is another node.
type peer struct {
	name, address string

	// Under Mesh.mu:
	out    *outgoing // nil while it is not reached
	in     *incoming // the stream that it has opened, nil while there is none
	known  map[jid.JID]*dispatch.Bound
	orphan map[jid.JID]bool // known, but not said to be there since it has come back
	timer  *time.Timer      // ends its grace
	heard  bool             // a snapshot of it was whole
	// visits and strays are to who is in rooms what known and orphan are to sessions;
	// partial: there were more.
	visits  map[room.Place]*room.Visit
	strays  map[room.Place]bool
	partial bool
	// incarnation of the process that said what is known.
	incarnation []byte
	given       bool // its grace has ended
	// drained, diverged, pace, version, level and points are what it says; while in is there.
	drained, diverged bool
	pace              Pace
	version           string
	level             uint32
	points            []Point
	clocks            []time.Duration // by how much its clock was before this node's, by what it said last

	// applying orders what is done with what it says; before Mesh.mu.
	applying sync.Mutex
}

// New makes a mesh that takes what it is told, and knows nobody else, until Start.
func New(o Options) (*Mesh, error) {
	o.Grace, o.Silence, o.Beat = or(o.Grace, Grace), or(o.Silence, Silence), or(o.Beat, BeatEvery)
	if o.Clock == nil {
		o.Clock = time.Now
	}
	m := &Mesh{
		clocked: make(chan struct{}), o: o, incarnation: make([]byte, 16), began: time.Now(),
		sessions: map[jid.JID]*dispatch.Bound{}, peers: map[string]*peer{}, accounts: map[string][]dispatch.Remote{},
		visits: map[room.Place]*room.Visit{}, crowds: map[string]map[seat]*room.Visit{},
	}
	if _, err := rand.Read(m.incarnation); err != nil {
		return nil, fmt.Errorf("mesh: %w", err)
	}
	for name, address := range o.Peers {
		m.peers[name] = newPeer(name, address)
	}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	return m, nil
}

func newPeer(name, address string) *peer {
	return &peer{
		name: name, address: address, known: map[jid.JID]*dispatch.Bound{}, orphan: map[jid.JID]bool{},
		visits: map[room.Place]*room.Visit{}, strays: map[room.Place]bool{},
	}
}

func or(d, otherwise time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return otherwise
}

// Start listens, and goes to the others. Close ends it.
func (m *Mesh) Start(ctx context.Context, hub Hub, rooms RoomHub) error {
	m.hub, m.rooms = hub, rooms
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", m.o.Listen)
	if err != nil {
		return fmt.Errorf("listen for the other nodes: %w", err)
	}
	m.address = l.Addr().String()
	m.server = grpc.NewServer(
		grpc.Creds(credentials.NewTLS(m.o.Serving)),
		grpc.MaxRecvMsgSize(frameMost), grpc.MaxConcurrentStreams(streamsMost), grpc.ConnectionTimeout(m.o.Silence),
	)
	m.server.RegisterService(service(), m)
	m.wg.Go(func() {
		if err := m.server.Serve(l); err != nil && m.ctx.Err() == nil {
			m.o.Log.Error("the mesh does not listen any more", "err", err)
		}
	})
	m.mu.Lock()
	for _, p := range m.peers {
		m.awaitReturn(p)
		m.wg.Go(func() { m.reach(p) })
	}
	m.mu.Unlock()
	return nil
}

// Address that it listens on, once it has started.
func (m *Mesh) Address() string { return m.address }

// Close ends all streams: the others keep what they know for a while.
func (m *Mesh) Close() {
	m.mu.Lock()
	m.closed = true
	for _, p := range m.peers {
		if p.timer != nil {
			p.timer.Stop()
		}
	}
	m.mu.Unlock()
	m.cancel()
	if m.server != nil {
		m.server.Stop()
	}
	m.readers.Wait()
	m.wg.Wait()
}

// Tell implements dispatch.Elsewhere.
func (m *Mesh) Tell(b dispatch.Bound, gone bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return
	}
	if gone {
		delete(m.sessions, b.JID)
	} else {
		m.sessions[b.JID] = &b
	}
	what, size := isChange_What(&Change_Gone{b.JID.String()}), frameCost
	if !gone {
		s, n := session(&b)
		what, size = &Change_Session{s}, n
	}
	for _, p := range m.peers {
		if p.out != nil {
			p.out.change(m, &Change{What: what}, size)
		}
	}
}

// Bound implements dispatch.Elsewhere.
func (m *Mesh) Bound(account string) []dispatch.Remote {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.accounts[account]
}

// All implements dispatch.Elsewhere.
func (m *Mesh) All(f func(dispatch.Remote)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, list := range m.accounts {
		for _, r := range list {
			f(r)
		}
	}
}

// Pass implements dispatch.Elsewhere.
func (m *Mesh) Pass(node string, p dispatch.Passed) bool {
	f, size, err := passed(&p)
	if err != nil {
		m.shed.Add(1)
		return false
	}
	return m.pass(node, f, size, false)
}

// pass queues a stanza for a node; rooms: for one that knows of them.
func (m *Mesh) pass(node string, f *Frame, size int, rooms bool) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	to := m.peers[node]
	if to == nil || to.out == nil || rooms && !to.out.rooms || !to.out.put(f, size) {
		m.shed.Add(1)
		return false
	}
	m.passed.Add(1)
	return true
}

// Whole implements dispatch.Elsewhere.
func (m *Mesh) Whole() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.peers {
		if !p.given && (p.in == nil || !p.heard) {
			return false
		}
	}
	return true
}

// Stats of a mesh.
type Stats struct {
	Sessions  int      // known on other nodes
	Visits    int      // devices in rooms that are known on other nodes
	Cut       []string // nodes that are not reached, or do not reach this one; not sorted
	Queued    int      // frames that wait
	Bytes     int      // of them
	Shed      uint64   // stanzas dropped: the node was away, or too much waited for it
	Passed    uint64   // stanzas to other nodes
	Arrived   uint64   // stanzas from other nodes
	Snapshots uint64   // sent
}

// Stats counts.
func (m *Mesh) Stats() Stats {
	st := Stats{Shed: m.shed.Load(), Passed: m.passed.Load(), Arrived: m.arrived.Load(), Snapshots: m.snapshots.Load()}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.peers {
		st.Sessions += len(p.known)
		st.Visits += len(p.visits)
		if p.out != nil {
			st.Queued += len(p.out.queue)
			st.Bytes += p.out.bytes
		}
		if p.out == nil || p.in == nil {
			st.Cut = append(st.Cut, p.name)
		}
	}
	return st
}

// errNode: a stream is not that of the node that it says.
var errNode = errors.New("mesh: not a node of this cell")
