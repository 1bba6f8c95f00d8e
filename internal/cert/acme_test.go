// SPDX-License-Identifier: Apache-2.0

package cert

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/acme"

	"bavard/internal/health"
)

// Obtaining and renewing with a real authority is tested in internal/server.

func TestPause(t *testing.T) {
	unreachable := errors.New("connection refused")
	refused := fmt.Errorf("order: %w", &acme.Error{StatusCode: 403, ProblemType: "urn:ietf:params:acme:error:unauthorized"})
	broken := &acme.Error{StatusCode: 503}
	unseen := fmt.Errorf("x: %w", &acme.AuthorizationError{Identifier: "chat.example"})
	limited := &acme.Error{StatusCode: 429, ProblemType: "urn:ietf:params:acme:error:rateLimited", Header: http.Header{"Retry-After": {"7200"}}}
	forever := &acme.Error{StatusCode: 429, ProblemType: "urn:ietf:params:acme:error:rateLimited", Header: http.Header{"Retry-After": {"99999999"}}}
	for _, c := range []struct {
		failures int
		err      error
		want     time.Duration
	}{
		{1, unreachable, 5 * time.Second},
		{2, unreachable, 10 * time.Second},
		{100000, unreachable, 30 * time.Minute},
		{1, broken, 5 * time.Second},
		{1, refused, 10 * time.Minute},
		{2, refused, 20 * time.Minute},
		{1, unseen, 10 * time.Minute},
		{50, unseen, 6 * time.Hour},
		{1, limited, 2 * time.Hour},
		{9, limited, 6 * time.Hour},
		{1, forever, 24 * time.Hour},
	} {
		none := func(time.Duration) time.Duration { return 0 }
		// Retry-After becomes a time of day in between, so seconds may get lost.
		if got := pause(c.failures, c.err, none).Round(10 * time.Second); got != c.want.Round(10*time.Second) {
			t.Errorf("after %d times %v: %v, want %v", c.failures, c.err, got, c.want)
		}
		most := func(d time.Duration) time.Duration { return d }
		if got := pause(c.failures, c.err, most); got > c.want*11/10+time.Second {
			t.Errorf("after %d times %v: up to %v", c.failures, c.err, got)
		}
	}
}

// issued makes a certificate as an authority would.
func issued(t *testing.T, key *ecdsa.PrivateKey, from, until time.Time, names ...string) [][]byte {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: names, NotBefore: from, NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return [][]byte{der}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestIssuerKeepsOnlyWhatWasOrdered(t *testing.T) {
	i, err := newIssuer(ACME{Directory: "https://ca.example:14000/dir", Names: []string{"Bücher.example", "chat.example"}}, "chat.example", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(i.names, " "); got != "chat.example xn--bcher-kva.example" {
		t.Errorf("names %s", got)
	}
	now := time.Now()
	key := newKey(t)
	if _, err := i.keep(key, issued(t, newKey(t), now, now.Add(time.Hour), i.names...)); err == nil {
		t.Error("a certificate for another key was kept")
	}
	if _, err := i.keep(key, issued(t, key, now, now.Add(time.Hour), "chat.example")); err == nil {
		t.Error("a certificate without a name was kept")
	}
	if _, err := i.keep(key, [][]byte{{1}}); err == nil {
		t.Error("something else was kept")
	}
	if _, err := i.stored(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("something is stored: %v", err)
	}
	if _, err := i.keep(key, issued(t, key, now, now.Add(time.Hour), i.names...)); err != nil {
		t.Error(err)
	}
	if c, err := i.stored(); err != nil || !i.covers(c.Leaf) {
		t.Error(err)
	}
}

// unreachable is an authority that is never there.
func unreachable(names ...string) *ACME {
	return &ACME{Directory: "https://127.0.0.1:1/dir", Challenge: TLSALPN01, Names: names}
}

// store prepares a directory in which a certificate was stored before.
func store(t *testing.T, dir string, from, until time.Time, names ...string) {
	t.Helper()
	i, err := newIssuer(*unreachable(names[1:]...), names[0], dir)
	if err != nil {
		t.Fatal(err)
	}
	key := newKey(t)
	if _, err := i.keep(key, issued(t, key, from, until, names...)); err != nil {
		t.Fatal(err)
	}
}

func TestStoredCertificate(t *testing.T) {
	day := 24 * time.Hour
	now := time.Now()
	for _, c := range []struct {
		name        string
		age, life   time.Duration
		names       []string // of the certificate
		want        string   // ids of warnings
		selfMade    bool
		due         bool
		alsoWithApp string
	}{
		{name: "fresh", age: 10 * day, life: 90 * day, names: []string{"chat.example"}},
		{name: "due", age: 61 * day, life: 90 * day, names: []string{"chat.example"}, due: true},
		{name: "short and fresh", age: 3 * day, life: 6 * day, names: []string{"chat.example"}},
		{name: "near its end", age: 80 * day, life: 90 * day, names: []string{"chat.example"}, want: "certificate-expiring", due: true},
		{name: "short and near its end", age: 6*day - time.Hour, life: 6 * day, names: []string{"chat.example"}, want: "certificate-expiring", due: true},
		{name: "expired", age: 91 * day, life: 90 * day, names: []string{"chat.example"}, want: "certificate-expired", due: true},
		{name: "of another domain", age: day, life: 90 * day, names: []string{"other.example"}, want: "certificate-pending", selfMade: true, due: true},
		{name: "without the app's host", age: day, life: 90 * day, names: []string{"chat.example"}, alsoWithApp: "app.example", due: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			store(t, dir, now.Add(-c.age), now.Add(c.life-c.age), c.names...)
			o := unreachable()
			if c.alsoWithApp != "" {
				o.Names = []string{c.alsoWithApp}
			}
			warnings := health.NewWarnings(time.Now)
			s, err := Open(Options{Domain: "chat.example", Dir: dir, ACME: o, Warnings: warnings})
			if err != nil {
				t.Fatal(err)
			}
			var ids []string
			for _, w := range warnings.Active() {
				ids = append(ids, w.ID)
			}
			if got := strings.Join(ids, " "); got != c.want {
				t.Errorf("warnings %q, want %q", got, c.want)
			}
			if got := s.CAFile() != ""; got != c.selfMade {
				t.Errorf("self-made: %v", got)
			}
			if got := s.due() <= 0; got != c.due {
				t.Errorf("due in %v", s.due())
			}
		})
	}
}

func TestDamagedStoreIsReplaced(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	store(t, dir, now, now.Add(time.Hour), "chat.example")
	files, err := filepath.Glob(filepath.Join(dir, "acme", "*", acmeCertName))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	if err := os.WriteFile(files[0], []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open(Options{Domain: "chat.example", Dir: dir, ACME: unreachable()})
	if err != nil || s.CAFile() == "" || s.due() > 0 {
		t.Errorf("%v, authority %q, due in %v", err, s.CAFile(), s.due())
	}
}

// Renewal that fails for months: the last certificate stays, and the warnings
// say how it stands.
func TestRenewalFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const day = 24 * time.Hour
		dir := t.TempDir()
		now := time.Now()
		store(t, dir, now, now.Add(90*day), "chat.example")
		warnings := health.NewWarnings(time.Now)
		o := unreachable()
		o.Roots = filepath.Join(dir, "missing.pem") // fails without a network, which has no fake time
		s, err := Open(Options{Domain: "chat.example", Dir: dir, ACME: o, Warnings: warnings})
		if err != nil {
			t.Fatal(err)
		}
		first := s.Current().Leaf
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { s.Watch(ctx); close(done) }()
		for _, c := range []struct {
			at   time.Duration
			want string
		}{
			{59 * day, ""},
			{61 * day, "certificate-not-renewed"},
			{77 * day, "certificate-expiring certificate-not-renewed"},
			{91 * day, "certificate-expired certificate-not-renewed"},
		} {
			time.Sleep(c.at - time.Since(now)) // fake time
			synctest.Wait()
			var ids []string
			for _, w := range warnings.Active() {
				ids = append(ids, w.ID)
			}
			if got := strings.Join(ids, " "); got != c.want {
				t.Errorf("on day %d: %q, want %q", c.at/day, got, c.want)
			}
		}
		if !s.Current().Leaf.Equal(first) {
			t.Error("the last good certificate is gone")
		}
		cancel()
		<-done
	})
}

func TestAnswers(t *testing.T) {
	s, err := Open(Options{Domain: "chat.example", Dir: t.TempDir(), ACME: unreachable()})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(path string) (int, string) {
		w := httptest.NewRecorder()
		s.Challenge().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		return w.Code, w.Body.String()
	}
	hello := func(name string, protocols ...string) (*tls.Config, error) {
		return s.TLS().GetConfigForClient(&tls.ClientHelloInfo{ServerName: name, SupportedProtos: protocols})
	}
	client := &acme.Client{Key: newKey(t)}
	a := &s.issuer.answers
	for _, typ := range []string{HTTP01, TLSALPN01} {
		if err := a.prepare(client, &acme.Challenge{Type: typ, Token: "token"}, "chat.example"); err != nil {
			t.Fatal(err)
		}
	}
	if code, text := ask(ChallengePath + "token"); code != http.StatusOK || !strings.HasPrefix(text, "token.") {
		t.Errorf("http-01: %d %q", code, text)
	}
	for _, path := range []string{ChallengePath + "other", ChallengePath, "/"} {
		if code, _ := ask(path); code != http.StatusNotFound {
			t.Errorf("%s: %d", path, code)
		}
	}
	cfg, err := hello("Chat.Example", "acme-tls/1")
	if err != nil || cfg == nil || cfg.NextProtos[0] != "acme-tls/1" {
		t.Errorf("tls-alpn-01: %v, %v", cfg, err)
	}
	if _, err := hello("other.example", "acme-tls/1"); err == nil {
		t.Error("tls-alpn-01 for another name was answered")
	}
	for _, protocols := range [][]string{nil, {"xmpp-client"}, {"acme-tls/1", "http/1.1"}} {
		if cfg, err := hello("chat.example", protocols...); cfg != nil || err != nil {
			t.Errorf("%v: %v, %v", protocols, cfg, err)
		}
	}
	a.forget()
	if code, _ := ask(ChallengePath + "token"); code != http.StatusNotFound {
		t.Error("the answer stays after the order")
	}
	if _, err := hello("chat.example", "acme-tls/1"); err == nil {
		t.Error("the certificate stays after the order")
	}
}

// A domain that is not ASCII has its A-labels in certificates.
func TestInternationalDomain(t *testing.T) {
	s, err := Open(Options{Domain: "bücher.example", Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Current().Leaf.VerifyHostname("xn--bcher-kva.example"); err != nil {
		t.Error(err)
	}
}
