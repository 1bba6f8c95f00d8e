// SPDX-License-Identifier: Apache-2.0

package web

import (
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
)

func testApp() fstest.MapFS {
	return fstest.MapFS{
		"index.html":            {Data: []byte("<!doctype html>app")},
		"sw.js":                 {Data: []byte("sw")},
		"sw.js.gz":              {Data: []byte("packed")},
		".gitkeep":              {Data: []byte("")},
		"icon.svg":              {Data: []byte("<svg/>")},
		"manifest.webmanifest":  {Data: []byte("{}")},
		"assets/app-a1b2.js":    {Data: []byte("code")},
		"assets/app-a1b2.js.gz": {Data: []byte("zipped code")},
		"assets/type-c3.woff2":  {Data: []byte("font")},
	}
}

func get(t *testing.T, h http.Handler, method, target string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func TestHandlerPaths(t *testing.T) {
	h := HandlerFor(testApp(), Beside{})
	for _, c := range []struct {
		path        string
		status      int
		contentType string
		cache       string
	}{
		{"/", 200, "text/html; charset=utf-8", cacheRevalidate},
		{"/index.html", 200, "text/html; charset=utf-8", cacheRevalidate},
		{"/i/0123456789abcdef", 200, "text/html; charset=utf-8", cacheRevalidate},
		{"/c/alice@localhost", 200, "text/html; charset=utf-8", cacheRevalidate},
		{"/c/alice%40localhost", 200, "text/html; charset=utf-8", cacheRevalidate},
		{"/chat/alice@localhost", 200, "text/html; charset=utf-8", cacheRevalidate},
		{"/sw.js", 200, "text/javascript; charset=utf-8", cacheRevalidate},
		{"/icon.svg", 200, "image/svg+xml", cacheRevalidate},
		{"/manifest.webmanifest", 200, "application/manifest+json", cacheRevalidate},
		{"/assets/app-a1b2.js", 200, "text/javascript; charset=utf-8", cacheForever},
		{"/assets/type-c3.woff2", 200, "font/woff2", cacheForever},
		{"/i/", 404, "", ""},
		{"/i", 404, "", ""},
		{"/chat/a/b", 404, "", ""},
		{"/assets/", 404, "", ""},
		{"/assets/gone.js", 404, "", ""},
		{"/assets/app-a1b2.js.gz", 404, "", ""},
		{"/.gitkeep", 404, "", ""},
		{"/../handler.go", 404, "", ""},
		{"/elsewhere", 404, "", ""},
	} {
		res := get(t, h, "GET", c.path)
		if res.StatusCode != c.status {
			t.Errorf("GET %s: %d, want %d", c.path, res.StatusCode, c.status)
			continue
		}
		if c.status != 200 {
			continue
		}
		if got := res.Header.Get("Content-Type"); got != c.contentType {
			t.Errorf("GET %s: Content-Type %q, want %q", c.path, got, c.contentType)
		}
		if got := res.Header.Get("Cache-Control"); got != c.cache {
			t.Errorf("GET %s: Cache-Control %q, want %q", c.path, got, c.cache)
		}
	}
}

func TestHandlerMethods(t *testing.T) {
	h := HandlerFor(testApp(), Beside{})
	if res := get(t, h, "POST", "/"); res.StatusCode != http.StatusMethodNotAllowed || res.Header.Get("Allow") == "" {
		t.Errorf("POST: %d, Allow %q", res.StatusCode, res.Header.Get("Allow"))
	}
	res := get(t, h, "HEAD", "/assets/app-a1b2.js", "Accept-Encoding", "gzip")
	if res.StatusCode != 200 || res.ContentLength != int64(len("zipped code")) {
		t.Errorf("HEAD: %d, length %d", res.StatusCode, res.ContentLength)
	}
}

func TestHandlerCompression(t *testing.T) {
	h := HandlerFor(testApp(), Beside{})
	for accept, want := range map[string]string{
		"":                  "",
		"br":                "",
		"gzip":              "gzip",
		"br, gzip;q=0.5":    "gzip",
		"gzip; q=0":         "",
		"deflate, GZIP":     "gzip",
		"gzip;q=nonsense":   "",
		"x-gzip, gzippy, *": "",
	} {
		res := get(t, h, "GET", "/assets/app-a1b2.js", "Accept-Encoding", accept)
		if got := res.Header.Get("Content-Encoding"); got != want {
			t.Errorf("Accept-Encoding %q: got %q, want %q", accept, got, want)
		}
		if res.Header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("Accept-Encoding %q: no Vary", accept)
		}
	}
}

func TestHandlerRevalidates(t *testing.T) {
	h := HandlerFor(testApp(), Beside{})
	for _, accept := range []string{"", "gzip"} {
		first := get(t, h, "GET", "/sw.js", "Accept-Encoding", accept)
		etag := first.Header.Get("ETag")
		again := get(t, h, "GET", "/sw.js", "Accept-Encoding", accept, "If-None-Match", etag)
		if etag == "" || again.StatusCode != http.StatusNotModified {
			t.Errorf("Accept-Encoding %q: etag %q gave %d, want 304", accept, etag, again.StatusCode)
		}
	}
}

func TestSecurityHeaders(t *testing.T) {
	h := HandlerFor(testApp(), Beside{
		Media:  []string{"https://files.example.org"},
		Nodes:  []string{"https://node1.example.org", "http://localhost:5281", "https://a b"},
		Status: []string{"https://status.example.net/chat.json?x=1", "https://status.example.net/other.json", "http://10.0.0.1:8080/s.json"},
	})
	for _, p := range []string{"/", "/assets/app-a1b2.js", "/nothing"} {
		header := get(t, h, "GET", p).Header
		csp := header.Get("Content-Security-Policy")
		for _, want := range []string{
			"default-src 'none'", "script-src 'self';", "style-src 'self';", "frame-ancestors 'none'",
			"connect-src 'self' ws://example.com wss://example.com wss://node1.example.org ws://localhost:5281 https://files.example.org https://status.example.net http://10.0.0.1:8080;",
			"img-src 'self' data: blob: https://files.example.org; media-src 'self' blob: https://files.example.org",
		} {
			if !strings.Contains(csp, want) {
				t.Errorf("GET %s: policy lacks %q: %s", p, want, csp)
			}
		}
		if strings.Contains(csp, "unsafe") {
			t.Errorf("GET %s: policy is unsafe: %s", p, csp)
		}
		if header.Get("X-Content-Type-Options") != "nosniff" || header.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("GET %s: headers missing: %v", p, header)
		}
	}
}

// Threat: a forged Host header must not widen the policy.
func TestForgedHostStaysOutOfPolicy(t *testing.T) {
	for _, host := range []string{"a; script-src *", "a b", "a,b", "'unsafe-inline'", "*", "*.example.org", strings.Repeat("a", 256), ""} {
		if got := connectSources(host, Beside{}); got != "'self'" {
			t.Errorf("host %q: %q", host, got)
		}
	}
	if got := connectSources("[::1]:5280", Beside{}); got != "'self' ws://[::1]:5280 wss://[::1]:5280" {
		t.Errorf("IPv6 host: %q", got)
	}
}

// Threat: an address in the configuration must not widen the policy beyond its
// origin.
func TestStatusAddressesStayOrigins(t *testing.T) {
	none := connectSources("", Beside{})
	for _, address := range []string{
		"https://a;script-src", "https://*", "https://*.example.org/", "https://a,b/", "data:text/html,x", "//a.example.org/", "https:///x", "https://user@*/", "nonsense", "",
	} {
		if got := connectSources("", Beside{Status: []string{address}}); got != none {
			t.Errorf("%q: %q, want %q", address, got, none)
		}
	}
	if got := connectSources("", Beside{Status: []string{"https://user:pass@a.example.org:8443/x;y?z#f"}}); got != none+" https://a.example.org:8443" {
		t.Errorf("with all parts: %q", got)
	}
}

func TestEmbeddedAppOrPlaceholder(t *testing.T) {
	files, built := FS()
	page, err := fs.ReadFile(files, indexPage)
	if err != nil {
		t.Fatalf("no index page: %v", err)
	}
	if isPlaceholder := strings.Contains(string(page), "bavard-placeholder"); isPlaceholder == built {
		t.Errorf("built is %v, placeholder is %v", built, isPlaceholder)
	}
	if res := get(t, Handler(Beside{}), "GET", "/"); res.StatusCode != 200 {
		t.Errorf("GET /: %d", res.StatusCode)
	}
}
