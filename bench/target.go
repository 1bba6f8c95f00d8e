// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"bavard/drill/client"
	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// Transports.
const (
	Plain     = "plain"
	StartTLS  = "starttls"
	DirectTLS = "tls"
	WebSocket = "websocket"
)

// Transports lists them in the order in which help texts do.
func Transports() []string { return []string{Plain, StartTLS, DirectTLS, WebSocket} }

// Target is a server, and how to log in there.
type Target struct {
	// Places are where it is reached: at one, or at each of its nodes, among which
	// accounts are dealt out in turn.
	Places []Place
	// Domain is its XMPP domain.
	Domain string
	// Transport is one of Transports.
	Transport string
	// TLS is needed for starttls, tls and wss; see Trust.
	TLS *tls.Config
	// Mechanism is the SASL mechanism; "" means SCRAM-SHA-1, which all servers have.
	Mechanism string
	Accounts  *Accounts
	// Logins is how many log in at the same time before a measurement; 0 means 32.
	Logins int
}

// Place is where a node of a server is reached.
type Place struct {
	// Addr is the host:port of its listener for the transport, URL the ws: or wss:
	// address for WebSocket.
	Addr, URL string
}

// Addresses are those of all places, with commas between them.
func (t *Target) Addresses() string {
	return t.listed(func(at Place) string { return at.Addr })
}

// URLs are those of all places for WebSocket, with commas between them; "" for other transports.
func (t *Target) URLs() string {
	if t.Transport != WebSocket {
		return ""
	}
	return t.listed(func(at Place) string { return at.URL })
}

func (t *Target) listed(of func(Place) string) string {
	var all []string
	for _, at := range t.Places {
		all = append(all, of(at))
	}
	return strings.Join(all, ",")
}

// place is where the nth connection goes.
func (t *Target) place(n int) Place { return t.Places[n%len(t.Places)] }

func (t *Target) mechanism() string {
	if t.Mechanism == "" {
		return "SCRAM-SHA-1"
	}
	return t.Mechanism
}

func (t *Target) logins() int {
	if t.Logins <= 0 {
		return 32
	}
	return t.Logins
}

// Trust makes the configuration of TLS. ca is a file of PEM certificates, ""
// means the system's; insecure trusts everybody. A chain that was found good is
// not verified again when it comes once more: that would be the generator's
// work, not the server's. Sessions are never resumed by tickets, and keys are
// exchanged by X25519 alone, so that all servers do the same.
func Trust(domain, ca string, insecure bool) (*tls.Config, error) {
	var roots *x509.CertPool
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, err
		}
		roots = x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate in PEM form", ca)
		}
	}
	v := &verifier{domain: domain, roots: roots}
	cfg := &tls.Config{ServerName: domain, MinVersion: tls.VersionTLS12, CurvePreferences: []tls.CurveID{tls.X25519}, InsecureSkipVerify: true}
	if !insecure {
		cfg.VerifyConnection = v.verify
	}
	return cfg, nil
}

// verifier remembers the last chain that was good.
type verifier struct {
	domain string
	roots  *x509.CertPool

	mu   sync.Mutex
	good []*x509.Certificate
}

func (v *verifier) verify(c tls.ConnectionState) error {
	v.mu.Lock()
	good := v.good
	v.mu.Unlock()
	if slices.EqualFunc(good, c.PeerCertificates, func(a, b *x509.Certificate) bool { return bytes.Equal(a.Raw, b.Raw) }) {
		return nil
	}
	o := x509.VerifyOptions{DNSName: v.domain, Roots: v.roots, Intermediates: x509.NewCertPool()}
	for _, cert := range c.PeerCertificates[1:] {
		o.Intermediates.AddCert(cert)
	}
	if _, err := c.PeerCertificates[0].Verify(o); err != nil {
		return fmt.Errorf("%w; --ca FILE names whom to trust, --insecure trusts everybody", err)
	}
	v.mu.Lock()
	v.good = c.PeerCertificates
	v.mu.Unlock()
	return nil
}

// perSource is how many connections are made from one source address: fewer
// than there are ephemeral ports.
const perSource = 20_000

// config is how the nth connection logs in.
func (t *Target) config(n int, resource string) client.Config {
	local, password, keys := t.Accounts.user(n)
	at := t.place(n)
	cfg := client.Config{
		JID: local + "@" + t.Domain, Password: password, Keys: keys, Resource: resource, Mechanism: t.mechanism(),
		Addr: at.Addr, DialContext: at.dialer(n),
	}
	switch t.Transport {
	case StartTLS, DirectTLS:
		cfg.TLS, cfg.DirectTLS = t.TLS, t.Transport == DirectTLS
	case WebSocket:
		cfg.WebSocket, cfg.TLS = at.URL, t.TLS
	}
	return cfg
}

// dialer gives connections beyond the first 20,000 to a server on this machine
// another source address: an address has no more ports. nil is the usual one.
func (p Place) dialer(n int) func(context.Context, string, string) (net.Conn, error) {
	addr, err := netip.ParseAddrPort(p.Addr)
	if n < perSource || err != nil || !addr.Addr().Is4() || !addr.Addr().IsLoopback() || runtime.GOOS != "linux" {
		return nil
	}
	d := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+n/perSource%250))}}
	return d.DialContext
}

// join logs in like a usual client: carbons, roster, presence.
func (t *Target) join(ctx context.Context, cfg client.Config) (*client.Session, error) {
	s, err := client.Dial(ctx, cfg)
	if err != nil {
		return nil, explain(cfg.JID, err)
	}
	if !s.Resumed() {
		if _, err = s.Roster(ctx); err == nil {
			err = s.Available(ctx, 0)
		}
	}
	if err == nil {
		err = s.Ping(ctx) // by then it is available
	}
	if err != nil {
		s.Cut()
		return nil, explain(cfg.JID, err)
	}
	return s, nil
}

// explain adds who it was and what to do about it.
func explain(jid string, err error) error {
	hint := ""
	switch {
	case errors.Is(err, client.ErrAuth):
		hint = "\nare the accounts there? --register makes them, --users-file names others; `bavard bench --help` says more"
	case errors.Is(err, syscall.EMFILE):
		hint = "\nraise the limit of open files, with `ulimit -n`"
	case errors.Is(err, syscall.ECONNREFUSED):
		hint = "\nno server listens there: --addr names it, --serve starts one"
	}
	return fmt.Errorf("%s: %w%s", jid, err, hint)
}

// check finds out early what cannot work with n connections.
func (t *Target) check(n int) error {
	if have := t.Accounts.Len(); have >= 0 && have < n {
		return fmt.Errorf("%d accounts are needed, --users-file has %d", n, have)
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err == nil && uint64(n)+descriptors > limit.Cur {
		return fmt.Errorf("%d connections need %d descriptors and this process may have %d: raise it with `ulimit -n`, or run several generators", n, n+descriptors, limit.Cur)
	}
	return nil
}

// descriptors is what the process has open besides connections, at most.
const descriptors = 50

// all logs n clients in, at most t.Logins at once; make says how each one is
// set up. What was opened is returned in any case, with holes where it failed.
func (t *Target) all(ctx context.Context, n int, w *Watch, set func(n int, cfg *client.Config)) ([]*client.Session, error) {
	return t.from(ctx, 0, n, w, set)
}

// from is all with the accounts from the first on.
func (t *Target) from(ctx context.Context, first, n int, w *Watch, set func(n int, cfg *client.Config)) ([]*client.Session, error) {
	if err := t.check(first + n); err != nil {
		return nil, err
	}
	sessions := make([]*client.Session, n)
	group, alive := errgroup.WithContext(ctx)
	group.SetLimit(t.logins())
	done := w.counting("logged in", n)
	for i := range n {
		if alive.Err() != nil {
			break
		}
		group.Go(func() (err error) {
			cfg := t.config(first+i, "bench")
			if set != nil {
				set(i, &cfg)
			}
			ctx, cancel := context.WithTimeout(alive, time.Minute)
			defer cancel()
			if sessions[i], err = t.join(ctx, cfg); err == nil {
				done(1)
			}
			return err
		})
	}
	err := group.Wait()
	if err == nil {
		err = ctx.Err()
	}
	return sessions, err
}

// leave closes sessions in order, so that no server keeps them for a
// resumption: the next run's messages would be queued there.
func leave(sessions []*client.Session) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var group errgroup.Group
	group.SetLimit(64)
	for _, s := range sessions {
		if s != nil {
			group.Go(func() error {
				_ = s.Close(ctx) // after the measurement: a server that does not answer is cut
				return nil
			})
		}
	}
	_ = group.Wait()
}

// version asks the server what it is (XEP-0092).
func version(ctx context.Context, s *client.Session, domain string) string {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	iq := xmlstream.New(stanza.NSClient, "iq", "type", "get", "to", domain).Add(xmlstream.New(stanza.NSVersion, "query"))
	answer, err := s.IQ(ctx, iq)
	if err != nil {
		return "unknown"
	}
	query := answer.Child(stanza.NSVersion, "query")
	name := query.Child(stanza.NSVersion, "name").Text()
	if v := query.Child(stanza.NSVersion, "version").Text(); v != "" {
		name += " " + v
	}
	return name
}

// Register makes the first n accounts by open registration (XEP-0077) and
// leaves alone what is there already.
func (t *Target) Register(ctx context.Context, n int, w *Watch) error {
	group, alive := errgroup.WithContext(ctx)
	group.SetLimit(t.logins())
	done := w.counting("registered", n)
	for i := range n {
		if alive.Err() != nil {
			break
		}
		group.Go(func() error {
			cfg := t.config(i, "")
			ctx, cancel := context.WithTimeout(alive, time.Minute)
			defer cancel()
			err := client.Register(ctx, cfg)
			var refused *stanza.Error
			if errors.As(err, &refused) && refused.Condition == stanza.Conflict {
				err = nil
			}
			if err != nil {
				return fmt.Errorf("%s: %w\nis open registration switched on, without limits? `bavard bench --help` says how", cfg.JID, err)
			}
			done(1)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// itoa is short for the ids of messages.
func itoa(n int) string { return strconv.Itoa(n) }
