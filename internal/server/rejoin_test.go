// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bavard/drill/client"
)

// TestTwoWipedNodes: when two of three have lost their journals at once none of them is let
// in and no other cell begins; with their data back all is there. One at a time comes back
// by itself.
func TestTwoWipedNodes(t *testing.T) {
	t.Parallel()
	nodes := nodesOf(t)
	startAll(t, nodes...)
	stopAll(t, nodes...)
	nodes[0].account("alice")
	nodes[0].account("bob")
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute) // on a busy machine
	defer cancel()
	alice := enter(ctx, t, nodes[0], client.Config{JID: "alice@localhost", Resource: "phone"})
	if err := alice.Send(ctx, client.NewMessage("bob@localhost", "stored")); err != nil {
		t.Fatal(err)
	}
	await(ctx, t, "it is stored", func() bool {
		page, err := alice.Archive(ctx, client.Query{Max: 10})
		return err == nil && len(page.Messages) == 1
	})
	alice.Cut()

	journal := func(s *testServer) string { return filepath.Join(s.cfg.Data, "journal") }
	for _, s := range nodes[1:] {
		s.stop()
		if err := os.Rename(journal(s), journal(s)+".kept"); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range nodes[1:] {
		short, cancel := context.WithTimeout(ctx, 8*time.Second)
		err := Run(short, Options{Config: s.cfg, Logger: slog.New(slog.DiscardHandler), Version: "test"})
		cancel()
		if err == nil || !strings.Contains(err.Error(), "no majority") || !strings.Contains(err.Error(), "start them first") {
			t.Fatalf("with two of three gone node %s: %v", s.cfg.Cell.Node, err)
		}
		if err := errors.Join(os.RemoveAll(journal(s)), os.Rename(journal(s)+".kept", journal(s))); err != nil {
			t.Fatal(err)
		}
	}
	startAll(t, nodes[1:]...)

	nodes[2].stop()
	if err := os.RemoveAll(journal(nodes[2])); err != nil {
		t.Fatal(err)
	}
	startAll(t, nodes[2])
	bob := enter(ctx, t, nodes[2], client.Config{JID: "bob@localhost", Resource: "desk"})
	defer bob.Cut()
	page, err := bob.Archive(ctx, client.Query{Max: 10})
	if err != nil || len(page.Messages) != 1 || page.Messages[0].Body != "stored" {
		t.Errorf("bob reads %+v, %v", page, err)
	}
	st, err := nodes[0].running.Admin.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range st.Journal.Others {
		if o.Learner {
			t.Errorf("node %s serves and has no vote", o.Node)
		}
	}
}
