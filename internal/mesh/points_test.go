// SPDX-License-Identifier: Apache-2.0

package mesh

import (
	"sync/atomic"
	"testing"
	"time"
)

// TestPointsOfViews: nodes know each other's points, as they come, and whether a node says that most
// have another view; of one that was started again, nothing of before. One that tells nothing is
// of an older version.
func TestPointsOfViews(t *testing.T) {
	var newest atomic.Uint64
	w := newWorld(t, func(o *Options) {
		patient(o)
		o.Beat = 10 * time.Millisecond
		if o.Node != "a" {
			return
		}
		o.Points = func() (all []Point) {
			for r := uint64(1); r <= newest.Load(); r++ {
				all = append(all, Point{At{2, r}, 100 * r})
			}
			return all
		}
	})
	w.start("a", "b")
	of := func(node, name string) (found Node) {
		for _, n := range w.meshes[node].Nodes() {
			if n.Name == name {
				found = n
			}
		}
		return found
	}
	for n := range uint64(PointsKept + 20) {
		newest.Store(n + 1)
		w.until("b knows the newest", func() bool {
			p := of("b", "a").Points
			return len(p) > 0 && p[len(p)-1] == Point{At{2, n + 1}, 100 * (n + 1)}
		})
	}
	known := of("b", "a").Points
	if len(known) != PointsKept || known[0] != (Point{At{2, 21}, 2100}) {
		t.Errorf("%d are kept, from %+v on", len(known), known[0])
	}
	w.until("they hear each other", func() bool { return of("a", "b").Reached })
	if p := of("a", "b").Points; p != nil {
		t.Errorf("a knows %v of b, which tells nothing", p)
	}
	w.meshes["a"].SetDiverged(true)
	w.until("b knows", func() bool { return of("b", "a").Diverged })
	w.meshes["a"].SetDiverged(false)
	w.until("b knows that it is over", func() bool { return !of("b", "a").Diverged })
	for _, pace := range []Pace{PaceInTime, PaceSlow, PaceInTime} {
		w.meshes["a"].SetPace(pace)
		w.until("b knows how fast it is", func() bool { return of("b", "a").Pace == pace })
	}
	w.stop("a")
	newest.Store(3)
	w.start("a")
	w.until("nothing is left of what it was before", func() bool { return len(of("b", "a").Points) == 3 && of("b", "a").Pace == PaceUnknown })
}
