// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"os"
	"path/filepath"
	"testing"
)

// TestSole: by what is on the disk one can tell that there is no other copy.
func TestSole(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if sole, err := Sole(dir); sole || err != nil {
		t.Errorf("without a journal: %v, %v", sole, err)
	}
	j, err := OpenEtcd(t.Context(), Options{Name: "a", Dir: dir, SpoolDir: filepath.Join(dir, "spool")})
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if sole, err := Sole(dir); !sole || err != nil {
		t.Errorf("alone: %v, %v", sole, err)
	}
	db := filepath.Join(dir, "etcd", "member", "snap", "db")
	if err := os.Truncate(db, 100); err != nil {
		t.Fatal(err)
	}
	if sole, err := Sole(dir); sole || err != nil {
		t.Errorf("damaged: %v, %v", sole, err)
	}
}
