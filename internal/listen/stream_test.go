// SPDX-License-Identifier: Apache-2.0

package listen

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"bavard/internal/listen/listentest"
	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// world is a server on networks in memory, to be used in a synctest bubble.
type world struct {
	t      *testing.T
	server *Server
	tcp    *listentest.Network
	http   *listentest.Network
	web    *http.Server
}

func newWorld(t *testing.T, cfg Config) *world {
	t.Helper()
	cfg.Domain, cfg.Log = "localhost", slog.New(slog.DiscardHandler)
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, server: s, tcp: listentest.New(), http: listentest.New()}
	w.web = &http.Server{Handler: s.WebSocket()} // in memory
	go func(l net.Listener) { _ = w.server.ServeTCP(l) }(w.tcp)
	go func(l net.Listener) { _ = w.web.Serve(l) }(w.http)
	return w
}

// end stops the world and checks that nothing is left.
func (w *world) end() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_ = w.web.Close()
	if err := w.server.Shutdown(ctx); err != nil {
		w.t.Error("streams did not end:", err)
	}
	if s := w.server.Stats(); s.Open != 0 || s.Strangers != 0 {
		w.t.Errorf("left open: %+v", s)
	}
}

// peer is the client's side.
type peer struct {
	t       *testing.T
	framing Framing
	conn    net.Conn
	reader  *xmlstream.Reader
	ws      *websocket.Conn
	served  chan struct{} // closed when the server's side has returned
}

func (w *world) dial(framing Framing) *peer {
	w.t.Helper()
	p := &peer{t: w.t, framing: framing}
	if framing == TCP {
		conn, err := w.tcp.Dial()
		if err != nil {
			w.t.Fatal(err)
		}
		p.conn, p.reader = conn, xmlstream.NewReader(conn, xmlstream.AfterAuth)
		return p
	}
	var err error
	p.ws, err = w.dialWebSocket(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	p.ws.SetReadLimit(-1)
	return p
}

func (w *world) dialWebSocket(h http.Header) (*websocket.Conn, error) {
	transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return w.http.Dial() }}
	defer transport.CloseIdleConnections()
	ws, _, err := websocket.Dial(context.Background(), "ws://localhost/", &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: transport}, Subprotocols: []string{"xmpp"}, HTTPHeader: h,
	})
	return ws, err
}

func (p *peer) send(s string) error {
	if p.framing == TCP {
		_, err := io.WriteString(p.conn, s)
		return err
	}
	return p.ws.Write(context.Background(), websocket.MessageText, []byte(s))
}

func (p *peer) open() error {
	if p.framing == TCP {
		return p.send("<stream:stream xmlns='jabber:client' xmlns:stream='" + stanza.NSStream + "' to='localhost' version='1.0'>")
	}
	return p.send("<open xmlns='" + stanza.NSFraming + "' to='localhost' version='1.0'/>")
}

// read gives the next element, the header too, as text; "close" for the end.
func (p *peer) read() string {
	var e *xmlstream.Element
	var err error
	if p.framing == TCP {
		if e, err = p.reader.Read(); err != nil && strings.Contains(err.Error(), "before ReadOpen") {
			e, err = p.reader.ReadOpen()
		}
	} else {
		var data []byte
		if _, data, err = p.ws.Read(context.Background()); err == nil {
			e, err = xmlstream.ParseElement(data, xmlstream.AfterAuth)
		}
	}
	switch {
	case errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF), e.Is(stanza.NSFraming, "close"):
		return "close"
	case err != nil:
		return "gone"
	case e.Is(stanza.NSStream, "stream"), e.Is(stanza.NSFraming, "open"):
		return "open"
	}
	return string(xmlstream.AppendElement(nil, e, stanza.NSClient))
}

func (p *peer) cut() {
	if p.framing == TCP {
		_ = p.conn.Close()
	} else {
		_ = p.ws.CloseNow()
	}
}

// run runs a test over each framing, on fake time. serve is the server's side.
func run(t *testing.T, serve func(t *testing.T, s *Stream), f func(t *testing.T, p *peer)) {
	for _, framing := range []Framing{TCP, WebSocket} {
		t.Run(framing.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				served := make(chan struct{})
				w := newWorld(t, Config{Handle: func(s *Stream) {
					defer close(served)
					serve(t, s)
				}})
				p := w.dial(framing)
				p.served = served
				f(t, p)
				p.cut()
				w.end()
			})
		})
	}
}

func opened(t *testing.T, s *Stream) {
	t.Helper()
	h, err := s.ReadOpen()
	if err != nil || h.To != "localhost" || h.Version != "1.0" {
		t.Error(h, err)
	}
	if err := s.WriteOpen(Header{From: "localhost", ID: NewID(), Version: "1.0"}); err != nil {
		t.Error(err)
	}
}

func message(body string) *xmlstream.Element {
	return xmlstream.New(stanza.NSClient, "message").Add(xmlstream.NewText(stanza.NSClient, "body", body))
}

func TestConversation(t *testing.T) {
	run(t, func(t *testing.T, s *Stream) {
		opened(t, s)
		if err := s.WriteOpen(Header{}); err == nil {
			t.Error("a second header was sent")
		}
		e, err := s.Read()
		if err != nil {
			t.Error(err)
			return
		}
		f := s.Framing()
		if err := s.Write(f.Append(nil, e), f.Append(nil, message("two")), f.Append(nil, message("three"))); err != nil {
			t.Error(err)
		}
		s.Restart()
		opened(t, s)
		if _, err := s.Read(); !errors.Is(err, io.EOF) {
			t.Errorf("got %v, want the end of the stream", err)
		}
		s.Close(nil)
		if err := s.WriteElement(message("late")); err == nil {
			t.Error("wrote after the end")
		}
	}, func(t *testing.T, p *peer) {
		expect := func(want string) {
			t.Helper()
			if got := p.read(); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		_ = p.open()
		expect("open")
		_ = p.send("<message xmlns='jabber:client'><body>one &lt;</body></message>")
		expect("<message><body>one &lt;</body></message>")
		expect("<message><body>two</body></message>")
		expect("<message><body>three</body></message>")
		if p.framing == TCP {
			p.reader = xmlstream.NewReader(p.conn, xmlstream.AfterAuth)
		}
		_ = p.open()
		expect("open")
		if p.framing == TCP {
			_ = p.send("</stream:stream>")
		} else {
			_ = p.send("<close xmlns='" + stanza.NSFraming + "'/>")
		}
		expect("close")
		expect(map[Framing]string{TCP: "close", WebSocket: "gone"}[p.framing])
	})
}

// TestErrorBeforeHeader: the header comes first (RFC 6120 §4.9.1.1).
func TestErrorBeforeHeader(t *testing.T) {
	run(t, func(_ *testing.T, s *Stream) {
		s.Close(stanza.StreamErr(stanza.StreamSystemShutdown, ""))
		s.Close(nil) // no more
	}, func(t *testing.T, p *peer) {
		for _, want := range []string{
			"open", "<stream:error><system-shutdown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>", "close",
		} {
			if got := p.read(); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
	})
}

func TestWritesDoNotMix(t *testing.T) {
	const writers, each = 8, 50
	run(t, func(t *testing.T, s *Stream) {
		opened(t, s)
		var wg sync.WaitGroup
		for i := range writers {
			wg.Go(func() {
				for j := range each {
					body := fmt.Sprintf("%d %d %s", i, j, strings.Repeat("x", 1+j*7%100))
					a := s.Framing().Append(nil, message(body))
					if err := s.Write(a, a); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		_, _ = s.Read()
	}, func(t *testing.T, p *peer) {
		_ = p.open()
		if got := p.read(); got != "open" {
			t.Fatal(got)
		}
		last := map[string]string{}
		for range writers * each {
			a, b := p.read(), p.read()
			if a != b || !strings.HasPrefix(a, "<message><body>") {
				t.Fatalf("got %q and %q", a, b)
			}
			writer, rest, _ := strings.Cut(a, " ")
			if n := fmt.Sprintf("%03s", strings.Fields(rest)[0]); n <= last[writer] && last[writer] != "" {
				t.Errorf("%s after %s", n, last[writer])
			} else {
				last[writer] = n
			}
		}
	})
}

// TestPeerThatDoesNotRead: a write is bounded, what follows fails, and the
// stream can be closed in bounded time.
func TestPeerThatDoesNotRead(t *testing.T) {
	run(t, func(t *testing.T, s *Stream) {
		opened(t, s)
		begun := time.Now()
		err := s.WriteElement(message("hello"))
		if took := time.Since(begun); err == nil || took != writeTimeout {
			t.Errorf("%v after %v", err, took)
		}
		if again := s.WriteElement(message("hello")); again == nil || time.Since(begun) != writeTimeout {
			t.Errorf("a broken stream took a write: %v", again)
		}
		s.Close(stanza.StreamErr(stanza.StreamConnectionTimeout, ""))
		if took := time.Since(begun); took > writeTimeout+closeTimeout {
			t.Errorf("closed after %v", took)
		}
	}, func(_ *testing.T, p *peer) {
		_ = p.open()
		p.read()
		<-p.served
	})
}

// TestCloseDuringWrite: closing does not wait for a write under way.
func TestCloseDuringWrite(t *testing.T) {
	run(t, func(t *testing.T, s *Stream) {
		opened(t, s)
		go func() { _ = s.WriteElement(message("hello")) }()
		synctest.Wait()
		begun := time.Now()
		s.Close(stanza.StreamErr(stanza.StreamConflict, ""))
		if took := time.Since(begun); took > closeTimeout {
			t.Errorf("closed after %v", took)
		}
	}, func(_ *testing.T, p *peer) {
		_ = p.open()
		p.read()
		<-p.served
	})
}

// TestCloseEndsRead: a Read under way ends when another goroutine closes.
func TestCloseEndsRead(t *testing.T) {
	run(t, func(t *testing.T, s *Stream) {
		opened(t, s)
		go s.Close(stanza.StreamErr(stanza.StreamConflict, ""))
		begun := time.Now()
		if _, err := s.Read(); err == nil {
			t.Error("read something")
		}
		if took := time.Since(begun); took > closeTimeout {
			t.Errorf("read ended after %v", took)
		}
	}, func(t *testing.T, p *peer) {
		_ = p.open()
		p.read()
		if got := p.read(); !strings.Contains(got, "conflict") {
			t.Error(got)
		}
		<-p.served
	})
}

func TestIdleTimeout(t *testing.T) {
	run(t, func(t *testing.T, s *Stream) {
		opened(t, s)
		s.SetIdleTimeout(time.Minute)
		begun := time.Now()
		_, err := s.Read()
		if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begun) != 2*time.Minute+30*time.Second {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		if e := StreamError(err); e == nil || e.Condition != stanza.StreamConnectionTimeout {
			t.Errorf("answered with %v", e)
		}
		s.Close(StreamError(err))
	}, func(t *testing.T, p *peer) {
		_ = p.open()
		p.read()
		for range 2 { // keepalives count
			time.Sleep(45 * time.Second)
			_ = p.send(" ")
		}
		if got := p.read(); !strings.Contains(got, "connection-timeout") {
			t.Error(got)
		}
		p.read()
		<-p.served
	})
}

// TestDeadline bounds all, however busy the client is, and can be lifted.
func TestDeadline(t *testing.T) {
	run(t, func(t *testing.T, s *Stream) {
		begun := time.Now()
		s.SetDeadline(begun.Add(10 * time.Second))
		s.SetIdleTimeout(time.Minute)
		opened(t, s)
		for {
			if _, err := s.Read(); err != nil {
				if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begun) != 10*time.Second {
					t.Errorf("%v after %v", err, time.Since(begun))
				}
				break
			}
		}
		s.SetDeadline(time.Time{})
		if _, err := s.Read(); err != nil {
			t.Error(err)
		}
	}, func(_ *testing.T, p *peer) {
		_ = p.open()
		p.read()
		for range 12 {
			_ = p.send("<presence xmlns='jabber:client'/>")
			time.Sleep(time.Second)
		}
		<-p.served
	})
}

func TestLimits(t *testing.T) {
	big := "<message xmlns='jabber:client'><body>" + strings.Repeat("x", 20_000) + "</body></message>"
	run(t, func(t *testing.T, s *Stream) {
		opened(t, s)
		s.SetLimits(xmlstream.AfterAuth)
		if _, err := s.Read(); err != nil {
			t.Error(err)
		}
		s.SetLimits(xmlstream.BeforeAuth)
		_, err := s.Read()
		e := StreamError(err)
		if e == nil || e.Condition != stanza.StreamPolicyViolation {
			t.Errorf("got %v, want policy-violation", err)
		}
		s.Close(e)
	}, func(t *testing.T, p *peer) {
		_ = p.open()
		p.read()
		_ = p.send(big)
		go func() { _ = p.send(big) }()
		if got := p.read(); !strings.Contains(got, "policy-violation") {
			t.Error(got)
		}
	})
}
