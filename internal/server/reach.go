// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"bavard/internal/journal"
)

const (
	// reachEvery is how often a node of several asks whether it is heard.
	reachEvery = 500 * time.Millisecond
	// slowPart: a node is slow when an answer takes as long as this part of noMajority.
	slowPart = 10
	// newLeader is how long what a new leader had asked before it led, while none did, may still wait.
	newLeader = 2 * time.Second
	// leadPause is how long a node that gave up leadership, and has it again, keeps it at least; twice as long each time, up to leadPauseMost,
	// unless it was well for leadWell meanwhile: where all nodes are slow, as with too few processors, it is no use to hand it around.
	leadPause     = 5 * time.Second
	leadPauseMost = 5 * time.Minute
	leadWell      = time.Minute
)

// reach is what a node of several finds out about whether, and how fast, it is heard by the others.
type reach struct {
	asked atomic.Pointer[time.Time] // since when there is no answer; nil: there was one
	took  atomic.Int64              // nanoseconds that the last one took

	// Of the goroutine that watches the pace:
	led  time.Duration // for how long this node has led
	slow time.Duration // for how long, while it led, answers were late without a break, or what it stores was

	moves  sync.WaitGroup
	moving atomic.Bool // of who has set it:
	again  time.Time
	pause  time.Duration
}

// unanswered is for how long nothing was stored, or nothing answered, that this node has
// asked the others for; 0: nothing waits.
func (s *server) unanswered(j journal.Stats) time.Duration {
	since := j.Unsettled
	if asked := s.reach.asked.Load(); asked != nil {
		since = max(since, time.Since(*asked))
	}
	return since
}

// watchReach asks the others, again and again, what every login and every look into an archive asks them: how far the journal is. So
// a node that nobody hears knows it also while none of its people writes anything, and one that is slow before it is much used.
func (s *server) watchReach(ctx context.Context) {
	if s.member == nil {
		return
	}
	tick := time.NewTicker(reachEvery)
	defer tick.Stop()
	for {
		begun := time.Now()
		s.reach.asked.Store(&begun)
		err := s.cell.Heard(ctx)
		s.reach.took.Store(int64(time.Since(begun)))
		s.reach.asked.Store(nil)
		if err != nil {
			return // it ends
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// step goes on by paceEvery in which this node led, or not, and was slow, or not; true: it is to lead no more.
func (r *reach) step(leads, slow bool) bool {
	if r.led += paceEvery; !leads {
		r.led = 0
	}
	if r.slow += paceEvery; r.led < newLeader || !slow {
		r.slow = 0
	}
	return r.slow >= surelySlow
}

// leadNoMore hands leadership to another node when this one has it, and was slow for some time: all that any node stores
// goes through the leader, so that a slow network or disk of one makes all slow. It does not wait for that.
func (s *server) leadNoMore(ctx context.Context, took time.Duration) {
	r, j := &s.reach, s.cell.JournalStats()
	took = max(took, j.Unsettled)
	leads := j.HasLeader && !slices.ContainsFunc(j.Others, func(o journal.Other) bool { return o.Leads })
	if r.step(leads, took >= s.o.noMajority/slowPart) && enough(j.Others) && r.moving.CompareAndSwap(false, true) {
		r.moves.Go(func() {
			defer r.moving.Store(false)
			s.giveUpLead(ctx, took)
		})
	}
}

// giveUpLead is of who has set moving.
func (s *server) giveUpLead(ctx context.Context, took time.Duration) {
	r, now := &s.reach, time.Now()
	if now.Before(r.again) {
		return
	}
	to, err := s.moveLeadership(ctx)
	switch {
	case err != nil:
		s.log.Warn("this node is slow, and leadership stays with it", "answered_after", took.Round(time.Millisecond), "err", err)
	case to != "":
		if now.Sub(r.again) > leadWell {
			r.pause = 0
		}
		r.pause = min(max(2*r.pause, leadPause), leadPauseMost)
		r.again = time.Now().Add(r.pause)
		s.log.Warn("this node is slow to store or to reach the others, so that another one leads", "answered_after", took.Round(time.Millisecond), "node", to)
	}
}

// enough: the other nodes are a majority without this one.
func enough(others []journal.Other) bool {
	voters, reached := 1, 0
	for _, o := range others {
		if o.Absent || o.Learner {
			continue
		}
		if voters++; o.Reached {
			reached++
		}
	}
	return reached > voters/2
}
