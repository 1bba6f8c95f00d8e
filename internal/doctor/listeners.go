// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"syscall"

	"bavard/internal/config"
	"bavard/internal/datadir"
)

// listener is one address of the configuration.
type listener struct {
	key, address string
	got          string // by the running server
	tls          bool   // from the first byte
}

func (e *examination) configured() []listener {
	l := e.Config.Listen
	var a datadir.Addresses
	if e.running {
		a, _ = datadir.ReadAddresses(e.Config.Data) // none: then nothing was got
	}
	return []listener{
		{"listen.c2s", l.C2S, a.C2S, false},
		{"listen.c2s_tls", l.C2STLS, a.C2STLS, true},
		{"listen.http", l.HTTP, a.HTTP, false},
		{"listen.https", l.HTTPS, a.HTTPS, true},
		{"listen.redirect", l.Redirect, a.Redirect, false},
		{"listen.metrics", l.Metrics, a.Metrics, false},
		{"admin.listen", e.Config.Admin.Listen, a.Admin, !config.Loopback(e.Config.Admin.Listen)},
	}
}

// listeners looks whether each address is free, or answers.
func (e *examination) listeners(ctx context.Context) {
	outside := false
	for _, l := range e.configured() {
		if l.address == "" {
			continue
		}
		outside = outside || l.key != "listen.metrics" && l.key != "admin.listen" && !config.Loopback(l.address)
		if e.running {
			e.held(ctx, l)
		} else {
			e.free(l)
		}
	}
	if !outside && Public(e.Config.Domain) {
		e.add(Warning, "ports", "listen on \":5222\" and so on, unless something on this machine passes connections on",
			"all addresses are of this machine alone: nobody else gets through")
	}
}

// free looks whether the server could listen.
func (e *examination) free(l listener) {
	const about = "ports"
	n, err := net.Listen("tcp", l.address)
	switch {
	case err == nil:
		_ = n.Close()
		e.add(OK, about, "", "%s: %s is free", l.key, l.address)
	case errors.Is(err, syscall.EADDRINUSE):
		e.add(Problem, about, "stop that one (`ss -ltnp` names it), or choose another port", "%s: another process has %s", l.key, l.address)
	case errors.Is(err, syscall.EACCES):
		e.add(Warning, about, "AmbientCapabilities=CAP_NET_BIND_SERVICE in the systemd unit allows it; run this as root to be sure",
			"%s: who runs this may not use %s", l.key, l.address)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		e.add(Problem, about, "name an address that `ip address` shows, or none, as in \":5222\"", "%s: this machine does not have the address of %s", l.key, l.address)
	default:
		e.add(Problem, about, "", "%s: %v", l.key, err)
	}
}

// held looks whether the running server answers.
func (e *examination) held(ctx context.Context, l listener) {
	const about = "ports"
	if l.got == "" {
		e.add(Warning, about, "restart it, so that it takes up its configuration", "%s: the running server does not listen on %s", l.key, l.address)
		return
	}
	conn, err := e.connect(ctx, own(l.got))
	if err != nil {
		e.add(Problem, about, "look at its log, and for a firewall on this machine", "%s: the running server listens on %s and does not answer: %v", l.key, l.got, err)
		return
	}
	_ = conn.Close()
	e.add(OK, about, "", "%s: the running server answers on %s", l.key, l.got)
}

// journal looks whether the members of an etcd cluster of the operator's own can
// be reached. What is said there is the server's: it has the keys.
func (e *examination) journal(ctx context.Context) {
	const about = "journal"
	for _, endpoint := range e.Config.Journal.Endpoints {
		u, err := url.Parse(endpoint)
		if err != nil || u.Host == "" {
			continue // one of the mistakes of the configuration
		}
		conn, err := e.connect(ctx, u.Host)
		if err != nil {
			e.add(Problem, about, "start that member, or open the way to it", "etcd at %s does not answer: %v", u.Host, err)
			continue
		}
		_ = conn.Close()
		e.add(OK, about, "", "something answers at %s; the running server knows whether it is the right etcd", u.Host)
	}
}

// own gives an address of this machine at which a listener answers.
func own(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}

// port of an address, "" when there is none.
func port(address string) string {
	_, p, err := net.SplitHostPort(address)
	if err != nil {
		return ""
	}
	return p
}

// named says what a listener is for in a sentence.
func named(service string) string {
	return fmt.Sprintf("_%s._tcp", service)
}
