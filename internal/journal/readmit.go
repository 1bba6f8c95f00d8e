// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/client/pkg/v3/types"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/etcdserver/api/membership"
)

// Readmitter is a journal of a cell that can let another node take part anew.
type Readmitter interface {
	// Readmit puts a learner in the place of the member that node was, whose data
	// directory, called owner, is empty and at whose address, "host:port", the others
	// reach it. It gives the addresses of all members by their names. Cut short at any
	// point it can be repeated. It errs with ErrActive, ErrNoMajority or ErrBusy and
	// changes nothing then; with another error it is not known how far it came.
	Readmit(ctx context.Context, node, owner, address string) (members map[string]string, err error)
}

// Errors of Readmit.
var (
	// ErrActive: the member that is to be replaced runs.
	ErrActive = errors.New("journal: the node is connected")
	// ErrNoMajority: without the node there is no majority of what would be left.
	ErrNoMajority = errors.New("journal: the nodes that are left are no majority")
	// ErrBusy: another node takes part anew just now.
	ErrBusy = errors.New("journal: another node takes part anew; one at a time")
)

const (
	// readmitWithin bounds one call. etcd takes a new member only once its own
	// connections are 5 s old.
	readmitWithin = 30 * time.Second
	// changeWithin bounds one attempt to change who is a member. Whatever comes of it is found when it is tried
	// again, and it has to be: raft's leader drops a change without a word while it has not applied the one
	// before, and one on its way to a leader that is none any more is lost.
	changeWithin = 3 * time.Second
	// idEvery is how long etcd gives the same id to a new member at the same address.
	idEvery = 1100 * time.Millisecond
)

// Readmit is Readmitter.Readmit.
func (j *etcdJournal) Readmit(ctx context.Context, node, owner, address string) (map[string]string, error) {
	e, ok := j.host.(*embedded)
	if !ok || j.opts.Peers == nil || node == j.opts.Name {
		return nil, errors.New("journal: this is no node of a cell that could let another one in")
	}
	switch known := j.opts.Peers.Members[node]; {
	case known == "" || known != address:
		return nil, fmt.Errorf("journal: node %s is at %q by what this node was told, and says %q: name the nodes alike on all", node, known, address)
	case checkWriter(owner) != nil: // the same letters
		return nil, errors.New("journal: this cannot be the name of a data directory")
	}
	if !j.readmitting.TryLock() {
		return nil, ErrBusy
	}
	defer j.readmitting.Unlock()
	ctx, cancel := context.WithTimeout(ctx, readmitWithin)
	defer cancel()
	stale, err := j.replaceable(ctx, e, node)
	if err != nil {
		return nil, err
	}
	if err := j.permitted(ctx, node); err != nil {
		return nil, err
	}
	// The old member first: it must not vote any more before anything says that it is
	// gone. A member that was added and never told of is stale, too.
	for _, m := range stale {
		if m.Name == "" && !sleep(ctx, idEvery) { // it was added a moment ago
			return nil, ctx.Err()
		}
		if err := j.removeMember(ctx, m); err != nil {
			return nil, err
		}
	}
	if err := j.addLearner(ctx, e, address); err != nil {
		return nil, err
	}
	err = changeCell(ctx, func(ctx context.Context) error {
		_, err := j.client.Txn(ctx).Then(clientv3.OpPut(ownerPrefix+node, owner), clientv3.OpDelete(nodePrefix+node)).Commit()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("journal: noting the new data directory of %s: %w", node, err)
	}
	j.log.Warn("journal: a node without data is let in, as a learner at first", "node", node, "replaced", len(stale))
	members := map[string]string{}
	for _, m := range e.etcd.Server.Cluster().Members() {
		members[j.nodeOf(m)] = hostOf(m)
	}
	return members, nil
}

// changeCell is persist for what changes the cell, each attempt bounded by changeWithin.
func changeCell(ctx context.Context, attempt func(context.Context) error) error {
	return persist(ctx, func() error {
		ctx, cancel := context.WithTimeout(ctx, changeWithin)
		defer cancel()
		return attempt(ctx)
	})
}

// removeMember removes one that is still there, and tries until ctx ends: etcd refuses as long as it has not been
// connected for 5 s to a majority of those that are left.
func (j *etcdJournal) removeMember(ctx context.Context, m *membership.Member) error {
	err := changeCell(ctx, func(ctx context.Context) error {
		_, err := j.client.MemberRemove(ctx, uint64(m.ID))
		if errors.Is(err, rpctypes.ErrMemberNotFound) {
			return nil
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("journal: removing the member that %s was: %w", j.nodeOf(m), err)
	}
	return nil
}

// addLearner tries until ctx ends: etcd refuses as long as its own connections are new, or
// the id, which it makes of the time in seconds, is that of a member just removed.
func (j *etcdJournal) addLearner(ctx context.Context, e *embedded, address string) error {
	err := changeCell(ctx, func(ctx context.Context) error {
		_, err := j.client.MemberAddAsLearner(ctx, []string{peerScheme + address})
		if err == nil {
			return nil
		}
		// One that was said to have timed out may have been taken.
		for _, m := range e.etcd.Server.Cluster().Members() {
			if m.IsLearner && hostOf(m) == address {
				return nil
			}
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("journal: adding a learner: %w", err)
	}
	return nil
}

// replaceable is without, if the node does not run.
func (j *etcdJournal) replaceable(ctx context.Context, e *embedded, node string) (stale []*membership.Member, err error) {
	stale, err = j.without(ctx, e, node)
	if err != nil {
		return nil, err
	}
	connected := e.connections.current()
	for _, m := range stale {
		if connected[m.ID] {
			return nil, fmt.Errorf("%w: node %s runs, with other data, perhaps on another machine: stop it first", ErrActive, node)
		}
	}
	return stale, nil
}

// without gives the members that stand for a node, if a majority of those that are left without them is
// there, and none of these is new.
func (j *etcdJournal) without(ctx context.Context, e *embedded, node string) (stale []*membership.Member, err error) {
	read, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	if !j.host.hasLeader() {
		return nil, fmt.Errorf("%w: there is no leader", ErrNoMajority)
	}
	if _, err := j.readLatest(read); err != nil { // from here on the list of members is current
		return nil, fmt.Errorf("%w: %w", ErrNoMajority, err)
	}
	connected := e.connections.current()
	left, reached := 0, 0
	for _, m := range e.etcd.Server.Cluster().Members() {
		switch name := j.nodeOf(m); {
		case name == node:
			stale = append(stale, m)
		case m.IsLearner:
			return nil, fmt.Errorf("%w: node %s", ErrBusy, name)
		default:
			left++
			if m.ID == e.etcd.Server.MemberID() || connected[m.ID] {
				reached++
			}
		}
	}
	if reached < left/2+1 {
		return nil, fmt.Errorf("%w: %d of %d are reached", ErrNoMajority, reached, left)
	}
	return stale, nil
}

const peerScheme = "https://"

func hostOf(m *membership.Member) string {
	if len(m.PeerURLs) == 0 {
		return ""
	}
	return m.PeerURLs[0][min(len(peerScheme), len(m.PeerURLs[0])):]
}

// nodeOf is the name of the node that is a member: one that has not run yet has not
// told it.
func (j *etcdJournal) nodeOf(m *membership.Member) string {
	if m.Name != "" {
		return m.Name
	}
	address := hostOf(m)
	for _, name := range slices.Sorted(maps.Keys(j.opts.Peers.Members)) {
		if j.opts.Peers.Members[name] == address {
			return name
		}
	}
	return types.ID(m.ID).String()
}
