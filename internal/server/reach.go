// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
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
	rests  pauses
}

// pauses are between two times that something is done which is of no use done again and again.
type pauses struct {
	again time.Time // when it may be done again
	last  time.Duration
}

func (p *pauses) over(now time.Time) bool { return !now.Before(p.again) }

// begin begins a pause: the least, if it is to be afresh, else twice the last one, and the most at most.
func (p *pauses) begin(now time.Time, afresh bool, least, most time.Duration) {
	if afresh {
		p.last = 0
	}
	p.last = min(max(2*p.last, least), most)
	p.again = now.Add(p.last)
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

// late reports whether an answer that takes so long, or is not there after that, is late.
func (s *server) late(took time.Duration) bool { return took >= s.o.noMajority/slowPart }

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
	if r.step(j.Leads(), s.late(took)) && enough(j.Others) && r.moving.CompareAndSwap(false, true) {
		r.moves.Go(func() {
			defer r.moving.Store(false)
			s.giveUpLead(ctx, took)
		})
	}
}

// giveUpLead is of who has set moving.
func (s *server) giveUpLead(ctx context.Context, took time.Duration) {
	r, now := &s.reach, time.Now()
	if !r.rests.over(now) {
		return
	}
	to, err := s.moveLeadership(ctx)
	switch {
	case err != nil:
		s.log.Warn("this node is slow, and leadership stays with it", "answered_after", took.Round(time.Millisecond), "err", err)
	case to != "":
		r.rests.begin(time.Now(), now.Sub(r.rests.again) > leadWell, leadPause, leadPauseMost)
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
