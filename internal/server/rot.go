// SPDX-License-Identifier: Apache-2.0

package server

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"bavard/internal/datadir"
	"bavard/internal/health"
	"bavard/internal/journal"
	"bavard/internal/view"
)

// Beside the view of a node of several.
const (
	// rottenMark is a file that says that the view is damaged: the next start sets it aside.
	rottenMark = ".rotten"
	// damagedView is the last view that was set aside, for who wants to look at it.
	damagedView = ".damaged"
)

// viewDamaged is view.Options.OnDamage.
func (n *node) viewDamaged(err error) {
	n.warnings.Raise(health.ViewDamaged, err.Error())
	// What may be the same on every node is not when most have another view.
	if n.member != nil && (view.Rotten(err) || n.divergent.Load() && errors.Is(err, view.ErrCorrupt)) {
		n.rotten.Store(true)
	}
}

// journalDamaged is cell.Options.OnJournalDamage. A start of one of several finds it, too, and the
// node then takes part anew.
func (n *node) journalDamaged(err error) {
	n.warnings.Raise(health.JournalDamaged, err.Error())
	if n.member != nil {
		n.rottenJournal.Store(true)
	}
}

// fence ends a node whose view has failed its checksum, so that it answers nobody from it, or whose
// journal has, once there is another node to get them from: one that takes people, and has a view then, not one that itself waits for
// somebody's.
func (s *server) fence() {
	rotten, journal := s.rotten.Load(), s.rottenJournal.Load()
	if !rotten && !journal || s.node.o.again == nil || s.mesh == nil {
		return
	}
	nodes := s.meshed()
	for _, o := range s.cell.JournalStats().Others {
		if n := nodes[o.Name]; o.Reached && !o.Learner && n.Reached && !n.Diverged {
			s.log.Error("what this node has on its disk is damaged: it ends, and gets what other nodes have at its next start", "view", rotten, "journal", journal, "from", o.Name)
			s.node.o.again()
			return
		}
	}
}

// condemn has the next start set the view aside, if it has failed a checksum.
func (n *node) condemn() error {
	if !n.rotten.Load() {
		return nil
	}
	dir := n.dir.View()
	if err := errors.Join(os.WriteFile(dir+rottenMark, nil, 0o600), datadir.Sync(filepath.Dir(dir))); err != nil {
		return fmt.Errorf("note that the view is damaged: %w", err)
	}
	return nil
}

// replaceable condemns the view for an error by which it is found damaged, and asks for a
// start, in which another node's takes its place; alone there is none.
func (n *node) replaceable(err error) error {
	if n.member == nil || !view.Rotten(err) {
		return err
	}
	n.rotten.Store(true)
	return errors.Join(ErrStartAgain, err, n.condemn())
}

// setAside puts a damaged view out of the way. One is kept, where there is as much room again
// beside what the journal needs.
func (n *node) setAside() error {
	dir := n.dir.View()
	sole, err := journal.Sole(n.dir.Journal())
	if sole {
		err = fmt.Errorf("the view is damaged, and this node is the only one in its cell, so nothing has been removed: look at the disk, keep a copy of %s, "+
			"and restore a backup into an empty directory: bavard restore", n.cfg.Data)
	}
	if err != nil {
		return err
	}
	size, err := journal.DirSize(dir)
	if err != nil {
		return fmt.Errorf("set a damaged view aside: %w", err)
	}
	free, err := n.dir.Free()
	if err != nil {
		return err
	}
	err = os.RemoveAll(dir + damagedView)
	if err == nil {
		err = os.Rename(dir, dir+damagedView)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	err = errors.Join(err, datadir.Sync(filepath.Dir(dir)))
	kept := free > size+2*uint64(n.cfg.Journal.MinFreeMiB)<<20
	if err == nil && !kept {
		err = os.RemoveAll(dir + damagedView)
	}
	if err != nil {
		return fmt.Errorf("set a damaged view aside: %w", err)
	}
	n.log.Error("the view was damaged and is out of the way; it is made anew from the journal, or another node's", "kept", kept, "at", dir+damagedView)
	return nil
}

// settleDamage sets aside a view that was condemned before this start.
func (n *node) settleDamage() error {
	mark := n.dir.View() + rottenMark
	if _, err := os.Lstat(mark); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := n.setAside(); err != nil {
		return err
	}
	if err := errors.Join(os.Remove(mark), datadir.Sync(filepath.Dir(mark))); err != nil {
		return fmt.Errorf("set a damaged view aside: %w", err)
	}
	return nil
}
