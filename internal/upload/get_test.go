// SPDX-License-Identifier: Apache-2.0

package upload

import (
	"mime"
	"net/http"
	"strings"
	"testing"
)

const png = "\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR"

func TestRangesAndCaches(t *testing.T) {
	b := newBench(t)
	content := randomBytes(1000)
	get := b.upload("a.bin", "application/octet-stream", content, "<permanent xmlns='urn:xmpp:http:upload:purpose:0'/>")
	r := b.get(get)
	tag := r.Header.Get("ETag")
	if len(tag) != 66 || !strings.Contains(r.Header.Get("Cache-Control"), "immutable") || r.Header.Get("Accept-Ranges") != "bytes" {
		t.Errorf("%v", r.Header)
	}
	for _, c := range []struct {
		headers []string
		code    int
		body    string
	}{
		{[]string{"Range", "bytes=0-9"}, 206, content[:10]},
		{[]string{"Range", "bytes=990-"}, 206, content[990:]},
		{[]string{"Range", "bytes=-5"}, 206, content[995:]},
		{[]string{"Range", "bytes=1000-"}, 416, ""},
		{[]string{"Range", "bytes=0-9", "If-Range", tag}, 206, content[:10]},
		{[]string{"Range", "bytes=0-9", "If-Range", `"other"`}, 200, content},
		{[]string{"If-None-Match", tag}, 304, ""},
		{[]string{"If-Match", `"other"`}, 412, ""},
		{[]string{"Range", "lines=1"}, 416, ""},
	} {
		r := b.get(get, c.headers...)
		b.want(r, c.code)
		if c.code < 300 && r.body != c.body {
			t.Errorf("%v: %d bytes", c.headers, len(r.body))
		}
	}
	head := b.http(http.MethodHead, get, nil)
	b.want(head, http.StatusOK)
	if head.ContentLength != 1000 || head.body != "" || head.Header.Get("ETag") != tag {
		t.Errorf("HEAD: %d, %v", head.ContentLength, head.Header)
	}
}

// Nothing that somebody uploads acts in a browser, whatever it says it is.
func TestWhatIsServedIsInert(t *testing.T) {
	b := newBench(t)
	const script = "<script>alert(1)</script>"
	for _, c := range []struct{ name, typ, content, served, disposition string }{
		{"a.png", "image/png", png, "image/png", "inline"},
		{"a.jpg", "image/jpeg", "\xff\xd8\xff\xe0", "image/jpeg", "inline"},
		{"a.mp4", "video/mp4", "\x00\x00\x00\x18ftypmp42", "video/mp4", "inline"},
		{"a.opus", "audio/ogg", "OggS\x00", "audio/ogg", "inline"},
		{"a.png", "image/png", script, "image/png", "attachment"}, // it is none
		{"a.svg", "image/svg+xml", "<svg xmlns='http://www.w3.org/2000/svg'>" + script + "</svg>", "application/octet-stream", "attachment"},
		{"a.html", "text/html", script, "application/octet-stream", "attachment"},
		{"a.html", "Text/HTML; charset=utf-8", script, "application/octet-stream", "attachment"},
		{"a.xhtml", "application/xhtml+xml", script, "application/octet-stream", "attachment"},
		{"a.js", "text/javascript", "alert(1)", "application/octet-stream", "attachment"},
		{"a.js", "application/x-ecmascript", "alert(1)", "application/octet-stream", "attachment"},
		{"a.css", "text/css", "*{}", "application/octet-stream", "attachment"},
		{"a.xml", "application/xml", "<a/>", "application/octet-stream", "attachment"},
		{"a.pdf", "application/pdf", "%PDF-1.7", "application/pdf", "attachment"},
		{"a.txt", "text/plain", script, "text/plain", "attachment"},
		{"a.zip", "application/zip", "PK", "application/zip", "attachment"},
		{"a", "", png, "application/octet-stream", "attachment"},
	} {
		put, get := b.slot(c.name, len(c.content), c.typ, "")
		typ := c.typ
		b.want(b.put(put, typ, c.content), http.StatusCreated)
		r := b.get(get)
		if got := r.Header.Get("Content-Type"); got != c.served {
			t.Errorf("%s: served as %s", c.typ, got)
		}
		disposition, _, err := mime.ParseMediaType(r.Header.Get("Content-Disposition"))
		if err != nil || disposition != c.disposition {
			t.Errorf("%s: disposition %s, %v", c.typ, r.Header.Get("Content-Disposition"), err)
		}
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Access-Control-Allow-Origin": "*", "Cross-Origin-Resource-Policy": "cross-origin",
			"Referrer-Policy": "no-referrer",
		} {
			if got := r.Header.Get(name); got != want {
				t.Errorf("%s: %q", name, got)
			}
		}
		csp := r.Header.Get("Content-Security-Policy")
		if !strings.HasPrefix(csp, "default-src 'none';") || !strings.HasSuffix(csp, "; sandbox") || strings.Contains(csp, "script-src") {
			t.Errorf("policy %s", csp)
		}
		if r.Header.Get("Access-Control-Allow-Credentials") != "" {
			t.Error("credentials are allowed")
		}
	}
}

// A page of the same origin cannot load an upload as its own script or style.
func TestUploadsAreNoPartOfAPage(t *testing.T) {
	b := newBench(t)
	get := b.upload("a.txt", "text/plain", "alert(1)", "")
	for dest, code := range map[string]int{"script": 403, "style": 403, "serviceworker": 403, "iframe": 403, "object": 403, "image": 200, "video": 200, "document": 200, "empty": 200} {
		b.want(b.get(get, "Sec-Fetch-Dest", dest), code)
	}
	b.want(b.get(get, "Service-Worker", "script"), http.StatusForbidden)
}

func TestPreflight(t *testing.T) {
	b := newBench(t)
	put, _ := b.slot("a.txt", 5, "", "")
	r := b.http(http.MethodOptions, put, nil, "Origin", "https://elsewhere.example", "Access-Control-Request-Method", "PUT", "Access-Control-Request-Headers", "content-type")
	b.want(r, http.StatusNoContent)
	if !strings.Contains(r.Header.Get("Access-Control-Allow-Methods"), "PUT") || !strings.Contains(r.Header.Get("Access-Control-Allow-Headers"), "Content-Type") ||
		r.Header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("%v", r.Header)
	}
}

func TestNoListAndNoWayOut(t *testing.T) {
	b := newBench(t)
	get := b.upload("a.txt", "text/plain", "12345", "")
	id := strings.Split(get, "/")[2]
	for _, path := range []string{
		"/upload", "/upload/", "/upload/" + id, "/upload/" + id + "/", "/upload/" + id + "/b.txt", "/upload/" + id + "/a.txt/", "/upload/" + id + "//a.txt",
		"/upload/" + id + "%0a/a.txt", "/upload/" + id + "=/a.txt", "/upload/..%2f..%2fview/a.txt", "/upload/%2e%2e/a.txt", "/upload/" + id + "/..%2fa.txt",
		"/upload/" + id + "/%2e%2e", "/upload/" + id[:21] + "/a.txt", "/upload/" + id + "/a.txt%00",
	} {
		b.want(b.get(path), http.StatusNotFound)
	}
	b.want(b.get(get), http.StatusOK)
	b.want(b.get(get+"?x=1"), http.StatusOK)
}

func TestDownloadsAreBounded(t *testing.T) {
	b := newBench(t, func(o *Options) { o.Address = func(*http.Request) string { return "192.0.2.1" } })
	get := b.upload("a.txt", "text/plain", "12345", "")
	for range ofAddress {
		if !b.begin("192.0.2.1") {
			t.Fatal("too few")
		}
	}
	r := b.get(get)
	b.want(r, http.StatusServiceUnavailable)
	if r.Header.Get("Retry-After") == "" {
		t.Error("it does not say when")
	}
	b.end("192.0.2.1")
	b.want(b.get(get), http.StatusOK)
}
