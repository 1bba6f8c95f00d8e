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
	_, err := j.getHere(ctx, idKey, clientv3.WithRev(int64(revision)), clientv3.WithCountOnly())
	switch {
	case err == nil, errors.Is(err, rpctypes.ErrFutureRev):
		return nil
	case errors.Is(err, rpctypes.ErrCompacted):
		return ErrCompacted
	}
	return fmt.Errorf("journal: %w", err)
}

// revision is etcd's newest, at or above that of the newest batch. It tries
// again until there is a leader, ctx ends or startTimeout has passed.
func (j *etcdJournal) revision(ctx context.Context) (uint64, error) {
	resp, err := atStart(ctx, func(ctx context.Context) (*clientv3.GetResponse, error) {
		return j.client.Get(ctx, idKey, clientv3.WithCountOnly())
	})
	if err != nil {
		return 0, fmt.Errorf("journal: %w", err)
	}
	return uint64(resp.Header.Revision), nil
}

// insist repeats a request until it is answered or denied, or ctx ends: soon after a start etcd may turn requests
// away, or lose its leader.
func insist[T any](ctx context.Context, request func(context.Context) (T, error)) (T, error) {
	for {
		answer, err := request(ctx)
		if err == nil || denied(err) || !sleep(ctx, 10*retryPause) {
			return answer, err
		}
	}
}

// atStart is insist for startTimeout at most.
func atStart[T any](ctx context.Context, request func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	return insist(ctx, request)
}

// behind says that the log ends before what was read from it.
func behind(end, want uint64) error {
	return damagef(want, "the log ends at revision %d, but revision %d has been read from it: it lost its end", end, want)
}
