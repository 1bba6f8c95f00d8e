// SPDX-License-Identifier: Apache-2.0

package web

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// policy is the Content-Security-Policy (CSP Level 3) less where data, images and media come from: code,
// styles, fonts and images from this origin only, nothing inline, no eval, no
// frames either way, no base or form target that markup could set. Strings
// reach what would run them only by way of two policies (Trusted Types): that
// of Svelte's own templates, and that of the service worker's address.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; " +
	"manifest-src 'self'; worker-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; " +
	"require-trusted-types-for 'script'; trusted-types svelte-trusted-html bavard-worker"

func securityHeaders(header http.Header, host string, beside Beside) {
	media := ""
	for _, origin := range beside.Media {
		media += " " + origin
	}
	header.Set("Content-Security-Policy", policy+"; connect-src "+connectSources(host, beside)+
		"; img-src 'self' data: blob:"+media+"; media-src 'self' blob:"+media)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("X-Frame-Options", "DENY") // for browsers without frame-ancestors
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	header.Set("Permissions-Policy", "camera=(self), microphone=(self), geolocation=(), payment=(), usb=()")
}

// connectSources names the page's own origin for WebSockets too: 'self' does
// not cover ws: and wss: in every browser.
func connectSources(host string, beside Beside) string {
	sources := []string{"'self'"}
	if isHost(host) {
		sources = append(sources, "ws://"+host, "wss://"+host)
	}
	for _, address := range beside.Nodes {
		if origin := originOf(address); origin != "" {
			sources = append(sources, "ws"+strings.TrimPrefix(origin, "http"))
		}
	}
	sources = append(sources, beside.Media...)
	for _, address := range beside.Status {
		if origin := originOf(address); origin != "" && !slices.Contains(sources, origin) {
			sources = append(sources, origin)
		}
	}
	return strings.Join(sources, " ")
}

// originOf gives the origin of a web address as the policy has it;
// "" where there is none, or where it could be taken for more than an origin.
func originOf(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || !isHost(u.Host) {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// isHost reports whether a Host header (RFC 9110 §7.2) may be copied into the
// policy: nothing that could end a source or a directive.
func isHost(host string) bool {
	if host == "" || len(host) > 255 {
		return false
	}
	for _, c := range host {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.ContainsRune(".-:[]", c):
		default:
			return false
		}
	}
	return true
}
