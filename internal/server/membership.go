// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"fmt"

	"bavard/internal/admin"
	"bavard/internal/journal"
)

// voter reports whether another node is in the cell, with a vote.
func (n *node) voter(name string) bool {
	m := n.membership.Load()
	return m != nil && (*m).Voter(name)
}

// inCell reports whether another node is in the cell: what was taken out of it is told nothing, and nothing that it says
// counts. Until this node knows, all that have the cell's certificates are.
func (n *node) inCell(name string) bool {
	m := n.membership.Load()
	return m == nil || (*m).Member(name)
}

// removed is closed when this node was removed from the cell; nil while it is alone.
func (n *node) removed() <-chan struct{} {
	m := n.membership.Load()
	if m == nil {
		return nil
	}
	return (*m).Removed()
}

// removeNode is admin.Options.RemoveNode.
func (s *server) removeNode(ctx context.Context, name string) error {
	m := s.membership.Load()
	if m == nil {
		return noCell()
	}
	if err := patiently(ctx, func() error { return s.enoughWithout(name) }); err != nil {
		return err
	}
	return explained((*m).Remove(ctx, name))
}

// enoughWithout errs unless most of the nodes that are left without one are heard: the mesh notices one that
// is gone sooner than the journal.
func (s *server) enoughWithout(name string) error {
	nodes, left, heard := s.meshed(), 1, 1
	for _, o := range s.cell.JournalStats().Others {
		if o.Absent || o.Learner || o.Name == name {
			continue
		}
		left++
		if o.Reached && nodes[o.Name].Reached {
			heard++
		}
	}
	if heard > left/2 {
		return nil
	}
	err := fmt.Errorf("%w: %d of %d are reached, this one among them", journal.ErrNoMajority, heard, left)
	return unseen{advised(err)}
}

// addNode is admin.Options.AddNode.
func (n *node) addNode(ctx context.Context, name string) error {
	m := n.membership.Load()
	if m == nil {
		return noCell()
	}
	return explained((*m).Permit(ctx, name))
}

func noCell() error {
	return &admin.Error{Code: admin.CodeInvalid, Text: "this server is the only node", Hint: "one server becomes a cell by `bavard cell init --first`"}
}

// explained is an error of the journal's about its members, with what to do.
func explained(err error) error {
	if err == nil {
		return nil
	}
	return advised(err)
}

func advised(err error) *admin.Error {
	e := &admin.Error{Code: admin.CodeFailed, Text: err.Error(), Hint: "look at `bavard status`, and give the command again: it goes on where it was"}
	switch {
	case errors.Is(err, journal.ErrNoMajority):
		e.Hint = "nothing was changed: without that node the others would not be able to go on; bring those back first that are not reached"
	case errors.Is(err, journal.ErrBusy):
		e.Hint = "nothing was changed: wait until `bavard status` shows no learner any more"
	case errors.Is(err, journal.ErrNode):
		e.Code, e.Hint = admin.CodeInvalid, "name one of cell.nodes, at another node than that one"
	}
	return e
}
