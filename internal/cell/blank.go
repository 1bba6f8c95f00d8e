// SPDX-License-Identifier: Apache-2.0

package cell

import (
	"time"

	"bavard/internal/command"
)

// blank asks for what is to be blanked in archives by now, a slice at a time,
// with pauses in which the applier does other things.
func (c *Cell) blank() {
	pause := time.NewTimer(sweepEvery)
	defer pause.Stop()
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-pause.C:
		}
		blanking, err := c.Blanking(c.o.Now().UnixMilli())
		if err == nil && blanking {
			_, err = c.Do(c.ctx, &command.Command{Request: &command.Command_ArchiveBlank{ArchiveBlank: &command.ArchiveBlank{}}})
		}
		if err == nil && blanking {
			pause.Reset(sweepPause)
		} else {
			pause.Reset(sweepEvery)
		}
	}
}
