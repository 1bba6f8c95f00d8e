// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"embed"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
)

//go:embed page
var page embed.FS

const (
	keyPath  = "/v1/key"
	cellPath = "/v1/cell"
	// askMost bounds what a page sends, in bytes.
	askMost = 4 << 10
)

// policy is the Content-Security-Policy of the page: its own files and its own server, and
// nobody frames it.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

type tokenAsk struct {
	Token string `json:"token"`
}

type keyAnswer struct {
	Key string `json:"key"`
}

// Handler serves the page, and what it asks for:
//
//	POST /v1/key   {"token": that of a link} → {"key": …}
//	GET  /v1/cell?run=&next=  with Authorization: Bearer KEY → Seen
//
// 401 to who has no right one, 429 when there were too many of those. Loopback: it is reached
// by a name of this machine alone; what a browser was told by a name of somebody else's is
// refused (DNS rebinding).
func Handler(c *Cell, a *Access, loopback bool, log *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	for _, f := range []struct{ path, file, is string }{
		{"/{$}", "index.html", "text/html; charset=utf-8"},
		{"/page.css", "page.css", "text/css; charset=utf-8"},
		{"/page.js", "page.js", "text/javascript; charset=utf-8"},
		{"/chart.js", "chart.js", "text/javascript; charset=utf-8"},
		{"/icon.svg", "icon.svg", "image/svg+xml"},
	} {
		mux.HandleFunc("GET "+f.path, func(w http.ResponseWriter, _ *http.Request) {
			text, err := page.ReadFile("page/" + f.file)
			if err != nil { // cannot be: it is embedded
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			w.Header().Set("Content-Type", f.is)
			_, _ = w.Write(text) // the browser may be gone
		})
	}
	mux.HandleFunc("POST "+keyPath, func(w http.ResponseWriter, r *http.Request) {
		var ask tokenAsk
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, askMost)).Decode(&ask); err != nil {
			http.Error(w, "this cannot be read", http.StatusBadRequest)
			return
		}
		key, err := a.Exchange(ask.Token)
		if err != nil {
			refused(w, err)
			return
		}
		log.Info("the admin page was opened", "from", r.RemoteAddr)
		answer(w, keyAnswer{key})
	})
	mux.HandleFunc("GET "+cellPath, func(w http.ResponseWriter, r *http.Request) {
		key, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if err := a.Admit(key); err != nil {
			refused(w, err)
			return
		}
		next, _ := strconv.ParseUint(r.URL.Query().Get("next"), 10, 64) // none: all there is
		answer(w, c.See(r.URL.Query().Get("run"), next))
	})
	same := http.NewCrossOriginProtection().Handler(mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		secure(w.Header())
		if loopback && !ofThisMachine(r.Host) {
			http.Error(w, "come by http://localhost, or an address of this machine", http.StatusMisdirectedRequest)
			return
		}
		same.ServeHTTP(w, r)
	})
}

func secure(h http.Header) {
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY") // for browsers without frame-ancestors
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=(), payment=(), usb=()")
}

// ofThisMachine reports whether a Host header (RFC 9110 §7.2) names this machine.
func ofThisMachine(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return strings.EqualFold(host, "localhost") || err == nil && ip.Unmap().IsLoopback()
}

func refused(w http.ResponseWriter, err error) {
	if errors.Is(err, ErrTooMany) {
		w.Header().Set("Retry-After", "60")
		http.Error(w, err.Error(), http.StatusTooManyRequests)
		return
	}
	w.Header().Set("WWW-Authenticate", "Bearer")
	http.Error(w, err.Error(), http.StatusUnauthorized)
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the browser may be gone
}
