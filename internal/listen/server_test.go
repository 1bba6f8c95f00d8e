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
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"bavard/internal/listen/listentest"
	"bavard/internal/stanza"
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

// webServer serves the WebSocket on real loopback.
func webServer(t *testing.T, cfg Config) (*Server, *httptest.Server) {
	t.Helper()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(s.WebSocket())
	t.Cleanup(func() {
		web.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	return s, web
}

func TestWebSocketHandshake(t *testing.T) {
	_, web := webServer(t, Config{Domain: "localhost", Handle: echo, Origins: []string{"https://chat.example.org"}})
	for _, c := range []struct {
		name, origin, protocol string
		want                   int
	}{
		{"no origin", "", "xmpp", http.StatusSwitchingProtocols},
		{"same host", web.URL, "xmpp", http.StatusSwitchingProtocols},
		{"configured", "https://chat.example.org", "xmpp", http.StatusSwitchingProtocols},
		{"several protocols", "", "other, XMPP", http.StatusSwitchingProtocols},
		{"another site", "https://evil.example", "xmpp", http.StatusForbidden},
		{"another scheme", "http://chat.example.org", "xmpp", http.StatusForbidden},
		{"a longer name", "https://chat.example.org.evil.example", "xmpp", http.StatusForbidden},
		{"null", "null", "xmpp", http.StatusForbidden},
		{"no protocol", "", "", http.StatusBadRequest},
		{"another protocol", "", "mqtt", http.StatusBadRequest},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, web.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Connection", "Upgrade")
			r.Header.Set("Upgrade", "websocket")
			r.Header.Set("Sec-WebSocket-Version", "13")
			r.Header.Set("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
			r.Header.Set("Sec-WebSocket-Extensions", "permessage-deflate")
			if c.origin != "" {
				r.Header.Set("Origin", c.origin)
			}
			if c.protocol != "" {
				r.Header.Set("Sec-WebSocket-Protocol", c.protocol)
			}
			resp, err := http.DefaultTransport.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if resp.StatusCode != c.want {
				t.Errorf("status %d, want %d", resp.StatusCode, c.want)
			}
			if x := resp.Header.Get("Sec-WebSocket-Extensions"); x != "" {
				t.Errorf("extension %q", x)
			}
		})
	}
}

func TestWebSocketFull(t *testing.T) {
	s, web := webServer(t, Config{Domain: "localhost", Handle: echo, Limits: Limits{Connections: 1, Strangers: 1, StrangersPerBlock: 1}})
	dial := func() (*websocket.Conn, *http.Response, error) {
		return websocket.Dial(t.Context(), web.URL, &websocket.DialOptions{Subprotocols: []string{"xmpp"}})
	}
	a, _, err := dial()
	if err != nil {
		t.Fatal(err)
	}
	_, resp, err := dial()
	if err == nil || resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("%v, %v", resp, err)
	}
	_ = a.CloseNow()
	if s.Stats().RefusedFull != 1 {
		t.Errorf("%+v", s.Stats())
	}
}

// TestWebSocketMessages: what a client may send badly.
func TestWebSocketMessages(t *testing.T) {
	open := "<open xmlns='" + stanza.NSFraming + "' to='localhost' version='1.0'/>"
	for _, c := range []struct {
		name, want string
		send       func(p *peer)
	}{
		{"binary", "bad-format", func(p *peer) {
			_ = p.ws.Write(context.Background(), websocket.MessageBinary, []byte(open))
		}},
		{"a stream tag", "not-well-formed", func(p *peer) {
			_ = p.send("<stream:stream xmlns='jabber:client' xmlns:stream='" + stanza.NSStream + "' to='localhost' version='1.0'>")
		}},
		{"no open", "invalid-namespace", func(p *peer) { _ = p.send("<presence xmlns='jabber:client'/>") }},
		{"a declaration", "restricted-xml", func(p *peer) { _ = p.send("<?xml version='1.0'?>" + open) }},
		{"two elements", "not-well-formed", func(p *peer) { _ = p.send(open + open) }},
		{"half an element", "not-well-formed", func(p *peer) { _ = p.send("<open xmlns='") }},
		{"too large", "policy-violation", func(p *peer) {
			_ = p.send("<open xmlns='" + stanza.NSFraming + "' to='" + strings.Repeat("x", 20_000) + "'/>")
		}},
		{"empty, then well", "open", func(p *peer) {
			_ = p.send("")
			_ = p.send(" \n")
			_ = p.send(open)
		}},
		{"fragments", "open", func(p *peer) {
			w, err := p.ws.Writer(context.Background(), websocket.MessageText)
			if err != nil {
				p.t.Error(err)
				return
			}
			for _, part := range strings.SplitAfter(open, " ") {
				_, _ = io.WriteString(w, part)
			}
			_ = w.Close()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, Config{Handle: echo})
				p := w.dial(WebSocket)
				go c.send(p)
				got := p.read()
				if c.want != "open" {
					got += p.read()
				}
				if !strings.Contains(got, c.want) {
					t.Errorf("got %s, want %s", got, c.want)
				}
				p.cut()
				w.end()
			})
		})
	}
}

// TestWebSocketPing: control frames are answered while a Read waits.
func TestWebSocketPing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{Handle: echo})
		p := w.dial(WebSocket)
		_ = p.open()
		if got := p.read(); got != "open" {
			t.Fatal(got)
		}
		time.Sleep(10 * writeTimeout) // the deadline of the last write has passed
		ctx := p.ws.CloseRead(context.Background())
		if err := p.ws.Ping(ctx); err != nil {
			t.Error(err)
		}
		p.cut()
		w.end()
	})
}

// counted counts writes.
type counted struct {
	net.Conn
	writes atomic.Int32
}

func (c *counted) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

type countedListener struct {
	*listentest.Network
	last chan *counted
}

func (l countedListener) Accept() (net.Conn, error) {
	conn, err := l.Network.Accept()
	if err != nil {
		return nil, err
	}
	c := &counted{Conn: conn}
	l.last <- c
	return c, nil
}

// TestOneWrite: several elements go out with one system call.
func TestOneWrite(t *testing.T) {
	for _, framing := range []Framing{TCP, WebSocket} {
		synctest.Test(t, func(t *testing.T) {
			streams := make(chan *Stream, 1)
			w := newWorld(t, Config{Handle: func(s *Stream) {
				_, _ = s.ReadOpen()
				_ = s.WriteOpen(Header{From: "localhost"})
				streams <- s
				_, _ = s.Read()
			}})
			l := countedListener{listentest.New(), make(chan *counted, 1)}
			if framing == TCP {
				w.tcp = l.Network
				go func() { _ = w.server.ServeTCP(l) }()
			} else {
				w.http = l.Network
				go func() { _ = w.web.Serve(l) }()
			}
			p := w.dial(framing)
			conn := <-l.last
			_ = p.open()
			p.read()
			s := <-streams
			before := conn.writes.Load()
			var elems [][]byte
			for range 20 {
				elems = append(elems, framing.Append(nil, message(strings.Repeat("x", 500))))
			}
			go func() {
				for range elems {
					p.read()
				}
			}()
			if err := s.Write(elems...); err != nil {
				t.Error(err)
			}
			if n := conn.writes.Load() - before; n != 1 {
				t.Errorf("%s: %d writes", framing, n)
			}
			synctest.Wait()
			// Larger than what is joined: still whole.
			go func() { _ = s.Write(elems[0], framing.Append(nil, message(strings.Repeat("y", 200_000))), elems[1]) }()
			for _, want := range []int{500, 200_000, 500} {
				if got := p.read(); len(got) < want || len(got) > want+100 {
					t.Errorf("%s: element of %d bytes, want %d", framing, len(got), want)
				}
			}
			p.cut()
			w.end()
		})
	}
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
