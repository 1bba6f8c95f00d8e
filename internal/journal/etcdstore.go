// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// etcdStore is the store of one writer's key in etcd.
type etcdStore struct {
	client *clientv3.Client
	key    string
}

func (s *etcdStore) replace(ctx context.Context, last uint64, value []byte) (outcome, error) {
	resp, err := s.client.Txn(ctx).
		If(clientv3.Compare(clientv3.ModRevision(s.key), "=", int64(last))).
		Then(clientv3.OpPut(s.key, string(value))).
		Else(clientv3.OpGet(s.key)).Commit()
	if err != nil {
		if errors.Is(err, rpctypes.ErrNoSpace) {
			return outcome{}, errNoSpace
		}
		return outcome{}, err
	}
	if resp.Succeeded {
		return outcome{replaced: true, revision: uint64(resp.Header.Revision)}, nil
	}
	kvs := resp.Responses[0].GetResponseRange().GetKvs()
	if len(kvs) == 0 {
		return outcome{}, nil
	}
	return outcome{revision: uint64(kvs[0].ModRevision), current: kvs[0].Value}, nil
}

// readable errs with ErrCompacted when etcd has dropped what happened at
// revision. It asks this member alone.
func (j *etcdJournal) readable(ctx context.Context, revision uint64) error {
	_, err := j.client.Get(ctx, idKey, clientv3.WithRev(int64(revision)), clientv3.WithCountOnly(), clientv3.WithSerializable())
	switch {
	case err == nil, errors.Is(err, rpctypes.ErrFutureRev):
		return nil
	case errors.Is(err, rpctypes.ErrCompacted):
		return ErrCompacted
	}
	return fmt.Errorf("journal: %w", err)
}

// revision is etcd's newest, at or above that of the newest batch.
func (j *etcdJournal) revision(ctx context.Context) (uint64, error) {
	resp, err := j.client.Get(ctx, idKey, clientv3.WithCountOnly())
	if err != nil {
		return 0, fmt.Errorf("journal: %w", err)
	}
	return uint64(resp.Header.Revision), nil
}

// behind says that the log ends before what was read from it.
func behind(end, want uint64) error {
	return damagef(want, "the log ends at revision %d, but revision %d has been read from it: it lost its end", end, want)
}

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

// openSpool finds where the reader starts in the spool and where Watch goes on.
func (t *etcdTailer) openSpool(ctx context.Context, from, end uint64) error {
	j := t.journal
	var incoming *sequence
	found := false
	s, err := openSpool(j.opts.SpoolDir, j.id, j.log, func(revision uint64, value []byte, at place) error {
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
