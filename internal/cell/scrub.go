// SPDX-License-Identifier: Apache-2.0

package cell

import (
	"time"
)

// Scrubbing reads the view after each start and then once a day, slowly.
const (
	scrubAfter = time.Minute
	scrubEvery = 24 * time.Hour
	scrubRate  = 8 << 20 // bytes a second
)

// ScrubNow has the view read through as soon as a scrub that is under way has ended, rather than
// when its time comes.
func (c *Cell) ScrubNow() {
	select {
	case c.scrubs <- struct{}{}:
	default: // it is to begin
	}
}

// scrub looks for damage that reading would meet only later. The view's hook
// raises the warning. With one copy there is nothing to heal it from but a backup.
func (c *Cell) scrub() {
	t := time.NewTimer(scrubAfter)
	defer t.Stop()
	pause := func(bytes int) error {
		t.Reset(time.Duration(float64(bytes) / scrubRate * float64(time.Second)))
		select {
		case <-c.ctx.Done():
			return c.ctx.Err()
		case <-t.C:
			return nil
		}
	}
	for next := scrubAfter; ; next = scrubEvery {
		t.Reset(next)
		select {
		case <-c.ctx.Done():
			return
		case <-t.C:
		case <-c.scrubs:
		}
		if err := c.Scrub(c.ctx, pause); err != nil && c.ctx.Err() == nil {
			c.o.Logger.Error("scrub of the view", "err", err)
		}
	}
}
