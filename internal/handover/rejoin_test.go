// SPDX-License-Identifier: Apache-2.0

package handover

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"bavard/internal/charter"
)

// identities of a cell of a, b and c.
func identities(t *testing.T) map[string]*charter.Identity {
	t.Helper()
	common := map[string][]byte{}
	for _, path := range charter.Common() {
		common[path] = []byte("x")
	}
	bundles, err := charter.Found("localhost", []string{"a", "b", "c"}, common, time.Now(), time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]*charter.Identity{}
	for _, b := range bundles {
		data := filepath.Join(t.TempDir(), b.Node)
		if err := charter.Join(data, b, time.Now()); err != nil {
			t.Fatal(err)
		}
		m, err := charter.Read(data)
		if err != nil {
			t.Fatal(err)
		}
		if all[b.Node], err = m.Identity(); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// asked notes who asks to be let in, and refuses as often as it is told to.
type asked struct {
	mu     sync.Mutex
	nodes  []string
	refuse int
}

func (a *asked) Readmit(_ context.Context, node, owner, address string) (map[string]string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.nodes = append(a.nodes, node+" "+owner+" "+address)
	if a.refuse > 0 {
		a.refuse--
		return nil, errors.New("no majority")
	}
	return map[string]string{"a": "a.example:1", "b": "b.example:1", node: address}, nil
}

func (a *asked) all() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return strings.Join(a.nodes, ", ")
}

// linkOf is the link of a node, as others know it.
func linkOf(ids map[string]*charter.Identity, node string, peers map[string]string) *Link {
	id := ids[node]
	return New(Options{Node: node, Peers: peers, Serving: id.Serving(), Calling: id.Calling, Log: slog.New(slog.DiscardHandler)})
}

func serve(t *testing.T, ids map[string]*charter.Identity, a *asked) string {
	t.Helper()
	s, err := linkOf(ids, "a", map[string]string{"b": "", "c": ""}).Serve(t.Context(), "127.0.0.1:0", filepath.Join(t.TempDir(), "out"), nil, nil, a)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s.Address()
}

// TestRejoinIsForOneself: a node can be let in in the place of the one that its certificate
// names alone, and nobody else can ask.
func TestRejoinIsForOneself(t *testing.T) {
	t.Parallel()
	ids, a := identities(t), &asked{}
	address := serve(t, ids, a)
	// What it asks for has no say in who it is.
	if status := post(t, ids["b"].Calling("a"), address, `{"owner":"owner","address":"c.example:1","node":"c"}`); status != http.StatusOK {
		t.Errorf("b is answered %d", status)
	}
	if got := a.all(); got != "b owner c.example:1" {
		t.Errorf("the others are asked for %q", got)
	}
	for what, id := range map[string]*charter.Identity{"no certificate": nil, "of another cell": identities(t)["b"]} {
		cfg := ids["b"].Calling("a")
		cfg.Certificates = nil
		if id != nil {
			cfg.Certificates = id.Calling("a").Certificates
		}
		if status := post(t, cfg, address, `{"owner":"x","address":"b.example:1"}`); status != 0 {
			t.Errorf("%s: it is answered %d", what, status)
		}
	}
	for _, body := range []string{"", "{", "[]", `{"owner":1}`, strings.Repeat(" ", rejoinMost+1) + "{}"} {
		if status := post(t, ids["b"].Calling("a"), address, body); status != http.StatusBadRequest {
			t.Errorf("%.20q is answered %d", body, status)
		}
	}
	if got := a.all(); got != "b owner c.example:1" {
		t.Errorf("the others are asked for %q", got)
	}
}

// TestRemoved: a node that was taken out of the cell may ask to be let in, and nothing else; and is asked for nothing.
func TestRemoved(t *testing.T) {
	t.Parallel()
	ids, a := identities(t), &asked{}
	l := linkOf(ids, "a", map[string]string{"b": "", "c": ""})
	l.o.Member = func(node string) bool { return node != "c" }
	s, err := l.Serve(t.Context(), "127.0.0.1:0", filepath.Join(t.TempDir(), "out"), nil, nil, a)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	address, file := s.Address(), filesPath+strings.Repeat("0", 32)
	for _, c := range []struct{ method, path string }{
		{http.MethodGet, viewPath + "?after=1"}, {http.MethodGet, figuresPath}, {http.MethodGet, file}, {http.MethodPut, file},
	} {
		if status := request(t, ids["c"].Calling("a"), c.method, "https://"+address+c.path, ""); status != http.StatusForbidden {
			t.Errorf("%s %s of c is answered %d", c.method, c.path, status)
		}
	}
	if status := request(t, ids["b"].Calling("a"), http.MethodGet, "https://"+address+figuresPath, ""); status != http.StatusServiceUnavailable {
		t.Errorf("b is answered %d", status)
	}
	if status := post(t, ids["c"].Calling("a"), address, `{"owner":"owner","address":"c.example:1"}`); status != http.StatusOK || a.all() != "c owner c.example:1" {
		t.Errorf("c is answered %d, and %q was asked for", status, a.all())
	}
	b := linkOf(ids, "b", map[string]string{"a": address})
	var looked int
	ctx, cancel := context.WithCancel(t.Context())
	b.o.Member = func(string) bool {
		if looked++; looked == 2 {
			cancel()
		}
		return false
	}
	b.o.Room = func(int64) error {
		t.Error("a node that is not in the cell is asked for its view")
		return nil
	}
	if _, err := b.Fetch(ctx, filepath.Join(t.TempDir(), "view"), 1, ""); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// post gives the status of the answer, 0 when there is none.
func post(t *testing.T, cfg *tls.Config, address, body string) int {
	t.Helper()
	return request(t, cfg, http.MethodPost, "https://"+address+rejoinPath, body)
}

func request(t *testing.T, cfg *tls.Config, method, url, body string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Client{Transport: &http.Transport{TLSClientConfig: cfg, DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

// TestRejoinIsRepeated: a node asks until it is let in, or until its time is over, and says
// why it was not.
func TestRejoinIsRepeated(t *testing.T) {
	t.Parallel()
	ids, a := identities(t), &asked{refuse: 2}
	peers := map[string]string{"a": serve(t, ids, a), "b": "127.0.0.1:1"}
	members, err := linkOf(ids, "c", peers).Rejoin(t.Context(), "owner", "c.example:1")
	if err != nil || members["c"] != "c.example:1" || len(members) != 3 {
		t.Errorf("%v, %v", members, err)
	}
	a.mu.Lock()
	a.refuse = 1 << 30
	a.mu.Unlock()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := linkOf(ids, "c", peers).Rejoin(ctx, "owner", "c.example:1"); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no majority") {
		t.Errorf("without an answer: %v", err)
	}
}
