// SPDX-License-Identifier: Apache-2.0

package listen

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// client is who stands behind an HTTP request.
type client struct {
	remote   net.Addr
	secure   bool
	loopback bool
	// proxied: the request came from a proxy that is trusted, with forwarding
	// headers or without. What others send in such headers is no reason to
	// offer them less: somebody in between could send it.
	proxied bool
}

// clientOf believes X-Forwarded-For and X-Forwarded-Proto from the configured
// proxies only. Whoever sends such headers from elsewhere is what it is, but
// not of this machine: it may be a proxy that nobody configured.
func (s *Server) clientOf(r *http.Request) client {
	peer := parseAddr(r.RemoteAddr)
	c := client{remote: stringAddr(r.RemoteAddr), secure: r.TLS != nil, loopback: peer.IsLoopback(), proxied: s.trusted(peer)}
	forwarded := false
	for _, h := range [...]string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Proto", "X-Real-Ip", "Via"} {
		forwarded = forwarded || len(r.Header.Values(h)) > 0
	}
	if !forwarded {
		return c
	}
	c.loopback = false
	if !c.proxied {
		return c
	}
	// The last entry that is not one of the proxies is the client.
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		a := parseAddr(strings.TrimSpace(hops[i]))
		if !a.IsValid() {
			break
		}
		c.remote = stringAddr(a.String())
		if !s.trusted(a) {
			break
		}
	}
	if strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https") {
		c.secure = true
	}
	return c
}

// Block is the block of addresses that a request comes from, as connections are
// counted; "" for this machine, and when it is not known.
func (s *Server) Block(r *http.Request) string {
	p := block(parseAddr(s.clientOf(r).remote.String()))
	if !p.IsValid() {
		return ""
	}
	return p.String()
}

func (s *Server) trusted(a netip.Addr) bool {
	for _, p := range s.cfg.Proxies {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// parseAddr reads an address with or without a port, invalid when it is none.
func parseAddr(s string) netip.Addr {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap()
	}
	a, err := netip.ParseAddr(strings.Trim(s, "[]"))
	if err != nil {
		return netip.Addr{}
	}
	return a.Unmap()
}

// stringAddr is an address of which only the text is known.
type stringAddr string

func (a stringAddr) Network() string { return "tcp" }
func (a stringAddr) String() string  { return string(a) }
