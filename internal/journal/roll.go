// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// alivePrefix is followed by the name of a node that runs; the value is the name of its data directory. The key hangs on
// a lease, so that it goes when the node does.
const alivePrefix = ourPrefix + "alive/"

const (
	// aliveFor is how long a node that is not heard of counts as one that runs, in seconds.
	aliveFor = 10
	// claimWithin bounds how long a data directory waits until nobody runs in the place that it is to take.
	claimWithin = 3 * aliveFor * time.Second
)

// roll is which nodes are in a cell whose journal is a cluster elsewhere: there etcd's members are no nodes, so the cell
// keeps its own list, of the data directories that have written. All of it is in that cluster; this is what
// was read last.
type roll struct {
	ours  string // name of this node's data directory
	lease clientv3.LeaseID

	mu    sync.Mutex
	alive map[string]bool // by node: it is in the cell; it runs
}

// elsewhere reports whether several nodes keep their journal in a cluster that none of them runs.
func (o *Options) elsewhere() bool { return o.Remote != nil && o.Peers != nil }

// beginElsewhere prepares the directory for its first start in a cell whose journal is elsewhere. Until that has
// finished it may take the place of one that is gone.
func (j *etcdJournal) beginElsewhere() (finished func() error, err error) {
	_, known := os.Lstat(filepath.Join(j.opts.Dir, ownerFile))
	_, begun := os.Lstat(filepath.Join(j.opts.Dir, startingFile))
	j.fresh = errors.Is(known, fs.ErrNotExist) || begun == nil
	if !j.fresh {
		return func() error { return nil }, nil
	}
	return markStarting(j.opts.Dir)
}

// claim makes the data directory called ours this node's, if it is that already, there is none, or the one that there
// was has been lost: whatever that one knew is in the journal or in other nodes' views, so a new one may take its place
// once nobody runs in it.
func (j *etcdJournal) claim(ctx context.Context, ours string) error {
	ctx, cancel := context.WithTimeout(ctx, claimWithin)
	defer cancel()
	owner, alive := ownerPrefix+j.opts.Name, alivePrefix+j.opts.Name
	for told := false; ; told = true {
		resp, err := atStart(ctx, func(ctx context.Context) (*clientv3.TxnResponse, error) {
			return j.client.Txn(ctx).Then(clientv3.OpGet(owner), clientv3.OpGet(alive), clientv3.OpGet(removedPrefix+j.opts.Name)).Commit()
		})
		if err != nil {
			return fmt.Errorf("journal: asking whose node %s is: %w", j.opts.Name, err)
		}
		had, runs := first(resp, 0), first(resp, 1)
		switch {
		case first(resp, 2) != nil:
			return fmt.Errorf("%w: `bavard cell add %s` on another node permits it to come back", ErrRemoved, j.opts.Name)
		case had != nil && string(had.Value) == ours:
			return j.enroll(ctx, ours)
		case had != nil && !j.fresh:
			return fmt.Errorf("%w: another one has taken the place of %s as node %s", ErrOwner, j.opts.Dir, j.opts.Name)
		case runs == nil:
			if err := j.replace(ctx, had, ours); err != nil {
				return err
			}
			continue // and see whether it is ours
		}
		if !told {
			j.log.Warn("journal: node runs elsewhere, or did a moment ago: waiting for its place", "node", j.opts.Name)
		}
		if !sleep(ctx, 10*retryPause) {
			return fmt.Errorf("%w: node %s runs with another one, perhaps on another machine", ErrOwner, j.opts.Name)
		}
	}
}

// first is what the n-th read of a transaction has found, nil for nothing.
func first(resp *clientv3.TxnResponse, n int) *mvccpb.KeyValue {
	for _, kv := range resp.Responses[n].GetResponseRange().GetKvs() {
		return kv
	}
	return nil
}

// replace puts ours in the place of had, nil for nobody, as long as that is what is there and nobody runs in it.
func (j *etcdJournal) replace(ctx context.Context, had *mvccpb.KeyValue, ours string) error {
	owner, alive, removed := ownerPrefix+j.opts.Name, alivePrefix+j.opts.Name, removedPrefix+j.opts.Name
	resp, err := atStart(ctx, func(ctx context.Context) (*clientv3.TxnResponse, error) {
		return j.client.Txn(ctx).
			If(clientv3.Compare(clientv3.ModRevision(owner), "=", had.GetModRevision()), clientv3.Compare(clientv3.ModRevision(alive), "=", 0), clientv3.Compare(clientv3.ModRevision(removed), "=", 0)).
			// What was said of the other directory does not hold for this one.
			Then(clientv3.OpPut(owner, ours), clientv3.OpDelete(nodePrefix+j.opts.Name)).Commit()
	})
	if err != nil {
		return fmt.Errorf("journal: taking the place of node %s: %w", j.opts.Name, err)
	}
	if resp.Succeeded && had != nil {
		j.log.Warn("journal: this data directory takes the place of one that was lost", "node", j.opts.Name)
	}
	return nil
}

// enroll says that this node runs; keepRoll goes on with that.
func (j *etcdJournal) enroll(ctx context.Context, ours string) error {
	j.roll = &roll{ours: ours}
	for _, step := range []func(context.Context) error{j.appear, j.rename, j.callRoll} {
		if err := persist(ctx, func() error { return step(ctx) }); err != nil {
			return fmt.Errorf("journal: telling that node %s runs: %w", j.opts.Name, err)
		}
	}
	return nil
}

// rename gives up the places under other names that this data directory had, as that of a server alone.
func (j *etcdJournal) rename(ctx context.Context) error {
	resp, err := j.client.Get(ctx, ownerPrefix, clientv3.WithPrefix())
	if err != nil {
		return err
	}
	for _, kv := range resp.Kvs {
		name := strings.TrimPrefix(string(kv.Key), ownerPrefix)
		if name == j.opts.Name || string(kv.Value) != j.roll.ours {
			continue
		}
		_, err := j.client.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(string(kv.Key)), "=", kv.ModRevision)).
			Then(clientv3.OpDelete(string(kv.Key)), clientv3.OpDelete(nodePrefix+name)).Commit()
		if err != nil {
			return err
		}
	}
	return nil
}

// appear begins to say that this node runs.
func (j *etcdJournal) appear(ctx context.Context) error {
	lease, err := j.client.Grant(ctx, j.opts.aliveFor)
	if err != nil {
		return err
	}
	if _, err := j.client.Put(ctx, alivePrefix+j.opts.Name, j.roll.ours, clientv3.WithLease(lease.ID)); err != nil {
		return err
	}
	j.roll.lease = lease.ID
	return nil
}

// callRoll reads who is in the cell and who of them runs. It errs with ErrRemoved when this node is not in it any more, or
// with another data directory.
func (j *etcdJournal) callRoll(ctx context.Context) error {
	resp, err := j.client.Txn(ctx).Then(clientv3.OpGet(ownerPrefix, clientv3.WithPrefix()), clientv3.OpGet(alivePrefix, clientv3.WithPrefix(), clientv3.WithKeysOnly())).Commit()
	if err != nil {
		return err
	}
	alive, own := map[string]bool{}, ""
	for _, kv := range resp.Responses[0].GetResponseRange().GetKvs() {
		name := strings.TrimPrefix(string(kv.Key), ownerPrefix)
		alive[name] = false
		if name == j.opts.Name {
			own = string(kv.Value)
		}
	}
	if own != j.roll.ours {
		return ErrRemoved
	}
	for _, kv := range resp.Responses[1].GetResponseRange().GetKvs() {
		if name := strings.TrimPrefix(string(kv.Key), alivePrefix); has(alive, name) {
			alive[name] = true
		}
	}
	j.roll.mu.Lock()
	defer j.roll.mu.Unlock()
	j.roll.alive = alive
	return nil
}

func has(m map[string]bool, name string) bool {
	_, ok := m[name]
	return ok
}

// keepRoll keeps saying that this node runs, and what is known of the others fresh, until it is removed.
func (j *etcdJournal) keepRoll() {
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for {
		select {
		case <-j.ctx.Done():
			j.disappear()
			return
		case <-tick.C:
		}
		err := j.renew(j.ctx)
		switch {
		case errors.Is(err, ErrRemoved):
			j.log.Warn("journal: this node was removed from the cell, or another data directory has taken its place, and ends")
			if err := j.noteRemoved(); err != nil {
				j.log.Error("journal: the next start will not know that this node was removed", "error", err)
			}
			j.disappear()
			j.appender.cancel()
			close(j.gone)
			return
		case err != nil && j.ctx.Err() == nil:
			j.log.Debug("journal: the other nodes do not hear that this one runs", "error", err)
		}
	}
}

// renew is one turn of keepRoll.
func (j *etcdJournal) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	if err := j.callRoll(ctx); err != nil {
		return err
	}
	_, err := j.client.KeepAliveOnce(ctx, j.roll.lease)
	if errors.Is(err, rpctypes.ErrLeaseNotFound) { // it was away for longer
		err = j.appear(ctx)
	}
	return err
}

// disappear says that this node does not run any more; if that does not get through, its lease ends.
func (j *etcdJournal) disappear() {
	ctx, cancel := context.WithTimeout(context.Background(), probeTimeout)
	defer cancel()
	_, _ = j.client.Revoke(ctx, j.roll.lease)
}

// has reports whether a node is in the cell.
func (r *roll) has(node string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return has(r.alive, node)
}

// size is how many nodes are in the cell.
func (r *roll) size() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.alive)
}

// others is etcdJournal.others.
func (r *roll) others(p *Peers, own string) []Other {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []Other
	for _, name := range slices.Sorted(maps.Keys(p.Members)) {
		if name != own {
			all = append(all, Other{Name: name, Address: p.Members[name], Reached: r.alive[name], Absent: !has(r.alive, name)})
		}
	}
	return all
}

// strike takes a node out of the cell. What was acknowledged is in the cluster, whoever is left.
func (j *etcdJournal) strike(ctx context.Context, node string) error {
	ctx, cancel := context.WithTimeout(ctx, readmitWithin)
	defer cancel()
	err := persist(ctx, func() error {
		_, err := j.client.Txn(ctx).Then(clientv3.OpPut(removedPrefix+node, "1"),
			clientv3.OpDelete(ownerPrefix+node), clientv3.OpDelete(nodePrefix+node), clientv3.OpDelete(alivePrefix+node)).Commit()
		return err
	})
	if err == nil {
		err = persist(ctx, func() error { return j.callRoll(ctx) })
	}
	if err != nil {
		return fmt.Errorf("journal: noting that node %s is removed: %w", node, err)
	}
	j.log.Warn("journal: a node was removed from the cell", "node", node)
	return nil
}
