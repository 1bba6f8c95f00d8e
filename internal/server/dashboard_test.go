// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"bavard/drill/client"
	"bavard/internal/admin"
	"bavard/internal/config"
	"bavard/internal/dashboard"
)

// visitor is a browser at the admin page.
type visitor struct {
	t    *testing.T
	http *http.Client
	base string
	key  string
}

// visit opens a link of the server's admin.
func visit(t *testing.T, s *testServer) *visitor {
	t.Helper()
	l, err := s.running.Admin.PageLink(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, token, ok := strings.Cut(l.Link, "/#")
	if !ok || time.Until(l.Expires) > dashboard.LinkTime {
		t.Fatalf("the link is %+v", l)
	}
	scheme := "http://"
	if strings.HasPrefix(l.Link, "https:") {
		scheme = "https://"
	}
	v := &visitor{t: t, base: scheme + s.running.Addresses.Admin, http: &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // the authority is self-made: who it is, other tests look at
	}}}
	t.Cleanup(v.http.CloseIdleConnections)
	var got struct{ Key string }
	body, _ := json.Marshal(map[string]string{"token": token})
	status, text := v.do(http.MethodPost, "/v1/key", string(body), nil)
	if err := json.Unmarshal([]byte(text), &got); status != http.StatusOK || err != nil || got.Key == "" {
		t.Fatalf("a new link is answered %d %s", status, text)
	}
	v.key = got.Key
	return v
}

func (v *visitor) do(method, path, body string, header http.Header) (int, string) {
	v.t.Helper()
	req, err := http.NewRequestWithContext(v.t.Context(), method, v.base+path, bytes.NewReader([]byte(body)))
	if err != nil {
		v.t.Fatal(err)
	}
	for name, values := range header {
		req.Header[name] = values
	}
	if host := header.Get("Host"); host != "" {
		req.Host = host
	}
	resp, err := v.http.Do(req)
	if err != nil {
		v.t.Fatal(err)
	}
	defer resp.Body.Close()
	for name, want := range map[string]string{"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"} {
		if got := resp.Header.Get(name); got != want {
			v.t.Errorf("%s %s: %s is %q", method, path, name, got)
		}
	}
	if csp := resp.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || !strings.Contains(csp, "frame-ancestors 'none'") || strings.Contains(csp, "unsafe") {
		v.t.Errorf("%s %s: the policy is %q", method, path, csp)
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// sees gives what the page is told.
func (v *visitor) sees() dashboard.Seen {
	v.t.Helper()
	status, text := v.do(http.MethodGet, "/v1/cell", "", http.Header{"Authorization": {"Bearer " + v.key}})
	var seen dashboard.Seen
	if err := json.Unmarshal([]byte(text), &seen); status != http.StatusOK || err != nil {
		v.t.Fatalf("the page is answered %d %s", status, text)
	}
	return seen
}

// TestAdminPage: who has a link sees the figures of a server; nobody else gets a word.
func TestAdminPage(t *testing.T) {
	t.Parallel()
	for _, listen := range []string{"127.0.0.1:0", "0.0.0.0:0"} { // plain, and encrypted
		t.Run(listen, func(t *testing.T) {
			t.Parallel()
			cfg := config.Default()
			cfg.Data, cfg.Admin.Listen, cfg.InsecureLoopback = t.TempDir(), listen, true
			cfg.Listen = config.Listen{C2S: "127.0.0.1:0", HTTP: "127.0.0.1:0"}
			if err := cfg.Validate(); err != nil {
				t.Fatal(err)
			}
			s := &testServer{t: t, cfg: cfg, made: map[string]bool{}}
			s.start()
			t.Cleanup(s.stop)
			s.account("alice")
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			alice := enter(ctx, t, s, client.Config{JID: "alice@localhost", Resource: "phone"})
			v := visit(t, s)
			if encrypted := strings.HasPrefix(v.base, "https"); encrypted == config.Loopback(listen) {
				t.Errorf("at %s it is at %s", listen, v.base)
			}
			await(ctx, t, "the page shows what is stored", func() bool {
				if err := alice.Send(ctx, client.NewMessage("alice@localhost", "for the chart")); err != nil {
					t.Fatal(err)
				}
				seen := v.sees()
				if len(seen.Nodes) != 1 || seen.Domain != "localhost" {
					t.Fatalf("it sees %+v", seen)
				}
				n := seen.Nodes[0]
				stored, took, sessions := 0.0, 0.0, 0
				for _, is := range n.Samples {
					stored, took, sessions = stored+is.Stored, max(took, is.AppendP99), is.Sessions
				}
				return n.State == dashboard.Answers && n.About.Leader && len(n.About.Failing) == 0 && n.About.Applied > 0 && stored > 0 && took > 0 && sessions == 1
			})
			v.refusals(s)
		})
	}
	s := startServer(t)
	var why *admin.Error
	if _, err := s.running.Admin.PageLink(t.Context()); !errors.As(err, &why) || !strings.Contains(why.Hint, "[admin]") {
		t.Errorf("where the page is off one is told %v", err)
	}
}

// refusals tries to come in without a link.
func (v *visitor) refusals(s *testServer) {
	t := v.t
	for _, path := range []string{"/", "/page.js", "/chart.js", "/page.css", "/icon.svg"} {
		if status, text := v.do(http.MethodGet, path, "", nil); status != http.StatusOK || text == "" {
			t.Errorf("%s: %d", path, status)
		}
	}
	for name, tc := range map[string]struct {
		method, path, body string
		header             http.Header
		want               int
	}{
		"without a key":                {http.MethodGet, "/v1/cell", "", nil, http.StatusUnauthorized},
		"with another key":             {http.MethodGet, "/v1/cell", "", http.Header{"Authorization": {"Bearer " + strings.Repeat("A", 26)}}, http.StatusUnauthorized},
		"with the key as a password":   {http.MethodGet, "/v1/cell", "", http.Header{"Authorization": {"Basic " + v.key}}, http.StatusUnauthorized},
		"with a token that is none":    {http.MethodPost, "/v1/key", `{"token":"guess"}`, nil, http.StatusUnauthorized},
		"with nothing":                 {http.MethodPost, "/v1/key", `{`, nil, http.StatusBadRequest},
		"with too much":                {http.MethodPost, "/v1/key", `{"token":"` + strings.Repeat("x", 10<<10) + `"}`, nil, http.StatusBadRequest},
		"from another site":            {http.MethodPost, "/v1/key", `{"token":"guess"}`, http.Header{"Sec-Fetch-Site": {"cross-site"}}, http.StatusForbidden},
		"the metrics are not here":     {http.MethodGet, "/metrics", "", nil, http.StatusNotFound},
		"nor is what changes anything": {http.MethodPost, "/v1/users", "{}", nil, http.StatusNotFound},
	} {
		if status, text := v.do(tc.method, tc.path, tc.body, tc.header); status != tc.want {
			t.Errorf("%s: %d %s", name, status, text)
		}
	}
	if strings.HasPrefix(v.base, "http:") { // a name of somebody else's that leads to this machine
		if status, _ := v.do(http.MethodGet, "/v1/cell", "", http.Header{"Host": {"rebound.example:5281"}, "Authorization": {"Bearer " + v.key}}); status != http.StatusMisdirectedRequest {
			t.Errorf("by another name: %d", status)
		}
	}
	await(t.Context(), t, "many guesses are too many", func() bool {
		status, _ := v.do(http.MethodPost, "/v1/key", `{"token":"guess"}`, nil)
		return status == http.StatusTooManyRequests
	})
	v.sees() // and nobody is kept out by them
	visit(t, s)
}

// TestAdminPageOfACell: one node's page shows all three; of one that dies it tells since when,
// and keeps what it said before; and it comes back by itself.
func TestAdminPageOfACell(t *testing.T) {
	t.Parallel()
	nodes := nodesOf(t)
	nodes[0].cfg.Admin.Listen = "127.0.0.1:0"
	startAll(t, nodes...)
	stopAll(t, nodes...)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	v := visit(t, nodes[0])
	all := func(what string, test func(n dashboard.Shown) bool) {
		t.Helper()
		await(ctx, t, what, func() bool {
			seen := v.sees()
			for _, n := range seen.Nodes {
				if !test(n) {
					return false
				}
			}
			return len(seen.Nodes) == 3
		})
	}
	well := func(n dashboard.Shown) bool {
		return n.State == dashboard.Answers && n.Reached && n.About.Version == "test" && n.About.Applied > 0 && n.About.Leader && len(n.Samples) > 1 && n.Samples[0].DiskFree > 0
	}
	all("three nodes are well", well)
	await(ctx, t, "one leads", func() bool {
		leads := 0
		for _, n := range v.sees().Nodes {
			if n.Leads {
				leads++
			}
		}
		return leads == 1
	})
	nodes[2].stop()
	all("c is dead, and the others are well", func(n dashboard.Shown) bool {
		if n.Name != "c" {
			return well(n)
		}
		return n.State == dashboard.Silent && n.Heard > 0 && n.About != nil && len(n.Samples) > 1
	})
	startAll(t, nodes[2])
	all("c is back", well)
}
