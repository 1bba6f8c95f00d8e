// SPDX-License-Identifier: Apache-2.0

package listen

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"bavard/internal/listen/listentest"
	"bavard/internal/xmlstream"
)

// echo answers elements until the client leaves.
func echo(s *Stream) {
	if _, err := s.ReadOpen(); err != nil {
		s.Close(StreamError(err))
		return
	}
	_ = s.WriteOpen(Header{From: "localhost"})
	for {
		e, err := s.Read()
		if err != nil {
			s.Close(StreamError(err))
			return
		}
		_ = s.WriteElement(e)
	}
}

// shortage is a listener that is out of file descriptors a few times.
type shortage struct {
	*listentest.Network
	left atomic.Int32
}

func (s *shortage) Accept() (net.Conn, error) {
	if s.left.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return s.Network.Accept()
}

func TestAcceptSurvivesShortage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{Handle: echo})
		l := &shortage{Network: listentest.New()}
		l.left.Store(12)
		ended := make(chan error, 1)
		go func() { ended <- w.server.ServeTCP(l) }()
		begun := time.Now()
		conn, err := l.Dial()
		if err != nil {
			t.Fatal(err)
		}
		// 5 ms doubled up to a second: neither a busy loop nor given up.
		if took := time.Since(begun); took < 4*time.Second || took > 10*time.Second {
			t.Errorf("accepted after %v", took)
		}
		if n := w.server.Stats().AcceptErrors; n != 12 {
			t.Errorf("%d errors counted", n)
		}
		_ = conn.Close()
		w.end()
		if err := <-ended; !errors.Is(err, ErrStopped) {
			t.Error(err)
		}
	})
}

func TestOverLimitIsCutAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{Handle: echo, Limits: Limits{Connections: 10, Strangers: 10, StrangersPerBlock: 1}})
		from := netip.MustParseAddrPort("192.0.2.1:1")
		a, err := w.tcp.DialFrom(from)
		if err != nil {
			t.Fatal(err)
		}
		b, err := w.tcp.DialFrom(from)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := b.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("read %d, %v; want the end without a word", n, err)
		}
		_ = a.Close()
		synctest.Wait()
		c, err := w.tcp.DialFrom(from)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, "<"); err != nil {
			t.Error("the place was not given back:", err)
		}
		_ = c.Close()
		w.end()
	})
}

func TestShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		known := make(chan *Stream, 1)
		w := newWorld(t, Config{Handle: func(s *Stream) {
			if _, err := s.ReadOpen(); err != nil {
				return
			}
			s.Authenticated()
			known <- s
			_, _ = s.Read()
		}})
		stranger, member := w.dial(TCP), w.dial(TCP)
		_ = member.open()
		session := <-known
		ended := make(chan error, 1)
		go func() { ended <- w.server.Shutdown(context.Background()) }()
		if got := stranger.read() + stranger.read(); !strings.Contains(got, "system-shutdown") {
			t.Error(got)
		}
		synctest.Wait()
		select {
		case err := <-ended:
			t.Error("did not wait for the session:", err)
		default:
		}
		if _, err := w.tcp.Dial(); err == nil {
			t.Error("still accepts")
		}
		go session.Close(shutdownError())
		if got := member.read() + member.read(); !strings.Contains(got, "system-shutdown") {
			t.Error(got)
		}
		stranger.cut()
		member.cut()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		_ = w.web.Close()
	})
}

func TestShutdownCutsWhatIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{Handle: func(s *Stream) {
			s.Authenticated()
			_, _ = s.ReadOpen()
		}})
		p := w.dial(TCP)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := w.server.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if got := p.read(); got != "gone" {
			t.Error(got)
		}
		_ = w.web.Close()
	})
}

func selfSigned(t testing.TB) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

func always(cfg *tls.Config) func() *tls.Config { return func() *tls.Config { return cfg } }

func TestDirectTLS(t *testing.T) {
	states := make(chan tls.ConnectionState, 10)
	s, err := New(Config{Domain: "localhost", TLS: always(selfSigned(t)), Handle: func(s *Stream) {
		if !s.Secure() || !s.Loopback() || s.CanStartTLS() {
			t.Error("secure, on loopback and not to be upgraded, it should be")
		}
		state, ok := s.TLSState()
		if !ok {
			t.Error("no state of TLS")
		}
		states <- state
		echo(s)
	}})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.ServeTLS(l) }()
	for _, c := range []struct {
		name string
		cfg  *tls.Config
		ok   bool
	}{
		{"ALPN", &tls.Config{NextProtos: []string{"xmpp-client"}}, true},
		{"no ALPN", &tls.Config{}, true},
		{"TLS 1.2", &tls.Config{MaxVersion: tls.VersionTLS12}, true},
		{"TLS 1.1", &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, false},
		{"ALPN of another protocol", &tls.Config{NextProtos: []string{"h2"}}, false},
	} {
		c.cfg.InsecureSkipVerify = true // the test's own certificate
		conn, err := tls.Dial("tcp", l.Addr().String(), c.cfg)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
		if err != nil {
			continue
		}
		p := &peer{t: t, framing: TCP, conn: conn, reader: xmlstream.NewReader(conn, xmlstream.AfterAuth)}
		_ = p.open()
		if got := p.read(); got != "open" {
			t.Errorf("%s: %s", c.name, got)
		}
		if got := (<-states).NegotiatedProtocol; got != strings.Join(c.cfg.NextProtos, "") {
			t.Errorf("%s: protocol %q", c.name, got)
		}
		_ = p.send("</stream:stream>")
		if got := p.read(); got != "close" {
			t.Errorf("%s: %s", c.name, got)
		}
		_ = conn.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, ErrStopped) {
		t.Error(err)
	}
}

// TestHandshakeIsBounded: whoever connects for TLS and is silent is cut.
func TestHandshakeIsBounded(t *testing.T) {
	cfg := selfSigned(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{TLS: always(cfg), Handle: func(*Stream) { t.Error("handled") }})
		l := listentest.New()
		go func() { _ = w.server.ServeTLS(l) }()
		conn, err := l.Dial()
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) || time.Since(begun) != handshakeTimeout {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		w.end()
	})
}

func TestNewRefuses(t *testing.T) {
	if _, err := New(Config{}); err == nil {
		t.Error("no handler")
	}
	if _, err := New(Config{Handle: echo, Origins: []string{"["}}); err == nil {
		t.Error("a bad pattern")
	}
	s, err := New(Config{Handle: echo})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.ServeTLS(listentest.New()); err == nil {
		t.Error("direct TLS without a certificate")
	}
	s.Stop()
	if err := s.ServeTCP(listentest.New()); !errors.Is(err, ErrStopped) {
		t.Error(err)
	}
}
