// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"bavard/internal/datadir"
	"bavard/internal/handover"
	"bavard/internal/journal"
	"bavard/internal/view"
)

// Beside the view while it is replaced.
const (
	newView = ".new"      // what is fetched
	oldView = ".old"      // what it takes the place of
	outView = ".handover" // what other nodes are handed
)

// makeLink makes this node's side towards those that need a view or have one.
func (n *node) makeLink() error {
	if n.member == nil {
		return nil
	}
	var err error
	if n.identity, err = n.member.Identity(); err != nil {
		return err
	}
	peers := n.cfg.Cell.Handovers()
	delete(peers, n.member.Node)
	n.link = handover.New(handover.Options{Node: n.member.Node, Peers: peers, Serving: n.identity.Serving(), Calling: n.identity.Calling, Log: n.log, Figures: n.figures, Voter: n.voter, Member: n.inCell, Room: n.roomForView})
	return errors.Join(settleView(n.dir.View()), n.settleDamage())
}

// roomForView is handover.Options.Room: beside what is in the data directory, and what is kept free.
func (n *node) roomForView(size int64) error {
	free, err := n.dir.Free()
	if err != nil {
		return err
	}
	if least := uint64(n.cfg.Journal.MinFreeMiB) << 20; free < least+uint64(max(size, 0)) {
		return fmt.Errorf("the disk of %s has %d MiB free: a view of %d MiB is to be fetched, and journal.min_free_mib keeps %d: make room", n.dir.Path(), free>>20, size>>20, n.cfg.Journal.MinFreeMiB)
	}
	return nil
}

// settleView clears what an exchange of views that was cut short has left.
func settleView(dir string) error {
	_, err := os.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.Rename(dir+oldView, dir); errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	}
	if err := errors.Join(err, os.RemoveAll(dir+oldView), os.RemoveAll(dir+newView), os.RemoveAll(dir+outView)); err != nil {
		return fmt.Errorf("what is left of an exchange of views: %w", err)
	}
	return nil
}

// fetchView is cell.Options.Fetch: it puts another node's view in the place of this
// one's, once it is on the disk and has been read and found right.
func (n *node) fetchView(ctx context.Context, after uint64) error {
	dir := n.dir.View()
	o := n.viewOptions()
	o.OnDamage = nil // that of the copy is no damage of this node's
	for from := ""; ; {
		var err error
		if from, err = n.link.Fetch(ctx, dir+newView, after, from); err != nil {
			return err
		}
		at, err := view.Verify(ctx, dir+newView, o)
		if err == nil && at.Revision >= after {
			break
		}
		if errors.Is(err, view.ErrLevel) {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		n.log.Error("the view of another node is damaged or too old, and is fetched again", "node", from, "at", at.String(), "after", after, "err", err)
		if err := wait(ctx, againAfter); err != nil {
			return err
		}
	}
	err := os.Rename(dir, dir+oldView)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err == nil {
		err = errors.Join(os.Rename(dir+newView, dir), datadir.Sync(filepath.Dir(dir)))
	}
	if err == nil {
		err = os.RemoveAll(dir + oldView)
	}
	if err != nil {
		return fmt.Errorf("exchange the view: %w", err)
	}
	return nil
}

// rejoinWithin bounds how long a node asks to take part anew; then it ends, and says why.
const rejoinWithin = 10 * time.Minute

// rejoin is journal.Peers.Rejoin. After a disk has lost what was synced, the view goes, too,
// once the others have let this node in, and another node's is fetched: it may have what the
// log has not, and nobody knows what it lacks itself.
func (n *node) rejoin(ctx context.Context, ask journal.Rejoining) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, rejoinWithin)
	defer cancel()
	members, err := n.link.Rejoin(ctx, ask.Owner, ask.Address)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errRejoin, err)
	}
	if !ask.Behind {
		return members, nil
	}
	// Renamed first, so that a start never finds half of it.
	dir := n.dir.View()
	err = errors.Join(os.RemoveAll(dir+newView), os.Rename(dir, dir+newView))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err := errors.Join(err, datadir.Sync(filepath.Dir(dir)), os.RemoveAll(dir+newView)); err != nil {
		return nil, fmt.Errorf("remove a view that cannot be trusted: %w", err)
	}
	return members, nil
}

// errRejoin: the others have not let this node take part anew.
var errRejoin = errors.New("this node has lost its data and was not let in by the others")

// againAfter is between two views that are fetched.
const againAfter = 2 * time.Second

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// startHandover lets other nodes have this one's view.
func (s *server) startHandover(ctx context.Context) (err error) {
	if s.member == nil {
		return nil
	}
	s.handover, err = s.link.Serve(ctx, s.cfg.Cell.HandoverBinds(), s.dir.View()+outView, source{s}, s.uploads, s.admitter)
	return err
}
