// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// What has been released is compacted once it amounts to compactBytes, or
	// compactAfter has passed.
	compactBytes = 4 << 20
	compactAfter = 5 * time.Second
	// markBytes is how finely the window knows where its bytes are.
	markBytes = 256 << 10
	// compactTimeout bounds one compaction.
	compactTimeout = 10 * time.Second
)

// window decides when and where etcd's history is compacted.
type window struct {
	limit int64
	kick  chan struct{} // capacity 1: there may be something to compact

	mu        sync.Mutex
	marks     []mark // ascending, above compacted
	bytes     int64  // of marks
	newest    uint64
	released  uint64
	compacted uint64
	at        time.Time // of the last compaction
}

// mark stands for some batches, the last of which has this revision.
type mark struct {
	revision uint64
	bytes    int64
}

func newWindow(limit int64) *window {
	return &window{limit: limit, kick: make(chan struct{}, 1), at: time.Now()}
}

// add counts a batch once, however often it is seen.
func (w *window) add(revision uint64, bytes int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if revision <= w.newest {
		return
	}
	w.newest = revision
	w.bytes += bytes
	if n := len(w.marks); n > 0 && w.marks[n-1].bytes+bytes <= markBytes {
		w.marks[n-1].revision = revision
		w.marks[n-1].bytes += bytes
	} else {
		w.marks = append(w.marks, mark{revision, bytes})
	}
	if w.bytes > w.limit {
		w.wake()
	}
}

func (w *window) release(revision uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.released = max(w.released, revision)
	w.wake()
}

func (w *window) wake() {
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

// plan says up to which revision to compact now, given how far the cell has come;
// 0: not now. What is spooled bounds what the limit may take from views that lag.
func (w *window) plan(now time.Time, cell nodeState) uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	var target uint64
	if released := min(cell.released, w.newest); released > w.compacted {
		var bytes int64
		for _, m := range w.marks {
			if m.revision <= released {
				bytes += m.bytes
			}
		}
		if bytes >= compactBytes || now.Sub(w.at) >= compactAfter {
			target = released
		}
	}
	left := w.bytes
	for _, m := range w.marks {
		if w.bytes <= w.limit || left <= w.limit*3/4 || m.revision > cell.spooled {
			break
		}
		left -= m.bytes
		target = max(target, m.revision)
	}
	return target
}

// compactedTo records a compaction.
func (w *window) compactedTo(revision uint64, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.compacted, w.at = max(w.compacted, revision), now
	n := 0
	for n < len(w.marks) && w.marks[n].revision <= revision {
		w.bytes -= w.marks[n].bytes
		n++
	}
	w.marks = w.marks[n:]
}

// pressed reports whether the history is near its limit.
func (w *window) pressed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.bytes > w.limit*3/4
}

func (w *window) releasedTo() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.released
}

func (w *window) fill(s *Stats) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s.Released, s.WindowBytes, s.Latest = w.released, w.bytes, max(s.Latest, w.newest)
}

// keepWindow compacts in the background.
func (j *etcdJournal) keepWindow() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var r reporter
	for {
		select {
		case <-j.window.kick:
		case <-tick.C:
		case <-j.ctx.Done():
			return
		}
		if err := j.compactAgreed(&r); err != nil && j.ctx.Err() == nil && j.host.hasLeader() {
			j.log.Warn("journal: compaction failed, trying again", "error", err)
		}
	}
}

// compactAgreed compacts when there is enough that the cell needs no more.
func (j *etcdJournal) compactAgreed(r *reporter) error {
	own := nodeState{j.window.releasedTo(), j.dropSpooled()}
	if j.opts.Peers != nil {
		spooled, err := j.syncSpooled(own)
		if err != nil {
			return err
		}
		own.spooled = spooled
	}
	if err := j.report(j.ctx, own, r); err != nil {
		return err
	}
	cell, err := j.agreed(j.ctx, own)
	if err != nil {
		return err
	}
	target := j.window.plan(time.Now(), cell)
	switch {
	case target == 0:
		return nil
	case !j.host.leads():
		// One node is enough. Were it to fail, a later compaction of another one drops
		// what this one was to drop.
		j.window.compactedTo(target, time.Now())
		return nil
	}
	return j.compact(j.ctx, target, false)
}

// syncSpooled gives up to which revision this node has the journal on its disk:
// the spool is synced only while the views lag so far that the history's limit
// is near.
func (j *etcdJournal) syncSpooled(own nodeState) (uint64, error) {
	t := j.currentTailer()
	if t == nil || !j.window.pressed() || own.released < j.hollow.Load() {
		return own.released, nil
	}
	if err := t.spool.sync(); err != nil {
		return 0, err
	}
	return max(own.spooled, own.released), nil
}

// dropSpooled removes segments that are released and read, and gives the
// revision up to which the spool holds the journal's end.
func (j *etcdJournal) dropSpooled() uint64 {
	t := j.currentTailer()
	if t == nil {
		return 0
	}
	t.mu.Lock()
	handed := t.handed
	t.mu.Unlock()
	if err := t.spool.release(min(j.window.releasedTo(), handed)); err != nil {
		j.log.Warn("journal: released segments stay", "error", err)
	}
	_, last, _ := t.spool.covers()
	return last
}

func (j *etcdJournal) currentTailer() *etcdTailer {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.tailer
}

// compact drops etcd's history up to revision. What the view has not made durable
// is then in the spool alone, which therefore reaches the disk before. With
// physical it returns when the room is free.
func (j *etcdJournal) compact(ctx context.Context, revision uint64, physical bool) error {
	if revision > j.window.releasedTo() {
		t := j.currentTailer()
		if t == nil {
			return nil
		}
		if err := t.spool.sync(); err != nil {
			return err
		}
		j.log.Warn("journal: the view lags, history it has not made durable is kept in the spool alone", "revision", revision)
	}
	ctx, cancel := context.WithTimeout(ctx, compactTimeout)
	defer cancel()
	var opts []clientv3.CompactOption
	if physical {
		opts = append(opts, clientv3.WithCompactPhysical())
	}
	if _, err := j.client.Compact(ctx, int64(revision), opts...); err != nil && !errors.Is(err, rpctypes.ErrCompacted) {
		return err
	}
	j.window.compactedTo(revision, time.Now())
	return nil
}
