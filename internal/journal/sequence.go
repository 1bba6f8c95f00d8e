// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"fmt"
	"maps"
)

// sequence checks that batches follow each other without a gap or a repeat. Each
// batch names the revision of its writer's batch before it, so that a gap shows
// even where reading starts.
type sequence struct {
	start   uint64 // reading started after this revision
	last    uint64 // revision of the newest batch
	writers map[string]writerPlace
}

type writerPlace struct {
	revision    uint64
	incarnation uint64
	counter     uint64
}

func newSequence(start uint64) *sequence {
	return &sequence{start: start, last: start, writers: make(map[string]writerPlace)}
}

func (s *sequence) clone() *sequence {
	return &sequence{start: s.start, last: s.last, writers: maps.Clone(s.writers)}
}

// check accepts the next batch or returns a *Damage.
func (s *sequence) check(revision uint64, b *batch) error {
	if revision <= s.last {
		return damagef(revision, "revision %d after %d", revision, s.last)
	}
	place, known := s.writers[b.writer]
	switch {
	case !known && b.previous > s.start:
		return damagef(revision, "batches of %s from revision %d on are missing", b.writer, b.previous)
	case known && b.previous != place.revision:
		return damagef(revision, "batch %d of %s follows revision %d, its last one seen has %d",
			b.counter, b.writer, b.previous, place.revision)
	case known && b.incarnation == place.incarnation && b.counter != place.counter+1:
		return damagef(revision, "batch %d of %s after its batch %d", b.counter, b.writer, place.counter)
	case known && b.incarnation != place.incarnation && b.counter != 1:
		return damagef(revision, "a new incarnation of %s starts with batch %d", b.writer, b.counter)
	case b.previous >= revision:
		return damagef(revision, "batch %d of %s names a later one as its predecessor", b.counter, b.writer)
	}
	s.last = revision
	s.writers[b.writer] = writerPlace{revision, b.incarnation, b.counter}
	return nil
}

func damagef(revision uint64, format string, args ...any) *Damage {
	return &Damage{Revision: revision, Reason: fmt.Sprintf(format, args...)}
}

// readBatch decodes a stored value, checks its checksum and its place, and gives
// what Next hands out.
func (s *sequence) readBatch(revision uint64, value []byte) (Batch, error) {
	b, err := decodeBatch(value)
	if err != nil {
		return Batch{}, damagef(revision, "revision %d: %v", revision, err)
	}
	if err := s.check(revision, &b); err != nil {
		return Batch{}, err
	}
	return Batch{
		Revision: revision, Writer: b.writer, Incarnation: b.incarnation,
		Counter: b.counter, Commands: b.commands,
	}, nil
}
