// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// nodePrefix is followed by a node's name; the value is a nodeState.
const nodePrefix = ourPrefix + "node/"

const (
	nodeFormat = 1
	nodeBytes  = 1 + 8 + 8 + 4
	// reportEvery is how often a node says how far it has come, at most.
	reportEvery = time.Second
)

// nodeState is how far a node of the cell has come, as revisions.
type nodeState struct {
	released uint64 // durable in its view
	spooled  uint64 // durable in its spool, or in its view
}

func (s nodeState) encode() []byte {
	b := binary.BigEndian.AppendUint64([]byte{nodeFormat}, s.released)
	b = binary.BigEndian.AppendUint64(b, s.spooled)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli()))
}

func decodeNodeState(b []byte) (nodeState, error) {
	if len(b) != nodeBytes || b[0] != nodeFormat {
		return nodeState{}, fmt.Errorf("it is not %d bytes of format %d", nodeBytes, nodeFormat)
	}
	if crc32.Checksum(b[:nodeBytes-4], castagnoli()) != binary.BigEndian.Uint32(b[nodeBytes-4:]) {
		return nodeState{}, errors.New("wrong checksum")
	}
	return nodeState{binary.BigEndian.Uint64(b[1:]), binary.BigEndian.Uint64(b[9:])}, nil
}

// reporter tells the cell how far this node has come. It is keepWindow's alone.
type reporter struct {
	told nodeState
	at   time.Time
}

// report tells the other nodes how far this one has come.
func (j *etcdJournal) report(ctx context.Context, own nodeState, r *reporter) error {
	now := time.Now()
	if j.opts.Peers == nil || own == r.told || now.Sub(r.at) < reportEvery {
		return nil
	}
	r.at = now
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	key, value := nodePrefix+j.opts.Name, string(own.encode())
	_, err := j.client.Put(ctx, key, value)
	if errors.Is(err, rpctypes.ErrNoSpace) {
		// Without it the nodes would never agree on what can be dropped.
		err = j.host.putAnyway(ctx, key, value)
	}
	if err != nil {
		return fmt.Errorf("telling the other nodes: %w", err)
	}
	r.told = own
	return nil
}

// agreed is how far the cell has come: released is what all nodes have, so that
// none needs the history any more; spooled what as many have as must have it
// before history may be dropped although others still need it. Those have to be
// given a view.
func (j *etcdJournal) agreed(ctx context.Context, own nodeState) (nodeState, error) {
	if j.opts.Peers == nil {
		return own, nil
	}
	others, err := j.states(ctx)
	if err != nil {
		return nodeState{}, err
	}
	released, spooled := []uint64{own.released}, []uint64{own.spooled}
	for _, s := range others {
		released, spooled = append(released, s.released), append(spooled, s.spooled)
	}
	members, copies := j.sizes()
	return nodeState{reached(released, members), reached(spooled, copies)}, nil
}

// getHere reads this member's copy. etcd panics on that once it has stopped by itself, as when the member was
// removed, and may do so at any moment.
func (j *etcdJournal) getHere(ctx context.Context, key string, opts ...clientv3.OpOption) (resp *clientv3.GetResponse, err error) {
	if e, ok := j.host.(*embedded); ok && e.ending() {
		return nil, ErrClosed
	}
	err = guarded(func() error {
		resp, err = j.client.Get(ctx, key, append(opts, clientv3.WithSerializable())...)
		return err
	})
	return resp, err
}

// states gives how far the other nodes said that they had come, by name.
func (j *etcdJournal) states(ctx context.Context) (map[string]nodeState, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	// This member's copy will do: it may be behind, never ahead.
	resp, err := j.getHere(ctx, nodePrefix, clientv3.WithPrefix())
	if err != nil {
		return nil, fmt.Errorf("asking how far the other nodes are: %w", err)
	}
	all := map[string]nodeState{}
	for _, kv := range resp.Kvs {
		name := strings.TrimPrefix(string(kv.Key), nodePrefix)
		s, err := decodeNodeState(kv.Value)
		if err != nil {
			return nil, damagef(uint64(kv.ModRevision), "the state of node %s: %v", name, err)
		}
		if in, _ := j.standing(name); in && name != j.opts.Name {
			all[name] = s
		}
	}
	return all, nil
}

// reached is the revision that n of the nodes have, 0 if there are fewer.
func reached(revisions []uint64, n int) uint64 {
	if len(revisions) < n {
		return 0
	}
	slices.Sort(revisions)
	return revisions[len(revisions)-n]
}
