// SPDX-License-Identifier: Apache-2.0

package listen

import (
	"crypto/tls"
	"encoding/json"
	"encoding/xml"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"testing"
)

func TestClientOf(t *testing.T) {
	s, err := New(Config{Handle: echo, Proxies: []netip.Prefix{
		netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32"),
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, peer       string
		tls              bool
		headers          map[string]string
		remote           string
		secure, loopback bool
	}{
		{"direct", "192.0.2.1:5", false, nil, "192.0.2.1:5", false, false},
		{"direct, TLS", "192.0.2.1:5", true, nil, "192.0.2.1:5", true, false},
		{"on this machine", "127.0.0.1:5", false, nil, "127.0.0.1:5", false, true},
		{"on this machine, IPv6", "[::1]:5", false, nil, "[::1]:5", false, true},
		{
			"through a proxy", "127.0.0.1:5", false,
			map[string]string{"X-Forwarded-For": "203.0.113.9, 192.0.2.7", "X-Forwarded-Proto": "https"},
			"192.0.2.7", true, false,
		},
		{
			"through two", "127.0.0.1:5", false,
			map[string]string{"X-Forwarded-For": "192.0.2.7, 2001:db8::1", "X-Forwarded-Proto": "https"},
			"192.0.2.7", true, false,
		},
		{
			"a proxy that says http", "127.0.0.1:5", false,
			map[string]string{"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "http"},
			"192.0.2.7", false, false,
		},
		{
			"junk", "127.0.0.1:5", false,
			map[string]string{"X-Forwarded-For": "192.0.2.7, unknown"},
			"127.0.0.1:5", false, false,
		},
		{
			"a liar", "192.0.2.1:5", false,
			map[string]string{"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "https"},
			"192.0.2.1:5", false, false,
		},
		{
			"a proxy that nobody configured", "[::1]:5", false,
			map[string]string{"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"},
			"[::1]:5", false, false,
		},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = c.peer
		if c.tls {
			r.TLS = new(tls.ConnectionState)
		}
		for k, v := range c.headers {
			r.Header.Set(k, v)
		}
		got := s.clientOf(r)
		if got.remote.String() != c.remote || got.secure != c.secure || got.loopback != c.loopback {
			t.Errorf("%s: %v, secure %v, loopback %v", c.name, got.remote, got.secure, got.loopback)
		}
	}
}

func TestHostMeta(t *testing.T) {
	h := HostMeta(func(*http.Request) []string {
		return []string{"wss://a.example/ws?x=1&y=<'\">", "wss://b.example/ws"}
	})
	get := func(method, path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
		if w.Header().Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%s %s: no CORS", method, path)
		}
		return w
	}
	want := []string{"wss://a.example/ws?x=1&y=<'\">", "wss://b.example/ws"}

	w := get(http.MethodGet, "/.well-known/host-meta")
	var xrd struct {
		XMLName xml.Name `xml:"http://docs.oasis-open.org/ns/xri/xrd-1.0 XRD"`
		Links   []struct {
			Rel  string `xml:"rel,attr"`
			Href string `xml:"href,attr"`
		} `xml:"Link"`
	}
	if err := xml.Unmarshal(w.Body.Bytes(), &xrd); err != nil {
		t.Fatal(err, w.Body)
	}
	if len(xrd.Links) != 2 || xrd.Links[0].Href != want[0] || xrd.Links[1].Href != want[1] || xrd.Links[0].Rel != relWebSocket {
		t.Error(w.Body)
	}

	w = get(http.MethodGet, "/.well-known/host-meta.json")
	var jrd struct{ Links []struct{ Rel, Href string } }
	if err := json.Unmarshal(w.Body.Bytes(), &jrd); err != nil {
		t.Fatal(err, w.Body)
	}
	if len(jrd.Links) != 2 || jrd.Links[0].Href != want[0] || jrd.Links[0].Rel != relWebSocket || w.Header().Get("Content-Type") != "application/json" {
		t.Error(w.Header(), w.Body)
	}
	if w := get(http.MethodOptions, "/.well-known/host-meta"); w.Code != http.StatusNoContent {
		t.Error(w.Code)
	}
	if w := get(http.MethodPost, "/.well-known/host-meta"); w.Code != http.StatusMethodNotAllowed {
		t.Error(w.Code)
	}
}

func TestWebSocketURLs(t *testing.T) {
	for _, c := range []struct {
		peer, host string
		tls        bool
		want       string
	}{
		{"127.0.0.1:5", "localhost:5280", false, "ws://localhost:5280/ws"},
		{"[::1]:5", "[::1]:5280", false, "ws://[::1]:5280/ws"},
		{"127.0.0.1:5", "127.0.0.1", true, "wss://127.0.0.1/ws"},
		{"192.0.2.1:5", "localhost:5280", false, ""},
		{"127.0.0.1:5", "evil.example/x", false, ""},
		{"127.0.0.1:5", "a@b", false, ""},
		{"127.0.0.1:5", "", false, ""},
		{"127.0.0.1:5", "localhost:0", false, ""},
		{"127.0.0.1:5", "localhost:x", false, ""},
		{"127.0.0.1:5", "[::1", false, ""},
		{"127.0.0.1:5", "local host", false, ""},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr, r.Host = c.peer, c.host
		if c.tls {
			r.TLS = new(tls.ConnectionState)
		}
		var want []string
		if c.want != "" {
			want = []string{c.want}
		}
		if got := WebSocketURLs(nil, "/ws")(r); !slices.Equal(got, want) {
			t.Errorf("%s %q: %q, want %q", c.peer, c.host, got, want)
		}
		if got := WebSocketURLs([]string{"wss://x/ws"}, "/ws")(r); len(got) != 1 || got[0] != "wss://x/ws" {
			t.Errorf("configured: %q", got)
		}
	}
}
