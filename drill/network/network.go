// SPDX-License-Identifier: Apache-2.0

// Package network stands between the nodes of a drill's cell: what one of them sends to
// another passes through here, and can be cut or delayed, each way by itself.
//
// All nodes dial the same addresses, as the nodes of a cell have to. Who dials is found by
// the process that holds the other end of a connection, in /proc: it is for Linux alone.
package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"time"
)

// Bounds.
const (
	// connectionsMost bounds the connections that are open, those that hang included.
	connectionsMost = 4096
	// chunksMost and chunkBytes bound what is under way on one connection, one way.
	chunksMost = 64
	chunkBytes = 16 << 10
	// retransmit is after how long Linux sends again, at the earliest; retransmits bounds how
	// often in a row one thing is lost.
	retransmit  = 200 * time.Millisecond
	retransmits = 6
	// dialTimeout bounds the way to a node that is there.
	dialTimeout = 5 * time.Second
)

// Way is how it goes from one node to another.
type Way struct {
	// Cut: nothing arrives, ends of connections neither, until it is healed. New connections
	// hang, too. Unlike packets that are dropped, what was sent meanwhile arrives then.
	Cut bool
	// Delay and Jitter: everything is later by Delay and up to Jitter more or less.
	Delay, Jitter time.Duration
	// Loss is the share of packets that are lost, 0 to below 1, as the ends of a TCP connection
	// have it: what is lost is sent again, and comes after retransmit, twice that when it is
	// lost again, and so on; what was sent behind it waits.
	Loss float64
}

// Network of some nodes, which are numbered from 0.
type Network struct {
	processes func() []int
	random    func(n int64) int64
	slots     chan struct{}
	ctx       context.Context
	cancel    context.CancelFunc
	wg        sync.WaitGroup

	mu      sync.Mutex // guards all below
	ways    [][]Way    // from, to
	changed chan struct{}
}

// New makes a network of n nodes on which everything passes. processes gives the process
// id of each, 0 of one that does not run; random a number from 0 to n-1, for jitter. Both are
// called by several goroutines. Close ends it.
func New(n int, processes func() []int, random func(n int64) int64) (*Network, error) {
	if runtime.GOOS != "linux" {
		return nil, errors.New("cutting the network between nodes is possible on Linux alone")
	}
	w := &Network{processes: processes, random: random, slots: make(chan struct{}, connectionsMost), ways: make([][]Way, n), changed: make(chan struct{})}
	for i := range w.ways {
		w.ways[i] = make([]Way, n)
	}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	return w, nil
}

// Serve takes connections to a node at listen, a loopback address, and passes them on to where
// the node listens itself.
func (w *Network) Serve(node int, listen, target string) error {
	l, err := new(net.ListenConfig).Listen(w.ctx, "tcp", listen)
	if err != nil {
		return fmt.Errorf("the way to a node: %w", err)
	}
	context.AfterFunc(w.ctx, func() { l.Close() })
	w.wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				if w.ctx.Err() != nil {
					return
				}
				continue // it was gone before it was accepted
			}
			select {
			case w.slots <- struct{}{}:
				w.wg.Go(func() {
					defer func() { <-w.slots }()
					w.carry(conn.(*net.TCPConn), node, target)
				})
			default:
				conn.Close()
			}
		}
	})
	return nil
}

// Close ends all connections and waits for that.
func (w *Network) Close() {
	w.cancel()
	w.wg.Wait()
}

// Set says how it goes from one node to another from now on.
func (w *Network) Set(from, to int, way Way) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ways[from][to] = way
	close(w.changed)
	w.changed = make(chan struct{})
}

// Heal lets everything pass again.
func (w *Network) Heal() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, to := range w.ways {
		clear(to)
	}
	close(w.changed)
	w.changed = make(chan struct{})
}

// way gives how it goes now, and what is closed when that changes.
func (w *Network) way(from, to int) (Way, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ways[from][to], w.changed
}

// open waits until something passes. It reports false when the network was closed.
func (w *Network) open(from, to int) bool {
	for {
		way, changed := w.way(from, to)
		if !way.Cut {
			return w.ctx.Err() == nil
		}
		select {
		case <-changed:
		case <-w.ctx.Done():
			return false
		}
	}
}

// carry passes on what comes and goes on a connection to a node.
func (w *Network) carry(near *net.TCPConn, to int, target string) {
	defer near.Close()
	defer context.AfterFunc(w.ctx, func() { near.Close() })()
	from, ok := w.caller(near)
	if !ok {
		return // its process has ended, or is none of the cell's
	}
	going := w.receive(near, from, to)
	// As in a network, whoever dials hears nothing before the other side has answered.
	if !w.open(from, to) || !w.open(to, from) || going.over() {
		near.Close()
		going.discard()
		return
	}
	dialer := net.Dialer{Timeout: dialTimeout}
	conn, err := dialer.DialContext(w.ctx, "tcp", target)
	if err != nil {
		near.Close()
		going.discard()
		return
	}
	far := conn.(*net.TCPConn)
	defer far.Close()
	defer context.AfterFunc(w.ctx, func() { far.Close() })()
	coming := w.receive(far, to, from)
	var both sync.WaitGroup
	both.Go(func() { w.deliver(going, far, from, to) })
	both.Go(func() { w.deliver(coming, near, to, from) })
	both.Wait()
}

// chunk is something on its way, which is to arrive at a time at the earliest.
type chunk struct {
	bytes []byte
	due   time.Time
}

// stream is one way of a connection; chunks is closed behind the last.
type stream struct {
	chunks chan chunk
	ended  chan struct{}
}

// over reports whether the sender has ended it already.
func (s *stream) over() bool {
	select {
	case <-s.ended:
		return true
	default:
		return false
	}
}

// discard waits until the sender has ended it.
func (s *stream) discard() {
	for range s.chunks {
	}
}

// receive takes what is sent, as long as there is room.
func (w *Network) receive(conn *net.TCPConn, from, to int) *stream {
	s := &stream{chunks: make(chan chunk, chunksMost), ended: make(chan struct{})}
	w.wg.Go(func() {
		defer close(s.chunks)
		defer close(s.ended)
		for {
			buffer := make([]byte, chunkBytes)
			n, err := conn.Read(buffer)
			if n > 0 {
				s.chunks <- chunk{buffer[:n], time.Now().Add(w.delay(from, to))}
			}
			if err != nil {
				return
			}
		}
	})
	return s
}

// delay draws by how much something is later.
func (w *Network) delay(from, to int) time.Duration {
	way, _ := w.way(from, to)
	late := way.Delay
	if way.Jitter > 0 {
		late = max(late-way.Jitter+time.Duration(w.random(int64(2*way.Jitter)+1)), 0)
	}
	const grain = 1 << 20
	for again := 0; again < retransmits && float64(w.random(grain)) < way.Loss*grain; again++ {
		late += retransmit << again
	}
	return late
}

// deliver writes what was sent when its time has come, in order, and the end behind it. What
// cannot be written any more is lost: the other way tells the sender.
func (w *Network) deliver(s *stream, conn *net.TCPConn, from, to int) {
	defer s.discard()
	for c := range s.chunks {
		if !w.until(c.due) || !w.open(from, to) {
			return
		}
		if _, err := conn.Write(c.bytes); err != nil {
			return
		}
	}
	if w.open(from, to) {
		_ = conn.CloseWrite() // it may be gone
	}
}

// until waits for a time. It reports false when the network was closed.
func (w *Network) until(due time.Time) bool {
	wait := time.Until(due)
	if wait <= 0 {
		return w.ctx.Err() == nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-w.ctx.Done():
		return false
	}
}
