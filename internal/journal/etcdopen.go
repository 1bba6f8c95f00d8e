// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"errors"
)

// Tail is Journal.Tail. ctx bounds the start alone.
func (j *etcdJournal) Tail(ctx context.Context, from uint64) (Tailer, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case j.ctx.Err() != nil:
		return nil, ErrClosed
	case j.tailer != nil:
		return nil, errors.New("journal: it has a tailer already")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(j.ctx, cancel)()
	end, err := j.revision(ctx)
	if err != nil {
		return nil, err
	}
	if from > end {
		return nil, behind(end, from)
	}
	t := &etcdTailer{
		journal: j, log: j.log, done: make(chan struct{}), ready: make(chan struct{}, 1),
		checked: newSequence(from),
	}
	if err := t.openSpool(ctx, from, end); err != nil {
		if t.spool != nil {
			t.spool.close()
		}
		return nil, err
	}
	t.ctx, t.cancel = context.WithCancel(j.ctx)
	j.tailer = t
	go t.follow()
	return t, nil
}

// TailNewest is Journal.TailNewest.
func (j *etcdJournal) TailNewest(ctx context.Context) (Tailer, uint64, error) {
	from, err := j.Latest(ctx)
	if err != nil {
		return nil, 0, err
	}
	j.hollow.Store(from) // before the spool has anything behind the gap
	t, err := j.Tail(ctx, from)
	return t, from, err
}

// openSpool finds where the reader starts in the spool and where Watch goes on.
func (t *etcdTailer) openSpool(ctx context.Context, from, end uint64) error {
	j := t.journal
	var incoming *sequence
	found := false
	s, err := openSpool(j.opts.SpoolDir, j.id, j.opts.segment, j.log, func(revision uint64, value []byte, at place) error {
		if incoming == nil {
			incoming = newSequence(at.segment)
		}
		if _, err := incoming.readBatch(revision, value); err != nil {
			return err
		}
		j.window.add(revision, int64(len(value)))
		if revision > from {
			if !found {
				t.at, found = at, true
			}
			t.nextSeq++
		}
		return nil
	})
	if err != nil {
		return err
	}
	t.spool = s
	base, last, ok := s.covers()
	if ok && last > end {
		return behind(end, last)
	}
	if !ok || from < base || from > last {
		if err := j.readable(ctx, from+1); err != nil {
			return err
		}
		t.nextSeq, t.incoming = 0, newSequence(from)
		t.at = place{from, segmentHeader}
		return s.reset(from)
	}
	if j.opts.Peers != nil {
		// What comes behind the spool may be gone, after a long time away.
		if err := j.readable(ctx, last+1); err != nil {
			return err
		}
	}
	if incoming == nil {
		incoming = newSequence(base)
	}
	t.incoming = incoming
	if !found {
		t.at = s.end()
	}
	return nil
}

func (j *etcdJournal) forget(t *etcdTailer) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.tailer == t {
		j.tailer = nil
	}
}
