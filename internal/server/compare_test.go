// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bavard/drill/client"
	"bavard/internal/command"
	"bavard/internal/health"
	"bavard/internal/mesh"
	"bavard/internal/view"
)

// TestJudge: who differs from most takes nobody; who has most with them goes on; without a majority
// nobody knows.
func TestJudge(t *testing.T) {
	t.Parallel()
	// Hashes at revisions 1, 2, 3 and so on; 0: it has no point there.
	says := func(hashes ...uint64) (points []mesh.Point) {
		for i, h := range hashes {
			if h > 0 {
				points = append(points, mesh.Point{At: mesh.At{Revision: uint64(i + 1)}, Hash: h})
			}
		}
		return points
	}
	type points = []mesh.Point
	for _, c := range []struct {
		name   string
		own    points
		others []points
		left   string // of the others, who says that it is in the minority
		want   verdict
		at     uint64
		differ string
	}{
		{"nothing is known", says(1), []points{nil, nil}, "", unknown, 0, ""},
		{"no position in common", says(1, 0, 3), []points{says(0, 2), says(0, 2)}, "", unknown, 0, ""},
		{"all are equal", says(1, 2), []points{says(1, 2), says(1, 2)}, "", equal, 2, ""},
		{"one is behind", says(1, 2), []points{says(1, 2), says(1)}, "", equal, 2, ""},
		{"both are ahead", says(1), []points{says(1, 2), says(1, 2)}, "", equal, 1, ""},
		{"one is away", says(1, 2), []points{says(1, 2), nil}, "", equal, 2, ""},
		{"another differs", says(1, 2), []points{says(1, 9), says(1, 2)}, "", equal, 2, "b"},
		{"this one differs", says(1, 2), []points{says(1, 9), says(1, 9)}, "", minority, 2, "bc"},
		{"it did, and one is ahead now", says(1, 2, 3), []points{says(1, 9, 8), says(1, 9)}, "", minority, 2, "bc"},
		{"it did, and one is away now", says(1, 2, 3), []points{says(1, 9, 8), nil}, "", undecided, 3, "b"},
		{"what was equal before does not count", says(1, 2), []points{says(1, 9), says(1)}, "", undecided, 2, "b"},
		{"all differ", says(1, 2), []points{says(1, 9), says(1, 8)}, "", undecided, 2, "bc"},
		{"the one that differs has found that it is wrong", says(1, 2), []points{says(0, 9), nil}, "b", unknown, 0, ""},
		{"a wrong one is equal to this one", says(1, 2), []points{says(1, 2), says(1, 9)}, "b", equal, 2, "c"},
		{"two of five differ", says(1), []points{says(9), says(9), says(1), says(1)}, "", equal, 1, "bc"},
		{"three of five differ, alike", says(1), []points{says(9), says(9), says(9), says(1)}, "", minority, 1, "bcd"},
		{"three of five differ, each otherwise", says(1), []points{says(9), says(8), says(7), says(1)}, "", undecided, 1, "bcd"},
		{"of five two are there", says(1), []points{says(1), nil, nil, nil}, "", unknown, 0, ""},
	} {
		var others []mesh.Node
		for i, p := range c.others {
			name := string(rune('b' + i))
			others = append(others, mesh.Node{Name: name, Points: p, Diverged: strings.Contains(c.left, name)})
		}
		for range 2 { // whatever their order
			got := judge(c.own, others, (len(others)+1)/2+1)
			if got.verdict != c.want || got.at.Revision != c.at || strings.Join(got.differ, "") != c.differ {
				t.Errorf("%s: %+v", c.name, got)
			}
			slices.Reverse(others)
		}
	}
}

// differ makes the view of a node that does not run another one, with right checksums: what lets
// devices in without a password is gone from it.
func differ(t *testing.T, s *testServer) {
	t.Helper()
	if err := view.LogOut(filepath.Join(s.cfg.Data, "view"), view.Options{}); err != nil {
		t.Fatal(err)
	}
}

// login has a client of alice noted, as a login does: what is written then depends on what is
// known of it.
func login(ctx context.Context, t *testing.T, at *testServer) {
	t.Helper()
	alice, err := at.server.cell.Account("alice@localhost")
	if err != nil {
		t.Fatal(err)
	}
	out, err := at.server.cell.Do(ctx, &command.Command{Request: &command.Command_ClientLogin{ClientLogin: &command.ClientLogin{
		Account: "alice@localhost", Client: []byte("0123456789abcdef"), Keys: alice.Keys,
	}}})
	if err != nil || out.Verdict != command.Accepted {
		t.Fatalf("login: %+v, %v", out, err)
	}
}

// divergedCell is a cell with an account whose node c has another view; something has been written
// that shows it, and goes on being written.
func divergedCell(ctx context.Context, t *testing.T) []*testServer {
	t.Helper()
	nodes := nodesOf(t)
	for _, s := range nodes {
		s.meshed = func(o *mesh.Options) { o.Silence = 30 * time.Second } // a busy machine is no silent one
	}
	startAll(t, nodes...)
	stopAll(t, nodes...)
	nodes[0].account("alice")
	login(ctx, t, nodes[0])
	awaitWriting(ctx, t, nodes[0], "all compare and are equal", func() bool {
		for _, s := range nodes {
			if s.server.comparison.equal.Load() == nil {
				return false
			}
		}
		return true
	})
	nodes[2].stop()
	<-nodes[2].done
	differ(t, nodes[2])
	return nodes
}

// awaitWriting waits for a condition while something is written.
func awaitWriting(ctx context.Context, t *testing.T, at *testServer, what string, condition func() bool) {
	t.Helper()
	await(ctx, t, what, func() bool {
		if condition() {
			return true
		}
		_, err := at.server.cell.Do(ctx, &command.Command{Request: &command.Command_Noop{Noop: &command.Noop{}}})
		if err != nil {
			t.Fatal(err)
		}
		return false
	})
}

func warned(s *testServer, k health.Kind) bool {
	return slices.ContainsFunc(s.server.warnings.Active(), func(a health.Active) bool { return a.ID == k.String() })
}

// TestDivergedNode: a node whose view is not that of the two others takes nobody, also after a
// start, and hands its view to nobody; the others go on. Its files are sound, so nothing is
// removed; once its view is moved away it has another one's, and takes people.
func TestDivergedNode(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute) // on a busy machine
	defer cancel()
	nodes := divergedCell(ctx, t)
	startAll(t, nodes[2])
	phone := enter(ctx, t, nodes[2], client.Config{JID: "alice@localhost", Resource: "phone"})
	login(ctx, t, nodes[0])
	awaitWriting(ctx, t, nodes[0], "it is found", func() bool { return nodes[2].server.divergent.Load() })
	<-phone.Done()
	paused := func() {
		t.Helper()
		if code, text := readiness(t, nodes[2]); code != http.StatusServiceUnavailable || !strings.Contains(text, "its view is not what other nodes have") {
			t.Errorf("it is ready: %d %s", code, text)
		}
		if s, err := client.Dial(ctx, client.Config{JID: "alice@localhost", Resource: "phone", Password: password, Addr: nodes[2].running.Addresses.C2S}); err == nil {
			s.Cut()
			t.Error("it takes somebody")
		}
	}
	ready := func(s *testServer) {
		t.Helper()
		await(ctx, t, "node "+s.cfg.Cell.Node+" is ready", func() bool { code, _ := readiness(t, s); return code == http.StatusOK })
	}
	paused()
	st, err := nodes[2].running.Admin.Status(ctx)
	if err != nil || !strings.Contains(st.View.Diverged, "nodes a, b have another view") || !warned(nodes[2], health.ViewDiverged) {
		t.Errorf("its status: %+v, %v", st.View, err)
	}
	for _, s := range nodes[:2] {
		await(ctx, t, "the others know", func() bool {
			st, err := s.running.Admin.Status(ctx)
			return err == nil && len(st.Journal.Others) == 2 && st.Journal.Others[1].Diverged && warned(s, health.NodeDiverged)
		})
		ready(s)
	}
	if err := (source{nodes[2].server}).CheckpointAfter(ctx, filepath.Join(t.TempDir(), "view"), 0); !errors.Is(err, errDiverged) {
		t.Errorf("it hands its view over: %v", err)
	}

	nodes[2].restart()
	paused()
	nodes[2].stop()
	<-nodes[2].done
	dir := filepath.Join(nodes[2].cfg.Data, "view")
	if _, err := os.Stat(filepath.Join(dir, "db")); err != nil {
		t.Fatalf("it was removed: %v", err)
	}
	if err := os.Rename(dir, filepath.Join(t.TempDir(), "view")); err != nil {
		t.Fatal(err)
	}
	startAll(t, nodes[2])
	ready(nodes[2])
	login(ctx, t, nodes[0])
	awaitWriting(ctx, t, nodes[0], "all are equal", func() bool {
		return nodes[2].server.comparison.equal.Load() != nil && !warned(nodes[0], health.NodeDiverged) && !warned(nodes[1], health.NodeDiverged)
	})
	enter(ctx, t, nodes[2], client.Config{JID: "alice@localhost", Resource: "phone"}).Cut()
}

// TestNoMajority: while views differ and the third node is away, nobody is served from either;
// when it is back, most are right, and their nodes go on.
func TestNoMajority(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute) // on a busy machine
	defer cancel()
	nodes := divergedCell(ctx, t)
	nodes[1].stop()
	<-nodes[1].done
	startAll(t, nodes[2])
	login(ctx, t, nodes[0])
	paused := func(s *testServer) bool { return s.server.comparison.paused.Load() != nil }
	awaitWriting(ctx, t, nodes[0], "both take nobody", func() bool { return paused(nodes[0]) && paused(nodes[2]) })
	if nodes[0].server.divergent.Load() || nodes[2].server.divergent.Load() {
		t.Error("one of them thinks that most have another view")
	}
	startAll(t, nodes[1])
	// Nobody writes but the nodes themselves.
	await(ctx, t, "two go on, and one does not", func() bool {
		return !paused(nodes[0]) && !paused(nodes[1]) && nodes[2].server.divergent.Load() && paused(nodes[2])
	})
	if _, err := os.Stat(filepath.Join(nodes[0].cfg.Data, "view", divergedMark)); err == nil {
		t.Error("the mark is left")
	}
	enter(ctx, t, nodes[0], client.Config{JID: "alice@localhost", Resource: "phone"}).Cut()
}
