// SPDX-License-Identifier: Apache-2.0

package webpush

import (
	"container/heap"
	"context"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"sync"
	"time"
)

// Bounds of a Sender.
const (
	// subscribersMost bounds the subscriptions for which anything is under way.
	subscribersMost = 20000
	workers         = 16
	// perHost of them may be busy with one push service, so that one which hangs
	// leaves room for the others.
	perHost = 4
	// apart is how far pushes to one subscription are: what comes meanwhile is one.
	apart = 5 * time.Second
	// Retries: the first pause, and the longest.
	pauseLeast = 2 * time.Second
	pauseMost  = 10 * time.Minute
	afterMost  = time.Hour // of what a service asks for
	// triesMost bounds the attempts to send one note.
	triesMost = 10
)

// Transport sends one note; *Client is one.
type Transport interface {
	Send(ctx context.Context, s Subscription, n Note) Answer
}

// SenderOptions of a Sender.
type SenderOptions struct {
	Transport Transport
	// Gone is told, on a goroutine of its own, of a subscription that is no more.
	Gone   func(account string, s Subscription)
	Logger *slog.Logger
}

// Sender sends notes in the background. Of what waits for one subscription the
// latest note is enough: it says that there is something, not what.
type Sender struct {
	o      SenderOptions
	ctx    context.Context
	cancel context.CancelFunc
	wake   chan struct{}
	wg     sync.WaitGroup

	mu      sync.Mutex // guards all below; a leaf
	targets map[string]*target
	due     queue
	hosts   map[string]*host
	running int
	stats   Stats
	sent    time.Time // the last time that anything was
}

// Stats of a Sender, since it was made but for Waiting.
type Stats struct {
	Waiting   int    // subscriptions with a note that was not sent yet
	Sent      uint64 // notes
	Failed    uint64 // notes given up
	Gone      uint64 // subscriptions found to be no more
	Coalesced uint64 // notes that a newer one took the place of
	Dropped   uint64 // notes for which there was no room
}

// target is a subscription for which something is under way, or was a moment
// ago.
type target struct {
	account string
	to      Subscription
	host    string
	note    *Note
	made    time.Time // of the note
	at      time.Time // when it is looked at next
	sent    time.Time
	tries   int
	until   time.Time // not before
	busy    bool
	waits   bool // for a place at its host
	index   int  // in the queue, -1 when it is not
}

// host is a push service.
type host struct {
	running int
	fails   int
	until   time.Time // it is left alone
	waiting []*target // for a place
	err     string
	targets int
}

// NewSender starts a sender; Close ends it.
func NewSender(o SenderOptions) *Sender {
	ctx, cancel := context.WithCancel(context.Background())
	s := &Sender{o: o, ctx: ctx, cancel: cancel, wake: make(chan struct{}, 1), targets: map[string]*target{}, hosts: map[string]*host{}}
	s.wg.Go(s.run)
	return s
}

// Close ends it; what waits is dropped.
func (s *Sender) Close() {
	s.cancel()
	s.wg.Wait()
}

// Send has a note sent to a subscription of an account, at once unless something
// was sent there just now. It never blocks. It reports false when there is no room.
func (s *Sender) Send(account string, to Subscription, n Note) bool {
	now := time.Now()
	key := account + "\x00" + to.Endpoint
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.targets[key]
	if t == nil {
		u, err := url.Parse(to.Endpoint)
		if err != nil || len(s.targets) >= subscribersMost || s.ctx.Err() != nil {
			s.stats.Dropped++
			return false
		}
		t = &target{account: account, host: u.Host, index: -1}
		s.targets[key] = t
		s.host(u.Host).targets++
	}
	t.to = to
	if t.note != nil {
		s.stats.Coalesced++
		if t.note.Urgent && !n.Urgent && now.Sub(t.made) < t.note.Life {
			return true // the call first; it wakes the device as well
		}
	}
	urgent := n.Urgent && (t.note == nil || !t.note.Urgent)
	if t.note == nil || urgent {
		t.at = now
		if next := t.sent.Add(apart); !t.sent.IsZero() && !urgent {
			t.at = later(now, next)
		}
		t.at = later(t.at, t.until)
	}
	t.note, t.made = &n, now
	s.schedule(t)
	return true
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Forget drops what waits for an account's subscription.
func (s *Sender) Forget(account, endpoint string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.targets[account+"\x00"+endpoint]; t != nil {
		t.note = nil
	}
}

// Stats counts.
func (s *Sender) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	for _, t := range s.targets {
		if t.note != nil {
			st.Waiting++
		}
	}
	return st
}

// Trouble is what hinders pushes: no push service was reached for a while, and it
// was tried. "" for nothing.
func (s *Sender) Trouble() string {
	const patience, fails = 10 * time.Minute, 4
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.sent.IsZero() && time.Since(s.sent) < patience {
		return ""
	}
	text := ""
	for _, h := range s.hosts {
		if h.fails >= fails {
			text = max(text, h.err)
		}
	}
	return text
}

func (s *Sender) host(name string) *host {
	h := s.hosts[name]
	if h == nil {
		h = &host{}
		s.hosts[name] = h
	}
	return h
}

// schedule has a target looked at when it is time; mu is held.
func (s *Sender) schedule(t *target) {
	switch {
	case t.busy, t.waits: // when it is done, and when there is a place
	case t.index >= 0:
		heap.Fix(&s.due, t.index)
	default:
		heap.Push(&s.due, t)
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *Sender) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Reset(s.start(time.Now()))
		select {
		case <-s.ctx.Done():
			return
		case <-s.wake:
		case <-timer.C:
		}
	}
}

// start begins what is due and gives when to look again.
func (s *Sender) start(now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.due) > 0 && s.running < workers {
		t := s.due[0]
		if wait := t.at.Sub(now); wait > 0 {
			return wait
		}
		heap.Pop(&s.due)
		h := s.hosts[t.host]
		switch {
		case t.note == nil && t.sent.Add(apart).After(now): // remembered a little longer
			t.at = t.sent.Add(apart)
			heap.Push(&s.due, t)
		case t.note == nil:
			s.forget(t)
			s.next(h)
		case now.Sub(t.made) >= t.note.Life || t.tries >= triesMost:
			t.note = nil
			s.stats.Failed++
			s.forget(t)
			s.next(h)
		case h.until.After(now):
			t.at = h.until.Add(jitter(pauseLeast))
			heap.Push(&s.due, t)
			s.next(h)
		case h.running >= perHost:
			h.waiting, t.waits = append(h.waiting, t), true
		default:
			s.begin(t, h)
		}
	}
	return time.Hour // a change wakes it
}

func (s *Sender) begin(t *target, h *host) {
	n, to := *t.note, t.to
	t.note, t.busy = nil, true
	made := t.made
	h.running++
	s.running++
	s.wg.Go(func() {
		a := s.o.Transport.Send(s.ctx, to, n)
		s.finish(t, n, made, a)
		if a.Result == Gone && s.o.Gone != nil {
			s.o.Gone(t.account, to)
		}
	})
}

// finish takes what became of a note.
func (s *Sender) finish(t *target, n Note, made time.Time, a Answer) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.hosts[t.host]
	h.running--
	s.running--
	t.busy = false
	if a.Unreached {
		h.fails++
		h.until = now.Add(jitter(backoff(h.fails)))
		h.err = a.Err.Error()
	} else {
		h.fails, h.until, h.err = 0, time.Time{}, ""
	}
	switch a.Result {
	case Sent:
		s.stats.Sent++
		s.sent = now
		t.sent, t.tries, t.until = now, 0, time.Time{}
		t.at = now.Add(apart)
		if t.note != nil && t.note.Urgent {
			t.at = now
		}
	case Later:
		t.tries++
		if t.note == nil {
			t.note, t.made = &n, made
		}
		t.until = now.Add(max(jitter(backoff(t.tries)), min(a.After, afterMost)))
		t.at = t.until
		s.o.Logger.Debug("a push is tried again", "err", a.Err, "tries", t.tries)
	case Gone:
		s.stats.Gone++
		t.note, t.sent = nil, time.Time{}
	default:
		s.stats.Failed++
		t.tries = 0
		t.at = now.Add(apart)
		t.sent = now
		s.o.Logger.Info("a push was refused", "err", a.Err)
	}
	s.next(h)
	s.schedule(t)
}

// next gives the place of one at a push service to the next; mu is held.
func (s *Sender) next(h *host) {
	if len(h.waiting) == 0 {
		h.waiting = nil
		return
	}
	t := h.waiting[0]
	h.waiting[0] = nil
	h.waiting = h.waiting[1:]
	t.waits = false
	s.schedule(t)
}

// forget ends what was under way for a target; mu is held.
func (s *Sender) forget(t *target) {
	delete(s.targets, t.account+"\x00"+t.to.Endpoint)
	h := s.hosts[t.host]
	if h.targets--; h.targets == 0 {
		delete(s.hosts, t.host)
	}
}

// backoff doubles with each failure.
func backoff(fails int) time.Duration {
	return min(pauseMost, pauseLeast<<min(max(fails-1, 0), 10))
}

// jitter gives between half of d and all of it.
func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) }

// queue is a heap by time.
type queue []*target

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].at.Before(q[j].at) }
func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

// Push implements heap.Interface.
func (q *queue) Push(x any) {
	t := x.(*target)
	t.index = len(*q)
	*q = append(*q, t)
}

// Pop implements heap.Interface.
func (q *queue) Pop() any {
	old := *q
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	t.index = -1
	return t
}
