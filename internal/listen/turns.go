// SPDX-License-Identifier: Apache-2.0

package listen

import (
	"runtime"
	"sync"
	"time"
)

// turns lets few negotiations work at the same time, those first that have come
// furthest. When thousands come back at once the first are done at once, instead
// of all at the end; none of them holds much memory while it waits; and who is
// logged in already does not feel them, because they are not all runnable. A
// resumed stream is done after its login, a new one only then begins to cost.
//
// A negotiation has a turn while it works, not while it waits for its client, so
// that a silent one takes nothing from the others. Nobody waits for longer than
// turnWait: then there is one more at work.
type turns struct {
	mu      sync.Mutex
	free    int // negative when somebody would not wait any longer
	waiting [stages][]*turnWaiter
}

type turnWaiter struct {
	granted chan struct{} // closed, under mu
	gone    bool          // granted, or waits no longer
}

const (
	// turnsPerCPU is more than one because a negotiation waits for the disk, too.
	turnsPerCPU = 16
	turnWait    = time.Second
	// stages are told apart: how many elements a client has sent.
	stages = 12
)

func newTurns() *turns { return &turns{free: turnsPerCPU * runtime.GOMAXPROCS(0)} }

// take waits for a turn of a negotiation that has come so far.
func (t *turns) take(stage int) {
	t.mu.Lock()
	if t.free > 0 {
		t.free--
		t.mu.Unlock()
		return
	}
	w := &turnWaiter{granted: make(chan struct{})}
	queue := &t.waiting[min(stage, stages-1)]
	*queue = append(*queue, w)
	t.mu.Unlock()
	timer := time.NewTimer(turnWait)
	defer timer.Stop()
	select {
	case <-w.granted:
	case <-timer.C:
		t.mu.Lock()
		if !w.gone {
			w.gone = true
			t.free--
		}
		t.mu.Unlock()
	}
}

// give gives a turn back.
func (t *turns) give() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.free++; t.free <= 0 {
		return
	}
	for stage := stages - 1; stage >= 0; stage-- {
		queue := &t.waiting[stage]
		for len(*queue) > 0 {
			w := (*queue)[0]
			(*queue)[0] = nil
			*queue = (*queue)[1:]
			if w.gone {
				continue
			}
			w.gone = true
			t.free--
			close(w.granted)
			return
		}
		*queue = nil
	}
}

// share is a connection's part in turns; guarded by timedConn.mu.
type share struct {
	turns *turns // nil: it does not negotiate any more
	stage int
	has   bool
}

// yield gives the turn back, if there is one, before a wait for the client.
func (c *timedConn) yield() {
	c.mu.Lock()
	turns := c.share.turns
	had := c.share.has
	c.share.has = false
	c.mu.Unlock()
	if had {
		turns.give()
	}
}

// proceed waits for a turn, if one is needed, after a wait for the client.
func (c *timedConn) proceed() {
	c.mu.Lock()
	turns, stage := c.share.turns, c.share.stage
	needed := turns != nil && !c.share.has
	c.mu.Unlock()
	if !needed {
		return
	}
	turns.take(stage)
	c.mu.Lock()
	kept := c.share.turns != nil && !c.share.has
	c.share.has = c.share.has || kept
	c.mu.Unlock()
	if !kept {
		turns.give()
	}
}

// advance notes that the client has sent an element of the negotiation.
func (c *timedConn) advance() {
	c.mu.Lock()
	c.share.stage++
	c.mu.Unlock()
}

// negotiated ends the part in turns; it may be called more than once.
func (c *timedConn) negotiated() {
	c.mu.Lock()
	turns, had := c.share.turns, c.share.has
	c.share = share{}
	c.mu.Unlock()
	if had {
		turns.give()
	}
}
