// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
)

const (
	// segmentBytes is the size at which a new segment is begun.
	segmentBytes = 8 << 20
	segmentExt   = ".spool"
)

// spool is the local copy of the journal's newest part: segment files in
// one directory, each named after the revision that its records come after. It
// needs no fsync, because the journal is the log; what is torn is cut off and
// read again from there. It is safe for one writer and one reader at once.
type spool struct {
	dir   string
	id    journalID
	limit int64 // size at which a new segment is begun
	log   *slog.Logger
	used  atomic.Int64 // bytes; what asks for it does not wait for a disk that hangs, as what holds mu does

	mu       sync.Mutex
	segments []*segment // oldest first; the last one is written to
	active   *os.File   // of the last segment; nil: opened by the next append
	buf      []byte
}

type segment struct {
	path string
	base uint64 // all records come after this revision
	last uint64 // revision of the newest record; base if there is none
	size int64  // bytes in use
}

// place is where a record starts.
type place struct {
	segment uint64 // its base
	offset  int64
}

func segmentPath(dir string, base uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%016x%s", base, segmentExt))
}

// openSpool reads the spool in dir and calls visit for each record in order
// (value is valid during the call). What is damaged, and all after it, is cut
// off; what belongs to another journal is removed. A visit that errs cuts too.
func openSpool(dir string, id journalID, limit int64, log *slog.Logger, visit func(revision uint64, value []byte, at place) error) (*spool, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("journal: spool: %w", err)
	}
	names, err := filepath.Glob(filepath.Join(dir, "*"+segmentExt)) // sorted
	if err != nil {
		return nil, fmt.Errorf("journal: spool: %w", err)
	}
	s := &spool{dir: dir, id: id, limit: limit, log: log}
	for i, path := range names {
		seg, whole, err := s.scan(path, visit)
		if err != nil {
			return nil, err
		}
		if seg != nil {
			s.segments = append(s.segments, seg)
		}
		if !whole {
			err := removeAll(names[i+1:])
			if seg == nil {
				err = errors.Join(err, os.Remove(path))
			}
			if err != nil {
				return nil, fmt.Errorf("journal: spool: %w", err)
			}
			break
		}
	}
	s.measureLocked()
	return s, nil
}

// scan reads one segment. whole is false when it was cut or is not usable; seg
// is nil in the latter case.
func (s *spool) scan(path string, visit func(uint64, []byte, place) error) (seg *segment, whole bool, err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, false, fmt.Errorf("journal: spool: %w", err)
	}
	defer f.Close()
	head := make([]byte, segmentHeader)
	_, _ = f.ReadAt(head, 0)
	id, base, err := parseSegmentHeader(head)
	if err != nil || id != s.id || filepath.Base(path) != filepath.Base(segmentPath("", base)) || !s.continues(base) {
		s.log.Warn("journal: spool segment set aside: not of this journal, or damaged", "segment", filepath.Base(path))
		return nil, false, nil
	}
	seg = &segment{path: path, base: base, last: base, size: segmentHeader}
	var buf []byte
	for {
		var (
			revision uint64
			value    []byte
		)
		revision, value, buf, err = readRecord(f, seg.size, buf)
		if err == nil && revision <= seg.last {
			err = errSpool
		}
		if err == nil {
			err = visit(revision, value, place{base, seg.size})
		}
		if errors.Is(err, io.EOF) {
			return seg, true, nil
		}
		if err != nil {
			s.log.Warn("journal: spool cut, the rest is read again from the journal",
				"segment", filepath.Base(path), "offset", seg.size, "after", seg.last, "cause", err)
			if err := f.Truncate(seg.size); err != nil {
				return nil, false, fmt.Errorf("journal: spool: %w", err)
			}
			return seg, false, nil
		}
		seg.last = revision
		seg.size += recordHeader + int64(len(value))
	}
}

// continues reports whether a segment with this base follows what is there.
func (s *spool) continues(base uint64) bool {
	return len(s.segments) == 0 || s.segments[len(s.segments)-1].last == base
}

func removeAll(paths []string) error {
	var errs []error
	for _, p := range paths {
		if err := os.Remove(p); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// covers gives the revisions that the spool begins after and ends at; ok is
// false when it is empty.
func (s *spool) covers() (base, last uint64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.segments) == 0 {
		return 0, 0, false
	}
	return s.segments[0].base, s.segments[len(s.segments)-1].last, true
}

// bytes is what the spool occupies.
func (s *spool) bytes() int64 { return s.used.Load() }

func (s *spool) measureLocked() {
	var n int64
	for _, seg := range s.segments {
		n += seg.size
	}
	s.used.Store(n)
}

// append writes one record at the end and says where. After an error nothing of
// it is left.
func (s *spool) append(revision uint64, value []byte) (place, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.measureLocked()
	if len(s.segments) == 0 {
		return place{}, errors.New("journal: spool has no base")
	}
	seg := s.segments[len(s.segments)-1]
	if seg.size >= s.limit {
		if err := s.beginLocked(seg.last); err != nil {
			return place{}, err
		}
		seg = s.segments[len(s.segments)-1]
	}
	if s.active == nil {
		f, err := os.OpenFile(seg.path, os.O_RDWR, 0)
		if err != nil {
			return place{}, fmt.Errorf("journal: spool: %w", err)
		}
		s.active = f
	}
	at := place{seg.base, seg.size}
	s.buf = appendRecord(s.buf[:0], revision, value)
	if _, err := s.active.WriteAt(s.buf, seg.size); err != nil {
		return place{}, errors.Join(fmt.Errorf("journal: spool: %w", err), s.active.Truncate(seg.size))
	}
	seg.size += int64(len(s.buf))
	seg.last = revision
	return at, nil
}

// beginLocked starts a segment for records after base.
func (s *spool) beginLocked(base uint64) error {
	path := segmentPath(s.dir, base)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("journal: spool: %w", err)
	}
	if _, err := f.WriteAt(appendSegmentHeader(nil, s.id, base), 0); err != nil {
		return errors.Join(fmt.Errorf("journal: spool: %w", err), f.Close(), os.Remove(path))
	}
	s.closeActiveLocked()
	s.active = f
	s.segments = append(s.segments, &segment{path: path, base: base, last: base, size: segmentHeader})
	return nil
}

func (s *spool) closeActiveLocked() {
	if s.active != nil {
		_ = s.active.Close() // nothing depends on it: the journal is the log
		s.active = nil
	}
}

// reset empties the spool and begins it anew after base.
func (s *spool) reset(base uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.measureLocked()
	s.closeActiveLocked()
	for _, seg := range s.segments {
		if err := os.Remove(seg.path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("journal: spool: %w", err)
		}
	}
	s.segments = nil
	return s.beginLocked(base)
}

// truncate drops the record at the given place and all after it.
func (s *spool) truncate(at place, last uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.measureLocked()
	s.closeActiveLocked()
	for len(s.segments) > 0 {
		seg := s.segments[len(s.segments)-1]
		if seg.base <= at.segment {
			break
		}
		if err := os.Remove(seg.path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("journal: spool: %w", err)
		}
		s.segments = s.segments[:len(s.segments)-1]
	}
	if len(s.segments) == 0 || s.segments[len(s.segments)-1].base != at.segment {
		return errors.New("journal: spool has no such segment")
	}
	seg := s.segments[len(s.segments)-1]
	if err := os.Truncate(seg.path, at.offset); err != nil {
		return fmt.Errorf("journal: spool: %w", err)
	}
	seg.size, seg.last = at.offset, last
	return nil
}

// release removes segments that hold nothing above revision, except the last.
func (s *spool) release(revision uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.measureLocked()
	for len(s.segments) > 1 && s.segments[0].last <= revision {
		if err := os.Remove(s.segments[0].path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("journal: spool: %w", err)
		}
		s.segments = s.segments[1:]
	}
	return nil
}

// sync makes the spool survive a power cut. Only needed before the journal drops
// what the view has not yet made durable.
func (s *spool) sync() error {
	s.mu.Lock()
	paths := []string{s.dir}
	for _, seg := range s.segments {
		paths = append(paths, seg.path)
	}
	s.mu.Unlock()
	for _, p := range paths {
		f, err := os.Open(p)
		if err != nil {
			if errors.Is(err, os.ErrNotExist) {
				continue // released meanwhile
			}
			return fmt.Errorf("journal: spool: %w", err)
		}
		err = errors.Join(f.Sync(), f.Close())
		if err != nil {
			return fmt.Errorf("journal: spool: %w", err)
		}
	}
	return nil
}

// locate says where the record is that p stands before: at p, or at the start of
// the next segment. more is false when it has not been written.
func (s *spool) locate(p place) (next place, path string, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, seg := range s.segments {
		if seg.base != p.segment {
			continue
		}
		if p.offset < seg.size {
			return p, seg.path, true
		}
		if i+1 < len(s.segments) {
			following := s.segments[i+1]
			return place{following.base, segmentHeader}, following.path, following.size > segmentHeader
		}
		return p, seg.path, false
	}
	return p, "", false
}

// find says where the record is that comes after revision.
func (s *spool) find(revision uint64) (place, error) {
	s.mu.Lock()
	var in *segment
	for _, seg := range s.segments {
		if seg.base <= revision {
			in = seg
		}
	}
	s.mu.Unlock()
	if in == nil {
		return place{}, errSpool
	}
	f, err := os.Open(in.path)
	if err != nil {
		return place{}, fmt.Errorf("journal: spool: %w", err)
	}
	defer f.Close()
	at := place{in.base, segmentHeader}
	var buf []byte
	for last := in.base; last < revision; {
		var value []byte
		if last, value, buf, err = readRecord(f, at.offset, buf); err != nil {
			return place{}, fmt.Errorf("journal: spool: %w", err)
		}
		at.offset += recordHeader + int64(len(value))
	}
	return at, nil
}

func (s *spool) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closeActiveLocked()
}

// end is the place of the next record to be written.
func (s *spool) end() place {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.segments) == 0 {
		return place{}
	}
	seg := s.segments[len(s.segments)-1]
	return place{seg.base, seg.size}
}
