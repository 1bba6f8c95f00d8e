// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bavard/drill/client"
	"bavard/internal/health"
)

// TestScrub: bits that flip in files of a node that runs, and that nobody reads, are found by a
// scrub; the node ends, and has all again after its next start. A sound node is told to be so.
func TestScrub(t *testing.T) {
	t.Parallel()
	nodes := nodesOf(t)
	startAll(t, nodes...)
	stopAll(t, nodes...)
	nodes[0].account("alice")
	nodes[0].account("bob")
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute) // on a busy machine
	defer cancel()
	alice := enter(ctx, t, nodes[0], client.Config{JID: "alice@localhost", Resource: "phone"})
	defer alice.Cut()
	const sent = 20
	for range sent {
		if err := alice.Send(ctx, client.NewMessage("bob@localhost", strings.Repeat("nobody reads this", 50))); err != nil {
			t.Fatal(err)
		}
	}
	has := func(s *testServer) {
		t.Helper()
		await(ctx, t, "node "+s.cfg.Cell.Node+" has all messages, once", func() bool {
			bob := enter(ctx, t, s, client.Config{JID: "bob@localhost", Resource: "desk"})
			defer bob.Cut()
			page, err := bob.Archive(ctx, client.Query{Max: 50})
			return err == nil && len(page.Messages) == sent
		})
	}
	for _, c := range []struct {
		files string
		at    func(content []byte) []int
		kind  health.Kind
	}{
		{"view/db/*.sst", func(content []byte) []int { return []int{len(content) / 2} }, health.ViewDamaged},
	} {
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
		flipInUse(t, filepath.Join(nodes[2].cfg.Data, c.files), c.at)
		running.cell.ScrubNow()
		var err error
		select {
		case err = <-nodes[2].done:
		case <-ctx.Done():
			t.Fatalf("%s: it is not found", c.files)
		}
		if !errors.Is(err, ErrStartAgain) {
			t.Errorf("%s: it ended with %v", c.files, err)
		}
		nodes[2].done <- nil
		if !warned(nodes[2], c.kind) {
			t.Errorf("%s: %v is not raised", c.files, c.kind)
		}
		err = errors.New("not started") // what a supervisor does, or the process by itself
		for n := 0; err != nil && n < 3; n++ {
			err = nodes[2].tryStart()
		}
		if err != nil {
			t.Fatalf("%s: %v", c.files, err)
		}
		has(nodes[2])
	}
}

// flipInUse changes a bit at each place in files that are in use.
func flipInUse(t *testing.T, pattern string, at func(content []byte) []int) {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	flipped := 0
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range at(content) {
			// What is no longer in use may be written to meanwhile, and is something else then.
			now := make([]byte, min(64, len(content)-i))
			if _, err := f.ReadAt(now, int64(i)); err != nil || !bytes.Equal(now, content[i:i+len(now)]) {
				continue
			}
			if _, err := f.WriteAt([]byte{content[i] ^ 1}, int64(i)); err != nil {
				t.Error(err)
			}
			flipped++
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	if flipped == 0 {
		t.Fatalf("nothing was flipped in %s", pattern)
	}
}
