// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bavard/drill/client"
	"bavard/internal/cert"
	"bavard/internal/config"
)

const (
	acmeDomain = "chat.example"
	acmeApp    = "app.chat.example"
)

// startACME starts a server for acmeDomain whose certificate comes from p.
func startACME(t *testing.T, p *pebble, challenge string, tlsPort, httpPort int) *testServer {
	t.Helper()
	cfg := config.Default()
	cfg.Domain, cfg.PublicURL, cfg.Data = acmeDomain, "https://"+acmeApp, t.TempDir()
	cfg.Listen = config.Listen{
		C2S: "127.0.0.1:0", C2STLS: "127.0.0.1:0", HTTPS: fmt.Sprintf("127.0.0.1:%d", tlsPort),
		Redirect: fmt.Sprintf("127.0.0.1:%d", httpPort),
	}
	cfg.TLS.ACME = config.ACME{Directory: p.directory, Agree: true, Email: "admin@chat.example", Challenge: challenge, Roots: p.roots}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	s := &testServer{t: t, cfg: cfg, made: map[string]bool{}}
	s.start()
	t.Cleanup(s.stop)
	return s
}

// warns gives the ids of the warnings that are raised.
func (s *testServer) warns() []string {
	s.t.Helper()
	status, err := s.running.Admin.Status(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	var ids []string
	for _, w := range status.Warnings {
		if strings.HasPrefix(w.ID, "certificate") { // the disk may be full, too
			ids = append(ids, w.ID)
		}
	}
	return ids
}

// served gives the certificate of a new connection to address, once it is one
// that roots vouch for.
func served(t *testing.T, address, name string, roots *x509.CertPool) *x509.Certificate {
	t.Helper()
	var leaf *x509.Certificate
	until(t, func() error {
		conn, err := tls.Dial("tcp", address, &tls.Config{RootCAs: roots, ServerName: name})
		if err == nil {
			leaf = conn.ConnectionState().PeerCertificates[0]
			conn.Close()
		}
		return err
	})
	return leaf
}

// login is bound to the certificate that is served.
func (s *testServer) login(local string, roots *x509.CertPool) *client.Session {
	s.t.Helper()
	s.account(local)
	ctx, cancel := context.WithTimeout(s.t.Context(), 30*time.Second)
	defer cancel()
	c, err := client.Dial(ctx, client.Config{
		JID: local + "@" + acmeDomain, Password: password, Addr: s.running.Addresses.C2S, TLS: &tls.Config{RootCAs: roots},
		Mechanism: "SCRAM-SHA-256-PLUS", Binding: "tls-server-end-point",
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(c.Cut)
	return c
}

func say(t *testing.T, c *client.Session, to, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	m := client.NewMessage(to+"@"+acmeDomain, text)
	err := c.Send(ctx, m)
	select {
	case <-m.Settled():
	case <-ctx.Done():
		err = errors.Join(err, ctx.Err())
	}
	if err != nil || m.State() != client.Ticked {
		t.Fatalf("%q was not ticked: %v, %v", text, m.State(), err)
	}
}

// A certificate comes, for all names, and another one before the first ends,
// while a session goes on.
func TestACMEIssuesAndRenews(t *testing.T) {
	t.Parallel()
	binary := pebbleBinary(t)
	tlsPort, httpPort := freePort(t), freePort(t)
	p := newPebble(t, 21*time.Second, tlsPort, httpPort)
	p.start(binary)
	s := startACME(t, p, cert.TLSALPN01, tlsPort, httpPort)
	roots := p.trust()

	first := served(t, s.running.Addresses.C2STLS, acmeDomain, roots)
	if !slices.Contains(first.DNSNames, acmeApp) {
		t.Errorf("the certificate is for %v, not for the app's host", first.DNSNames)
	}
	served(t, s.running.Addresses.HTTPS, acmeApp, roots)
	alice := s.login("alice", roots)
	say(t, alice, "alice", "by the first certificate")

	var second *x509.Certificate
	until(t, func() error {
		if second = served(t, s.running.Addresses.C2STLS, acmeDomain, roots); second.Equal(first) {
			return errors.New("the first certificate is still served")
		}
		return nil
	})
	if !second.NotAfter.After(first.NotAfter) {
		t.Errorf("renewed until %v, was %v", second.NotAfter, first.NotAfter)
	}
	say(t, alice, "alice", "by the same connection")
	bob := s.login("bob", roots) // bound to the second certificate
	say(t, bob, "alice", "by the second certificate")
	say(t, alice, "bob", "still there")
}

// Without the authority the server is there, says what is the matter, and asks
// again; with it the certificate comes; without it again it stays, over a
// restart, too.
func TestACMEWithoutTheAuthority(t *testing.T) {
	t.Parallel()
	binary := pebbleBinary(t)
	tlsPort, httpPort := freePort(t), freePort(t)
	p := newPebble(t, 90*24*time.Hour, tlsPort, httpPort)
	s := startACME(t, p, cert.HTTP01, tlsPort, httpPort)
	if got := s.warns(); !slices.Equal(got, []string{"certificate-pending"}) {
		t.Errorf("warnings before the first certificate: %v", got)
	}
	own := x509.NewCertPool()
	own.AppendCertsFromPEM(readFile(t, s.running.CA))
	say(t, s.login("alice", own), "alice", "by the self-made certificate")

	p.start(binary)
	roots := p.trust()
	first := served(t, s.running.Addresses.C2STLS, acmeDomain, roots)
	until(t, func() error {
		if got := s.warns(); len(got) != 0 {
			return fmt.Errorf("warnings with a certificate: %v", got)
		}
		return nil
	})
	for _, file := range []string{"account.key", "certificate.pem"} {
		found, err := filepath.Glob(filepath.Join(s.cfg.Data, "tls", "acme", "*", file))
		if err != nil || len(found) != 1 {
			t.Fatalf("%s: %v, %v", file, found, err)
		}
		if info, err := os.Stat(found[0]); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", file, info.Mode(), err)
		}
	}

	p.stop()
	s.restart()
	if got := served(t, s.running.Addresses.C2STLS, acmeDomain, roots); !got.Equal(first) {
		t.Error("a restart asked for another certificate")
	}
	if got := s.warns(); len(got) != 0 || s.running.CA != "" {
		t.Errorf("warnings with a stored certificate: %v; authority %q", got, s.running.CA)
	}
	say(t, s.login("alice", roots), "alice", "by the stored certificate")
}

// The plain listener shows the way to the app and nothing else.
func TestRedirect(t *testing.T) {
	t.Parallel()
	s := &testServer{t: t, cfg: config.Default(), made: map[string]bool{}}
	s.cfg.Data, s.cfg.PublicURL = t.TempDir(), "https://chat.example"
	s.cfg.Listen = config.Listen{HTTPS: "127.0.0.1:0", Redirect: "127.0.0.1:0"}
	s.start()
	t.Cleanup(s.stop)
	direct := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for path, want := range map[string]string{
		"/":                              "https://chat.example/",
		"/i/token?x=y":                   "https://chat.example/i/token?x=y",
		"//evil.example/x":               "/evil.example/x", // cleaned first
		"/xmpp-websocket":                "https://chat.example/xmpp-websocket",
		"/.well-known/acme-challenge/ab": "",
	} {
		resp, err := direct.Get("http://" + s.running.Addresses.Redirect + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if got := resp.Header.Get("Location"); got != want && !(want == "" && resp.StatusCode == http.StatusNotFound) {
			t.Errorf("%s: %s to %q, want %q", path, resp.Status, got, want)
		}
	}
}
