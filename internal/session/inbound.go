// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"bavard/internal/route"
	"bavard/internal/xmlstream"
)

// inbound is what was received: stanzas in order, each handled only when all
// before it are, and reads that run one after the other.
type inbound struct {
	mu      sync.Mutex
	changed sync.Cond // L is mu, set by init; signalled when pending or reads shrink
	pending []*entry  // received, not yet handled; the oldest first
	count   uint32    // received since stream management was enabled
	handled atomic.Uint32
	managed bool // stream management is on
	closed  bool
	// deaf: what is received is not taken any more, so that it is not handled by a
	// device that is no longer in its rooms. It is not counted.
	deaf    bool
	reads   []route.Read
	reading bool
	asked   bool // an ack was requested and waits for a commit
	timer   *time.Timer

	puttingOff bool // the entry being performed is put off, and has no error yet
}

// entry is one stanza on its way to being handled.
type entry struct {
	stanza  *xmlstream.Element
	effects []route.Effect
	waits   int // outcomes that are missing
	counted bool
	putOff  bool // a message that the node itself refused
}

// keepPending is the room for stanzas that an idle session keeps.
const keepPending = 4

func (e *entry) message() bool { return e.stanza.Name.Local == "message" }

// number is a stanza's count on its stream.
type number struct {
	counted bool
	h       uint32
}

func (in *inbound) init() { in.changed.L = &in.mu }

// push queues a stanza behind those that came before; what waits for nothing
// is performed at once. It blocks while too much is pending and reports false
// when the session ends.
func (in *inbound) push(s *Session, e *entry) (number, bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for !in.deaf && len(in.pending)+len(in.reads) >= pendingMost {
		in.changed.Wait()
	}
	if in.deaf {
		return number{}, false
	}
	if in.managed {
		in.count++
		e.counted = true
	}
	n := number{e.counted, in.count}
	in.pending = append(in.pending, e)
	if e.waits == 0 && len(in.pending) == 1 {
		in.drain(s)
	}
	return n, true
}

// settle notes one outcome of an entry and performs whatever has come first in
// line.
func (in *inbound) settle(s *Session, e *entry, then []route.Effect) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed {
		return
	}
	e.effects = append(e.effects, then...)
	e.waits--
	if e.waits > 0 || in.pending[0] != e {
		return
	}
	in.drain(s)
	if in.managed {
		in.stopTimer()
		s.out.ack(s)
	}
}

// drain performs the entries at the head of the line that wait for nothing.
func (in *inbound) drain(s *Session) {
	n := 0
	for n < len(in.pending) && in.pending[n].waits == 0 {
		e := in.pending[n]
		n++
		in.puttingOff = e.putOff
		s.perform(e.effects)
		if in.puttingOff { // it was not told
			in.puttingOff = false
			s.putOff.Add(-1)
		}
		if e.counted {
			in.handled.Add(1) // after its error, if any, is queued
		}
	}
	copy(in.pending, in.pending[n:])
	clear(in.pending[len(in.pending)-n:])
	if in.pending = in.pending[:len(in.pending)-n]; len(in.pending) == 0 && cap(in.pending) > keepPending {
		in.pending = nil
	}
	in.changed.Broadcast()
}

// request answers a request for an ack: at once when all is handled, else with
// the next commit or after ackWithin, whichever comes first.
func (in *inbound) request(s *Session) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if !in.managed {
		return
	}
	if len(in.pending) == 0 {
		s.out.ack(s)
		return
	}
	if in.asked {
		return
	}
	in.asked = true
	in.timer = time.AfterFunc(ackWithin, func() {
		in.mu.Lock()
		in.asked = false
		in.mu.Unlock()
		s.out.ack(s)
	})
}

func (in *inbound) stopTimer() {
	if in.asked && len(in.pending) == 0 {
		in.asked = false
		in.timer.Stop()
	}
}

// settled waits until nothing is pending, at most for d, and reports whether
// it came to that. After the last time nothing more is taken.
func (in *inbound) settled(d time.Duration, last bool) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	expired := d <= 0
	if !expired {
		t := time.AfterFunc(d, func() {
			in.mu.Lock()
			expired = true
			in.mu.Unlock()
			in.changed.Broadcast()
		})
		defer t.Stop()
	}
	for len(in.pending) > 0 && !expired && !in.closed {
		in.changed.Wait()
	}
	if last {
		in.deaf = true
		in.changed.Broadcast()
	}
	return len(in.pending) == 0
}

// close lets nothing more be performed.
func (in *inbound) close() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.closed, in.deaf = true, true
	in.reads = nil
	if in.timer != nil {
		in.timer.Stop()
	}
	in.changed.Broadcast()
}

// readWithin bounds one read.
const readWithin = 30 * time.Second

// read queues a read; mu is held. Reads run one after the other in a goroutine
// that exists only while there are any.
func (in *inbound) read(s *Session, r route.Read) {
	in.reads = append(in.reads, r)
	if !in.reading {
		in.reading = true
		s.m.crew.do(job{session: s, reads: true})
	}
}

func (in *inbound) readAll(s *Session) {
	for {
		in.mu.Lock()
		if len(in.reads) == 0 {
			in.reading, in.reads = false, nil
			in.mu.Unlock()
			return
		}
		r := in.reads[0]
		in.reads[0] = route.Read{} // it holds a stanza
		in.reads = in.reads[1:]
		in.changed.Broadcast()
		in.mu.Unlock()
		effects := s.m.read(r)
		s.charge(readCost, handed(effects), 0) // it waits for that with its next stanza
		in.mu.Lock()
		if !in.closed {
			s.perform(effects)
		}
		in.mu.Unlock()
	}
}

// readCost is what a read costs, as so many stanzas that come.
const readCost = 5

// read performs one read for a session.
func (m *Manager) read(r route.Read) []route.Effect {
	ctx, cancel := context.WithTimeout(m.ctx, readWithin)
	defer cancel()
	if r.Current {
		if err := m.o.Cell.Current(ctx); err != nil {
			return r.Else
		}
	}
	return r.Do(ctx)
}
