// SPDX-License-Identifier: Apache-2.0

package listen

import (
	"encoding/json"
	"net"
	"net/http"
	"strconv"
	"strings"

	"bavard/internal/xmlstream"
)

// relWebSocket is the link relation of XEP-0156 §httpformat @1.4.0.
const relWebSocket = "urn:xmpp:alt-connections:websocket"

// HostMeta serves /.well-known/host-meta (XRD) and /.well-known/host-meta.json
// (JRD), which tell web clients the addresses of the WebSocket (XEP-0156 §http
// @1.4.0). Pages of all sites may read them (§impl).
func HostMeta(urls func(*http.Request) []string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", "*")
		h.Set("Access-Control-Allow-Methods", "GET, HEAD, OPTIONS")
		h.Set("Access-Control-Allow-Headers", "*")
		switch r.Method {
		case http.MethodGet, http.MethodHead:
		case http.MethodOptions:
			w.WriteHeader(http.StatusNoContent)
			return
		default:
			h.Set("Allow", "GET, HEAD, OPTIONS")
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		h.Set("Cache-Control", "max-age=60")
		h.Set("X-Content-Type-Options", "nosniff")
		var body []byte
		if strings.HasSuffix(r.URL.Path, ".json") {
			h.Set("Content-Type", "application/json")
			body = jrd(urls(r))
		} else {
			h.Set("Content-Type", "application/xrd+xml; charset=utf-8")
			body = xrd(urls(r))
		}
		_, _ = w.Write(body) // a HEAD's body is dropped by net/http
	})
}

func xrd(urls []string) []byte {
	b := []byte("<?xml version='1.0' encoding='utf-8'?>\n<XRD xmlns='http://docs.oasis-open.org/ns/xri/xrd-1.0'>\n")
	for _, u := range urls {
		b = append(b, "  <Link"...)
		b = xmlstream.AppendAttr(b, "rel", relWebSocket)
		b = xmlstream.AppendAttr(b, "href", u)
		b = append(b, "/>\n"...)
	}
	return append(b, "</XRD>\n"...)
}

func jrd(urls []string) []byte {
	type link struct {
		Rel  string `json:"rel"`
		Href string `json:"href"`
	}
	doc := struct {
		Links []link `json:"links"`
	}{Links: []link{}}
	for _, u := range urls {
		doc.Links = append(doc.Links, link{relWebSocket, u})
	}
	b, err := json.Marshal(doc)
	if err != nil { // strings always marshal
		return []byte(`{"links":[]}`)
	}
	return append(b, '\n')
}

// WebSocketURLs gives the addresses for HostMeta: the configured ones, or, to
// a client on this machine when none is configured, the one that it came by.
// path begins with '/'.
func WebSocketURLs(configured []string, path string) func(*http.Request) []string {
	return func(r *http.Request) []string {
		if len(configured) > 0 {
			return configured
		}
		if !parseAddr(r.RemoteAddr).IsLoopback() || !validHost(r.Host) {
			return nil
		}
		scheme := "ws://"
		if r.TLS != nil {
			scheme = "wss://"
		}
		return []string{scheme + r.Host + path}
	}
}

// validHost reports whether a Host header is a host name or address, with or
// without a port, and nothing else.
func validHost(s string) bool {
	host := s
	if h, port, err := net.SplitHostPort(s); err == nil {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return false
		}
		host = h
	} else if h, ok := strings.CutPrefix(s, "["); ok {
		if host, ok = strings.CutSuffix(h, "]"); !ok {
			return false
		}
	}
	if host == "" || len(host) > 253 {
		return false
	}
	if parseAddr(host).IsValid() {
		return true
	}
	for i := range len(host) {
		c := host[i]
		if !(c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '.') {
			return false
		}
	}
	return true
}
