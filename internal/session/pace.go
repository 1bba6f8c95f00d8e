// SPDX-License-Identifier: Apache-2.0

package session

import (
	"sync/atomic"
	"time"

	"bavard/internal/route"
	"bavard/internal/xmlstream"
)

// Pace is how much may be sent in a second, in the long run. 0 is no bound.
type Pace struct{ Stanzas, Bytes int }

const (
	// paceAhead is for how long of its pace somebody may be ahead at once: an app
	// that empties its outbox is not held up, one that never stops is.
	paceAhead = 4 * time.Second
	// paceMost bounds what is owed, and so how long somebody waits for one stanza.
	paceMost = 5 * time.Second
	// paceLook is how often a wait looks whether its stream is still that of the
	// session.
	paceLook = 50 * time.Millisecond
	// handedPerStanza is how many stanzas handed to devices cost as much as one
	// that comes: it is parsed, decided upon and put on a disk, they are written.
	handedPerStanza = 20
)

// cost is how long it takes at this pace to send so much.
func (p Pace) cost(stanzas, handed, bytes int) time.Duration {
	var d time.Duration
	if p.Stanzas > 0 {
		d = (time.Duration(stanzas)*time.Second + time.Duration(handed)*time.Second/handedPerStanza) / time.Duration(p.Stanzas)
	}
	if p.Bytes > 0 {
		d += time.Duration(bytes) * time.Second / time.Duration(p.Bytes)
	}
	return d
}

// meter measures what somebody sends: until when, in Unix nanoseconds, it would
// have taken at the pace.
type meter struct{ until atomic.Int64 }

// add takes something on account and gives how long to wait before more is
// read.
func (m *meter) add(now time.Time, cost time.Duration) time.Duration {
	n := now.UnixNano()
	for {
		old := m.until.Load()
		next := min(max(old, n)+int64(cost), n+int64(paceAhead+paceMost))
		if m.until.CompareAndSwap(old, next) {
			return time.Duration(next-n) - paceAhead
		}
	}
}

// shared is the meter of all sessions of an account.
type shared struct {
	meter
	sessions int // guarded by Manager.mu
}

// share gives the meter of an account; m.mu is held.
func (m *Manager) share(account string) *shared {
	a := m.accounts[account]
	if a == nil {
		a = &shared{}
		m.accounts[account] = a
	}
	a.sessions++
	return a
}

// unshare is its counterpart; m.mu is held.
func (m *Manager) unshare(account string) {
	if a := m.accounts[account]; a != nil {
		if a.sessions--; a.sessions == 0 {
			delete(m.accounts, account)
		}
	}
}

// charge takes on account what a device has caused, and gives how long nothing
// more is to be read of it.
func (s *Session) charge(stanzas, handed, bytes int) time.Duration {
	now := s.m.now()
	wait := s.pace.add(now, s.m.o.Pace.cost(stanzas, handed, bytes))
	if s.account != nil {
		wait = max(wait, s.account.add(now, s.m.o.AccountPace.cost(stanzas, handed, bytes)))
	}
	return wait
}

// hold waits, after a stanza has been taken, until its device may send on:
// nothing is dropped, its connection fills up and its app waits (RFC 6120
// §13.12). Others are not concerned, because a reader is its connection's alone.
// It ends early when the session does, or goes on on another stream.
func (s *Session) hold(stream Stream, wait time.Duration) {
	if wait <= 0 {
		return
	}
	s.m.held.Add(1)
	until := s.m.now().Add(wait)
	t := time.NewTimer(min(wait, paceLook))
	defer t.Stop()
	for {
		select {
		case <-s.over:
			return
		case <-s.m.ctx.Done():
			return
		case <-t.C:
		}
		left := until.Sub(s.m.now())
		s.out.mu.Lock()
		same := s.out.stream == stream
		s.out.mu.Unlock()
		if left <= 0 || !same || s.ends.Load() {
			return
		}
		t.Reset(min(left, paceLook))
	}
}

// handed is to how many devices the effects of a stanza, or of a read, hand
// something.
func handed(effects []route.Effect) int {
	n := 0
	for _, f := range effects {
		if _, ok := f.(route.Deliver); ok {
			n++
		}
	}
	return n
}

// weight is about how many bytes an element takes on the wire.
func weight(e *xmlstream.Element) int {
	n := 5 + 2*len(e.Name.Local)
	for i := range e.Attr {
		n += 4 + len(e.Attr[i].Name.Local) + len(e.Attr[i].Value)
	}
	for i := range e.Children {
		if c := e.Children[i].Element; c != nil {
			n += weight(c)
		} else {
			n += len(e.Children[i].Text)
		}
	}
	return n
}
