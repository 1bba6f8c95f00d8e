// SPDX-License-Identifier: Apache-2.0

package webpush

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"syscall"
)

// Endpoint refused.
var (
	// ErrEndpoint: it is no https URL that may be a push service's.
	ErrEndpoint = errors.New("webpush: an endpoint is an https URL of another machine")
	// ErrForbidden: the endpoint's name leads to an address that is not public.
	ErrForbidden = errors.New("webpush: the endpoint is at an address that is not public")
)

const endpointMost = 2048

// guard keeps pushes away from where only this machine or network gets: the
// endpoint is whatever a client says (threat: SSRF).
type guard struct{ allow []netip.Prefix }

// immutable: what is in no public network (the registries of RFC 6890), and what
// translates to IPv4 addresses that may be.
var special = prefixes(
	"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
	"::/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "fec0::/10",
)

func prefixes(all ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(all))
	for i, p := range all {
		out[i] = netip.MustParsePrefix(p)
	}
	return out
}

func within(ip netip.Addr, all []netip.Prefix) bool {
	return slices.ContainsFunc(all, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// check looks at the address that is about to be connected to, after the name
// was resolved: nothing can change between the look and the connection.
func (g *guard) check(address string) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrForbidden, err)
	}
	ip := at.Addr().Unmap().WithZone("")
	if within(ip, g.allow) {
		return nil
	}
	if !ip.IsGlobalUnicast() || ip.IsPrivate() || within(ip, special) || at.Port() != 443 {
		return fmt.Errorf("%w: %s", ErrForbidden, address)
	}
	return nil
}

// control is for net.Dialer.
func (g *guard) control(_, address string, _ syscall.RawConn) error { return g.check(address) }

// parse reads an endpoint: https, a host, no password, no fragment. One that names an address
// instead of a host is looked at at once.
func (g *guard) parse(endpoint string) (*url.URL, error) {
	u, err := url.Parse(endpoint)
	if err != nil || len(endpoint) > endpointMost || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Fragment != "" || u.Opaque != "" {
		return nil, ErrEndpoint
	}
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil {
		port := u.Port()
		if port == "" {
			port = "443"
		}
		at := netip.AddrPortFrom(ip, 0).Addr().WithZone("")
		host := at.String()
		if at.Is6() {
			host = "[" + host + "]"
		}
		return u, g.check(host + ":" + port)
	}
	return u, nil
}
