// SPDX-License-Identifier: Apache-2.0

package mesh

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"bavard/internal/dispatch"
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
	// whole: it has to get all sessions, before anything else of them.
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

// change queues what became of a session. When there is no room, all that waits
// is dropped, and the node gets all sessions anew.
func (o *outgoing) change(m *Mesh, b *dispatch.Bound, gone bool) {
	if o.whole {
		return // they are on their way
	}
	o.number++
	c := &Change{Generation: o.generation, Number: o.number}
	size := frameCost
	if gone {
		c.What = &Change_Gone{b.JID.String()}
	} else {
		s, n := session(b)
		c.What, size = &Change_Session{s}, n
	}
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

// speak opens a stream to a node and says what there is to say, until it ends.
func (m *Mesh) speak(p *peer) error {
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
	if err := m.greeted(p, stream); err != nil {
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
	o := m.attach(p)
	err = m.write(ctx, stream, o)
	m.detach(p, o)
	cancel()
	return errors.Join(err, <-listening)
}

func (m *Mesh) hello() *Frame {
	return &Frame{Content: &Frame_Hello{&Hello{Format: format, Cell: m.o.Cell, Node: m.o.Node, Incarnation: m.incarnation}}}
}

// greeted reads the hello of a node.
func (m *Mesh) greeted(p *peer, stream grpc.ClientStream) error {
	var f Frame
	if err := stream.RecvMsg(&f); err != nil {
		return err
	}
	return m.acquainted(f.GetHello(), p.name)
}

// acquainted looks at a hello.
func (m *Mesh) acquainted(h *Hello, node string) error {
	switch {
	case h == nil:
		return fmt.Errorf("%w: it does not say hello", errWire)
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
func (m *Mesh) attach(p *peer) *outgoing {
	o := &outgoing{wake: make(chan struct{}, 1), whole: true}
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
}

// write sends what is queued, and a beat when nothing is.
func (m *Mesh) write(ctx context.Context, stream grpc.ClientStream, o *outgoing) error {
	beat := time.NewTicker(m.o.Beat)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-o.wake:
		case <-beat.C:
			if err := stream.SendMsg(&Frame{Content: &Frame_Beat{&Beat{}}}); err != nil {
				return err
			}
			continue
		}
		frames, all := m.take(o)
		if all != nil {
			if err := m.sendAll(stream, o, all); err != nil {
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

// take gives what is queued; or all sessions, when they are due: what is queued
// comes after them.
func (m *Mesh) take(o *outgoing) (frames []queued, all []*dispatch.Bound) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if o.whole {
		all = make([]*dispatch.Bound, 0, len(m.sessions))
		for _, b := range m.sessions {
			all = append(all, b)
		}
		o.whole, o.number = false, 0
		o.generation++
		m.snapshots.Add(1)
	}
	frames, o.queue, o.bytes = o.queue, nil, 0
	return frames, all
}

// sendAll sends all sessions, in parts.
func (m *Mesh) sendAll(stream grpc.ClientStream, o *outgoing, all []*dispatch.Bound) error {
	m.mu.Lock()
	generation := o.generation
	m.mu.Unlock()
	for begins := true; begins || len(all) > 0; begins = false {
		part := &Snapshot{Generation: generation, Begins: begins}
		for size := 0; len(all) > 0 && len(part.GetSessions()) < chunkMost && size < chunkBytes; all = all[1:] {
			s, n := session(all[0])
			part.Sessions = append(part.Sessions, s)
			size += n
		}
		part.Ends = len(all) == 0
		if err := stream.SendMsg(&Frame{Content: &Frame_Snapshot{part}}); err != nil {
			return err
		}
	}
	return nil
}
