// SPDX-License-Identifier: Apache-2.0

// Package doctor looks at a machine and an installation as somebody would who
// is asked why it does not work: the configuration, the disk, the limits of
// the process, the certificate, DNS, whether others can get through, and the
// server if one runs. Each finding says what to do. What could not be looked at
// is said, too: silence would pass for health.
package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"bavard/internal/admin"
	"bavard/internal/config"
)

// Level of a finding.
type Level string

// Levels.
const (
	OK        Level = "ok"
	Warning   Level = "warning"     // it works, and may stop to
	Problem   Level = "problem"     // it does not work, or will not
	Unchecked Level = "not checked" // it could not be looked at
)

// Finding is one thing that was looked at.
type Finding struct {
	Level Level `json:"level"`
	// About is what was looked at, a word or two of a closed list.
	About string `json:"about"`
	// Text says what there is.
	Text string `json:"text"`
	// Hint says what to do; "" when there is nothing to do.
	Hint string `json:"hint,omitempty"`
}

// Times that bound an examination.
const (
	// fsyncFor bounds the measuring of the disk.
	fsyncFor = 2 * time.Second
	// lookupWithin bounds one question to DNS, dialWithin a connection and what
	// is said over it.
	lookupWithin = 5 * time.Second
	dialWithin   = 5 * time.Second
)

// Resolver answers questions about names: *net.Resolver.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
	LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error)
}

// Options of an examination.
type Options struct {
	// Config as it was read, and where from; File is "" for the defaults.
	Config config.Config
	File   string
	// Mistakes in it, nil for none.
	Mistakes error
	// Status asks the running server; the error is admin.ErrNotRunning when
	// there is none.
	Status func(context.Context) (admin.Status, error)
	// Local leaves out DNS and what is beyond this machine.
	Local bool

	// What follows is for tests.

	// Resolver is the system's when nil.
	Resolver Resolver
	// Dial connects; the system's when nil.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Roots that certificates have to chain to; the system's when nil.
	Roots *x509.CertPool
	// Now is the clock, time.Now when nil.
	Now func() time.Time
}

// Examine looks at everything and gives the findings in the order in which
// they should be read. It ends by itself within a minute.
func Examine(ctx context.Context, o Options) []Finding {
	e := begin(o)
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	e.configuration()
	e.askServer(ctx)
	e.data()
	e.journal(ctx)
	e.machine()
	e.listeners(ctx)
	e.certificate()
	e.nodes(ctx)
	e.names(ctx)
	e.web(ctx)
	e.server()
	return e.findings
}

// begin makes an examination in which nothing was looked at yet.
func begin(o Options) *examination {
	if o.Resolver == nil {
		o.Resolver = net.DefaultResolver
	}
	if o.Dial == nil {
		o.Dial = new(net.Dialer).DialContext
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &examination{Options: o}
}

// examination is one under way.
type examination struct {
	Options
	findings []Finding

	running   bool
	status    admin.Status
	statusErr error
}

func (e *examination) add(level Level, about, hint, format string, args ...any) {
	e.findings = append(e.findings, Finding{level, about, fmt.Sprintf(format, args...), hint})
}

func (e *examination) configuration() {
	const about = "configuration"
	if e.Mistakes != nil {
		for line := range strings.Lines(e.Mistakes.Error()) {
			e.add(Problem, about, "correct it; `bavard config` prints every key", "%s", strings.TrimRight(line, "\n"))
		}
		return
	}
	if e.File == "" {
		e.add(OK, about, "", "the defaults: no file is named by --config")
	} else {
		e.add(OK, about, "", "%s", e.File)
	}
	if e.Config.InsecureLoopback {
		e.add(Warning, about, "for trying things out only: take insecure_loopback out", "passwords may pass without encryption on this machine")
	}
	if !Public(e.Config.Domain) {
		e.add(OK, about, "", "the domain %s is not public: DNS and what is beyond this machine are not looked at", e.Config.Domain)
	}
}

// Public reports whether a domain can be one of the public DNS: it has a dot,
// is no IP address and under no name that is kept for other uses (RFC 6761,
// RFC 6762, RFC 8375).
func Public(domain string) bool {
	if _, err := netip.ParseAddr(strings.Trim(domain, "[]")); err == nil {
		return false
	}
	i := strings.LastIndexByte(domain, '.')
	switch strings.ToLower(domain[i+1:]) {
	case "localhost", "local", "test", "invalid", "example", "internal", "lan", "home", "arpa", "onion":
		return false
	}
	return i > 0
}

// beyond reports whether names and other machines are to be asked, and says so
// once for what is left out.
func (e *examination) beyond() bool { return !e.Local && Public(e.Config.Domain) }

// connect opens a TCP connection with a deadline on all that is done with it.
func (e *examination) connect(ctx context.Context, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialWithin)
	defer cancel()
	conn, err := e.Dial(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return conn, conn.SetDeadline(time.Now().Add(dialWithin))
}

// tls is how a client of the domain checks a server.
func (e *examination) tls(name string, protocols ...string) *tls.Config {
	return &tls.Config{ServerName: name, RootCAs: e.Roots, NextProtos: protocols, MinVersion: tls.VersionTLS12, Time: e.Now}
}

// client asks web servers.
func (e *examination) client() *http.Client {
	return &http.Client{
		Timeout: dialWithin,
		Transport: &http.Transport{
			DialContext: e.Dial, TLSClientConfig: e.tls(""), DisableKeepAlives: true,
			TLSHandshakeTimeout: dialWithin, MaxResponseHeaderBytes: 32 << 10,
		},
	}
}

// in reads a duration as people say it.
func in(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
	case d < 2*time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	default:
		return d.Round(time.Second).String()
	}
}

func bytes(n uint64) string {
	switch {
	case n < 10<<30:
		return fmt.Sprintf("%d MiB", n>>20)
	default:
		return fmt.Sprintf("%d GiB", n>>30)
	}
}
