// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/storage/schema"
)

// Membership is a journal that knows which nodes are in the cell: more may be named than are in it.
// Those of OpenEtcd are.
type Membership interface {
	// Voter reports whether a node is in the cell and has a vote, by what this node knows; Member, whether it is in it at all.
	Voter(node string) bool
	Member(node string) bool
	// Remove takes a node out of the cell, whether it runs or not: it is no member when this returns nil, the others
	// do not let it in again, and a majority of those that are left has all that was acknowledged until then. Cut
	// short it can be repeated, as it can be when it was done. It errs with ErrNoMajority, ErrBusy or ErrNode, and
	// changes nothing then; with another error it is not known how far it came.
	Remove(ctx context.Context, node string) error
	// Permit has the others let a node in again that was removed; it does nothing if it was not. It errs with ErrNode.
	Permit(ctx context.Context, node string) error
	// Removed is closed when this node itself was removed while it ran: it can store nothing any more.
	Removed() <-chan struct{}
}

// Errors of nodes that are removed.
var (
	// ErrNode: it is this node, or none that the cell could have.
	ErrNode = errors.New("journal: this is no other node of the cell")
	// ErrRemoved: the node was taken out of the cell, or is in it with another data directory.
	ErrRemoved = errors.New("journal: this node was removed from the cell")
)

const (
	// removedPrefix is followed by the name of a node that must not be let in; the value says nothing.
	removedPrefix = ourPrefix + "removed/"
	// removedFile is in the directory of a member that was removed: it never takes part again.
	removedFile = "removed"
	// removedMessage is what etcd logs when it stops because the others say that it was.
	removedMessage = "data-dir used by this member must be removed"
)

// other errs unless node is the name of another node of the cell, or was.
func (j *etcdJournal) other(node string) error {
	if j.opts.Peers == nil {
		return fmt.Errorf("%w: there is but one", ErrNode)
	}
	if node == j.opts.Name {
		return fmt.Errorf("%w: it is node %s itself: ask another one", ErrNode, node)
	}
	if _, named := j.opts.Peers.Members[node]; !named {
		return fmt.Errorf("%w: %q; there are %s", ErrNode, node, j.opts.Peers.others(j.opts.Name))
	}
	return nil
}

// Remove is Membership.Remove.
func (j *etcdJournal) Remove(ctx context.Context, node string) error {
	if err := j.other(node); err != nil {
		return err
	}
	if !j.readmitting.TryLock() {
		return ErrBusy
	}
	defer j.readmitting.Unlock()
	e, ok := j.host.(*embedded)
	if !ok {
		return j.strike(ctx, node)
	}
	ctx, cancel := context.WithTimeout(ctx, readmitWithin)
	defer cancel()
	members, err := j.without(ctx, e, node)
	if err != nil {
		return err
	}
	// First, so that it is not let in again by another node in between.
	if _, err := j.client.Put(ctx, removedPrefix+node, "1"); err != nil {
		return fmt.Errorf("journal: noting that node %s is removed: %w", node, err)
	}
	for _, m := range members {
		if err := j.removeMember(ctx, m); err != nil {
			return err
		}
	}
	// A majority of those that are left takes this, and so has all that was before it. It may have to be elected first.
	err = persist(ctx, func() error {
		_, err := j.client.Txn(ctx).Then(clientv3.OpDelete(nodePrefix+node), clientv3.OpDelete(ownerPrefix+node)).Commit()
		return err
	})
	if err != nil {
		return fmt.Errorf("journal: node %s is removed, but those that are left have not said that they have all: %w", node, err)
	}
	j.log.Warn("journal: a node was removed from the cell", "node", node, "members", len(members))
	return nil
}

// persist repeats what can be repeated until it gives no error, or ctx ends.
func persist(ctx context.Context, do func() error) error {
	for {
		err := do()
		if err == nil || !sleep(ctx, promoteEvery) {
			return err
		}
	}
}

// Permit is Membership.Permit.
func (j *etcdJournal) Permit(ctx context.Context, node string) error {
	if err := j.other(node); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	if _, err := j.client.Delete(ctx, removedPrefix+node); err != nil {
		return fmt.Errorf("journal: noting that node %s may come back: %w", node, err)
	}
	return nil
}

// Removed is Membership.Removed.
func (j *etcdJournal) Removed() <-chan struct{} { return j.gone }

// permitted errs with ErrRemoved when a node is not to be let in.
func (j *etcdJournal) permitted(ctx context.Context, node string) error {
	resp, err := j.client.Get(ctx, removedPrefix+node, clientv3.WithCountOnly())
	if err != nil {
		return fmt.Errorf("journal: asking whether node %s was removed: %w", node, err)
	}
	if resp.Count > 0 {
		return fmt.Errorf("%w: `bavard cell add %s` on another node permits it to come back, without its data", ErrRemoved, node)
	}
	return nil
}

// stopped says why etcd has stopped by itself, and notes it if this member was removed.
func (j *etcdJournal) stopped() error {
	if !j.removed.Load() {
		return errors.New("journal: etcd stopped by itself; see its log messages")
	}
	return errors.Join(ErrRemoved, j.noteRemoved())
}

// noteRemoved has the next start know that this member was removed.
func (j *etcdJournal) noteRemoved() error {
	return replaceFile(filepath.Join(j.opts.Dir, removedFile), nil)
}

// checkRemoved errs with ErrRemoved when noteRemoved has noted that.
func (j *etcdJournal) checkRemoved() error {
	_, err := os.Lstat(filepath.Join(j.opts.Dir, removedFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	return ErrRemoved
}

// Voter is Membership.Voter.
func (j *etcdJournal) Voter(node string) bool {
	_, votes := j.standing(node)
	return votes
}

// Member is Membership.Member.
func (j *etcdJournal) Member(node string) bool {
	in, _ := j.standing(node)
	return in
}

// standing says whether a node is in the cell, and whether it has a vote there.
func (j *etcdJournal) standing(node string) (in, votes bool) {
	if j.roll != nil {
		in = j.roll.has(node)
		return in, in
	}
	e, ok := j.host.(*embedded)
	if !ok || j.opts.Peers == nil {
		return false, false
	}
	for _, m := range e.etcd.Server.Cluster().Members() {
		if j.nodeOf(m) == node {
			return true, !m.IsLearner
		}
	}
	return false, false
}

// sizes are how many nodes are in the cell, learners included, and how many must have what the
// history drops in spite of others that lag: a majority of those that have a vote.
func (j *etcdJournal) sizes() (members, copies int) {
	if j.roll != nil {
		n := j.roll.size()
		return n, n/2 + 1
	}
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

// advertise tells etcd where the others reach this node, if that is not what etcd has: a node that has
// been alone until now has an address that nobody can reach, and one that has moved is sought where it was. What
// the others say to it passes meanwhile on connections that it has made.
func (j *etcdJournal) advertise(ctx context.Context) error {
	e, ok := j.host.(*embedded)
	if !ok || j.opts.Peers == nil {
		return nil
	}
	own := e.etcd.Server.Cluster().Member(e.etcd.Server.MemberID())
	at := j.opts.Peers.Members[j.opts.Name]
	if own == nil || slices.Equal(own.PeerURLs, []string{peerScheme + at}) {
		return nil
	}
	_, err := atStart(ctx, func(ctx context.Context) (*clientv3.MemberUpdateResponse, error) {
		return j.client.MemberUpdate(ctx, uint64(own.ID), []string{peerScheme + at})
	})
	if err != nil {
		return fmt.Errorf("journal: telling at which address this node is reached: %w", err)
	}
	j.log.Info("journal: the others find this node at another address from now on", "at", at, "before", own.PeerURLs)
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
