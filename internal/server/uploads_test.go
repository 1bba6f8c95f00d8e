// SPDX-License-Identifier: Apache-2.0

package server

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// Uploads that have an origin of their own are there and nowhere else, and nothing else
// is there.
func TestUploadsOfAnOriginOfTheirOwn(t *testing.T) {
	s := startServer(t)
	s.stop()
	s.cfg.Upload.URL = "https://media.example.org"
	s.start()
	s.account("alice")
	d := &device{t: t, user: "alice", resource: "phone", dial: s.dial(false)}
	d.login()
	d.bind()
	d.send("<iq type='get' id='1' to='upload.localhost'><request xmlns='urn:xmpp:http:upload:0' filename='a.txt' size='5'/></iq>")
	slot := d.must().First().Elements()
	path := func(i int) string {
		p, ok := strings.CutPrefix(slot[i].Get("url"), "https://media.example.org")
		if !ok {
			t.Fatalf("address %s", slot[i].Get("url"))
		}
		return p
	}
	do := func(method, host, path, body string, want int) *http.Response {
		t.Helper()
		req, err := http.NewRequest(method, "http://"+s.running.Addresses.HTTP+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s %s at %s: %s, want %d", method, path, host, resp.Status, want)
		}
		return resp
	}
	do(http.MethodPut, "localhost", path(0), "12345", http.StatusMethodNotAllowed) // the app's
	do(http.MethodPut, "media.example.org", path(0), "12345", http.StatusCreated)
	do(http.MethodGet, "MEDIA.example.org:443", path(1), "", http.StatusOK)
	do(http.MethodGet, "localhost", path(1), "", http.StatusNotFound)
	for _, other := range []string{"/", "/index.html", "/xmpp-websocket", "/.well-known/bavard.json"} {
		do(http.MethodGet, "media.example.org", other, "", http.StatusNotFound)
	}
	app := do(http.MethodGet, "localhost", "/", "", http.StatusOK)
	if policy := app.Header.Get("Content-Security-Policy"); strings.Count(policy, "https://media.example.org") != 3 {
		t.Errorf("the app may not use them: %s", policy)
	}
	var about struct{ Uploads string }
	resp, err := http.Get("http://" + s.running.Addresses.HTTP + "/.well-known/bavard.json")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&about); err != nil || about.Uploads != "https://media.example.org" {
		t.Errorf("the app is told %q, %v", about.Uploads, err)
	}
}
