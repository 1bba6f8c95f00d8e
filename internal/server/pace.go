// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"bavard/internal/health"
	"bavard/internal/mesh"
	"bavard/internal/stanza"
)

// A node of several that is answered late, by the others or by its own disk, while most others are answered in time, sends
// people to them: who logs in there waits for several answers, one after the other. It works, if slowly, and so takes who comes
// back after all, whose client may know no other node. At most a minority of the nodes does so at a time: where all are slow, as
// under a load that is too much for all, it would be of no use.

const (
	// paceEvery is how often it is looked at.
	paceEvery = 100 * time.Millisecond
	// surelySlow is how long answers have to be late, without one in time, until people are sent elsewhere who come, and
	// leaveSlow until those are, too, who are there; wellAgain is how long all have to be in time until it takes people as before.
	surelySlow = 300 * time.Millisecond
	leaveSlow  = 2 * time.Second
	wellAgain  = 5 * time.Second
	// After they were sent away, those who are there are left alone for leavePause at least; twice as long each time, up to
	// leavePauseMost, unless it took people as before for leaveWell meanwhile.
	leavePause     = 10 * time.Second
	leavePauseMost = 10 * time.Minute
	leaveWell      = 2 * time.Minute
	// toldFor is for how long who was sent elsewhere is taken when they come back; toldMost bounds how many of them are remembered.
	toldFor  = time.Minute
	toldMost = 10_000
)

// pace is what follows from how fast a node is answered.
type pace struct {
	shut atomic.Bool // who comes is sent elsewhere, once

	// Of the goroutine that watches:
	looked  time.Time
	late    time.Time     // when an answer was late last
	lateFor time.Duration // for how long they were, since they were all in time, or others late, too
	left    bool          // people were sent away since it is shut
	opened  time.Time
	rests   pauses

	mu   sync.Mutex
	told map[string]time.Time // by account: until when who comes back is taken
}

// step goes on to a time at which an answer is late, or not, and most others are in time, or not; true: those who are there are
// to go.
func (p *pace) step(now time.Time, late, enough bool) (leave bool) {
	passed := min(now.Sub(p.looked), 2*paceEvery) // not for how long this process did not run
	p.looked = now
	if late {
		p.late = now
		p.lateFor += passed
	}
	if !p.shut.Load() {
		if !late || !enough { // what all were late for, as while a leader is elected, says nothing of this one
			p.lateFor = 0
		}
		if p.lateFor < surelySlow {
			return false
		}
		p.shut.Store(true)
	}
	if !enough || now.Sub(p.late) >= wellAgain {
		p.shut.Store(false)
		p.lateFor, p.left, p.opened = 0, false, now
		return false
	}
	if !late || p.left || p.lateFor < leaveSlow || !p.rests.over(now) {
		return false
	}
	p.left = true
	p.rests.begin(now, now.Sub(p.opened) > leaveWell, leavePause, leavePauseMost)
	return true
}

// elsewhere reports whether who logs in to an account now is to go to another node.
func (p *pace) elsewhere(account string, now time.Time) bool {
	if !p.shut.Load() {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Before(p.told[account]) {
		return false
	}
	if len(p.told) >= toldMost {
		maps.DeleteFunc(p.told, func(_ string, until time.Time) bool { return !now.Before(until) })
	}
	if len(p.told) >= toldMost {
		return false // so many have come within toldFor: they are left where they are
	}
	if p.told == nil {
		p.told = map[string]time.Time{}
	}
	p.told[account] = now.Add(toldFor)
	return true
}

// answeredAfter is how long the last answer of the others took, or for how long one is overdue.
func (s *server) answeredAfter() time.Duration {
	took := time.Duration(s.reach.took.Load())
	if asked := s.reach.asked.Load(); asked != nil {
		took = max(took, time.Since(*asked))
	}
	return took
}

// watchPace hands leadership over, and sends people elsewhere, while this node is slow.
func (s *server) watchPace(ctx context.Context) {
	if s.member == nil || s.mesh == nil {
		return
	}
	defer s.reach.moves.Wait()
	tick := time.NewTicker(paceEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			s.lookAtPace(ctx, now)
		}
	}
}

// lookAtPace is one look of watchPace.
func (s *server) lookAtPace(ctx context.Context, now time.Time) {
	took := s.answeredAfter()
	late := s.late(took)
	was := s.pace.shut.Load()
	leave := s.pace.step(now, late, most(s.mesh.Nodes()))
	shut := s.pace.shut.Load()
	is := mesh.PaceInTime
	if late || shut {
		is = mesh.PaceSlow
	}
	s.mesh.SetPace(is)
	s.leadNoMore(ctx, took)
	took = took.Round(time.Millisecond)
	switch {
	case shut && !was:
		s.log.Warn("this node is slow, and most others are not: who comes is sent to them", "answered_after", took)
		s.warnings.Raise(health.NodeSlow, "an answer took "+took.String())
		s.doors.turnAway(slowly())
	case was && !shut:
		s.log.Warn("this node sends nobody elsewhere any more", "answered_after", took)
		s.warnings.Clear(health.NodeSlow)
	}
	if leave {
		s.log.Warn("this node is still slow: its people are sent to others", "answered_after", took)
		s.sessions.Disconnect(slowly())
	}
}

// most reports whether the other nodes that are answered in time, and take people, are most of the cell.
func most(others []mesh.Node) bool {
	well := 0
	for _, n := range others {
		if n.Reached && !n.Drained && !n.Diverged && n.Pace == mesh.PaceInTime {
			well++
		}
	}
	return well > (len(others)+1)/2
}

// sentElsewhere is negotiate.Deps.Elsewhere.
func (s *server) sentElsewhere(account string) *stanza.StreamError {
	if s.pace.elsewhere(account, time.Now()) {
		return slowly()
	}
	return nil
}

// slowly: people are better served elsewhere.
func slowly() *stanza.StreamError {
	return stanza.StreamErr(stanza.StreamInternalServerError, "this node is slow for the moment, and others are not; please try another")
}

// inTime is a health check.
func (s *server) inTime() error {
	if s.pace.shut.Load() {
		return errors.New("it is slow, and most other nodes are not")
	}
	return nil
}
