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
	// Drained: it says that it takes nobody; Version; Level, the highest feature level that
	// it knows. Not known, and zero, while it is not heard.
	Drained bool
	Version string
	Level   uint32
}

// Nodes gives the other nodes, by name.
func (m *Mesh) Nodes() []Node {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]Node, 0, len(m.peers))
	for _, p := range m.peers {
		n := Node{Name: p.name, Reached: p.out != nil && p.in != nil}
		if p.in != nil {
			n.Drained, n.Version, n.Level = p.drained, p.version, p.level
		}
		all = append(all, n)
	}
	slices.SortFunc(all, func(a, b Node) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// SetDrained has the other nodes know whether this one takes people, at once.
func (m *Mesh) SetDrained(drained bool) {
	m.drained.Store(drained)
	beat := m.beat()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.peers {
		if p.out != nil {
			p.out.put(beat, frameCost) // full: the next one says it
		}
	}
}
