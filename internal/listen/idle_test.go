// SPDX-License-Identifier: Apache-2.0

package listen

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"runtime/metrics"
	"strings"
	"testing"
	"time"

	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// kinds of connections that a client can make.
var kinds = []string{"tcp", "tls", "websocket"}

// onSockets is a server on real sockets: in memory there is no waiting without
// a buffer.
type onSockets struct {
	*Server
	address string
	web     *http.Server
}

// newOnSockets serves connections of a kind, which rest after rest.
func newOnSockets(t testing.TB, kind string, rest time.Duration, handle func(*Stream)) *onSockets {
	t.Helper()
	s, err := New(Config{Domain: "localhost", TLS: always(selfSigned(t)), Log: slog.New(slog.DiscardHandler), Handle: handle})
	if err != nil {
		t.Fatal(err)
	}
	s.pools.restAfter = rest
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &onSockets{s, l.Addr().String(), &http.Server{Handler: s.WebSocket()}} // in a test
	switch kind {
	case "tcp":
		go func() { _ = s.ServeTCP(l) }()
	case "tls":
		go func() { _ = s.ServeTLS(l) }()
	case "websocket":
		go func() { _ = w.web.Serve(l) }()
	}
	return w
}

func (w *onSockets) stop(t testing.TB) {
	t.Helper()
	_ = w.web.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := w.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if st := w.Stats(); st.Open != 0 || st.Idle != 0 {
		t.Errorf("left open: %+v", st)
	}
}

// untilIdle waits until so many connections are idle.
func (w *onSockets) untilIdle(t testing.TB, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for w.Stats().Idle != n {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%d of %d connections are idle", w.Stats().Idle, n)
		}
	}
}

// echoing answers elements until an error, which it sends to ended.
func echoing(ended chan<- error) func(*Stream) {
	return func(s *Stream) {
		if _, err := s.ReadOpen(); err != nil {
			ended <- err
			return
		}
		_ = s.WriteOpen(Header{From: "localhost"})
		s.SetLimits(xmlstream.AfterAuth)
		s.Receive(func(e *xmlstream.Element, err error) bool {
			if err != nil {
				ended <- err
				return false
			}
			return s.WriteElement(e) == nil
		})
	}
}

// TestIdleConnectionGoesOn: what comes after a rest is read as if there had
// been none, in whatever pieces it comes.
func TestIdleConnectionGoesOn(t *testing.T) {
	const one = "<message to='a@localhost'><body>one</body></message>"
	large := "<message to='a@localhost'><body>" + strings.Repeat("large ", 20_000) + "</body></message>"
	for _, kind := range []string{"tcp", "tls"} {
		t.Run(kind, func(t *testing.T) {
			ended := make(chan error, 1)
			w := newOnSockets(t, kind, 2*time.Millisecond, echoing(ended))
			conn, err := connect(kind, w.address)
			if err != nil {
				t.Fatal(err)
			}
			p := &peer{t: t, framing: TCP, conn: conn, reader: xmlstream.NewReader(conn, xmlstream.AfterAuth)}
			expect := func(want ...string) {
				t.Helper()
				for _, want := range want {
					if got := p.read(); got != want {
						t.Fatalf("got %.80q, want %.80q", got, want)
					}
				}
			}
			expect("open", "<presence/>")
			w.untilIdle(t, 1)
			for _, send := range []string{one, one + one + one, large, one[:1], one[1:20], one[20:], " ", one + large + one[:40], one[40:]} {
				if err := p.send(send); err != nil {
					t.Fatal(err)
				}
				switch send {
				case one, one[20:], one[40:]:
					expect(one)
				case one + one + one:
					expect(one, one, one)
				case large:
					expect(large)
				case one + large + one[:40]:
					expect(one, large)
				}
				w.untilIdle(t, 1)
			}
			for i := range one {
				if err := p.send(one[i : i+1]); err != nil {
					t.Fatal(err)
				}
				w.untilIdle(t, 1)
			}
			expect(one)
			if err := p.send("</stream:stream>"); err != nil {
				t.Fatal(err)
			}
			expect("close")
			if err := <-ended; err != io.EOF {
				t.Error(err)
			}
			w.stop(t)
		})
	}
}

// TestIdleConnectionEnds: an idle connection notices when it is cut, when its
// time is over, and when the server closes it.
func TestIdleConnectionEnds(t *testing.T) {
	for _, kind := range kinds {
		for name, end := range map[string]func(*onSockets, net.Conn, *Stream){
			"cut":     func(_ *onSockets, c net.Conn, _ *Stream) { _ = c.Close() },
			"timeout": func(_ *onSockets, _ net.Conn, s *Stream) { s.SetIdleTimeout(20 * time.Millisecond) },
			"closed":  func(_ *onSockets, c net.Conn, s *Stream) { go drainAll(c); s.Close(nil) },
		} {
			t.Run(kind+"/"+name, func(t *testing.T) {
				ended, streams := make(chan error, 1), make(chan *Stream, 1)
				handle := echoing(ended)
				w := newOnSockets(t, kind, time.Millisecond, func(s *Stream) {
					streams <- s
					s.SetIdleTimeout(time.Hour)
					handle(s)
				})
				conn, err := connect(kind, w.address)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				w.untilIdle(t, 1)
				end(w, conn, <-streams)
				err = <-ended
				if e := StreamError(err); name == "timeout" && (e == nil || e.Condition != stanza.StreamConnectionTimeout) || err == nil {
					t.Errorf("%v", err)
				}
				_ = conn.Close()
				w.stop(t)
			})
		}
	}
}

func drainAll(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

// TestIdleCost bounds what a connection costs on which nothing happens: heap
// and stacks of the server, the client's socket included, which is about 0.6
// KiB. An idle server gives the rest of its memory back, so that this is what
// the operator's guide promises.
func TestIdleCost(t *testing.T) {
	const conns = 300
	for kind, most := range map[string]int{"tcp": 5 << 10, "tls": 19 << 10, "websocket": 8 << 10} {
		if raced {
			most += 4 << 10
		}
		t.Run(kind, func(t *testing.T) {
			if n := idleCost(t, kind, conns); n > most {
				t.Errorf("%d bytes a connection, more than %d", n, most)
			} else {
				t.Logf("%d bytes a connection, bound %d", n, most)
			}
		})
	}
}

// idleCost gives the bytes that an idle connection takes, after a handshake and
// an element, as in a login.
func idleCost(t testing.TB, kind string, conns int) int {
	w := newOnSockets(t, kind, 50*time.Millisecond, func(s *Stream) {
		_, _ = s.ReadOpen()
		_ = s.WriteOpen(Header{From: "localhost"})
		s.Authenticated()
		s.SetIdleTimeout(time.Hour)
		s.Receive(func(_ *xmlstream.Element, err error) bool { return err == nil })
	})
	before := memory()
	clients := make([]net.Conn, conns)
	for i := range clients {
		var err error
		if clients[i], err = connect(kind, w.address); err != nil {
			t.Fatal(err)
		}
	}
	w.untilIdle(t, conns)
	cost := int(int64(memory()-before)) / conns
	for _, c := range clients {
		_ = c.Close()
	}
	w.stop(t)
	return cost
}

// memory gives the bytes of heap objects and stacks in use.
func memory() uint64 {
	runtime.GC()
	runtime.GC() // pools are emptied by the second
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64() + sample[1].Value.Uint64()
}

// connect says enough to be heard and keeps nothing but the socket, but for
// TLS, whose client costs as much as the server.
func connect(kind, addr string) (net.Conn, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	const presence = "<presence/>"
	hello := "<stream:stream xmlns='jabber:client' xmlns:stream='" + stanza.NSStream + "' to='localhost' version='1.0'>" + presence
	switch kind {
	case "tls":
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) // in a test
	case "websocket":
		_, err = fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: xmpp\r\n\r\n")
		if err != nil {
			return nil, err
		}
		if _, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil { // none
			return nil, err
		}
		hello = frame("<open xmlns='"+stanza.NSFraming+"' to='localhost' version='1.0'/>") + frame("<presence xmlns='jabber:client'/>")
	}
	_, err = io.WriteString(conn, hello)
	return conn, err
}

// frame makes a masked text frame with a zero key.
func frame(s string) string {
	return "\x81" + string([]byte{0x80 | byte(len(s))}) + "\x00\x00\x00\x00" + s
}
