// SPDX-License-Identifier: Apache-2.0

package view

import (
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"bavard/internal/command"
)

// TestPoints: nodes have points at the same positions wherever they were started again, with the
// same hash while they apply the same, and with another one ever after they did not.
func TestPoints(t *testing.T) {
	open := func() *View { return memView(t, vfs.NewMem()) }
	one, again, other := open(), open(), open()
	defer func() { _, _, _ = one.Close(), again.Close(), other.Close() }()
	apply := func(v *View, revision uint64, ms int64, reqs ...*command.Command) {
		t.Helper()
		for _, c := range reqs {
			c.TimeMs = ms
		}
		if _, err := v.Apply(Batch{Revision: revision, Commands: encode(t, reqs...)}); err != nil {
			t.Fatal(err)
		}
	}
	noop := func() *command.Command {
		return &command.Command{Request: &command.Command_Noop{Noop: &command.Noop{}}}
	}
	const batches = 3000
	strayed := command.Position{}
	for n := uint64(1); n <= batches; n++ {
		if n == batches/2 { // its memory is gone, not what it has applied
			again.points.all = nil
		}
		req := noop()
		if n%7 == 0 {
			req = &command.Command{Request: &command.Command_CellInit{CellInit: &command.CellInit{ArchiveKey: make([]byte, 16), Domain: domain}}}
		}
		ms := int64(n) * 100
		apply(one, 3*n, ms, req)
		apply(again, 3*n, ms, req)
		if n == batches-400 {
			req, strayed = &command.Command{Request: &command.Command_LevelRaise{LevelRaise: &command.LevelRaise{Level: 2}}}, command.Position{Revision: 3 * n}
		}
		apply(other, 3*n, ms, req)
	}
	want, got, differs := one.Points(), again.Points(), other.Points()
	if len(want) != PointsKept || !slices.Equal(want, got) {
		t.Errorf("%d points, after a start %d: %v, %v", len(want), len(got), want, got)
	}
	for i, p := range differs {
		if p.At != want[i].At || (p.Hash == want[i].Hash) != p.At.Before(strayed) {
			t.Errorf("at %v %x, the other has at %v %x; they differ from %v on", p.At, p.Hash, want[i].At, want[i].Hash, strayed)
		}
	}
}
