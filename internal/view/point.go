// SPDX-License-Identifier: Apache-2.0

package view

import (
	"slices"
	"sync"

	"bavard/internal/command"
)

// Point is the chain hash at a position.
type Point struct {
	At   command.Position
	Hash uint64
}

const (
	// PointsKept bounds the points that a view keeps in memory.
	PointsKept = 64
	// pointRevisions and pointMs are how far revision and time of the cell, in milliseconds, get
	// at most between two points, as long as something is applied.
	pointRevisions = 256
	pointMs        = 2000
)

// points are the newest ones, in order.
type points struct {
	mu  sync.Mutex
	all []Point
}

// note keeps a point when a batch has brought the view past a mark. What decides is in the
// journal alone, so that all nodes have points at the same positions.
func (p *points) note(before, after *meta) {
	if before.applied.Revision/pointRevisions == after.applied.Revision/pointRevisions && before.time/pointMs == after.time/pointMs {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.all) == PointsKept {
		p.all = slices.Delete(p.all, 0, 1)
	}
	p.all = append(p.all, Point{after.applied, after.chain})
}

// Points gives the newest positions, since Open, at which nodes compare themselves, and the chain
// hash there: in order, at most PointsKept. Nodes that applied the same batches alike have the
// same hash at the same position.
func (v *View) Points() []Point {
	v.points.mu.Lock()
	defer v.points.mu.Unlock()
	return slices.Clone(v.points.all)
}
