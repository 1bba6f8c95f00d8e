// SPDX-License-Identifier: Apache-2.0

// Package cert holds the server's TLS certificate: from the operator's files,
// from an authority that speaks ACME, or from an authority that it makes for
// itself in the data directory. It follows the files when they change and
// renews the others before they expire.
package cert

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/idna"

	"bavard/internal/health"
)

const (
	// watchEvery is how often the files are looked at.
	watchEvery = 15 * time.Second
	// warnBefore is how long before the end of a certificate a warning is raised
	// at most; a short one's at a sixth of its life. Renewers act at a third.
	warnBefore = 14 * 24 * time.Hour
)

// Options of a Store.
type Options struct {
	// Domain that the self-made certificate is for.
	Domain string
	// Dir of the self-made authority and certificate; made if need be.
	Dir string
	// Certificate and Key are PEM files to use instead; both or none.
	Certificate, Key string
	// ACME obtains a certificate instead, and keeps it in Dir; may be nil. The
	// self-made one is served until the first has come.
	ACME *ACME
	// Now is the clock; nil is time.Now.
	Now      func() time.Time
	Warnings *health.Warnings // may be nil
	Logger   *slog.Logger     // may be nil
}

// Store has the certificate that is in use. It is safe for concurrent use.
type Store struct {
	o       Options
	issuer  *issuer // nil without ACME
	current atomic.Pointer[inUse]
	mu      sync.Mutex // held by who decides what is in use next
	seen    [2]stamp   // of the files, when they were loaded; Watch alone writes it
}

// inUse is a certificate and the configuration that serves it.
type inUse struct {
	config   *tls.Config
	selfMade bool
}

// stamp tells versions of a file apart.
type stamp struct {
	mtime time.Time
	size  int64
}

// Open loads the configured certificate, or the self-made one, which it makes
// if there is none.
func Open(o Options) (*Store, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.Domain = ascii(o.Domain)
	s := &Store{o: o}
	err := s.start()
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	return s, nil
}

func (s *Store) start() error {
	if s.o.ACME == nil {
		return s.check()
	}
	var err error
	if s.issuer, err = newIssuer(*s.o.ACME, s.o.Domain, s.o.Dir); err != nil {
		return err
	}
	defer s.warnOfEnd()
	return s.restore()
}

// ascii gives a name as certificates have it, with A-labels (RFC 5890 §2.3.2.1),
// an address as it is.
func ascii(name string) string {
	if a, err := idna.Lookup.ToASCII(name); err == nil {
		return a
	}
	return name
}

// CAFile is the certificate of the self-made authority, for clients to trust;
// "" when the certificate in use has another.
func (s *Store) CAFile() string {
	if c := s.current.Load(); c == nil || !c.selfMade {
		return ""
	}
	return filepath.Join(s.o.Dir, caCertName)
}

// Current gives the certificate in use; its Leaf is set.
func (s *Store) Current() *tls.Certificate {
	c := s.current.Load()
	if c == nil {
		return nil
	}
	return &c.config.Certificates[0]
}

// TLS gives a configuration with the certificate in use, the same one until
// that changes: who asks for each connection follows it, and the session
// tickets of one certificate are void with the next, so that a resumed session
// has the certificate that its connection says (RFC 5929 §4.1). Their keys are
// changed daily (crypto/tls; RFC 9325 §3.4). Clone it to change it.
func (s *Store) TLS() *tls.Config { return s.current.Load().config }

// Watch follows the files and renews, until ctx ends. A certificate that cannot
// be used never replaces one that can: it raises a warning.
func (s *Store) Watch(ctx context.Context) {
	if s.issuer != nil {
		var renewal sync.WaitGroup
		defer renewal.Wait()
		renewal.Go(func() { s.obtainAndRenew(ctx) })
	}
	every := lookEvery
	if s.o.Certificate != "" {
		every = watchEvery
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := s.check(); err != nil {
			s.o.Logger.Error("certificate not taken", "err", err)
			s.o.Warnings.Raise(health.CertificateUnusable, err.Error())
			continue
		}
		s.o.Warnings.Clear(health.CertificateUnusable)
	}
}

// check loads what is new.
func (s *Store) check() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.warnOfEnd()
	switch c := s.current.Load(); {
	case s.issuer != nil && !c.selfMade:
		return nil
	case s.issuer != nil || s.o.Certificate == "":
		return s.checkSelfMade()
	}
	return s.checkFiles()
}

// checkFiles loads the operator's files if they have changed.
func (s *Store) checkFiles() error {
	seen, err := stamps(s.o.Certificate, s.o.Key)
	if err != nil {
		return err
	}
	if seen == s.seen && s.Current() != nil {
		return nil
	}
	c, err := load(s.o.Certificate, s.o.Key)
	if err != nil {
		return err
	}
	if now := s.o.Now(); now.After(c.Leaf.NotAfter) && s.Current() != nil {
		return fmt.Errorf("%s expired on %s", s.o.Certificate, c.Leaf.NotAfter.Format(time.DateOnly))
	}
	if err := c.Leaf.VerifyHostname(s.o.Domain); err != nil {
		// XEP-0368 and RFC 6125 §6.4 clients will refuse it, others may be served.
		s.o.Logger.Warn("certificate is for other names", "domain", s.o.Domain, "err", err)
	}
	s.use(c, false)
	s.seen = seen
	return nil
}

func (s *Store) warnOfEnd() {
	c := s.Current()
	if c == nil {
		return
	}
	left := c.Leaf.NotAfter.Sub(s.o.Now())
	when := c.Leaf.NotAfter.UTC().Format("2006-01-02 15:04 MST")
	warn := func(k health.Kind, on bool) {
		if on {
			s.o.Warnings.Raise(k, when)
		} else {
			s.o.Warnings.Clear(k)
		}
	}
	warn(health.CertificateExpired, left <= 0)
	warn(health.CertificateExpiring, left > 0 && left < min(warnBefore, life(c.Leaf)/6))
}

// life is how long a certificate is valid in all.
func life(leaf *x509.Certificate) time.Duration { return leaf.NotAfter.Sub(leaf.NotBefore) }

// use makes c the certificate in use; s.mu is held, or nobody else knows s yet.
func (s *Store) use(c *tls.Certificate, selfMade bool) {
	// TLS 1.2 at least; the cipher suites are Go's defaults (RFC 9325 §4).
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*c}}
	if s.issuer != nil {
		cfg.GetConfigForClient = s.issuer.answers.configFor
	}
	s.current.Store(&inUse{cfg, selfMade})
	s.o.Logger.Info("certificate in use", "self_made", selfMade, "names", c.Leaf.DNSNames, "until", c.Leaf.NotAfter)
}

func stamps(files ...string) ([2]stamp, error) {
	var all [2]stamp
	for i, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			return all, err
		}
		all[i] = stamp{info.ModTime(), info.Size()}
	}
	return all, nil
}

// load reads a chain and its key.
func load(certificate, key string) (*tls.Certificate, error) {
	c, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		return nil, fmt.Errorf("%s and %s: %w", certificate, key, err)
	}
	if c.Leaf == nil {
		if c.Leaf, err = x509.ParseCertificate(c.Certificate[0]); err != nil {
			return nil, errors.Join(fmt.Errorf("%s", certificate), err)
		}
	}
	return &c, nil
}
