// SPDX-License-Identifier: Apache-2.0

package server

import (
	"errors"
	"fmt"

	"bavard/internal/charter"
	"bavard/internal/config"
	"bavard/internal/journal"
	"bavard/internal/view"
)

// memberOf says which node of several the data directory is; nil when it is alone.
// It errs when data directory and configuration do not say the same.
func memberOf(cfg *config.Config, data string) (*charter.Member, error) {
	m, err := charter.Read(data)
	switch {
	case errors.Is(err, charter.ErrNoMember) && !cfg.Cell.Several():
		return nil, nil
	case errors.Is(err, charter.ErrNoMember):
		return nil, fmt.Errorf("%w: make bundles with `bavard cell init`, and this one node %s with `bavard cell join`", err, cfg.Cell.Node)
	case err != nil:
		return nil, err
	case !cfg.Cell.Several():
		return nil, fmt.Errorf("%s is that of node %s of a cell: start it with --node %s and --cell, or name the nodes in the configuration", data, m.Node, m.Node)
	}
	return m, m.Is(cfg.Domain, cfg.Cell.Node, cfg.Cell.Names())
}

// amongOthers completes the options of the journal of one node of several.
func (n *node) amongOthers(o *journal.Options) error {
	if n.member == nil {
		return nil
	}
	// Before its etcd runs: with a log that has forgotten what the view has it must not vote.
	durable, err := view.DurableIn(n.dir.View(), view.Options{Logger: n.log, Level: n.o.level})
	if view.Rotten(err) {
		n.log.Error("the view is damaged", "err", err)
		err = n.setAside()
	}
	if err != nil {
		return fmt.Errorf("how far the view is: %w", err)
	}
	if durable.Epoch == n.epoch {
		o.Durable = durable.Revision
	}
	if o.Remote != nil {
		o.Peers = &journal.Peers{Members: n.cfg.Cell.Members()}
		return nil
	}
	o.Peers = &journal.Peers{
		Members: n.cfg.Cell.Members(), Listen: n.cfg.Cell.Binds(), CA: n.member.CA(), Certificate: n.member.Certificate(), Key: n.member.Key(),
		ServerName: charter.ServerName, Begin: n.member.New(), Rejoin: n.rejoin,
	}
	return nil
}

// hint says what to do about a node of several that cannot start.
func (n *node) hint(err error) error {
	if n.member == nil {
		if errors.Is(err, journal.ErrRotten) {
			return fmt.Errorf("%w\nThis is the only copy, so the server does not start on it, and nothing has been removed. Look at the disk, "+
				"keep a copy of %s, and restore a backup into an empty directory: bavard restore", err, n.cfg.Data)
		}
		return err
	}
	var damage *journal.Damage
	switch {
	case errors.Is(err, journal.ErrRemoved) && !errors.Is(err, errRejoin):
		return fmt.Errorf("%w: by `bavard cell remove`, or another data directory has taken its place. Nothing in %s is used any more. To have the node take part again, "+
			"`bavard cell add %s` on another node, then move that directory away, and `bavard cell join --again` with the copy of its bundle", err, n.cfg.Data, n.member.Node)
	case errors.Is(err, errRejoin):
		return fmt.Errorf("%w\nThe others let it take part anew once they are a majority without it: start them first, with their data. Nothing is lost by waiting, "+
			"and no second cell begins. If the disks of most nodes are gone for good, restore a backup", err)
	case errors.Is(err, journal.ErrOwner), errors.As(err, &damage):
		return fmt.Errorf("%w\nIts data is damaged, or is not what the cell knows as this node's. If no other machine runs as node %s, delete %s and start again: "+
			"it takes part anew, as long as the others are a majority", err, n.member.Node, n.dir.Journal())
	}
	return err
}
