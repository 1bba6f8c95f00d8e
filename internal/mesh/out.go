// SPDX-License-Identifier: Apache-2.0

package mesh

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"bavard/internal/dispatch"
	"bavard/internal/room"
)

// Between two attempts to reach a node.
const (
	retryFirst = 100 * time.Millisecond
	retryMost  = 3 * time.Second
	// steady is how long a stream has to hold for the next attempt to come at once.
	steady = 10 * time.Second
)

// outgoing is the stream to a node; under Mesh.mu.
type outgoing struct {
	queue []queued
	bytes int
	wake  chan struct{}
	rooms bool // it wants to know who is in rooms
	// whole: it has to get all there is, before anything else of it.
	whole      bool
	generation uint64
	number     uint64 // of the last change
}

type queued struct {
	frame *Frame
	size  int
}

// put queues a frame. It reports false when there is no room.
func (o *outgoing) put(f *Frame, size int) bool {
	if len(o.queue) >= queueMost || o.bytes+size > queueBytes {
		return false
	}
	o.queue = append(o.queue, queued{f, size})
	o.bytes += size
	o.poke()
	return true
}

func (o *outgoing) poke() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// change queues what became of a session, or of a device in a room, and numbers it.
// When there is no room, all that waits is dropped, and the node gets all anew.
func (o *outgoing) change(m *Mesh, c *Change, size int) {
	if o.whole {
		return // all is on its way
	}
	o.number++
	c.Generation, c.Number = o.generation, o.number
	if o.put(&Frame{Content: &Frame_Change{c}}, size) {
		return
	}
	for _, q := range o.queue {
		if q.frame.GetStanza() != nil {
			m.shed.Add(1)
		}
	}
	o.queue, o.bytes, o.whole = nil, 0, true
	o.poke()
}

// reach goes to a node, again and again.
func (m *Mesh) reach(p *peer) {
	wait := retryFirst
	for m.ctx.Err() == nil {
		began := time.Now()
		err := m.speak(p)
		if time.Since(began) >= steady {
			wait = retryFirst
		}
		m.o.Log.Debug("another node is not reached by the mesh", "node", p.name, "address", p.address, "err", err)
		t := time.NewTimer(wait/2 + rand.N(wait)) //nolint:gosec // jitter
		select {
		case <-t.C:
		case <-m.ctx.Done():
			t.Stop()
		}
		wait = min(2*wait, retryMost)
	}
}

// speak opens a stream to a node and says what there is to say, until it ends, or the node is none any more.
func (m *Mesh) speak(p *peer) error {
	if !m.member(p.name) {
		return errNode
	}
	ctx, cancel := context.WithCancel(m.ctx)
	defer cancel()
	conn, err := grpc.NewClient("passthrough:///"+p.address, grpc.WithTransportCredentials(credentials.NewTLS(m.o.Calling(p.name))), grpc.WithDisableServiceConfig(), grpc.WithNoProxy())
	if err != nil {
		return err
	}
	defer conn.Close()
	silent := time.AfterFunc(m.o.Silence, cancel) // until something is heard
	defer silent.Stop()
	stream, err := openStream(ctx, conn)
	if err != nil {
		return err
	}
	if err := stream.SendMsg(m.hello()); err != nil {
		return err
	}
	hello, err := m.greeted(p, stream)
	if err != nil {
		return err
	}
	listening := make(chan error, 1)
	go func() {
		defer cancel()
		for {
			silent.Reset(m.o.Silence)
			var f Frame
			if err := stream.RecvMsg(&f); err != nil {
				listening <- err
				return
			}
		}
	}()
	o := m.attach(p, hello.GetRooms())
	m.greetedAt(p, hello.GetClockMs())
	err = m.write(ctx, p, stream, o)
	m.detach(p, o)
	cancel()
	return errors.Join(err, <-listening)
}

func (m *Mesh) hello() *Frame {
	return &Frame{Content: &Frame_Hello{&Hello{
		Format: format, Cell: m.o.Cell, Node: m.o.Node, Incarnation: m.incarnation, Rooms: true,
		Drained: m.drained.Load(), Version: m.o.Version, Level: m.o.Level, ClockMs: m.o.Clock().UnixMilli(),
	}}}
}

func (m *Mesh) beat() *Frame {
	return &Frame{Content: &Frame_Beat{&Beat{
		Hears: m.hears(), Drained: m.drained.Load(), Diverged: m.diverged.Load(), Pace: m.pace.Load(), Points: m.said(), ClockMs: m.o.Clock().UnixMilli(),
	}}}
}

// greeted reads the hello of a node.
func (m *Mesh) greeted(p *peer, stream grpc.ClientStream) (*Hello, error) {
	var f Frame
	if err := stream.RecvMsg(&f); err != nil {
		return nil, err
	}
	return f.GetHello(), m.acquainted(f.GetHello(), p.name)
}

// acquainted looks at a hello.
func (m *Mesh) acquainted(h *Hello, node string) error {
	switch {
	case h == nil:
		return fmt.Errorf("%w: it does not say hello", errWire)
	case len(h.GetVersion()) > VersionMost:
		return fmt.Errorf("%w: a version of %d bytes", errWire, len(h.GetVersion()))
	case h.GetFormat() != format:
		return fmt.Errorf("%w: it speaks format %d, this node %d", errNode, h.GetFormat(), format)
	case h.GetCell() != m.o.Cell:
		return fmt.Errorf("%w: it is of another cell", errNode)
	case h.GetNode() != node:
		return fmt.Errorf("%w: it says that it is node %q, its certificate %q", errNode, h.GetNode(), node)
	}
	return nil
}

// attach has what is said queued for a node from now on.
func (m *Mesh) attach(p *peer, rooms bool) *outgoing {
	o := &outgoing{wake: make(chan struct{}, 1), rooms: rooms, whole: true}
	o.poke()
	m.mu.Lock()
	defer m.mu.Unlock()
	p.out = o
	m.o.Log.Info("another node is reached by the mesh", "node", p.name)
	return o
}

func (m *Mesh) detach(p *peer, o *outgoing) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, q := range o.queue {
		if q.frame.GetStanza() != nil {
			m.shed.Add(1)
		}
	}
	p.out = nil
	m.judgeClocks()
}

// write sends what is queued, and a beat when nothing is.
func (m *Mesh) write(ctx context.Context, p *peer, stream grpc.ClientStream, o *outgoing) error {
	beat := time.NewTicker(m.o.Beat)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-o.wake:
		case <-beat.C:
			if !m.member(p.name) {
				return errNode
			}
			if err := stream.SendMsg(m.beat()); err != nil {
				return err
			}
			continue
		}
		frames, all := m.take(o)
		if all != nil {
			if err := all.send(stream); err != nil {
				return err
			}
		}
		for _, q := range frames {
			if err := stream.SendMsg(q.frame); err != nil {
				return err
			}
		}
	}
}

// all is what a snapshot has.
type all struct {
	generation uint64
	sessions   []*dispatch.Bound
	visits     []*room.Visit
}

// take gives what is queued; and all there is before it, when that is due.
func (m *Mesh) take(o *outgoing) (frames []queued, a *all) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if o.whole {
		a = &all{generation: o.generation + 1, sessions: slices.Collect(maps.Values(m.sessions))}
		if o.rooms {
			a.visits = slices.Collect(maps.Values(m.visits))
		}
		o.whole, o.number = false, 0
		o.generation++
		m.snapshots.Add(1)
	}
	frames, o.queue, o.bytes = o.queue, nil, 0
	return frames, a
}

// send sends all there is, in parts.
func (a *all) send(stream grpc.ClientStream) error {
	for begins, ends := true, false; !ends; begins = false {
		part, size := &Snapshot{Generation: a.generation, Begins: begins}, 0
		for n := 0; len(a.sessions) > 0 && n < chunkMost && size < chunkBytes; n++ {
			s, cost := session(a.sessions[0])
			part.Sessions, size, a.sessions = append(part.Sessions, s), size+cost, a.sessions[1:]
		}
		for n := 0; len(a.visits) > 0 && n < chunkMost && size < chunkBytes; n++ {
			v, cost := visit(a.visits[0])
			part.Visits, size, a.visits = append(part.Visits, v), size+cost, a.visits[1:]
		}
		ends = len(a.sessions)+len(a.visits) == 0
		part.Ends = ends
		if err := stream.SendMsg(&Frame{Content: &Frame_Snapshot{part}}); err != nil {
			return err
		}
	}
	return nil
}
