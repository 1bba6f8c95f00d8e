// SPDX-License-Identifier: Apache-2.0

package negotiate

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"bavard/internal/listen"
	"bavard/internal/listen/listentest"
	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// bubble is a node on networks in memory, for fake time.
type bubble struct {
	*node
	tcp, http *listentest.Network
}

func newBubble(t testing.TB, o options) *bubble {
	t.Helper()
	b := &bubble{node: prepare(t, o), tcp: listentest.New(), http: listentest.New()}
	web := &http.Server{Handler: b.server.WebSocket()} // in memory
	go func() { _ = b.server.ServeTCP(b.tcp) }()
	go func() { _ = web.Serve(b.http) }()
	t.Cleanup(func() {
		_ = web.Close()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := b.server.Shutdown(ctx); err != nil {
			t.Error("streams did not end:", err)
		}
	})
	return b
}

func (b *bubble) dial(t testing.TB, framing listen.Framing) *device {
	t.Helper()
	d := &device{t: t, framing: framing, wait: time.Hour}
	if framing == listen.TCP {
		conn, err := b.tcp.Dial()
		if err != nil {
			t.Fatal(err)
		}
		d.conn, d.reader = conn, xmlstream.NewReader(conn, xmlstream.AfterAuth)
		t.Cleanup(func() { _ = conn.Close() })
		return d
	}
	transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return b.http.Dial() }}
	defer transport.CloseIdleConnections()
	ws, _, err := websocket.Dial(context.Background(), "ws://localhost/", &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: transport}, Subprotocols: []string{"xmpp"},
	})
	if err != nil {
		t.Fatal(err)
	}
	d.ws = ws
	t.Cleanup(func() { _ = ws.CloseNow() })
	return d
}

// onFakeTime runs a test over each framing in a bubble.
func onFakeTime(t *testing.T, o options, f func(t *testing.T, b *bubble, d *device)) {
	run(t, func(t *testing.T, framing listen.Framing) {
		synctest.Test(t, func(t *testing.T) {
			b := newBubble(t, o)
			f(t, b, b.dial(t, framing))
		})
	})
}

func (d *device) expect(want string) {
	d.t.Helper()
	var got string
	if want == "open" {
		got = d.listen("open")
	} else {
		got = d.listen("")
	}
	if !strings.Contains(got, want) {
		d.t.Errorf("got %s, want %s", got, want)
	}
}

func (d *device) begin() {
	d.t.Helper()
	d.open("to", "localhost", "version", "1.0")
	d.expect("open")
	d.expect("mechanisms")
}

// TestSilence: who says nothing is told goodbye after 10 s.
func TestSilence(t *testing.T) {
	onFakeTime(t, options{}, func(t *testing.T, b *bubble, d *device) {
		begun := time.Now()
		d.expect("open") // the header of who gives up comes first
		d.expect("connection-timeout")
		d.expect("close")
		if took := time.Since(begun); took != timeout {
			t.Errorf("cut after %v", took)
		}
		if err := <-b.ended; err == nil {
			t.Error("succeeded")
		}
	})
}

// TestSlowLoris: a byte now and then, or whole elements now and then, do not
// prolong a negotiation.
func TestSlowLoris(t *testing.T) {
	t.Run("bytes", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := newBubble(t, options{})
			d := b.dial(t, listen.TCP)
			begun := time.Now()
			go func() {
				for _, c := range "<?xml version='1.0'?><stream:stream xmlns='jabber:client' to='" {
					if _, err := io.WriteString(d.conn, string(c)); err != nil {
						return
					}
					time.Sleep(time.Second)
				}
			}()
			err := <-b.ended
			if took := time.Since(begun); took < timeout || took > timeout+5*time.Second || err == nil {
				t.Errorf("%v after %v", err, took)
			}
		})
	})
	t.Run("elements", func(t *testing.T) {
		onFakeTime(t, options{}, func(t *testing.T, b *bubble, d *device) {
			begun := time.Now()
			d.begin()
			go func() {
				for {
					if _, err := d.read(); err != nil {
						return
					}
				}
			}()
			for range 4 { // each would be answered; two failures are allowed
				time.Sleep(4 * time.Second)
				d.send("<auth xmlns='" + stanza.NSSASL + "' mechanism='PLAIN'/>")
			}
			err := <-b.ended
			if !strings.Contains(err.Error(), "timeout") || time.Since(begun) > timeout+10*time.Second {
				t.Errorf("%v after %v", err, time.Since(begun))
			}
		})
	})
	t.Run("a TLS handshake", func(t *testing.T) {
		cert := options{startTLS: true}
		synctest.Test(t, func(t *testing.T) {
			b := newBubble(t, cert)
			d := b.dial(t, listen.TCP)
			begun := time.Now()
			d.open("to", "localhost", "version", "1.0")
			d.expect("open")
			d.expect("starttls")
			d.send("<starttls xmlns='" + stanza.NSTLS + "'/>")
			d.expect("proceed")
			err := <-b.ended
			if took := time.Since(begun); took < timeout || took > timeout+5*time.Second || err == nil {
				t.Errorf("%v after %v", err, took)
			}
		})
	})
	t.Run("not reading", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := newBubble(t, options{})
			d := b.dial(t, listen.TCP)
			begun := time.Now()
			d.open("to", "localhost", "version", "1.0")
			err := <-b.ended
			if took := time.Since(begun); took < timeout || took > timeout+5*time.Second || err == nil {
				t.Errorf("%v after %v", err, took)
			}
		})
	})
}

// TestSignupTakesLonger: with a valid invite a person has a minute to type.
func TestSignupTakesLonger(t *testing.T) {
	onFakeTime(t, options{}, func(t *testing.T, b *bubble, d *device) {
		begun := time.Now()
		d.begin()
		d.send("<iq xmlns='jabber:client' type='set' id='1'><preauth xmlns='urn:xmpp:pars:0' token='TOKEN'/></iq>")
		d.expect("result")
		time.Sleep(50 * time.Second)
		d.send("<iq xmlns='jabber:client' type='get' id='2'><query xmlns='jabber:iq:register'/></iq>")
		d.expect("username")
		d.expect("connection-timeout")
		if took := time.Since(begun); took != signupTimeout {
			t.Errorf("cut after %v", took)
		}
		<-b.ended
	})
}

// TestStages: who has authenticated late has time to bind, but not for ever.
func TestStages(t *testing.T) {
	onFakeTime(t, options{}, func(t *testing.T, b *bubble, d *device) {
		d.begin()
		time.Sleep(9 * time.Second)
		d.act(b.node, "plain "+user+" "+password)
		d.expect("success")
		authenticated := time.Now()
		d.open("to", "localhost", "version", "1.0")
		d.expect("open")
		d.expect("bind")
		d.expect("connection-timeout")
		if took := time.Since(authenticated); took != timeout {
			t.Errorf("cut after %v", took)
		}
		<-b.ended
	})
}

// TestTooManyElements bounds what a stranger may ask.
func TestTooManyElements(t *testing.T) {
	onFakeTime(t, options{}, func(t *testing.T, b *bubble, d *device) {
		d.begin()
		for range maxElements {
			d.send("<auth xmlns='" + stanza.NSSASL + "' mechanism='PLAIN'/>")
			d.expect("challenge")
		}
		d.expect("policy-violation")
		<-b.ended
	})
}

// TestGiant: what is too large is refused before it is all there.
func TestGiant(t *testing.T) {
	for name, text := range map[string]string{
		"header":     "<stream:stream to='" + strings.Repeat("x", 1<<20),
		"name":       "<" + strings.Repeat("x", 1<<20),
		"attributes": "<stream:stream " + strings.Repeat("a='' ", 1<<18),
		"namespaces": "<stream:stream " + strings.Repeat("xmlns:a='b' ", 1<<17),
		"element":    header + "<iq type='" + strings.Repeat("x", 1<<20),
		"depth":      header + strings.Repeat("<a>", 1<<18),
		"text":       header + "<iq>" + strings.Repeat("x", 1<<20),
		"children":   header + "<iq>" + strings.Repeat("<a/>", 1<<18),
		"never ends": header + "<iq>" + strings.Repeat("<a></a>", 1<<17),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBubble(t, options{})
				d := b.dial(t, listen.TCP)
				go func() { _, _ = io.Copy(io.Discard, d.conn) }()
				n, err := io.WriteString(d.conn, text)
				if err == nil || n > 24<<10 {
					t.Errorf("%d bytes were read: %v", n, err)
				}
				if err := <-b.ended; listen.StreamError(err) == nil {
					t.Errorf("ended by %v", err)
				}
			})
		})
	}
}

const header = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='" + stanza.NSStream + "' to='localhost' version='1.0'>"

// script is a connection that delivers its text and then ends.
type script struct {
	io.Reader
	closed sync.Once
	done   chan struct{}
}

func (s *script) Write(p []byte) (int, error) { return len(p), nil }
func (s *script) LocalAddr() net.Addr         { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

func (s *script) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }
func (s *script) SetDeadline(time.Time) error      { return nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }

func (s *script) Close() error {
	s.closed.Do(func() { close(s.done) })
	return nil
}

// feed is a listener of scripts.
type feed struct {
	*listentest.Network
	conns chan net.Conn
}

func (f feed) Accept() (net.Conn, error) {
	c, ok := <-f.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (f feed) play(text []byte) {
	s := &script{Reader: bytes.NewReader(text), done: make(chan struct{})}
	f.conns <- s
	<-s.done
}

func newFeed(t testing.TB) (*node, feed) {
	n := prepare(t, options{startTLS: true})
	f := feed{listentest.New(), make(chan net.Conn)}
	go func() { _ = n.server.ServeTCP(f) }()
	t.Cleanup(func() { close(f.conns) })
	return n, f
}

// TestJunkLeavesNothing: after many junk connections the heap is as before.
func TestJunkLeavesNothing(t *testing.T) {
	n, f := newFeed(t)
	r := rand.New(rand.NewPCG(1, 2)) // a seed to repeat
	junk := func(count int) {
		for i := range count {
			text := make([]byte, r.IntN(3000))
			for j := range text {
				text[j] = byte(r.Uint32())
			}
			switch i % 3 {
			case 1:
				text = append([]byte(header), text...)
			case 2:
				text = []byte(header + "<auth xmlns='" + stanza.NSSASL + "' mechanism='SCRAM-SHA-1'>biwsbj1hLHI9Yg==</auth><iq><x>")
			}
			f.play(text)
			<-n.ended
		}
	}
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	junk(200)
	before := heap()
	junk(3000)
	if after := heap(); after > before+512<<10 {
		t.Errorf("the heap grew from %d to %d bytes", before, after)
	}
	if s := n.server.Stats(); s.Open > 1 {
		t.Errorf("left open: %+v", s)
	}
}

// TestNothingSecretIsLogged plays logins and registrations, good and bad, and
// looks into the log of all levels.
func TestNothingSecretIsLogged(t *testing.T) {
	var log bytes.Buffer
	handler := slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})
	run(t, func(t *testing.T, framing listen.Framing) {
		n := start(t, options{log: slog.New(handler)})
		d := n.dial(t, framing)
		d.begin()
		d.send("<iq xmlns='jabber:client' type='set' id='1'><preauth xmlns='urn:xmpp:pars:0' token='secret-guess'/></iq>")
		d.expect("item-not-found")
		d.send("<iq xmlns='jabber:client' type='set' id='1'><preauth xmlns='urn:xmpp:pars:0' token='TOKEN'/></iq>")
		d.expect("result")
		n.store.Fail(errors.New("no quorum"))
		d.send("<iq xmlns='jabber:client' type='set' id='2'><query xmlns='jabber:iq:register'><username>romeo</username><password>secret-love</password></query></iq>")
		d.expect("internal-server-error")
		d.act(n, "plain juliet secret-wrong")
		d.expect("temporary-auth-failure")
		n.store.Fail(nil)
		d.act(n, "plain secret-user secret-wrong")
		d.expect("not-authorized")
		d.act(n, "plain "+user+" "+password)
		d.expect("success")
		d.close()
		<-n.ended
	})
	text := log.String()
	for _, secret := range []string{"secret", "TOKEN", password, "c2VjcmV0"} {
		if strings.Contains(text, secret) {
			t.Errorf("%q was logged:\n%s", secret, text)
		}
	}
	if !strings.Contains(text, "no quorum") || !strings.Contains(text, "condition=not-authorized") {
		t.Errorf("what the operator needs was not logged:\n%s", text)
	}
}

// FuzzNegotiate: whatever a stranger sends, the script ends and lets nobody in.
func FuzzNegotiate(f *testing.F) {
	for _, s := range []string{
		header, header + "</stream:stream>",
		header + "<starttls xmlns='" + stanza.NSTLS + "'/>",
		header + "<auth xmlns='" + stanza.NSSASL + "' mechanism='PLAIN'>AGp1bGlldAB4</auth><abort xmlns='" + stanza.NSSASL + "'/>",
		header + "<auth xmlns='" + stanza.NSSASL + "' mechanism='SCRAM-SHA-1'>biwsbj1hLHI9Yg==</auth><response xmlns='" + stanza.NSSASL + "'>Yz1iaXdzLHI9YixwPUFBPT0=</response>",
		header + "<iq type='set' id='1'><preauth xmlns='urn:xmpp:pars:0' token='a'/></iq><iq type='get' id='2'><query xmlns='jabber:iq:register'/></iq>",
	} {
		f.Add([]byte(s))
	}
	n, feed := newFeed(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		feed.play(text)
		if err := <-n.ended; err == nil {
			t.Errorf("%q logged in", text)
		}
	})
}
