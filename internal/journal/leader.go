// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/types"
)

// Leader is a journal whose leadership can be handed over; those of OpenEtcd are.
type Leader interface {
	// MoveLeadership hands leadership to another node, if this one has it: to one that is
	// reached, has a vote and has most of the history. It gives the node that leads then, "" if
	// this one did not. What is appended meanwhile waits for some ten milliseconds. It errs, with
	// ErrNoSuccessor when there is nobody, when this node leads on.
	MoveLeadership(ctx context.Context) (to string, err error)
}

// ErrNoSuccessor: there is no other node that could lead.
var ErrNoSuccessor = errors.New("journal: no other node that has a vote is reached")

const (
	// moveWithin is how long one node may take to become the leader before another is tried. It is less than
	// what an election takes: as long as one heir follows the other, the leader takes nothing new (it does again when
	// it has waited for one for an election's time), so that over a slow network, too, one of them will have it all.
	moveWithin = 400 * time.Millisecond
	// moveRounds is how often each is tried.
	moveRounds = 3
)

// MoveLeadership is Leader.MoveLeadership.
func (j *etcdJournal) MoveLeadership(ctx context.Context) (string, error) {
	e, ok := j.host.(*embedded)
	if !ok || j.opts.Peers == nil || e.ending() || !e.leads() {
		return "", nil
	}
	heirs, err := j.heirs(ctx, e)
	if err != nil {
		return "", err
	}
	own, errs := uint64(e.etcd.Server.MemberID()), []error{ErrNoSuccessor}
	for i := range moveRounds * len(heirs) {
		h := heirs[i%len(heirs)]
		one, cancel := context.WithTimeout(ctx, moveWithin)
		err := e.etcd.Server.MoveLeader(one, own, uint64(h.id))
		cancel()
		switch {
		case err == nil:
			return h.name, nil
		case !e.leads(): // another one was elected meanwhile
			return j.leaderName(e), nil
		}
		if errs = append(errs, fmt.Errorf("handing leadership to node %s: %w", h.name, err)); ctx.Err() != nil {
			break
		}
	}
	return "", errors.Join(errs...)
}

// heir is a node that could lead.
type heir struct {
	name    string
	id      types.ID
	spooled uint64
}

// heirs gives the nodes that are reached and have a vote, those that have most first.
func (j *etcdJournal) heirs(ctx context.Context, e *embedded) ([]heir, error) {
	connected := e.connections.current()
	states, err := j.states(ctx)
	if err != nil {
		return nil, err
	}
	var all []heir
	for _, m := range e.etcd.Server.Cluster().Members() {
		if m.ID != e.etcd.Server.MemberID() && !m.IsLearner && connected[m.ID] {
			name := j.nodeOf(m)
			all = append(all, heir{name, m.ID, states[name].spooled})
		}
	}
	slices.SortFunc(all, func(a, b heir) int { return cmp.Or(cmp.Compare(b.spooled, a.spooled), cmp.Compare(a.name, b.name)) })
	return all, nil
}

// leaderName is the node that leads, "" while there is none.
func (j *etcdJournal) leaderName(e *embedded) string {
	if m := e.etcd.Server.Cluster().Member(types.ID(e.etcd.Server.Leader())); m != nil {
		return j.nodeOf(m)
	}
	return ""
}
