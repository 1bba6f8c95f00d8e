// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"bavard/drill/client"
	"bavard/internal/admin"
	"bavard/internal/mesh"
	"bavard/internal/stanza"
)

// TestDrainAlone: one node cannot be drained.
func TestDrainAlone(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	err := s.running.Admin.Drain(t.Context(), admin.DrainOptions{}, func(admin.DrainProgress) {})
	if err == nil || !strings.Contains(err.Error(), "the only node") || !strings.Contains(err.Error(), "SIGTERM") {
		t.Errorf("drained: %v", err)
	}
	if err := s.running.Admin.Undrain(t.Context()); err == nil || !strings.Contains(err.Error(), "not drained") {
		t.Errorf("undone: %v", err)
	}
}

func readiness(t *testing.T, at *testServer) (int, string) {
	t.Helper()
	resp, err := http.Get("http://" + at.running.Addresses.HTTP + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// leaderOf is the node that leads, as another one sees it.
func leaderOf(ctx context.Context, t *testing.T, at *testServer) (name string) {
	t.Helper()
	await(ctx, t, "it is known who leads", func() bool {
		st, err := at.running.Admin.Status(ctx)
		if err != nil || !st.Journal.HasLeader || st.Journal.Others == nil {
			return false
		}
		name = st.Journal.Node
		for _, o := range st.Journal.Others {
			if o.Leads {
				name = o.Node
			}
		}
		return true
	})
	return name
}

// TestDrain: the node that leads is drained. It leads no more, sends its people away, whom
// others see all the time, and takes nobody; then it takes people again; at last it ends, although
// it was to stay when that drain began.
func TestDrain(t *testing.T) {
	t.Parallel()
	nodes := nodesOf(t)
	for _, s := range nodes {
		s.meshed = func(o *mesh.Options) { o.Silence = 30 * time.Second } // a busy machine is no silent one
	}
	startAll(t, nodes...)
	stopAll(t, nodes...)
	nodes[0].account("alice")
	nodes[1].account("bob")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	leader := int(leaderOf(ctx, t, nodes[0])[0] - 'a')
	from, to, third := nodes[leader], nodes[(leader+1)%3], nodes[(leader+2)%3]
	phone := appear(ctx, t, from, "alice@localhost", "phone")
	bob := appear(ctx, t, to, "bob@localhost", "desk")
	befriend(ctx, t, phone, bob)
	bob.sees(ctx, t, "alice@localhost/phone", "", "")

	var steps []admin.DrainProgress
	drain := func(at *testServer, stay bool) error {
		steps = nil
		return at.running.Admin.Drain(ctx, admin.DrainOptions{Within: 300 * time.Millisecond, Stay: stay}, func(p admin.DrainProgress) { steps = append(steps, p) })
	}
	await(ctx, t, "all reach each other", func() bool {
		err := drain(from, true)
		return err == nil || !strings.Contains(err.Error(), "not reached") && !strings.Contains(err.Error(), "takes nobody yet") && !strings.Contains(err.Error(), "not known yet")
	})
	last := steps[len(steps)-1]
	if last.Sessions != 1 || last.Left != 0 || last.Leader == "" || last.Leader == from.cfg.Cell.Node {
		t.Errorf("drained: %+v", steps)
	}
	var told *stanza.StreamError
	if <-phone.Done(); !errors.As(phone.Err(), &told) || told.Condition != stanza.StreamSystemShutdown {
		t.Errorf("the phone is told %v", phone.Err())
	}
	phone = appear(ctx, t, third, "alice@localhost", "phone")
	phone.sees(ctx, t, "bob@localhost/desk", "", "")
	isDrained(ctx, t, from, to, drain)

	if err := from.running.Admin.Undrain(ctx); err != nil {
		t.Fatal(err)
	}
	if code, text := readiness(t, from); code != http.StatusOK {
		t.Errorf("ready again: %d %s", code, text)
	}
	tablet := appear(ctx, t, from, "alice@localhost", "tablet")
	await(ctx, t, "all know", func() bool {
		st, err := to.running.Admin.Status(ctx)
		return err == nil && !st.Journal.Others[0].Drained && !st.Journal.Others[1].Drained
	})
	stays := make(chan error, 1)
	go func() {
		stays <- from.running.Admin.Drain(ctx, admin.DrainOptions{Stay: true}, func(admin.DrainProgress) {})
	}()
	await(ctx, t, "it is drained", func() bool {
		st, err := from.running.Admin.Status(ctx)
		return err == nil && st.Drain != nil
	})
	if err := drain(from, false); err != nil {
		t.Fatal(err)
	}
	if err := <-stays; err != nil {
		t.Error(err)
	}
	<-tablet.Done()
	if err := <-from.done; err != nil {
		t.Errorf("it ended: %v", err)
	}
	from.done <- nil
	if err := phone.Send(ctx, client.NewMessage("bob@localhost", "we go on")); err != nil {
		t.Fatal(err)
	}
	bob.hears(ctx, t, stanza.NSClient, "body")
	bob.mu.Lock()
	defer bob.mu.Unlock()
	if n := bob.gone["alice@localhost/phone"]; n != 0 {
		t.Errorf("the phone was shown as gone %d times", n)
	}
}

// isDrained looks at a node that is, and at another one.
func isDrained(ctx context.Context, t *testing.T, drained, other *testServer, drain func(*testServer, bool) error) {
	t.Helper()
	if code, text := readiness(t, drained); code != http.StatusServiceUnavailable || !strings.Contains(text, "draining") {
		t.Errorf("it is ready: %d %s", code, text)
	}
	if c, err := net.Dial("tcp", drained.running.Addresses.C2S); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("it lets somebody in: %v, %v", c, err)
	}
	resp, err := http.Get("http://" + drained.running.Addresses.HTTP + webSocketPath)
	if err != nil {
		t.Fatal(err)
	}
	if resp.Body.Close(); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("by WebSocket: %s", resp.Status)
	}
	if leaderOf(ctx, t, other) == drained.cfg.Cell.Node {
		t.Error("it leads")
	}
	if err := drain(other, true); err == nil || !strings.Contains(err.Error(), drained.cfg.Cell.Node+" is drained") {
		t.Errorf("another one is drained: %v", err)
	}
}
