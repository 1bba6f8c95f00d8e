// SPDX-License-Identifier: Apache-2.0

package upload

import (
	"net/http"
	"strings"
)

// ServeHTTP answers everything under Path: files are put there once, and got by
// who knows their address. There is no list of them.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	// XMPP clients on the web come from other origins. What they need to know is
	// in the address, so that no page gets more than who was given it.
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Expose-Headers", "Content-Length, Content-Range, Content-Disposition, ETag, Retry-After")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	// What somebody uploads is shown by nobody's authority: no script, no frame, no
	// guessing (XEP-0363 §server @1.2.0).
	h.Set("Content-Security-Policy", "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Robots-Tag", "noindex")
	h.Set("Cache-Control", "no-store") // until it is a file
	first, name, ok := split(r.URL.Path)
	switch {
	case r.Method == http.MethodOptions: // XEP-0363 §impl @1.2.0
		h.Set("Allow", "OPTIONS, HEAD, GET, PUT")
		h.Set("Access-Control-Allow-Methods", "OPTIONS, HEAD, GET, PUT")
		h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Range, If-Range, If-None-Match")
		h.Set("Access-Control-Max-Age", "7200")
		w.WriteHeader(http.StatusNoContent)
	case !ok:
		http.Error(w, "there is no such file", http.StatusNotFound)
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		s.get(w, r, first, name)
	case r.Method == http.MethodPut:
		s.put(w, r, first, name)
	default:
		h.Set("Allow", "OPTIONS, HEAD, GET, PUT")
		http.Error(w, "files are put and got", http.StatusMethodNotAllowed)
	}
}

// split cuts a path into its two parts.
func split(path string) (first, name string, ok bool) {
	rest, ok := strings.CutPrefix(path, Path)
	if !ok {
		return "", "", false
	}
	first, name, ok = strings.Cut(rest, "/")
	return first, name, ok && first != "" && name != "" && cleanName(name) == name
}
