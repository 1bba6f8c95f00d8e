// SPDX-License-Identifier: Apache-2.0

package server

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"bavard/internal/health"
	"bavard/internal/journal"
)

// TestScrub: bits that flip in files of a node that runs, and that nobody reads, are found by a
// scrub; the node ends, and has all again after its next start. A sound node is told to be so.
func TestScrub(t *testing.T) {
	t.Parallel()
	ctx, nodes, has := spoken(t)
	has(nodes[2])
	running := nodes[2].server
	if err := running.cell.View.Flush(); err != nil {
		t.Fatal(err)
	}
	running.cell.ScrubNow()
	await(ctx, t, "a scrub ends", func() bool { return running.cell.ScrubStats().Passes > 0 })
	if st := running.cell.ScrubStats(); st.Found != 0 || st.Bytes == 0 || st.Last.IsZero() {
		t.Fatalf("a sound node: %+v", st)
	}
	ends := func(what string, kind health.Kind) {
		t.Helper()
		select {
		case err := <-nodes[2].done:
			if !errors.Is(err, ErrStartAgain) {
				t.Errorf("%s: it ended with %v", what, err)
			}
		case <-ctx.Done():
			t.Fatalf("%s: it is not found", what)
		}
		nodes[2].done <- nil
		if !warned(nodes[2], kind) {
			t.Errorf("%s: %v is not raised", what, kind)
		}
		startAgain(t, nodes[2], what)
		has(nodes[2])
	}
	flipInUse(t, tables(t, filepath.Join(nodes[2].cfg.Data, "view", "db")))
	running.cell.ScrubNow()
	ends("tables", health.ViewDamaged)
	// What the journal finds in its own files its tests show: etcd reads them, too, and may end the process.
	nodes[2].server.journalDamaged(journal.ErrRotten)
	ends("journal", health.JournalDamaged)
}

// flipInUse changes a bit in the middle of each file, which is in use.
func flipInUse(t *testing.T, paths []string) {
	t.Helper()
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		middle := len(content) / 2
		_, err = f.WriteAt([]byte{content[middle] ^ 1}, int64(middle))
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
	}
}
