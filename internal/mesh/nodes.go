// SPDX-License-Identifier: Apache-2.0

package mesh

import (
	"cmp"
	"slices"
)

// Node is another node of the cell, as the mesh knows it.
type Node struct {
	Name string
	// Reached: it and this node hear each other; it takes people.
	Reached bool
	// Drained: it says that it takes nobody; Diverged: so it does, because most nodes have
	// another view than it; Version; Level, the highest feature level that it knows; Points of
	// its view, in order, at most PointsKept. Not known, and zero, while it is not heard.
	Drained, Diverged bool
	// Pace, likewise, is whether the others answer it in time, as it says.
	Pace    Pace
	Version string
	Level   uint32
	Points  []Point
}

// Pace is how fast a node is answered by the others.
type Pace uint32

// Paces; others than these are taken as PaceUnknown is.
const (
	PaceUnknown Pace = iota // it has not said it yet, or its version does not
	PaceInTime
	PaceSlow // or it sends its people elsewhere, because it was a moment ago
)

// Nodes gives the other nodes, by name.
func (m *Mesh) Nodes() []Node {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]Node, 0, len(m.peers))
	for _, p := range m.peers {
		n := Node{Name: p.name, Reached: p.out != nil && p.in != nil}
		if p.in != nil {
			n.Drained, n.Diverged, n.Pace, n.Version, n.Level = p.drained, p.diverged, p.pace, p.version, p.level
			n.Points = slices.Clone(p.points)
		}
		all = append(all, n)
	}
	slices.SortFunc(all, func(a, b Node) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// SetDrained has the other nodes know whether this one takes people, at once.
func (m *Mesh) SetDrained(drained bool) {
	m.drained.Store(drained)
	m.sayAtOnce()
}

// SetDiverged has the other nodes know whether most have another view than this one, at once.
func (m *Mesh) SetDiverged(diverged bool) {
	m.diverged.Store(diverged)
	m.sayAtOnce()
}

// SetPace has the other nodes know how fast this one is answered, at once if that is new.
func (m *Mesh) SetPace(p Pace) {
	if Pace(m.pace.Swap(uint32(p))) != p {
		m.sayAtOnce()
	}
}

func (m *Mesh) sayAtOnce() {
	beat := m.beat()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.peers {
		if p.out != nil {
			p.out.put(beat, frameCost) // full: the next one says it
		}
	}
}
