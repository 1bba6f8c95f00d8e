// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"path/filepath"
	"testing"
	"time"

	"bavard/internal/charter"
)

// TestCellByName: members whose certificates have a name of the cell's, and no
// address, replicate wherever they are.
func TestCellByName(t *testing.T) {
	t.Parallel()
	common := map[string][]byte{}
	for _, path := range charter.Common() {
		common[path] = []byte("x")
	}
	bundles, err := charter.Found("example.org", []string{"a", "b", "c"}, common, time.Now(), time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	c := newTestCell(t)
	c.named = map[string]*charter.Member{}
	for _, b := range bundles {
		dir := filepath.Join(t.TempDir(), b.Node)
		if err := charter.Join(dir, b, time.Now()); err != nil {
			t.Fatal(err)
		}
		if c.named[b.Node], err = charter.Read(dir); err != nil {
			t.Fatal(err)
		}
	}
	nodes := c.open(t, Options{UnsafeNoFsync: true}, "a", "b")
	commit(t, nodes["a"], "one")
	commit(t, nodes["b"], "two")
	if got := read(t, tail(t, nodes["a"], 0), 2); got[0].cmd != "one" || got[1].cmd != "two" {
		t.Errorf("a reads %+v", got)
	}
}
