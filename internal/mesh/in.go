// SPDX-License-Identifier: Apache-2.0

package mesh

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	grpcpeer "google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"bavard/internal/dispatch"
	"bavard/internal/jid"
	"bavard/internal/room"
)

// incoming is a stream that a node has opened.
type incoming struct {
	p           *peer
	incarnation []byte
	rooms       bool          // it says who is in rooms
	over        chan struct{} // closed when another one takes its place
	hears       []string      // the nodes that it hears; under Mesh.mu

	// Of the goroutine that reads.
	generation uint64
	number     uint64 // of the last change
	whole      bool   // a snapshot has ended
	next       map[jid.JID]*dispatch.Bound
	visits     map[room.Place]*room.Visit // as next
	partial    bool                       // there were more visits
}

// accept takes a stream of another node.
func (m *Mesh) accept(stream grpc.ServerStream) error {
	node, err := m.caller(stream)
	if err != nil {
		m.o.Log.Warn("the mesh refuses a stream", "err", err)
		return status.Error(codes.PermissionDenied, err.Error())
	}
	silent := make(chan struct{}, 1)
	watch := time.AfterFunc(m.o.Silence, func() {
		select {
		case silent <- struct{}{}:
		default:
		}
	})
	defer watch.Stop()
	read := make(chan error, 1)
	opened := make(chan *incoming, 1)
	if !m.reading() {
		return status.Error(codes.Unavailable, "the node stops")
	}
	go func() {
		defer m.readers.Done()
		read <- m.read(stream, node, watch, opened)
	}()
	var in *incoming
	select {
	case in = <-opened:
	case err := <-read:
		return m.refused(node, err)
	case <-silent:
		return status.Error(codes.DeadlineExceeded, "nothing has come")
	case <-m.ctx.Done():
		return status.Error(codes.Unavailable, "the node stops")
	}
	defer m.left(in)
	if err := stream.SendMsg(m.hello()); err != nil {
		return err
	}
	beat := time.NewTicker(m.o.Beat)
	defer beat.Stop()
	for {
		select {
		case <-beat.C:
			if !m.member(node) { // any more
				return status.Error(codes.PermissionDenied, errNode.Error())
			}
			if err := stream.SendMsg(m.beat()); err != nil {
				return err
			}
		case err := <-read:
			return m.refused(node, err)
		case <-silent:
			return status.Error(codes.DeadlineExceeded, "nothing has come")
		case <-in.over:
			return status.Error(codes.Aborted, "another stream has taken the place of this one")
		case <-m.ctx.Done():
			return status.Error(codes.Unavailable, "the node stops")
		}
	}
}

// reading counts who works with the hub, unless the mesh is being closed.
func (m *Mesh) reading() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.closed {
		m.readers.Add(1)
	}
	return !m.closed
}

func (m *Mesh) refused(node string, err error) error {
	if errors.Is(err, errWire) || errors.Is(err, errNode) {
		m.o.Log.Warn("the mesh does not understand another node", "node", node, "err", err)
		return status.Error(codes.InvalidArgument, err.Error())
	}
	return err
}

// caller is the node whose certificate a stream has.
func (m *Mesh) caller(stream grpc.ServerStream) (string, error) {
	from, ok := grpcpeer.FromContext(stream.Context())
	if !ok {
		return "", errNode
	}
	info, ok := from.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.VerifiedChains) == 0 {
		return "", errNode
	}
	node := info.State.VerifiedChains[0][0].Subject.CommonName
	if m.peers[node] == nil { // the map is never changed
		return "", fmt.Errorf("%w: %q", errNode, node)
	}
	if !m.member(node) {
		return "", fmt.Errorf("%w: node %s is not in it", errNode, node)
	}
	return node, nil
}

func (m *Mesh) member(node string) bool { return m.o.Member == nil || m.o.Member(node) }

// read takes frames until the stream ends. Only while it waits for one the node
// is silent.
func (m *Mesh) read(stream grpc.ServerStream, node string, watch *time.Timer, opened chan<- *incoming) error {
	var f Frame
	if err := stream.RecvMsg(&f); err != nil {
		return err
	}
	if err := m.acquainted(f.GetHello(), node); err != nil {
		return err
	}
	in := m.open(m.peers[node], f.GetHello())
	opened <- in
	for {
		watch.Reset(m.o.Silence)
		var f Frame
		err := stream.RecvMsg(&f)
		watch.Stop()
		if err == nil {
			err = m.frame(in, &f)
		}
		if err != nil {
			return err
		}
	}
}

// open makes a stream the one of its node.
func (m *Mesh) open(p *peer, hello *Hello) *incoming {
	in := &incoming{p: p, incarnation: hello.GetIncarnation(), rooms: hello.GetRooms(), over: make(chan struct{})}
	m.mu.Lock()
	defer m.mu.Unlock()
	if p.in != nil {
		close(p.in.over)
	}
	p.in, p.heard = in, false
	p.drained, p.pace, p.version, p.level = hello.GetDrained(), PaceUnknown, hello.GetVersion(), hello.GetLevel()
	p.diverged, p.points = false, nil // of what it was before, which may have had another view
	p.clocks = nil
	m.noteClock(p, hello.GetClockMs())
	return in
}

// left: a stream has ended.
func (m *Mesh) left(in *incoming) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if in.p.in == in {
		in.p.in = nil
		m.judgeClocks()
		m.awaitReturn(in.p)
	}
}

// awaitReturn gives a node that is away its grace; mu is held.
func (m *Mesh) awaitReturn(p *peer) {
	if p.timer != nil {
		p.timer.Stop()
	}
	p.given = false
	if !m.closed {
		p.timer = time.AfterFunc(m.o.Grace, func() { m.giveUp(p) })
	}
}

// giveUp ends a node's grace: what it has not said again is lost.
func (m *Mesh) giveUp(p *peer) {
	if !m.reading() {
		return
	}
	defer m.readers.Done()
	p.applying.Lock()
	defer p.applying.Unlock()
	m.mu.Lock()
	p.given = true
	var lost []*dispatch.Bound
	for full, b := range p.known {
		if p.in == nil || p.orphan[full] {
			lost = append(lost, b)
			m.set(p, full, nil)
		}
	}
	var left []room.Place
	for at := range p.visits {
		if p.in == nil || p.strays[at] {
			left = append(left, at)
			m.place(p, at, nil)
		}
	}
	m.mu.Unlock()
	if len(lost) > 0 {
		m.o.Log.Warn("what is known of another node's sessions is given up", "node", p.name, "sessions", len(lost))
	}
	for _, b := range lost {
		m.hub.Changed(p.name, b, nil, true)
	}
	for _, at := range left {
		m.rooms.Visited(p.name, at, room.Cause{})
	}
}

// set changes what is known of a node; mu is held.
func (m *Mesh) set(p *peer, full jid.JID, b *dispatch.Bound) {
	bare := full.Bare().String()
	list := slices.Clone(m.accounts[bare])
	list = slices.DeleteFunc(list, func(r dispatch.Remote) bool { return r.Node == p.name && r.JID == full })
	delete(p.orphan, full)
	if b == nil {
		delete(p.known, full)
	} else {
		p.known[full] = b
		list = append(list, dispatch.Remote{Bound: *b, Node: p.name})
	}
	if len(list) == 0 {
		delete(m.accounts, bare)
	} else {
		m.accounts[bare] = list
	}
}

// frame does what a node says.
func (m *Mesh) frame(in *incoming, f *Frame) error {
	switch c := f.GetContent().(type) {
	case *Frame_Beat:
		m.mu.Lock()
		defer m.mu.Unlock()
		in.hears = c.Beat.GetHears()
		if in.p.in == in {
			in.p.drained, in.p.diverged, in.p.pace = c.Beat.GetDrained(), c.Beat.GetDiverged(), Pace(c.Beat.GetPace())
			in.p.note(c.Beat.GetPoints())
			m.noteClock(in.p, c.Beat.GetClockMs())
		}
		return nil
	case *Frame_Stanza:
		p, err := arriving(c.Stanza)
		if err != nil {
			return err
		}
		m.arrived.Add(1)
		m.hub.Arrived(in.p.name, p)
		return nil
	case *Frame_Passed:
		p, err := m.arrivingInRoom(c.Passed)
		if err != nil {
			return err
		}
		m.arrived.Add(1)
		m.rooms.Arrived(in.p.name, p)
		return nil
	case *Frame_Snapshot:
		return m.snapshot(in, c.Snapshot)
	case *Frame_Change:
		return m.change(in, c.Change)
	}
	return fmt.Errorf("%w: a frame of no kind that is known", errWire)
}

// snapshot takes a part of all sessions of a node.
func (m *Mesh) snapshot(in *incoming, s *Snapshot) error {
	switch {
	case s.GetBegins():
		if s.GetGeneration() <= in.generation {
			return fmt.Errorf("%w: generation %d after %d", errWire, s.GetGeneration(), in.generation)
		}
		in.generation, in.number, in.whole, in.next = s.GetGeneration(), 0, false, map[jid.JID]*dispatch.Bound{}
		in.visits, in.partial = map[room.Place]*room.Visit{}, false
	case in.next == nil || s.GetGeneration() != in.generation:
		return fmt.Errorf("%w: a part of a snapshot that has not begun", errWire)
	}
	for _, each := range s.GetSessions() {
		b, err := m.bound(each, m.was(in.p, each.GetJid()))
		if err != nil {
			return err
		}
		if in.next[b.JID] = b; len(in.next) > sessionsMost {
			return fmt.Errorf("%w: more than %d sessions", errWire, sessionsMost)
		}
	}
	if err := m.noteVisits(in, s.GetVisits()); err != nil || !s.GetEnds() {
		return err
	}
	next, visits := in.next, in.visits
	in.next, in.visits, in.whole = nil, nil, true
	return m.replace(in, next, visits)
}

// was is what is known of a session.
func (m *Mesh) was(p *peer, full string) *dispatch.Bound {
	j, err := jid.Parse(full)
	if err != nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return p.known[j]
}

// step is a change of what is known.
type step struct{ was, is *dispatch.Bound }

// errOver: a stream is not the one of its node any more.
var errOver = errors.New("mesh: another stream has taken the place of this one")

// replace makes what a node says all that is known of it. What the same process
// does not say again is gone; what another did may come back.
func (m *Mesh) replace(in *incoming, next map[jid.JID]*dispatch.Bound, visits map[room.Place]*room.Visit) error {
	p := in.p
	p.applying.Lock()
	defer p.applying.Unlock()
	var steps []step
	m.mu.Lock()
	if p.in != in {
		m.mu.Unlock()
		return errOver
	}
	same := bytes.Equal(p.incarnation, in.incarnation)
	for full, was := range p.known {
		switch {
		case next[full] != nil:
		case same:
			steps = append(steps, step{was, nil})
			m.set(p, full, nil)
		default:
			p.orphan[full] = true
		}
	}
	for full, is := range next {
		was := p.known[full]
		m.set(p, full, is)
		if was == nil || *was != *is {
			steps = append(steps, step{was, is})
		}
	}
	moved := m.replaceVisits(p, visits, same)
	p.heard, p.incarnation, p.partial = true, in.incarnation, in.partial
	if same && p.timer != nil {
		p.timer.Stop()
	}
	m.mu.Unlock()
	for _, s := range steps {
		m.hub.Changed(p.name, s.was, s.is, true)
	}
	for _, at := range moved {
		m.rooms.Visited(p.name, at, room.Cause{})
	}
	return nil
}

// change takes what became of one session, or of one device in a room.
func (m *Mesh) change(in *incoming, c *Change) error {
	if !in.whole || c.GetGeneration() != in.generation || c.GetNumber() != in.number+1 {
		return fmt.Errorf("%w: change %d of generation %d after %d of %d", errWire, c.GetNumber(), c.GetGeneration(), in.number, in.generation)
	}
	in.number++
	p := in.p
	p.applying.Lock()
	defer p.applying.Unlock()
	if c.GetVisit() != nil || c.GetLeft() != nil {
		return m.moved(in, c)
	}
	var full jid.JID
	var is *dispatch.Bound
	var err error
	switch what := c.GetWhat().(type) {
	case *Change_Gone:
		full, err = m.full(what.Gone)
	case *Change_Session:
		if is, err = m.bound(what.Session, m.was(p, what.Session.GetJid())); err == nil {
			full = is.JID
		}
	default:
		err = fmt.Errorf("%w: a change of nothing", errWire)
	}
	if err != nil {
		return err
	}
	m.mu.Lock()
	was := p.known[full]
	switch {
	case p.in != in:
		err = errOver
	case is != nil && was == nil && len(p.known) >= sessionsMost:
		err = fmt.Errorf("%w: more than %d sessions", errWire, sessionsMost)
	case is == nil && was == nil: // of what was dropped on the way
		m.mu.Unlock()
		return nil
	default:
		m.set(p, full, is)
	}
	m.mu.Unlock()
	if err != nil {
		return err
	}
	m.hub.Changed(p.name, was, is, false)
	return nil
}
