// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"go.etcd.io/etcd/server/v3/etcdserver/api/membership"
	"go.etcd.io/etcd/server/v3/storage/schema"
)

// Membership is a journal that knows which nodes are in the cell: more may be named than are in it.
// Those of OpenEtcd are.
type Membership interface {
	// Voter reports whether a node is in the cell and has a vote, by what this node knows.
	Voter(node string) bool
}

// Voter is Membership.Voter.
func (j *etcdJournal) Voter(node string) bool {
	m := j.member(node)
	return m != nil && !m.IsLearner
}

// member is the one that a node is, nil when it is not in the cell.
func (j *etcdJournal) member(node string) *membership.Member {
	e, ok := j.host.(*embedded)
	if !ok || j.opts.Peers == nil {
		return nil
	}
	for _, m := range e.etcd.Server.Cluster().Members() {
		if j.nodeOf(m) == node {
			return m
		}
	}
	return nil
}

// sizes are how many nodes are in the cell, learners included, and how many must have what the
// history drops in spite of others that lag: a majority of those that have a vote.
func (j *etcdJournal) sizes() (members, copies int) {
	e, ok := j.host.(*embedded)
	if !ok {
		return 1, 1
	}
	voters := 0
	all := e.etcd.Server.Cluster().Members()
	for _, m := range all {
		if !m.IsLearner {
			voters++
		}
	}
	return len(all), voters/2 + 1
}

// advertise tells etcd where the others reach this node, if it has been alone until now: its member
// has an address then that nobody can reach.
func (j *etcdJournal) advertise(ctx context.Context) error {
	e, ok := j.host.(*embedded)
	if !ok || j.opts.Peers == nil {
		return nil
	}
	own := e.etcd.Server.Cluster().Member(e.etcd.Server.MemberID())
	if own == nil || len(own.PeerURLs) > 0 && strings.HasPrefix(own.PeerURLs[0], peerScheme) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if _, err := j.client.MemberUpdate(ctx, uint64(own.ID), []string{peerScheme + j.opts.Peers.Members[j.opts.Name]}); err != nil {
		return fmt.Errorf("journal: telling at which address this node, which was alone, is reached: %w", err)
	}
	j.log.Info("journal: this node, which was alone, can be reached by others now", "at", j.opts.Peers.Members[j.opts.Name])
	return nil
}

// Sole reports whether the etcd in dir, which does not run, has no other member, so that what else is
// on this disk may be the only copy. false: it has, or that cannot be read.
func Sole(dir string) (bool, error) {
	f, err := os.Open(filepath.Join((&Options{Dir: dir}).etcdDir(), "member", "snap", "db"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("journal: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return false, fmt.Errorf("journal: %w", err)
	}
	members := 0
	err = readPages(f, info.Size(), func(bucket string, _, _ []byte) error {
		if bucket == string(schema.Members.Name()) {
			members++
		}
		return nil
	})
	// One that is damaged is replaced by what others have, if there are any.
	return err == nil && members == 1, nil
}
