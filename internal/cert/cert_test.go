// SPDX-License-Identifier: Apache-2.0

package cert_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"bavard/internal/cert"
	"bavard/internal/health"
)

func open(t *testing.T, o cert.Options) *cert.Store {
	t.Helper()
	s, err := cert.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// handshake connects to s as a client that trusts the PEM file ca alone.
func handshake(t *testing.T, s *cert.Store, ca, name string) error {
	t.Helper()
	text, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	c, d := net.Pipe()
	defer c.Close()
	go func() {
		_ = tls.Server(d, s.TLS()).Handshake() // the client says what is wrong
		d.Close()
	}()
	return tls.Client(c, &tls.Config{RootCAs: roots, ServerName: name}).Handshake()
}

func TestSelfMadeIsTrustedForItsNamesOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tls")
	s := open(t, cert.Options{Domain: "chat.example.org", Dir: dir})
	for name, good := range map[string]bool{
		"chat.example.org": true, "localhost": true, "127.0.0.1": true, "::1": true,
		"example.org": false, "127.0.0.2": false,
	} {
		if err := handshake(t, s, s.CAFile(), name); (err == nil) != good {
			t.Errorf("%s: %v", name, err)
		}
	}
	for file, mode := range map[string]os.FileMode{"": 0o700, "ca.key": 0o600, "server.key": 0o600} {
		info, err := os.Stat(filepath.Join(dir, file))
		if err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: mode %v, %v; want %v", file, info.Mode(), err, mode)
		}
	}
}

func TestSelfMadeStaysAcrossRestarts(t *testing.T) {
	dir := t.TempDir()
	first := open(t, cert.Options{Domain: "localhost", Dir: dir})
	again := open(t, cert.Options{Domain: "localhost", Dir: dir})
	if !first.Current().Leaf.Equal(again.Current().Leaf) {
		t.Error("a restart made another certificate")
	}
}

func TestSelfMadeFollowsTheDomain(t *testing.T) {
	dir := t.TempDir()
	open(t, cert.Options{Domain: "localhost", Dir: dir})
	for _, domain := range []string{"chat.example.org", "192.0.2.7", "2001:db8::7"} {
		s := open(t, cert.Options{Domain: domain, Dir: dir})
		if err := handshake(t, s, s.CAFile(), domain); err != nil {
			t.Errorf("%s: %v", domain, err)
		}
	}
}

func TestSelfMadeHealsDamage(t *testing.T) {
	for _, file := range []string{"ca.crt", "ca.key", "server.crt", "server.key"} {
		dir := t.TempDir()
		open(t, cert.Options{Domain: "localhost", Dir: dir})
		if err := os.WriteFile(filepath.Join(dir, file), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		s := open(t, cert.Options{Domain: "localhost", Dir: dir})
		if err := handshake(t, s, s.CAFile(), "localhost"); err != nil {
			t.Errorf("%s damaged: %v", file, err)
		}
	}
}

func TestSelfMadeIsRenewedWhileItRuns(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, cert.Options{Domain: "localhost", Dir: dir})
		ca, err := os.ReadFile(s.CAFile())
		if err != nil {
			t.Fatal(err)
		}
		first := s.Current().Leaf
		ctx, cancel := context.WithTimeout(t.Context(), 320*24*time.Hour)
		defer cancel()
		s.Watch(ctx) // returns at once by the fake clock
		if leaf := s.Current().Leaf; leaf.Equal(first) || leaf.NotAfter.Before(time.Now().Add(60*24*time.Hour)) {
			t.Errorf("after 320 days the certificate is good until %v", leaf.NotAfter)
		}
		if now, err := os.ReadFile(s.CAFile()); err != nil || string(now) != string(ca) {
			t.Errorf("renewal changed the authority, %v", err)
		}
	})
}

// configured makes files as an operator has them, by another authority.
func configured(t *testing.T, domain string, now func() time.Time) (certificate, key string) {
	t.Helper()
	dir := t.TempDir()
	open(t, cert.Options{Domain: domain, Dir: dir, Now: now})
	return filepath.Join(dir, "server.crt"), filepath.Join(dir, "server.key")
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestConfiguredFilesAreFollowed(t *testing.T) {
	certificate, key := configured(t, "chat.example.org", nil)
	otherCertificate, otherKey := configured(t, "chat.example.org", nil)
	synctest.Test(t, func(t *testing.T) {
		warnings := health.NewWarnings(time.Now)
		// The bubble's clock starts in 2000, before the certificates do; only
		// their ends matter here.
		s := open(t, cert.Options{Domain: "chat.example.org", Certificate: certificate, Key: key, Warnings: warnings})
		if s.CAFile() != "" {
			t.Error("there is an authority to show for the operator's certificate")
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go s.Watch(ctx)
		pass := func() { time.Sleep(time.Minute); synctest.Wait() } // fake time

		first := s.Current().Leaf
		copyFile(t, otherCertificate, certificate) // the key does not fit yet
		pass()
		if !s.Current().Leaf.Equal(first) || len(warnings.Active()) != 1 {
			t.Fatalf("a certificate without its key was taken; warnings %+v", warnings.Active())
		}
		copyFile(t, otherKey, key)
		pass()
		if s.Current().Leaf.Equal(first) || len(warnings.Active()) != 0 {
			t.Fatalf("the new certificate was not taken; warnings %+v", warnings.Active())
		}
	})
}

func TestConfiguredExpiryWarns(t *testing.T) {
	now := time.Now()
	certificate, key := configured(t, "chat.example.org", nil)
	warnings := health.NewWarnings(time.Now)
	open(t, cert.Options{
		Domain: "chat.example.org", Certificate: certificate, Key: key, Warnings: warnings,
		Now: func() time.Time { return now.Add(360 * 24 * time.Hour) },
	})
	if a := warnings.Active(); len(a) != 1 || a[0].ID != "certificate-expiring" {
		t.Errorf("five days before its end: %+v", a)
	}
}

func TestConfiguredFilesThatAreMissingAreNamed(t *testing.T) {
	_, err := cert.Open(cert.Options{Domain: "a.example", Certificate: "/nonexistent/c.pem", Key: "/nonexistent/k.pem"})
	if err == nil {
		t.Fatal("missing files were taken")
	}
}
