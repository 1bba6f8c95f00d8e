// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// target is where a client would connect.
type target struct {
	host   string
	port   uint16
	direct bool // TLS from the first byte
}

func (t target) String() string {
	return net.JoinHostPort(t.host, strconv.Itoa(int(t.port)))
}

// names asks DNS what clients ask (RFC 6120 §3.2, XEP-0368 §reqs @1.1.0), and
// tries to connect as they do.
func (e *examination) names(ctx context.Context) {
	const about = "DNS"
	domain := e.Config.Domain
	if !e.beyond() {
		if e.Local && Public(domain) {
			e.add(Unchecked, about, "", "left out: --local")
		}
		return
	}
	e.addresses(ctx, domain)
	var all []target
	for _, s := range []struct {
		name, listen string
		direct       bool
	}{{"xmpp-client", e.Config.Listen.C2S, false}, {"xmpps-client", e.Config.Listen.C2STLS, true}} {
		all = append(all, e.records(ctx, s.name, s.listen, s.direct)...)
	}
	for _, t := range all {
		e.reach(ctx, t)
	}
}

// addresses looks up a host and compares with those of this machine.
func (e *examination) addresses(ctx context.Context, host string) []netip.Addr {
	const about = "DNS"
	ctx, cancel := context.WithTimeout(ctx, lookupWithin)
	defer cancel()
	found, err := e.Resolver.LookupNetIP(ctx, "ip", host)
	var missing *net.DNSError
	switch {
	case errors.As(err, &missing) && missing.IsNotFound:
		e.add(Problem, about, "make an A record, and an AAAA record if this machine has IPv6: `bavard quickstart "+e.Config.Domain+"` prints them", "%s has no address", host)
		return nil
	case err != nil:
		e.add(Unchecked, about, "see that this machine can ask DNS", "the addresses of %s: %v", host, err)
		return nil
	}
	texts := make([]string, len(found))
	for i, a := range found {
		found[i] = a.Unmap()
		texts[i] = found[i].String()
	}
	text := host + " is at " + strings.Join(texts, ", ")
	mine, err := Interfaces()
	switch {
	case err != nil:
		e.add(OK, about, "", "%s", text)
	case !overlap(found, mine):
		e.add(Warning, about, "that is as it should be behind NAT or a proxy; otherwise correct the records", "%s: none of these is an address of this machine", text)
	default:
		e.add(OK, about, "", "%s", text)
	}
	return found
}

func overlap(a, b []netip.Addr) bool {
	for _, x := range a {
		for _, y := range b {
			if x == y {
				return true
			}
		}
	}
	return false
}

// Interfaces gives the addresses of this machine but those that no other can
// reach.
func Interfaces() ([]netip.Addr, error) {
	found, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	var all []netip.Addr
	for _, a := range found {
		p, err := netip.ParsePrefix(a.String())
		if err != nil {
			continue
		}
		if ip := p.Addr().Unmap(); !ip.IsLoopback() && !ip.IsLinkLocalUnicast() {
			all = append(all, ip)
		}
	}
	return all, nil
}

// records looks up one service and gives where clients would connect.
func (e *examination) records(ctx context.Context, service, listen string, direct bool) []target {
	const about = "DNS"
	ctx, cancel := context.WithTimeout(ctx, lookupWithin)
	defer cancel()
	domain := e.Config.Domain
	name := named(service) + "." + domain
	_, found, err := e.Resolver.LookupSRV(ctx, service, "tcp", domain)
	var missing *net.DNSError
	switch {
	case errors.As(err, &missing) && missing.IsNotFound:
		return e.withoutRecord(name, listen, direct)
	case err != nil:
		e.add(Unchecked, about, "see that this machine can ask DNS", "%s: %v", name, err)
		return nil
	}
	var all []target
	for _, r := range found {
		host := strings.TrimSuffix(r.Target, ".")
		switch {
		case host == "" && listen != "": // RFC 2782: the service is decidedly not available
			e.add(Problem, about, "replace the record, or switch the listener off", "%s says that there is no such service, but %s listens", name, listen)
			continue
		case host == "":
			continue
		case listen == "":
			e.add(Problem, about, "remove the record, or set listen.c2s or listen.c2s_tls", "%s leads to %s:%d, but nothing listens for it", name, host, r.Port)
			continue
		case port(listen) != strconv.Itoa(int(r.Port)):
			e.add(Warning, about, "that is as it should be if something passes the port on; otherwise correct the record", "%s leads to port %d, and bavard listens on %s", name, r.Port, port(listen))
		default:
			e.add(OK, about, "", "%s leads to %s:%d", name, host, r.Port)
		}
		t := target{host, r.Port, direct}
		if host != domain && e.addresses(ctx, host) == nil {
			continue
		}
		all = append(all, t)
	}
	return all
}

// withoutRecord: clients then connect to the domain's own address at port 5222
// (RFC 6120 §3.2.2), and not with direct TLS.
func (e *examination) withoutRecord(name, listen string, direct bool) []target {
	const about = "DNS"
	switch {
	case listen == "":
	case direct:
		e.add(Warning, about, "`bavard quickstart "+e.Config.Domain+"` prints the record", "there is no %s: clients do not find direct TLS, which gets through where port 5222 is closed", name)
	case port(listen) != "5222":
		e.add(Problem, about, "`bavard quickstart "+e.Config.Domain+"` prints the record", "there is no %s: clients would look at port 5222, and bavard listens on %s", name, port(listen))
	default:
		e.add(OK, about, "", "there is no %s: clients take port 5222 of %s", name, e.Config.Domain)
		return []target{{e.Config.Domain, 5222, false}}
	}
	return nil
}
