// SPDX-License-Identifier: Apache-2.0

package cell

import (
	"errors"
	"sync"
	"time"

	"bavard/internal/journal"
	"bavard/internal/view"
)

// Scrubbing reads view and journal after each start and then once a day, slowly.
const (
	scrubAfter = 30 * time.Second
	scrubEvery = 24 * time.Hour
	// Bytes a second. While the journal is read its database grows by what is written.
	scrubRate        = 8 << 20
	scrubJournalRate = 32 << 20
)

// ScrubStats are those of scrubs since the start.
type ScrubStats struct {
	Passes uint64    // that came to their end
	Found  uint64    // that found damage
	Bytes  uint64    // read, those of passes that did not come to their end included
	Last   time.Time // end of the last pass; zero: there was none
}

// scrubbing is what scrubs have to say, and are told.
type scrubbing struct {
	now chan struct{} // capacity 1: one is to begin

	mu    sync.Mutex
	stats ScrubStats
}

// ScrubNow has view and journal read through as soon as a scrub that is under way has ended, rather
// than when its time comes.
func (c *Cell) ScrubNow() {
	select {
	case c.scrubs.now <- struct{}{}:
	default: // it is to begin
	}
}

// ScrubStats gives the figures of scrubs.
func (c *Cell) ScrubStats() ScrubStats {
	c.scrubs.mu.Lock()
	defer c.scrubs.mu.Unlock()
	return c.scrubs.stats
}

// scrub looks for damage that reading would meet only later. The view's hook
// raises the warning, and for the journal Options.OnJournalDamage. With one copy there is nothing to heal it from but a backup.
func (c *Cell) scrub() {
	t := time.NewTimer(scrubAfter)
	defer t.Stop()
	pace := func(rate int) func(bytes int) error {
		return func(bytes int) error {
			c.scrubs.mu.Lock()
			c.scrubs.stats.Bytes += uint64(bytes)
			c.scrubs.mu.Unlock()
			t.Reset(time.Duration(float64(bytes) / float64(rate) * float64(time.Second)))
			select {
			case <-c.ctx.Done():
				return c.ctx.Err()
			case <-t.C:
				return nil
			}
		}
	}
	for next := scrubAfter; ; next = scrubEvery {
		t.Reset(next)
		select {
		case <-c.ctx.Done():
			return
		case <-t.C:
		case <-c.scrubs.now:
		}
		ofView := c.Scrub(c.ctx, pace(scrubRate))
		ofJournal := c.o.Journal.Scrub(c.ctx, pace(scrubJournalRate))
		if c.ctx.Err() != nil {
			return
		}
		c.scrubbed(ofView, ofJournal)
	}
}

// scrubbed notes what came of a pass.
func (c *Cell) scrubbed(ofView, ofJournal error) {
	closed := errors.Is(ofJournal, journal.ErrClosed) // etcd has stopped, or waits for room on the disk
	if err := errors.Join(ofView, ofJournal); err != nil && (ofView != nil || !closed) {
		c.o.Logger.Error("scrub of view and journal", "err", err)
	}
	rotten := errors.Is(ofJournal, journal.ErrRotten)
	c.scrubs.mu.Lock()
	st := &c.scrubs.stats
	switch {
	case rotten || errors.Is(ofView, view.ErrCorrupt):
		st.Found++
		st.Passes++
		st.Last = c.o.Now()
	case ofView == nil && ofJournal == nil:
		st.Passes++
		st.Last = c.o.Now()
	}
	c.scrubs.mu.Unlock()
	if rotten && c.o.OnJournalDamage != nil {
		c.o.OnJournalDamage(ofJournal)
	}
}
