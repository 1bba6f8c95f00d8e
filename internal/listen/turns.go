// SPDX-License-Identifier: Apache-2.0

package listen

import (
	"math"
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
//
// Those that have said that others go first wait behind all of them. So that
// nobody can lock them out, one turn of behindShare is theirs.
type turns struct {
	mu      sync.Mutex
	free    int // negative when somebody would not wait any longer
	lines   [2]line
	passed  int    // turns given to others since somebody waits behind
	refused uint64 // of those behind
}

// rank tells who goes first.
type rank int

const (
	ahead rank = iota
	behind
)

// line holds who waits, by stage.
type line struct {
	waiting [stages][]*turnWaiter
	length  int // without those that wait no longer
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
	// behindShare is how many turns there are for each one of those behind, if
	// others want them all.
	behindShare = 16
	// behindMost bounds how many wait behind: each holds its connection's memory.
	behindMost = 4096
)

// newTurns makes n turns, as many as suit the machine when n is 0.
func newTurns(n int) *turns {
	if n <= 0 {
		n = turnsPerCPU * runtime.GOMAXPROCS(0)
	}
	return &turns{free: n}
}

// take waits for a turn of a negotiation that has come so far.
func (t *turns) take(of rank, stage int) {
	w, _ := t.ask(of, stage, math.MaxInt)
	if w == nil || w.wait(turnWait) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.leave(of, w) {
		t.free--
	}
}

// takeBehind waits for a turn behind all the others, for as long as is said.
// Without one it reports false.
func (t *turns) takeBehind(stage int, most time.Duration) bool {
	w, ok := t.ask(behind, stage, behindMost)
	switch {
	case !ok:
		return false
	case w == nil, w.wait(most):
		return true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.leave(behind, w) {
		return true
	}
	t.refused++
	return false
}

// ask takes a turn that is free, or else a place in the line for one, unless most
// are there.
func (t *turns) ask(of rank, stage, most int) (*turnWaiter, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.free > 0 {
		t.free--
		return nil, true
	}
	l := &t.lines[of]
	if l.length >= most {
		t.refused++
		return nil, false
	}
	w := &turnWaiter{granted: make(chan struct{})}
	queue := &l.waiting[min(stage, stages-1)]
	*queue = append(*queue, w)
	l.length++
	return w, true
}

func (w *turnWaiter) wait(most time.Duration) bool {
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-w.granted:
		return true
	case <-timer.C:
		return false
	}
}

// leave ends a wait, false when it was granted meanwhile; mu is held.
func (t *turns) leave(of rank, w *turnWaiter) bool {
	if w.gone {
		return false
	}
	w.gone = true
	t.lines[of].length--
	return true
}

// give gives a turn back.
func (t *turns) give() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.free++; t.free <= 0 {
		return
	}
	next, others := ahead, behind
	if t.passed >= behindShare-1 {
		next, others = behind, ahead
	}
	if t.grant(next) {
		return
	}
	t.grant(others)
}

// grant gives a free turn to who is next in a line, false when nobody is; mu is
// held.
func (t *turns) grant(to rank) bool {
	w := t.lines[to].next()
	if w == nil {
		return false
	}
	w.gone = true
	t.free--
	close(w.granted)
	if t.passed++; to == behind || t.lines[behind].length == 0 {
		t.passed = 0
	}
	return true
}

// next takes out who has come furthest, nil when there is nobody.
func (l *line) next() *turnWaiter {
	for stage := stages - 1; stage >= 0; stage-- {
		queue := &l.waiting[stage]
		for len(*queue) > 0 {
			w := (*queue)[0]
			(*queue)[0] = nil
			*queue = (*queue)[1:]
			if !w.gone {
				l.length--
				return w
			}
		}
		*queue = nil
	}
	return nil
}

// tell adds to the counts of a server.
func (t *turns) tell(s *Stats) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s.Waiting, s.WaitingBehind, s.RefusedBehind = t.lines[ahead].length, t.lines[behind].length, t.refused
}

// share is a connection's part in turns; guarded by timedConn.mu.
type share struct {
	turns *turns // nil: it does not negotiate any more
	stage int
	of    rank
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
	mine := c.share
	c.mu.Unlock()
	if mine.turns == nil || mine.has {
		return
	}
	mine.turns.take(mine.of, mine.stage)
	c.keep(mine.turns)
}

// keep keeps a turn that was taken, or gives it back when it is of no use any
// more.
func (c *timedConn) keep(turns *turns) {
	c.mu.Lock()
	kept := c.share.turns != nil && !c.share.has
	c.share.has = c.share.has || kept
	c.mu.Unlock()
	if !kept {
		turns.give()
	}
}

// giveWay goes on behind all the others, as soon as there is a turn. When there
// is none within most it reports false.
func (c *timedConn) giveWay(most time.Duration) bool {
	c.yield()
	c.mu.Lock()
	c.share.of = behind
	mine := c.share
	c.mu.Unlock()
	if mine.turns == nil {
		return true
	}
	if !mine.turns.takeBehind(mine.stage, most) {
		return false
	}
	c.keep(mine.turns)
	return true
}

// goAhead ends what giveWay began.
func (c *timedConn) goAhead() {
	c.mu.Lock()
	c.share.of = ahead
	c.mu.Unlock()
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
