// SPDX-License-Identifier: Apache-2.0

package server

import (
	"cmp"
	"context"
	"slices"
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
	if to <= s.cell.CellLevel() || s.member != nil && s.name() != slices.Min(s.cfg.Cell.Names()) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, raiseWithin)
	defer cancel()
	cmd := &command.Command{Level: to, Request: &command.Command_LevelRaise{LevelRaise: &command.LevelRaise{Level: to}}}
	if _, err := s.cell.Do(ctx, cmd); err != nil { // a full disk, say, keeps nobody from going on
		s.log.Warn("the cell's feature level was not raised; it is tried again", "level", to, "err", err)
	}
}

// commonLevel is the highest feature level that all nodes know, 0 while one is not heard.
func (s *server) commonLevel() uint32 {
	level := s.level()
	if s.mesh == nil {
		return level
	}
	for _, n := range s.mesh.Nodes() {
		if !n.Reached {
			return 0
		}
		level = min(level, n.Level)
	}
	return level
}
