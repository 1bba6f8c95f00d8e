// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"bavard/drill/client"
	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
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

// TestNodesShareFiles: what is put to one node is got from any, part by part, too; who loses its
// files has them again; and what its owner removes is gone on all.
func TestNodesShareFiles(t *testing.T) {
	t.Parallel()
	nodes := nodesOf(t)
	startAll(t, nodes...)
	stopAll(t, nodes...)
	nodes[0].account("alice")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	alice := enter(ctx, t, nodes[1], client.Config{JID: "alice@localhost", Resource: "phone"})
	items, err := alice.IQ(ctx, xmlstream.New(stanza.NSClient, "iq", "type", "get", "to", "localhost").Add(xmlstream.New(stanza.NSDiscoItems, "query")))
	if err != nil || !slices.ContainsFunc(items.First().Elements(), func(e *xmlstream.Element) bool { return e.Get("jid") == "upload.localhost" }) {
		t.Fatalf("uploads are not advertised: %+v, %v", items, err)
	}
	content := make([]byte, 9<<20+1)
	for i := range content {
		content[i] = byte(i * i >> 8)
	}
	put, get := slotFor(ctx, t, alice, len(content))
	if code, text := ask(ctx, t, nodes[0], http.MethodPut, put, content, ""); code != http.StatusCreated {
		t.Fatalf("put: %d %s", code, text)
	}
	if code, text := ask(ctx, t, nodes[2], http.MethodPut, put, content, ""); code != http.StatusCreated {
		t.Errorf("put once more: %d %s", code, text)
	}
	got := func(s *testServer) {
		t.Helper()
		if code, part := ask(ctx, t, s, http.MethodGet, get, nil, "bytes=5000000-5000999"); code != http.StatusPartialContent || part != string(content[5000000:5001000]) {
			t.Errorf("node %s: a part is %d, %d bytes", s.cfg.Cell.Node, code, len(part))
		}
		if code, whole := ask(ctx, t, s, http.MethodGet, get, nil, ""); code != http.StatusOK || whole != string(content) {
			t.Errorf("node %s: %d, %d bytes", s.cfg.Cell.Node, code, len(whole))
		}
	}
	for _, s := range nodes {
		got(s)
	}
	files := func(s *testServer) (n int) {
		_ = filepath.WalkDir(filepath.Join(s.cfg.Data, "uploads"), func(_ string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				n++
			}
			return nil
		})
		return n
	}
	nodes[2].stop()
	<-nodes[2].done
	if err := os.RemoveAll(filepath.Join(nodes[2].cfg.Data, "uploads")); err != nil {
		t.Fatal(err)
	}
	startAll(t, nodes[2])
	got(nodes[2])

	nodes[2].stop()
	<-nodes[2].done
	id := strings.Split(get, "/")[2]
	if _, err := alice.IQ(ctx, xmlstream.New(stanza.NSClient, "iq", "type", "set", "to", "upload.localhost").Add(xmlstream.New(stanza.NSFiles, "remove", "id", id))); err != nil {
		t.Fatal(err)
	}
	startAll(t, nodes[2])
	for _, s := range nodes {
		if code, _ := ask(ctx, t, s, http.MethodGet, get, nil, ""); code != http.StatusNotFound {
			t.Errorf("node %s still has it: %d", s.cfg.Cell.Node, code)
		}
		await(ctx, t, "node "+s.cfg.Cell.Node+" has no file", func() bool { return files(s) == 0 })
	}
}

// slotFor asks for a slot and gives the paths to put the file to and to get it from.
func slotFor(ctx context.Context, t *testing.T, s *client.Session, size int) (put, get string) {
	t.Helper()
	answer, err := s.IQ(ctx, xmlstream.New(stanza.NSClient, "iq", "type", "get", "to", "upload.localhost").Add(
		xmlstream.New(stanza.NSUpload, "request", "filename", "a.jpg", "size", strconv.Itoa(size), "content-type", "image/jpeg")))
	if err != nil {
		t.Fatal(err)
	}
	slot := answer.Child(stanza.NSUpload, "slot")
	var paths [2]string
	for i, name := range []string{"put", "get"} {
		u, err := url.Parse(slot.Child(stanza.NSUpload, name).Get("url"))
		if err != nil {
			t.Fatal(err)
		}
		paths[i] = u.EscapedPath()
	}
	return paths[0], paths[1]
}

// ask asks a node over HTTP.
func ask(ctx context.Context, t *testing.T, s *testServer, method, path string, body []byte, part string) (code int, text string) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+s.running.Addresses.HTTP+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "image/jpeg")
	if part != "" {
		req.Header.Set("Range", part)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}
