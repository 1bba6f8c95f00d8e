// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bavard/drill/client"
	"bavard/internal/view"
)

// rot does something to a view that does not run.
type rot struct {
	name string
	do   func(t *testing.T, db string)
}

// spoken makes a cell of three in which alice has written to bob; has waits until a node has all messages,
// once, and no longer than ctx, which ends with the test.
func spoken(t *testing.T) (ctx context.Context, nodes []*testServer, has func(*testServer)) {
	t.Helper()
	nodes = nodesOf(t)
	startAll(t, nodes...)
	stopAll(t, nodes...)
	nodes[0].account("alice")
	nodes[0].account("bob")
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute) // on a busy machine
	t.Cleanup(cancel)
	alice := enter(ctx, t, nodes[0], client.Config{JID: "alice@localhost", Resource: "phone"})
	t.Cleanup(alice.Cut)
	const sent = 20
	for range sent {
		if err := alice.Send(ctx, client.NewMessage("bob@localhost", strings.Repeat("x", 1000))); err != nil {
			t.Fatal(err)
		}
	}
	return ctx, nodes, func(s *testServer) {
		t.Helper()
		await(ctx, t, "node "+s.cfg.Cell.Node+" has all messages, once", func() bool {
			bob := enter(ctx, t, s, client.Config{JID: "bob@localhost", Resource: "desk"})
			defer bob.Cut()
			page, err := bob.Archive(ctx, client.Query{Max: 50})
			return err == nil && len(page.Messages) == sent
		})
	}
}

// startAgain starts a node as a supervisor does, or the process by itself: again if it ends at once.
func startAgain(t *testing.T, s *testServer, what string) {
	t.Helper()
	err := errors.New("not started")
	for n := 0; err != nil && n < 3; n++ {
		err = s.tryStart()
	}
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// TestDamagedView: a node of several whose view has rotted sets it aside, keeps it, and has all
// again.
func TestDamagedView(t *testing.T) {
	t.Parallel()
	_, nodes, has := spoken(t)
	has(nodes[2])
	kept := filepath.Join(nodes[2].cfg.Data, "view") + damagedView
	rebuilt := func(what string) {
		t.Helper()
		startAgain(t, nodes[2], what)
		has(nodes[2])
		if _, err := os.Stat(kept); err != nil {
			t.Errorf("%s: it is not kept: %v", what, err)
		}
		if err := os.RemoveAll(kept); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range []rot{
		{"tables flipped", func(t *testing.T, db string) {
			for _, path := range tables(t, db) {
				text, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				for at := 0; at < len(text); at += 64 { // each block
					text[at] ^= 1
				}
				if err := os.WriteFile(path, text, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}},
		{"a table deleted", func(t *testing.T, db string) {
			if err := os.Remove(tables(t, db)[0]); err != nil {
				t.Fatal(err)
			}
		}},
		{"the manifest deleted", func(t *testing.T, db string) { removeAll(t, db, "MANIFEST-*") }},
	} {
		nodes[2].stop()
		r.do(t, filepath.Join(nodes[2].cfg.Data, "view", "db"))
		rebuilt(r.name)
	}
	// While it runs: what the engine tells of a block that it reads.
	nodes[2].server.viewDamaged(fmt.Errorf("a block: %w", view.ErrLost))
	if err := <-nodes[2].done; !errors.Is(err, ErrStartAgain) {
		t.Fatalf("it ended with %v", err)
	}
	nodes[2].done <- nil
	rebuilt("while it runs")
}

func tables(t *testing.T, db string) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(db, "*.sst"))
	if err != nil || len(all) == 0 {
		t.Fatalf("no tables: %v", err)
	}
	return all
}

func removeAll(t *testing.T, db, pattern string) {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(db, pattern))
	if err != nil || len(all) == 0 {
		t.Fatalf("nothing to remove: %v", err)
	}
	for _, path := range all {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}
