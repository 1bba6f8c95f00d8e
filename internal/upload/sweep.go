// SPDX-License-Identifier: Apache-2.0

package upload

import (
	"errors"
	"time"

	"bavard/internal/command"
	"bavard/internal/state"
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

// Offer takes the events of an applied batch that are about uploads. It never
// blocks.
func (s *Service) Offer(events []state.Event) {
	some := false
	for i := range events {
		if events[i].Kind != state.EventUploadRemoved {
			continue
		}
		s.mu.Lock()
		if len(s.removed) < removedMost {
			s.removed = append(s.removed, events[i].Upload)
		} else {
			s.rescan = true
		}
		s.mu.Unlock()
		some = true
	}
	if !some {
		return
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// remove takes files away whose records are gone; at first it looks through all.
func (s *Service) remove() {
	s.look()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-s.wake:
		}
		s.mu.Lock()
		ids, rescan := s.removed, s.rescan
		s.removed, s.rescan = nil, false
		s.mu.Unlock()
		for _, id := range ids {
			if err := s.files.remove(id); err != nil {
				s.o.Logger.Error("remove an upload's file", "upload", idText(id), "err", err)
			}
		}
		if rescan {
			s.orphans()
		}
	}
}

// look compares files and records, both ways: a file without a record goes, one that
// is missing is told of.
func (s *Service) look() {
	removed := s.orphans()
	missing, records := 0, 0
	var after state.UploadID
	for s.ctx.Err() == nil {
		page, err := s.o.View.Uploads(after, recordsAtOnce)
		if err != nil {
			s.o.Logger.Error("look through the uploads", "err", err)
			return
		}
		for i := range page {
			after = page[i].ID
			records++
			if s.holds(&page[i]) && !s.files.whole(page[i].ID, page[i].Size) && !s.gone(page[i].ID) {
				missing++
				s.o.Logger.Error("an upload's file is missing or has another length", "upload", idText(page[i].ID), "file", s.files.path(page[i].ID))
			}
		}
		if len(page) < recordsAtOnce {
			break
		}
	}
	if s.ctx.Err() == nil {
		s.o.Missing(missing)
		s.o.Logger.Info("looked through the uploads", "files", records, "missing", missing, "removed", removed)
	}
}

func (s *Service) holds(u *state.Upload) bool {
	for _, h := range u.Holders {
		if h == s.o.Node {
			return true
		}
	}
	return false
}

// gone reports whether there is no such upload any more.
func (s *Service) gone(id state.UploadID) bool {
	_, err := s.o.View.Upload(id)
	return errors.Is(err, state.ErrNotFound)
}

// orphans removes files that have no record.
func (s *Service) orphans() (removed int) {
	err := s.files.each(func(id state.UploadID) error {
		// In this order: what has arrived in between has its record.
		s.mu.Lock()
		arriving := s.arriving[id] != nil
		s.mu.Unlock()
		if arriving || !s.gone(id) {
			return s.ctx.Err()
		}
		removed++
		return errors.Join(s.files.remove(id), s.ctx.Err())
	})
	if err != nil && s.ctx.Err() == nil {
		s.o.Logger.Error("look through the files of uploads", "err", err)
	}
	return removed
}
