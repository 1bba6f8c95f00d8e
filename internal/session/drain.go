// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"bavard/internal/stanza"
)

const (
	// expectedFor is how long a device that was sent to another node goes on being shown to
	// others while it is on its way.
	expectedFor = 10 * time.Second
	// lapsesEvery is how often it is looked whose time is over.
	lapsesEvery = time.Second
	// endingMost bounds how many sessions end at the same time.
	endingMost = 256
	// reportEvery is how often Drain tells how far it is.
	reportEvery = 200 * time.Millisecond
)

// lapse is what is to be done when a device that was sent away has not come back.
type lapse struct {
	at time.Time
	do func()
}

// Drain sends the devices to other nodes: it takes no more sessions until Undrain, and ends
// those that there are in random order, evenly over within, so that the others see no storm.
// Each ends as when the server stops: what it has sent is settled and acknowledged before.
// report is told how many are left, now and then. Drain returns when none is, or with ctx's
// error; what is left then goes on.
func (m *Manager) Drain(ctx context.Context, within time.Duration, report func(left int)) error {
	m.mu.Lock()
	m.drained = true
	if !m.closed && !m.lapsing {
		m.lapsing = true
		m.wg.Go(m.lapseAll)
	}
	m.mu.Unlock()
	var ending sync.WaitGroup
	defer ending.Wait() // each is bounded
	gate := make(chan struct{}, endingMost)
	move := func(s *Session) {
		gate <- struct{}{}
		ending.Go(func() {
			s.move()
			<-gate
		})
	}
	all := m.all()
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	begun := m.now()
	for i, s := range all {
		// Each has its share of the time, and goes at some moment of it.
		share := (float64(i) + rand.Float64()) / float64(len(all)) //nolint:gosec // jitter
		due := begun.Add(time.Duration(share * float64(within)))
		for wait := due.Sub(m.now()); wait > 0; wait = due.Sub(m.now()) {
			report(len(all) - i)
			t := time.NewTimer(min(wait, reportEvery))
			select {
			case <-t.C:
			case <-ctx.Done():
				t.Stop()
				return ctx.Err()
			}
		}
		move(s)
	}
	for _, s := range m.all() { // let in just before
		move(s)
	}
	ending.Wait()
	report(0)
	return nil
}

// Undrain takes sessions again.
func (m *Manager) Undrain() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drained = false
}

// goneAway is what a device is told that is not let in, or no longer: go elsewhere (RFC 6120 §4.9.3.20).
func goneAway() *stanza.StreamError {
	return stanza.StreamErr(stanza.StreamSystemShutdown, "the server is going down; please reconnect")
}

// move ends a session whose device is to go to another node.
func (s *Session) move() {
	s.moves.Store(true)
	s.end(goneAway())
}

// expect has others go on seeing a device that was sent away, until it is too late.
func (m *Manager) expect(s *Session) {
	do := m.o.Hub.Expect(s.res)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lapses = append(m.lapses, lapse{m.now().Add(expectedFor), do})
}

// lapseAll tells of those that have not come back.
func (m *Manager) lapseAll() {
	tick := time.NewTicker(lapsesEvery)
	defer tick.Stop()
	for {
		select {
		case <-m.ctx.Done():
			return
		case <-tick.C:
		}
		for _, l := range m.due() {
			l.do()
		}
	}
}

// due takes out whose time is over.
func (m *Manager) due() []lapse {
	m.mu.Lock()
	defer m.mu.Unlock()
	now, n := m.now(), 0
	for n < len(m.lapses) && !m.lapses[n].at.After(now) {
		n++
	}
	over := m.lapses[:n:n]
	if m.lapses = m.lapses[n:]; len(m.lapses) == 0 {
		m.lapses = nil
	}
	return over
}
