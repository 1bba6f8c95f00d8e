// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bavard/drill/client"
)

// TestNodeFetchesAView: a node that was away for longer than the history reaches, and one
// whose view is gone, get another node's view and go on from there.
func TestNodeFetchesAView(t *testing.T) {
	t.Parallel()
	nodes := nodesOf(t)
	for _, s := range nodes {
		s.window = 6 << 20
		s.cfg.Limits.SessionKiB, s.cfg.Limits.AccountKiB = 1<<16, 1<<16
	}
	startAll(t, nodes...)
	stopAll(t, nodes...)
	nodes[0].account("alice")
	nodes[0].account("bob")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute) // on a busy machine with the race detector
	defer cancel()
	sender := enter(ctx, t, nodes[0], client.Config{JID: "alice@localhost", Resource: "phone"})
	sent := 0
	write := func(n int) {
		t.Helper()
		for range n {
			sent++
			if err := sender.Send(ctx, client.NewMessage("bob@localhost", strings.Repeat("x", 60<<10))); err != nil {
				t.Fatal(err)
			}
		}
	}
	count := func(s *testServer) int {
		t.Helper()
		bob := enter(ctx, t, s, client.Config{JID: "bob@localhost", Resource: "reader" + s.cfg.Cell.Node})
		defer bob.Cut()
		q, n := client.Query{Max: 50}, 0
		for {
			page, err := bob.Archive(ctx, q)
			if err != nil {
				t.Fatal(err)
			}
			n += len(page.Messages)
			if page.Complete || len(page.Messages) == 0 {
				break
			}
			q.After = page.Last
		}
		return n
	}
	has := func(s *testServer) {
		t.Helper()
		await(ctx, t, "node "+s.cfg.Cell.Node+" has all messages, once", func() bool { return count(s) == sent })
	}
	write(3)
	has(nodes[2])
	for _, lost := range []string{"", "view"} {
		nodes[2].stop()
		write(160)
		has(nodes[0])
		has(nodes[1])
		dir := filepath.Join(nodes[2].cfg.Data, "view")
		if lost != "" {
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		}
		startAll(t, nodes[2])
		write(1)
		has(nodes[2])
		for _, left := range []string{newView, oldView} {
			if _, err := os.Stat(dir + left); err == nil {
				t.Errorf("%s is left", dir+left)
			}
		}
	}
	if n := nodes[0].server.handover.Handed() + nodes[1].server.handover.Handed(); n < 2 {
		t.Errorf("%d views were handed over: it was not tried", n)
	}
	has(nodes[0])
}
