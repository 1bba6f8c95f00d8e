// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"syscall"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// recentBytes bounds what is kept in memory for a reader at the head.
	recentBytes = 8 << 20
	// watchPause precedes a new attempt of a Watch or of a spool write.
	watchPause = 50 * time.Millisecond
	// unspooledBytes bounds what is handed on although the spool cannot be written;
	// a full disk soon ends what comes in.
	unspooledBytes = 32 << 20
)

// etcdTailer is the one tailer of an etcdJournal. One goroutine drains Watch
// into the spool and keeps the newest batches in memory; Next takes them from
// there, or reads the spool when it is further behind.
type etcdTailer struct {
	journal *etcdJournal
	spool   *spool
	log     *slog.Logger
	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	done    chan struct{} // follow has returned
	ready   chan struct{} // capacity 1: something changed for the reader

	// Owned by the reader.
	seq     uint64 // of the batch that Next gives next; the first has 0
	at      place  // where it is in the spool; zero: behind checked.last
	checked *sequence
	buf     []byte

	reading sync.Mutex // held while file is used
	file    *os.File

	// Owned by follow.
	incoming   *sequence
	unspooled  []recentBatch // the newest ones, for which the disk had no room
	pending    int64         // bytes of unspooled
	complained time.Time     // of the spool, last

	mu      sync.Mutex
	recent  []recentBatch // the newest of what is in the spool
	bytes   int64         // of recent
	nextSeq uint64        // of the batch that Watch gives next
	stop    context.CancelFunc
	rewind  *rewind
	failed  error  // ends the reader once it has read what is spooled
	handed  uint64 // revision that Next gave last
}

type recentBatch struct {
	Batch
	value []byte
	after place // where the next one is in the spool; zero: not known
}

// rewind asks follow to take the spool back to a place.
type rewind struct {
	at       place
	seq      uint64
	sequence *sequence
}

// Next is Tailer.Next.
func (t *etcdTailer) Next(ctx context.Context) (Batch, error) {
	for {
		if err := ctx.Err(); err != nil {
			return Batch{}, err
		}
		if t.ctx.Err() != nil {
			return Batch{}, ErrClosed
		}
		b, state, err := t.fromMemory()
		switch {
		case err != nil:
			return Batch{}, err
		case state == taken:
			return b, nil
		case state == behindMemory:
			b, ok, err := t.fromSpool()
			if ok || err != nil {
				return b, err
			}
		}
		select {
		case <-t.ready:
		case <-ctx.Done():
		case <-t.ctx.Done():
		}
	}
}

type readState int

const (
	nothing readState = iota
	taken
	behindMemory
)

// fromMemory takes the next batch from memory if it is there.
func (t *etcdTailer) fromMemory() (Batch, readState, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.rewind != nil:
		return Batch{}, nothing, nil
	case t.seq == t.nextSeq:
		return Batch{}, nothing, t.failed
	case t.seq < t.nextSeq-uint64(len(t.recent)):
		return Batch{}, behindMemory, nil
	}
	r := t.recent[t.seq-(t.nextSeq-uint64(len(t.recent)))]
	// What is in memory was checked as it came in; this keeps count.
	t.checked.last = r.Revision
	t.checked.writers[r.Writer] = writerPlace{r.Revision, r.Incarnation, r.Counter}
	t.seq++
	t.at = r.after
	t.handed = r.Revision
	return r.Batch, taken, nil
}

// fromSpool reads the next batch from the spool. ok is false when the spool has
// to be mended first.
func (t *etcdTailer) fromSpool() (b Batch, ok bool, err error) {
	t.reading.Lock()
	defer t.reading.Unlock()
	if t.ctx.Err() != nil {
		return Batch{}, false, ErrClosed
	}
	if t.at == (place{}) {
		if t.at, err = t.spool.find(t.checked.last); err != nil {
			return Batch{}, false, t.mend(err)
		}
	}
	at, path, more := t.spool.locate(t.at)
	if !more {
		return Batch{}, false, t.mend(errSpool)
	}
	if t.file == nil || t.file.Name() != path {
		t.closeFile()
		if t.file, err = os.Open(path); err != nil {
			return Batch{}, false, t.mend(err)
		}
	}
	t.at = at
	revision, value, buf, err := readRecord(t.file, at.offset, t.buf)
	t.buf = buf
	if err != nil {
		return Batch{}, false, t.mend(err)
	}
	if b, err = t.checked.readBatch(revision, value); err != nil {
		return Batch{}, false, t.mend(err)
	}
	t.at.offset += recordHeader + int64(len(value))
	t.seq++
	t.mu.Lock()
	t.handed = revision
	t.mu.Unlock()
	return b, true, nil
}

func (t *etcdTailer) closeFile() {
	if t.file != nil {
		_ = t.file.Close() // opened for reading
		t.file = nil
	}
}

// mend has the spool read again from etcd, from where the reader is.
func (t *etcdTailer) mend(cause error) error {
	t.log.Error("journal: spool damaged, reading it again from etcd",
		"after", t.checked.last, "segment", fmt.Sprintf("%016x", t.at.segment), "offset", t.at.offset, "cause", cause)
	t.closeFile()
	if err := t.journal.readable(t.ctx, t.checked.last+1); err != nil {
		if errors.Is(err, ErrCompacted) {
			err = fmt.Errorf("%w: the spool is damaged after revision %d", ErrCompacted, t.checked.last)
		}
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rewind = &rewind{at: t.at, seq: t.seq, sequence: t.checked.clone()}
	t.stop()
	return nil
}

// Close is Tailer.Close.
func (t *etcdTailer) Close() error {
	t.cancel()
	<-t.done
	t.reading.Lock()
	defer t.reading.Unlock()
	t.closeFile()
	t.journal.forget(t)
	return nil
}

// follow drains Watch until the tailer is closed.
func (t *etcdTailer) follow() {
	defer close(t.done)
	defer t.spool.close()
	for t.ctx.Err() == nil {
		ctx, cancel := context.WithCancel(t.ctx)
		t.mu.Lock()
		t.stop = cancel
		back := t.rewind
		t.mu.Unlock()
		var err error
		if back != nil {
			err = t.takeBack(back)
		}
		if err == nil {
			err = t.watch(ctx)
		}
		cancel()
		if t.ctx.Err() != nil {
			return
		}
		var damage *Damage
		damaged := errors.As(err, &damage)
		if damaged {
			err = fmt.Errorf("%w: %w", ErrRotten, err)
			err = errors.Join(err, t.journal.condemn(err))
		}
		if damaged || errors.Is(err, ErrCompacted) {
			t.fail(err)
			if !t.waitForRewind() {
				return
			}
			continue
		}
		if err != nil {
			t.log.Warn("journal: watch interrupted", "after", t.incoming.last, "error", err)
			sleep(t.ctx, watchPause)
		}
	}
}

func (t *etcdTailer) fail(err error) {
	t.log.Error("journal: tailing stops", "after", t.incoming.last, "error", err)
	t.mu.Lock()
	t.failed = err
	t.mu.Unlock()
	t.signal()
}

// waitForRewind blocks after a failure: the reader may still find damage in
// what is spooled before. It reports false when the tailer is closed.
func (t *etcdTailer) waitForRewind() bool {
	ctx, cancel := context.WithCancel(t.ctx)
	defer cancel()
	t.mu.Lock()
	t.stop = cancel
	asked := t.rewind != nil
	t.mu.Unlock()
	if !asked {
		<-ctx.Done()
	}
	return t.ctx.Err() == nil
}

// takeBack cuts the spool where the reader found it damaged.
func (t *etcdTailer) takeBack(r *rewind) error {
	if err := t.spool.truncate(r.at, r.sequence.last); err != nil {
		if err := t.spool.reset(r.sequence.last); err != nil {
			return err
		}
	}
	t.incoming, t.unspooled, t.pending = r.sequence, nil, 0
	t.mu.Lock()
	defer t.mu.Unlock()
	t.recent, t.bytes, t.nextSeq = nil, 0, r.seq
	t.rewind, t.failed = nil, nil
	return nil
}

// watch copies what etcd has after the end of the spool, until ctx ends or
// something is wrong.
func (t *etcdTailer) watch(ctx context.Context) error {
	// A member that is cut off from the others ends the watch, so that another one
	// is asked.
	responses := t.journal.client.Watch(clientv3.WithRequireLeader(ctx), batchPrefix, clientv3.WithPrefix(),
		clientv3.WithRev(int64(t.incoming.last)+1), clientv3.WithFragment())
	again := time.NewTicker(10 * watchPause)
	defer again.Stop()
	for {
		select {
		case resp, ok := <-responses:
			if !ok {
				if ctx.Err() != nil {
					return nil
				}
				return errors.New("watch ended")
			}
			if err := t.takeAll(ctx, resp); err != nil {
				return err
			}
		case <-again.C:
			t.spoolPending()
		}
	}
}

// takeAll takes what one answer of Watch brings.
func (t *etcdTailer) takeAll(ctx context.Context, resp clientv3.WatchResponse) error {
	if resp.CompactRevision != 0 {
		return ErrCompacted
	}
	if err := resp.Err(); err != nil {
		if errors.Is(err, rpctypes.ErrCompacted) {
			return ErrCompacted
		}
		return err
	}
	for _, ev := range resp.Events {
		if ev.Type != clientv3.EventTypePut {
			return damagef(uint64(ev.Kv.ModRevision), "revision %d deletes %q", ev.Kv.ModRevision, ev.Kv.Key)
		}
		if err := t.take(ctx, uint64(ev.Kv.ModRevision), string(ev.Kv.Key), ev.Kv.Value); err != nil {
			return err
		}
	}
	return nil
}

// take spools one batch and hands it to the reader.
func (t *etcdTailer) take(ctx context.Context, revision uint64, key string, value []byte) error {
	b, err := t.incoming.readBatch(revision, value)
	if err != nil {
		return err
	}
	if key != batchPrefix+b.Writer {
		return damagef(revision, "batch of %s under key %q", b.Writer, key)
	}
	t.journal.window.add(revision, int64(len(value)))
	r := recentBatch{Batch: b, value: value}
	if r.after, err = t.toSpool(ctx, &r); err != nil {
		return err
	}
	t.mu.Lock()
	t.recent = append(t.recent, r)
	t.bytes += int64(len(r.value))
	n := 0
	for t.bytes > t.journal.opts.recent && n < len(t.recent)-max(1, len(t.unspooled)) {
		t.bytes -= int64(len(t.recent[n].value))
		t.recent[n] = recentBatch{}
		n++
	}
	t.recent = t.recent[n:]
	t.nextSeq++
	t.mu.Unlock()
	t.signal()
	return nil
}

// toSpool writes a batch to the spool and says where the next one is. While the
// disk has no room the batch is kept in memory, with a zero place, so that people
// can go on reading; it errs when that is too much and ctx has ended.
func (t *etcdTailer) toSpool(ctx context.Context, r *recentBatch) (place, error) {
	for t.spoolPending(); len(t.unspooled) > 0 && t.pending > unspooledBytes; t.spoolPending() {
		if !sleep(ctx, 10*watchPause) {
			return place{}, ctx.Err()
		}
	}
	if len(t.unspooled) == 0 {
		at, err := t.appendSpool(r)
		if err == nil {
			return at, nil
		}
	}
	t.unspooled = append(t.unspooled, *r)
	t.pending += int64(len(r.value))
	return place{}, nil
}

// spoolPending writes what the disk had no room for, oldest first.
func (t *etcdTailer) spoolPending() {
	for len(t.unspooled) > 0 {
		if _, err := t.appendSpool(&t.unspooled[0]); err != nil {
			return
		}
		t.pending -= int64(len(t.unspooled[0].value))
		t.unspooled[0] = recentBatch{}
		t.unspooled = t.unspooled[1:]
	}
}

func (t *etcdTailer) appendSpool(r *recentBatch) (after place, err error) {
	at, err := t.spool.append(r.Revision, r.value)
	if errors.Is(err, syscall.ENOSPC) && t.journal.MakeRoom() {
		at, err = t.spool.append(r.Revision, r.value)
	}
	if err != nil {
		if now := time.Now(); now.Sub(t.complained) > warnUnsettled {
			t.complained = now
			t.log.Error("journal: the spool cannot be written, trying again", "error", err)
		}
		return place{}, err
	}
	at.offset += recordHeader + int64(len(r.value))
	return at, nil
}

func (t *etcdTailer) signal() {
	select {
	case t.ready <- struct{}{}:
	default:
	}
}
