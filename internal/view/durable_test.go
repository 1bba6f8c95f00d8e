// SPDX-License-Identifier: Apache-2.0

package view

import (
	"os"
	"path/filepath"
	"testing"
)

// TestDurableIn: what is on the disk is told without opening the view, and only
// that.
func TestDurableIn(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "view")
	durable := func(want uint64) {
		t.Helper()
		if p, err := DurableIn(dir, Options{}); err != nil || p.Revision != want {
			t.Errorf("it says %v, %v; want revision %d", p, err, want)
		}
	}
	durable(0)
	v, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, revision := range []uint64{100, 200} {
		if _, err := v.Apply(Batch{Revision: revision}); err != nil {
			t.Fatal(err)
		}
		if revision == 100 {
			if err := v.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	durable(100)
	durable(100)
	if err := os.RemoveAll(filepath.Join(dir, databaseDir)); err != nil {
		t.Fatal(err)
	}
	if p, err := DurableIn(dir, Options{}); err == nil {
		t.Errorf("without its database: %v", p)
	}
}
