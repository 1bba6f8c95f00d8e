// SPDX-License-Identifier: Apache-2.0

package mesh

const (
	// pointsTold is how many points a beat has at most: those of several beats, so that a node
	// that is behind, or misses one, has some that it has, too.
	pointsTold = 8
	// PointsKept bounds the points that are kept of one node.
	PointsKept = 64
)

// At is a position at which nodes compare their views.
type At struct {
	Epoch    uint16
	Revision uint64
}

// Point is the chain hash of a node's view at a position.
type Point struct {
	At
	Hash uint64
}

// said are the points that a beat has.
func (m *Mesh) said() []*ViewPoint {
	if m.o.Points == nil {
		return nil
	}
	all := m.o.Points()
	all = all[max(0, len(all)-pointsTold):]
	said := make([]*ViewPoint, 0, len(all))
	for _, p := range all {
		said = append(said, &ViewPoint{Epoch: uint32(p.Epoch), Revision: p.Revision, Hash: p.Hash})
	}
	return said
}

// note keeps the points that a node says and that are newer than those that are known;
// Mesh.mu is held.
func (p *peer) note(said []*ViewPoint) {
	for _, s := range said[max(0, len(said)-PointsKept):] {
		at := At{uint16(s.GetEpoch()), s.GetRevision()}
		if n := len(p.points); n > 0 && !p.points[n-1].before(at) {
			continue
		}
		p.points = append(p.points, Point{at, s.GetHash()})
	}
	p.points = p.points[max(0, len(p.points)-PointsKept):]
}

func (a At) before(b At) bool {
	return a.Epoch < b.Epoch || a.Epoch == b.Epoch && a.Revision < b.Revision
}
