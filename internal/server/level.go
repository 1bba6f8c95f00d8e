// SPDX-License-Identifier: Apache-2.0

package server

import (
	"cmp"
	"context"
	"time"

	"bavard/internal/command"
	"bavard/internal/view"
)

// raiseWithin bounds one attempt to raise the cell's feature level; the next second there
// is another one.
const raiseWithin = time.Second

// level is the highest feature level that this node claims to know.
func (n *node) level() uint32 { return cmp.Or(n.o.level, view.Level) }

// raiseLevel raises the cell's feature level when all its nodes are there and know a higher
// one. The first of them does it: twice would do no harm.
func (s *server) raiseLevel(ctx context.Context) {
	to := s.commonLevel()
	if to <= s.cell.CellLevel() || s.member != nil && s.name() != s.foremost() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, raiseWithin)
	defer cancel()
	cmd := &command.Command{Level: to, Request: &command.Command_LevelRaise{LevelRaise: &command.LevelRaise{Level: to}}}
	if _, err := s.cell.Do(ctx, cmd); err != nil { // a full disk, say, keeps nobody from going on
		s.log.Warn("the cell's feature level was not raised; it is tried again", "level", to, "err", err)
	}
}

// foremost is the node that does what one of them is to do.
func (s *server) foremost() string {
	first := s.name()
	for _, name := range s.cfg.Cell.Names() {
		if s.voter(name) {
			first = min(first, name)
		}
	}
	return first
}

// commonLevel is the highest feature level that all nodes know, 0 while one is not heard.
func (s *server) commonLevel() uint32 {
	level := s.level()
	if s.mesh == nil {
		return level
	}
	absent := map[string]bool{}
	for _, o := range s.cell.JournalStats().Others {
		absent[o.Name] = o.Absent
	}
	for _, n := range s.mesh.Nodes() {
		if absent[n.Name] {
			continue
		}
		if !n.Reached {
			return 0
		}
		level = min(level, n.Level)
	}
	return level
}
