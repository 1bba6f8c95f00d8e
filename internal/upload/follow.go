// SPDX-License-Identifier: Apache-2.0

package upload

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"bavard/internal/state"
)

// change is what has become of an upload.
type change struct {
	id     state.UploadID
	stored bool // else it was removed
}

// Offer takes the events of an applied batch that are about uploads. It never
// blocks.
func (s *Service) Offer(events []state.Event) {
	some := false
	for i := range events {
		kind := events[i].Kind
		if kind != state.EventUploadRemoved && kind != state.EventUploadStored {
			continue
		}
		s.mu.Lock()
		if len(s.changes) < changesMost {
			s.changes = append(s.changes, change{events[i].Upload, kind == state.EventUploadStored})
		} else {
			s.rescan = true
		}
		s.mu.Unlock()
		some = true
	}
	if some {
		ring(s.wake)
	}
}

// ring wakes who waits at a channel of capacity 1.
func ring(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// follow takes files away whose records are gone, and gives those that have one their
// place.
func (s *Service) follow() {
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-s.wake:
		}
		s.mu.Lock()
		changes, rescan := s.changes, s.rescan
		s.changes, s.rescan = nil, false
		s.mu.Unlock()
		for _, c := range changes {
			if c.stored {
				s.recorded(c.id)
			} else if err := s.files.remove(c.id); err != nil {
				s.o.Logger.Error("remove an upload's file", "upload", idText(c.id), "err", err)
			}
		}
		if rescan {
			s.tidy(false)
			s.late()
		}
	}
}

// recorded gives a file its place, or remembers that it is to be had from another node.
func (s *Service) recorded(id state.UploadID) {
	u, err := s.o.View.Upload(id)
	if err == nil {
		err = s.claim(&u)
	}
	if errors.Is(err, state.ErrNotFound) {
		return
	}
	if err != nil {
		s.o.Logger.Error("give an upload its place", "upload", idText(id), "err", err)
	}
	if !s.several() || err == nil && s.files.whole(id, u.Size) {
		return
	}
	s.mu.Lock()
	if len(s.lacking) < changesMost {
		s.lacking = append(s.lacking, id)
	} else {
		s.behind = true
	}
	s.mu.Unlock()
	ring(s.lacks)
}

// late has all uploads looked through again, within a minute.
func (s *Service) late() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.behind = true
}

// behindEvery is how often a node looks through all uploads while it lacks some that it
// could not get. laterMost that it could not get end a look.
const (
	behindEvery = time.Minute
	laterMost   = 16
)

// complete gets, one after the other, the files that this node lacks from the others. At first
// it looks through all that are here and all that have to be, and once an hour through those
// that are here.
func (s *Service) complete() {
	s.tidy(true)
	s.look()
	again, hourly := time.NewTicker(behindEvery), time.NewTicker(unrecordedTime)
	defer again.Stop()
	defer hourly.Stop()
	for {
		timely := false
		select {
		case <-s.ctx.Done():
			return
		case <-again.C:
			timely = true // not for each file that is stored
		case <-hourly.C:
			s.tidy(false)
		case <-s.lacks:
		}
		s.mu.Lock()
		ids, behind := s.lacking, s.behind
		s.lacking = nil
		s.mu.Unlock()
		for _, id := range ids {
			u, err := s.o.View.Upload(id)
			if err != nil {
				continue // it is gone
			}
			if err := s.obtain(s.ctx, &u); err != nil && s.ctx.Err() == nil && !s.gone(id) {
				s.o.Logger.Warn("a file could not be had from another node yet", "upload", idText(id), "err", err)
				s.late()
				break // the others, too, when all are looked through
			}
		}
		if timely && behind {
			s.look()
		}
	}
}

// look goes through all records and gets what is not here from the other nodes. What no
// node has is told of.
func (s *Service) look() {
	s.mu.Lock()
	s.behind = false
	s.mu.Unlock()
	missing, later, records := 0, 0, 0
	var after state.UploadID
	for more := true; more && s.ctx.Err() == nil; {
		page, err := s.o.View.Uploads(after, recordsAtOnce)
		if err != nil {
			s.o.Logger.Error("look through the uploads", "err", err)
			return
		}
		more = len(page) == recordsAtOnce
		for i := range page {
			u := &page[i]
			after = u.ID
			records++
			err := s.here(u)
			switch {
			case err == nil || s.gone(u.ID) || s.ctx.Err() != nil:
			case errors.Is(err, state.ErrNotFound):
				missing++
				s.o.Logger.Error("an upload's file is missing or has another length", "upload", idText(u.ID), "file", s.files.path(u.ID))
			default:
				later++
				s.o.Logger.Warn("a file could not be had from another node yet", "upload", idText(u.ID), "err", err)
			}
			if errors.Is(err, errDiskFull) || later >= laterMost {
				more = false
				break
			}
		}
	}
	if s.ctx.Err() != nil {
		return
	}
	if later > 0 {
		s.late()
	}
	s.o.Missing(missing)
	s.o.Logger.Info("looked through the uploads", "files", records, "missing", missing, "later", later)
}

// here has a recorded file in its place; state.ErrNotFound when there is no way to it.
func (s *Service) here(u *state.Upload) error {
	if s.files.whole(u.ID, u.Size) {
		return nil
	}
	if s.several() {
		return s.obtain(s.ctx, u)
	}
	if err := s.claim(u); err != nil {
		return err
	}
	if !s.files.whole(u.ID, u.Size) {
		return state.ErrNotFound
	}
	return nil
}

// gone reports whether there is no such upload any more.
func (s *Service) gone(id state.UploadID) bool {
	_, err := s.o.View.Upload(id)
	return errors.Is(err, state.ErrNotFound)
}

// tidy goes through all files: those whose record is gone go, and so do those that wait for
// one which does not come any more. At the start of a process none of its own is on its way.
func (s *Service) tidy(start bool) {
	removed := 0
	err := s.files.waits(func(w waiting) error {
		done, err := s.settleWaiting(w, start)
		if done {
			removed++
		}
		return errors.Join(err, s.ctx.Err())
	})
	err = errors.Join(err, s.files.each(func(id state.UploadID) error {
		if !s.gone(id) {
			return s.ctx.Err()
		}
		removed++
		return errors.Join(s.files.remove(id), s.ctx.Err())
	}))
	switch {
	case s.ctx.Err() != nil:
	case err != nil:
		s.o.Logger.Error("look through the files of uploads", "err", err)
	case removed > 0 || start:
		s.o.Logger.Info("looked through the files of uploads", "removed", removed)
	}
}

// settleWaiting sees to a file that waits for its record, and reports whether it was
// removed.
func (s *Service) settleWaiting(w waiting, start bool) (removed bool, err error) {
	s.mu.Lock()
	arriving := s.arriving[w.id] != nil
	s.mu.Unlock()
	info, err := os.Stat(w.path)
	if errors.Is(err, fs.ErrNotExist) || w.own && arriving {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	young := time.Since(info.ModTime()) < unrecordedTime
	// In this order: a record that is there now was decided upon before.
	if err := s.current(s.ctx); err != nil {
		return false, fmt.Errorf("what is recorded is not known: %w", err)
	}
	switch u, err := s.o.View.Upload(w.id); {
	case err == nil && u.SHA256 == w.sum:
		return false, s.claim(&u)
	case err == nil, errors.Is(err, state.ErrNotFound) && (w.own && start || !young):
		return true, os.Remove(w.path)
	case errors.Is(err, state.ErrNotFound):
		return false, nil
	default:
		return false, err
	}
}
