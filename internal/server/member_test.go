// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"bavard/drill/client"
	process "bavard/drill/node"
	"bavard/internal/charter"
	"bavard/internal/config"
	"bavard/internal/health"
)

// nodesOf makes the servers of a cell of three on this machine; none is started.
func nodesOf(t *testing.T) []*testServer {
	t.Helper()
	names := []string{"a", "b", "c"}
	common, err := Common("localhost", "")
	if err != nil {
		t.Fatal(err)
	}
	bundles, err := charter.Found("localhost", names, common, time.Now(), time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	var nodes []string
	addrs, err := process.FreePorts(len(names), rand.IntN)
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range names {
		nodes = append(nodes, name+"="+addrs[i])
	}
	var servers []*testServer
	for i, b := range bundles {
		cfg := config.Default()
		cfg.Data = filepath.Join(t.TempDir(), "data")
		cfg.InsecureLoopback = true
		cfg.Cell.Node, cfg.Cell.Nodes = names[i], nodes
		cfg.Cell.Addresses = []string{"https://node1.example.org", "https://node2.example.org"}
		cfg.Listen = config.Listen{C2S: "127.0.0.1:0", HTTP: "127.0.0.1:0"}
		if err := errors.Join(cfg.Validate(), os.Mkdir(cfg.Data, 0o700), charter.Join(cfg.Data, b, time.Now())); err != nil {
			t.Fatal(err)
		}
		servers = append(servers, &testServer{t: t, cfg: cfg, made: map[string]bool{}})
	}
	return servers
}

// startAll starts servers at the same time: one alone waits for the others.
func startAll(t *testing.T, servers ...*testServer) {
	t.Helper()
	errs := make([]error, len(servers))
	var wg sync.WaitGroup
	for i, s := range servers {
		wg.Go(func() { errs[i] = s.tryStart() })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// stopAll ends nodes at the end of a test, all at once: alone one of several waits for the others.
func stopAll(t *testing.T, nodes ...*testServer) {
	t.Helper()
	t.Cleanup(func() {
		var wg sync.WaitGroup
		for _, s := range nodes {
			wg.Go(s.stop)
		}
		wg.Wait()
	})
}

// TestNodes: what happens on one node reaches the devices on the others, whoever
// reads finds the same on each, and so it is after all were stopped.
func TestNodes(t *testing.T) {
	t.Parallel()
	nodes := nodesOf(t)
	startAll(t, nodes...)
	stopAll(t, nodes...)
	nodes[0].account("alice")
	nodes[1].account("bob")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()

	heard, carbons := make(chan *client.Inbound, 8), make(chan *client.Inbound, 8)
	pushed := make(chan client.RosterItem, 8)
	phone := enter(ctx, t, nodes[0], client.Config{JID: "alice@localhost", Resource: "phone"})
	tablet := enter(ctx, t, nodes[1], client.Config{JID: "alice@localhost", Resource: "tablet", Carbons: true, Handler: client.Handler{
		Message: func(in *client.Inbound) { carbons <- in }, RosterPush: func(i client.RosterItem) { pushed <- i },
	}})
	bob := enter(ctx, t, nodes[2], client.Config{JID: "bob@localhost", Resource: "desk", Handler: client.Handler{Message: func(in *client.Inbound) { heard <- in }}})
	if _, err := tablet.Roster(ctx); err != nil {
		t.Fatal(err)
	}
	if err := phone.SetContact(ctx, "bob@localhost", "Bob"); err != nil {
		t.Fatal(err)
	}
	if i := next(ctx, t, pushed); i.JID != "bob@localhost" || i.Name != "Bob" {
		t.Errorf("pushed: %+v", i)
	}
	if err := phone.Send(ctx, client.NewMessage("bob@localhost", "hello from a")); err != nil {
		t.Fatal(err)
	}
	got, copied := next(ctx, t, heard), next(ctx, t, carbons)
	if got.Body != "hello from a" || copied.Body != got.Body || got.ArchiveID == "" || copied.ArchiveID == "" {
		t.Errorf("bob has %+v, alice's tablet %+v", got, copied)
	}
	for _, s := range []*client.Session{bob, tablet, phone} {
		page, err := s.Archive(ctx, client.Query{Max: 10})
		if err != nil || len(page.Messages) != 1 || page.Messages[0].Body != got.Body {
			t.Errorf("%s reads %+v, %v", s.JID(), page, err)
		}
	}
	if urls := hostMeta(t, nodes[2]); !strings.Contains(urls, "wss://node1.example.org/xmpp-websocket") || !strings.Contains(urls, "wss://node2.example.org/xmpp-websocket") {
		t.Errorf("host-meta lists %s", urls)
	}

	// A stream that was cut off from its node: another tells what is known of it.
	phone.Cut()
	again := enter(ctx, t, nodes[1], client.Config{JID: "alice@localhost", Resource: "phone", Resume: phone.Resumption()})
	if again.Resumed() {
		t.Error("a stream of another node is resumed")
	}
	for _, s := range []*client.Session{bob, tablet, again} {
		s.Cut()
	}
	nodeIsMissed(ctx, t, nodes)
}

// nodeIsMissed stops a node: the others say so, until it is back.
func nodeIsMissed(ctx context.Context, t *testing.T, nodes []*testServer) {
	t.Helper()
	says := func(missed, warned bool) {
		t.Helper()
		await(ctx, t, fmt.Sprintf("node c is missed: %t", missed), func() bool {
			st, err := nodes[0].running.Admin.Status(ctx)
			if err != nil {
				t.Fatal(err)
			}
			reached := map[string]bool{}
			for _, o := range st.Journal.Others {
				reached[o.Node] = o.Reached
			}
			is := slices.ContainsFunc(st.Warnings, func(w health.Active) bool { return w.ID == "node-away" && strings.HasPrefix(w.Detail, "c at ") })
			return st.Journal.Node == "a" && len(reached) == 2 && reached["b"] && reached["c"] != missed && is == warned
		})
	}
	says(false, false)
	nodes[2].stop()
	<-nodes[2].done
	says(true, true)
	startAll(t, nodes[2])
	says(false, false)
}

func await(ctx context.Context, t *testing.T, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("in vain: %s", what)
		}
	}
}

// enter logs in, when the node takes people: on a busy machine one of several may be without a
// majority for a moment.
func enter(ctx context.Context, t *testing.T, at *testServer, cfg client.Config) (s *client.Session) {
	t.Helper()
	cfg.Password, cfg.Addr = password, at.running.Addresses.C2S
	var before string
	await(ctx, t, cfg.JID+" logs in", func() bool {
		var err error
		if s, err = client.Dial(ctx, cfg); err == nil {
			err = s.Available(ctx, 0)
		}
		if err != nil && err.Error() != before {
			before = err.Error()
			t.Logf("%s is not in yet: %v", cfg.JID, err)
		}
		return err == nil
	})
	return s
}

func next[T any](ctx context.Context, t *testing.T, from chan T) (v T) {
	t.Helper()
	select {
	case v = <-from:
	case <-ctx.Done():
		t.Fatal("nothing has come")
	}
	return v
}

func hostMeta(t *testing.T, s *testServer) string {
	t.Helper()
	resp, err := http.Get("http://" + s.running.Addresses.HTTP + "/.well-known/host-meta.json")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestNodeDoesNotStart: where data directory and configuration do not say the same,
// and where the node has forgotten.
func TestNodeDoesNotStart(t *testing.T) {
	t.Parallel()
	nodes := nodesOf(t)
	start := func(change func(*config.Config)) string {
		cfg := nodes[0].cfg
		change(&cfg)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		err := Run(ctx, Options{Config: cfg, Logger: slog.New(slog.DiscardHandler), Version: "test"})
		if err == nil {
			return "it starts"
		}
		return err.Error()
	}
	for what, tc := range map[string]struct {
		change func(*config.Config)
		want   string
	}{
		"alone":              {func(c *config.Config) { c.Cell = config.Cell{} }, "--node a"},
		"another node":       {func(c *config.Config) { c.Cell.Node = "b" }, `node "a", not of "b"`},
		"another domain":     {func(c *config.Config) { c.Domain = "example.org" }, `"localhost", not for "example.org"`},
		"other nodes":        {func(c *config.Config) { c.Cell.Nodes = []string{"a=x", "b=y", "d=z"} }, "a, b, c"},
		"nobody's directory": {func(c *config.Config) { c.Data = filepath.Join(t.TempDir(), "data") }, "bavard cell join"},
	} {
		if got := start(tc.change); !strings.Contains(got, tc.want) {
			t.Errorf("%s: %s", what, got)
		}
	}
	if err := os.Remove(filepath.Join(nodes[0].cfg.Data, "cell", "new")); err != nil {
		t.Fatal(err)
	}
	if got := start(func(*config.Config) {}); !strings.Contains(got, "was not let in") || !strings.Contains(got, "start them first") {
		t.Errorf("without its data: %s", got)
	}
	cfg := nodes[0].cfg
	if _, _, err := Offline(t.Context(), cfg, "test", slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "node a") {
		t.Errorf("accounts are managed without the others: %v", err)
	}
}

// TestTurnedAway: who logs in at a node that the others do not answer is sent to another one, instead of
// waiting for what this one does not have.
func TestTurnedAway(t *testing.T) {
	t.Parallel()
	nodes := nodesOf(t)
	startAll(t, nodes...)
	stopAll(t, nodes[0])
	nodes[0].account("alice")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	enter(ctx, t, nodes[0], client.Config{JID: "alice@localhost", Resource: "phone"}).Cut()
	var ended sync.WaitGroup
	for _, s := range nodes[1:] {
		ended.Go(s.stop)
	}
	ended.Wait()
	told := make(chan error, 1)
	go func() {
		s, err := client.Dial(ctx, client.Config{JID: "alice@localhost", Resource: "phone", Password: password, Addr: nodes[0].running.Addresses.C2S})
		if err == nil {
			s.Cut()
		}
		told <- err
	}()
	begun, again := time.Now(), time.NewTicker(20*time.Millisecond)
	defer again.Stop()
	for { // until it has got so far as to wait
		select {
		case err := <-told:
			if err == nil || !strings.Contains(err.Error(), "please try another") {
				t.Errorf("after %v it is told: %v", time.Since(begun).Round(time.Millisecond), err)
			}
			return
		case <-again.C:
			nodes[0].server.doors.turnAway(elsewhere())
		}
	}
}
