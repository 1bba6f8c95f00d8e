// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"sort"
	"sync"
)

// memoryJournal is one writer's Journal on a Cluster.
type memoryJournal struct {
	cluster  *Cluster
	writer   string
	life     uint64
	appender *appender
	latest   *latestReads
	close    sync.Once
	done     chan struct{}

	// Guarded by cluster.mu.
	released uint64
	tail     *memoryTailer
}

func (j *memoryJournal) Submit(ctx context.Context, cmd []byte, settled Settled) error {
	return j.appender.submit(ctx, cmd, settled)
}

// MakeRoom: memory holds no reserve.
func (j *memoryJournal) MakeRoom() bool { return false }

// Scrub is Journal.Scrub.
func (j *memoryJournal) Scrub(context.Context, func(bytes int) error) error { return nil }

// ID is Journal.ID: one process has one order of clusters.
func (j *memoryJournal) ID() []byte { return []byte("journal in memory"[:16]) }

func (j *memoryJournal) Incarnation() uint64 { return j.appender.incarnation }

// TailNewest is Journal.TailNewest.
func (j *memoryJournal) TailNewest(ctx context.Context) (Tailer, uint64, error) {
	from, err := j.Latest(ctx)
	if err != nil {
		return nil, 0, err
	}
	t, err := j.Tail(ctx, from)
	return t, from, err
}

func (j *memoryJournal) Latest(ctx context.Context) (uint64, error) { return j.latest.get(ctx) }

func (j *memoryJournal) readLatest(ctx context.Context) (uint64, error) {
	if err := j.cluster.waitForQuorum(ctx); err != nil {
		return 0, err
	}
	j.cluster.mu.Lock()
	defer j.cluster.mu.Unlock()
	if j.life != j.cluster.life {
		return 0, ErrClosed
	}
	return j.cluster.revision, nil
}

func (j *memoryJournal) Release(revision uint64) {
	j.cluster.mu.Lock()
	defer j.cluster.mu.Unlock()
	j.released = max(j.released, revision)
	j.cluster.compactLocked()
}

func (j *memoryJournal) Stats() Stats {
	var s Stats
	j.appender.fill(&s)
	c := j.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	s.Latest, s.Released, s.WindowBytes, s.HasLeader = c.revision, j.released, c.window, c.quorum
	for _, e := range c.entries {
		s.DatabaseSize += int64(len(e.value))
	}
	return s
}

func (j *memoryJournal) Close() error {
	j.close.Do(func() {
		j.appender.stop()
		j.latest.stop()
		j.cluster.mu.Lock()
		delete(j.cluster.journals, j)
		j.tail = nil
		j.cluster.mu.Unlock()
		close(j.done)
	})
	return nil
}

func (j *memoryJournal) Tail(_ context.Context, from uint64) (Tailer, error) {
	c := j.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case j.life != c.life:
		return nil, ErrClosed
	case from < c.compacted:
		return nil, ErrCompacted
	case from > c.revision:
		return nil, behind(c.revision, from)
	}
	select {
	case <-j.done:
		return nil, ErrClosed
	default:
	}
	t := &memoryTailer{journal: j, next: from, sequence: newSequence(from), closed: make(chan struct{})}
	j.tail = t
	return t, nil
}

// memoryTailer reads a cluster's log.
type memoryTailer struct {
	journal  *memoryJournal
	sequence *sequence
	failed   error
	close    sync.Once
	closed   chan struct{}
	next     uint64 // reads after this revision; guarded by the cluster's mu
}

func (t *memoryTailer) Next(ctx context.Context) (Batch, error) {
	c := t.journal.cluster
	for t.failed == nil {
		if err := t.ended(ctx); err != nil {
			return Batch{}, err
		}
		c.mu.Lock()
		i := sort.Search(len(c.entries), func(i int) bool { return c.entries[i].revision > t.next })
		if i < len(c.entries) {
			e := c.entries[i]
			t.next = e.revision
			c.mu.Unlock()
			var b Batch
			if b, t.failed = t.sequence.readBatch(e.revision, e.value); t.failed == nil {
				return b, nil
			}
			continue
		}
		changed := c.changed
		c.mu.Unlock()
		select {
		case <-changed:
		case <-t.closed:
		case <-t.journal.done:
		case <-ctx.Done():
		}
	}
	return Batch{}, t.failed
}

func (t *memoryTailer) ended(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case <-t.closed:
		return ErrClosed
	case <-t.journal.done:
		return ErrClosed
	default:
		return nil
	}
}

func (t *memoryTailer) Close() error {
	t.close.Do(func() {
		c := t.journal.cluster
		c.mu.Lock()
		if t.journal.tail == t {
			t.journal.tail = nil
		}
		c.mu.Unlock()
		close(t.closed)
	})
	return nil
}
