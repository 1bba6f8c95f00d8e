// SPDX-License-Identifier: Apache-2.0

package upload

import (
	"time"

	"bavard/internal/command"
)

const (
	// sweepEvery is how often it is looked for what is to go; sweepPause is between
	// slices, in which the applier does other things.
	sweepEvery = 20 * time.Second
	sweepPause = 50 * time.Millisecond
	// recordsAtOnce bounds a read of records.
	recordsAtOnce = 500
)

// sweep asks for the removal of uploads whose time is over, a slice at a time.
func (s *Service) sweep() {
	pause := time.NewTimer(sweepPause)
	defer pause.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-pause.C:
		}
		if s.sweepOnce() {
			pause.Reset(sweepPause)
		} else {
			pause.Reset(sweepEvery)
		}
	}
}

// sweepOnce reports whether it had something removed.
func (s *Service) sweepOnce() bool {
	now := s.o.Now()
	var before time.Time
	cmd := &command.UploadSweep{}
	if keep := s.o.Limits.Messages; keep > 0 {
		before = now.Add(-keep)
		cmd.MessageBeforeMs = before.UnixMilli()
	}
	due, err := s.o.View.UploadsDue(now, before)
	if err == nil && due {
		var out command.Outcome
		if out, err = s.o.Do(s.ctx, &command.Command{Request: &command.Command_UploadSweep{UploadSweep: cmd}}); err == nil && out.Err != nil {
			err = out.Err
		}
	}
	if err != nil && s.ctx.Err() == nil {
		s.o.Logger.Warn("sweep uploads", "err", err)
	}
	return due && err == nil
}
