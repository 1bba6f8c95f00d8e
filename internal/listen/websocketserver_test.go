// SPDX-License-Identifier: Apache-2.0

package listen

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"bavard/internal/listen/listentest"
	"bavard/internal/stanza"
)

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
