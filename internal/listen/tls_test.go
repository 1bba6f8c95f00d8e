// SPDX-License-Identifier: Apache-2.0

package listen

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// signed makes a certificate of key, signed by itself with this algorithm.
func signed(t testing.TB, key crypto.Signer, alg x509.SignatureAlgorithm) *tls.Certificate {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(time.Hour), SignatureAlgorithm: alg}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestEndPointTakesTheHashOfTheSignature(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sum256 := func(b []byte) []byte { s := sha256.Sum256(b); return s[:] }
	sum384 := func(b []byte) []byte { s := sha512.Sum384(b); return s[:] }
	sum512 := func(b []byte) []byte { s := sha512.Sum512(b); return s[:] }
	for _, c := range []struct {
		key  crypto.Signer
		alg  x509.SignatureAlgorithm
		want func([]byte) []byte
	}{
		{rsaKey, x509.SHA256WithRSA, sum256},
		{rsaKey, x509.SHA384WithRSA, sum384},
		{rsaKey, x509.SHA512WithRSA, sum512},
		{rsaKey, x509.SHA256WithRSAPSS, sum256},
		{rsaKey, x509.SHA384WithRSAPSS, sum384},
		{rsaKey, x509.SHA512WithRSAPSS, sum512},
		{ecKey, x509.ECDSAWithSHA256, sum256},
		{ecKey, x509.ECDSAWithSHA384, sum384},
		{ecKey, x509.ECDSAWithSHA512, sum512},
		{edKey, x509.PureEd25519, func([]byte) []byte { return nil }},
	} {
		cert := signed(t, c.key, c.alg)
		if got, want := endPoint(cert), c.want(cert.Certificate[0]); !bytes.Equal(got, want) {
			t.Errorf("%v: %x, want %x", c.alg, got, want)
		}
	}
	// Go signs with neither; what counts is the name of the algorithm.
	old := signed(t, rsaKey, x509.SHA256WithRSA)
	for _, alg := range []x509.SignatureAlgorithm{x509.SHA1WithRSA, x509.MD5WithRSA} {
		old.Leaf = &x509.Certificate{SignatureAlgorithm: alg}
		if got, want := endPoint(old), sum256(old.Certificate[0]); !bytes.Equal(got, want) {
			t.Errorf("%v: %x, want %x", alg, got, want)
		}
	}
	for _, none := range []*tls.Certificate{nil, {}, {Certificate: [][]byte{{1, 2, 3}}}} {
		if got := endPoint(none); got != nil {
			t.Errorf("%v: %x", none, got)
		}
	}
}

// bindingServer tells the bindings of each stream; its configuration can be
// replaced while it runs.
type bindingServer struct {
	*Server
	current  atomic.Pointer[tls.Config]
	bindings chan []Binding
}

func newBindingServer(t *testing.T, cfg Config) *bindingServer {
	t.Helper()
	b := &bindingServer{bindings: make(chan []Binding, 1)}
	b.current.Store(selfSigned(t))
	cfg.Domain, cfg.TLS = "localhost", b.current.Load
	cfg.Handle = func(s *Stream) {
		b.bindings <- s.Bindings()
		_, _ = s.Read()
	}
	var err error
	if b.Server, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Stop)
	return b
}

// serve runs one of the accept loops on a free port.
func (b *bindingServer) serve(t *testing.T, loop func(net.Listener) error) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = loop(l) }()
	return l.Addr().String()
}

// check compares what the server binds to with what the client sees.
func (b *bindingServer) check(t *testing.T, state tls.ConnectionState) {
	t.Helper()
	exported, err := state.ExportKeyingMaterial("EXPORTER-Channel-Binding", []byte{}, 32)
	if err != nil {
		t.Fatal(err)
	}
	hashed := sha256.Sum256(state.PeerCertificates[0].Raw)
	got := <-b.bindings
	if len(got) != 2 || got[0].Type != "tls-exporter" || got[1].Type != "tls-server-end-point" {
		t.Fatalf("bindings %v", got)
	}
	if !bytes.Equal(got[0].Data, exported) || !bytes.Equal(got[1].Data, hashed[:]) {
		t.Errorf("the server binds to %x, the client to %x and %x", got, exported, hashed)
	}
}

// A certificate that is replaced: connections that are open keep theirs, new
// ones have the new one, and a TLS session of the old one is not resumed with
// it, so that both sides always mean the same certificate.
func TestBindingsFollowTheCertificateAndResumption(t *testing.T) {
	for name, version := range map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13} {
		t.Run(name, func(t *testing.T) {
			b := newBindingServer(t, Config{})
			address := b.serve(t, b.ServeTLS)
			client := &tls.Config{
				InsecureSkipVerify: true, MaxVersion: version, ServerName: "localhost", // the test's own certificate
				ClientSessionCache: tls.NewLRUClientSessionCache(4),
			}
			connect := func(resumed bool) tls.ConnectionState {
				t.Helper()
				conn, err := tls.Dial("tcp", address, client)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				b.check(t, conn.ConnectionState())
				state := conn.ConnectionState()
				if state.DidResume != resumed {
					t.Errorf("resumed: %v, want %v", state.DidResume, resumed)
				}
				// The ticket of TLS 1.3 comes with the first data.
				if err := conn.CloseWrite(); err != nil {
					t.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, conn)
				return state
			}
			first := connect(false)
			connect(true)
			b.current.Store(selfSigned(t))
			second := connect(false)
			if second.PeerCertificates[0].Equal(first.PeerCertificates[0]) {
				t.Error("the old certificate is served")
			}
			connect(true)
		})
	}
}

// dialWSS opens a WebSocket by https and gives the state of its TLS.
func dialWSS(t *testing.T, address string, header http.Header) tls.ConnectionState {
	t.Helper()
	states := make(chan *tls.Conn, 1)
	transport := &http.Transport{DialTLSContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		conn, err := (&tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}).DialContext(ctx, network, address)
		if err == nil {
			states <- conn.(*tls.Conn)
		}
		return conn, err
	}}
	ws, _, err := websocket.Dial(t.Context(), "wss://"+address, &websocket.DialOptions{
		Subprotocols: []string{"xmpp"}, HTTPClient: &http.Client{Transport: transport}, HTTPHeader: header,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ws.CloseNow() })
	conn := <-states
	return conn.ConnectionState()
}

func (b *bindingServer) https(t *testing.T) string {
	t.Helper()
	web := httptest.NewUnstartedServer(b.WebSocket())
	web.Listener = b.Encrypt(web.Listener, "http/1.1")
	web.Start()
	t.Cleanup(web.Close)
	return web.Listener.Addr().String()
}

func TestBindingsOfWebSockets(t *testing.T) {
	b := newBindingServer(t, Config{})
	b.check(t, dialWSS(t, b.https(t), nil))
	// A header that anybody can send is no reason to offer less.
	b.check(t, dialWSS(t, b.https(t), http.Header{"X-Forwarded-For": {"192.0.2.1"}, "X-Forwarded-Proto": {"https"}, "Via": {"1.1 x"}}))
}

// What TLS there is between a proxy and us is not the client's.
func TestNoBindingsBehindAProxy(t *testing.T) {
	b := newBindingServer(t, Config{Proxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	for _, header := range []http.Header{nil, {"X-Forwarded-For": {"192.0.2.1"}, "X-Forwarded-Proto": {"https"}}} {
		dialWSS(t, b.https(t), header)
		if got := <-b.bindings; got != nil {
			t.Errorf("%v: %v", header, got)
		}
	}
}

func TestNoBindingsInTheClear(t *testing.T) {
	b := newBindingServer(t, Config{})
	conn, err := net.Dial("tcp", b.serve(t, b.ServeTCP))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got := <-b.bindings; got != nil {
		t.Errorf("%v", got)
	}
}

// Whatever the certificate, there is the exporter; without a hash that is
// defined there is no tls-server-end-point.
func TestBindingsWithEd25519(t *testing.T) {
	b := newBindingServer(t, Config{})
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	b.current.Store(&tls.Config{Certificates: []tls.Certificate{*signed(t, key, x509.PureEd25519)}})
	conn, err := tls.Dial("tcp", b.serve(t, b.ServeTLS), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got := <-b.bindings; len(got) != 1 || got[0].Type != "tls-exporter" {
		t.Errorf("%v", got)
	}
}

// RFC 9325 §4.1: no key exchange without forward secrecy, no null, no RC4.
func TestWeakCipherSuitesAreRefused(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ofRSA := &tls.Config{Certificates: []tls.Certificate{*signed(t, rsaKey, x509.SHA256WithRSA)}}
	b := newBindingServer(t, Config{})
	address := b.serve(t, b.ServeTLS)
	for _, cfg := range []*tls.Config{selfSigned(t), ofRSA} {
		b.current.Store(cfg)
		for _, suite := range tls.InsecureCipherSuites() {
			_, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{suite.ID}})
			if err == nil {
				t.Errorf("%s is taken", suite.Name)
			}
		}
	}
}

// A client may indicate any name, or none, and offer XMPP among other
// protocols (XEP-0368 §reqs @1.1.0).
func TestDirectTLSNames(t *testing.T) {
	b := newBindingServer(t, Config{})
	address := b.serve(t, b.ServeTLS)
	for _, cfg := range []*tls.Config{
		{ServerName: "localhost", NextProtos: []string{"xmpp-client"}},
		{ServerName: "elsewhere.example", NextProtos: []string{"xmpp-server", "xmpp-client", "http/1.1"}},
		{ServerName: "127.0.0.1"}, // is not sent: no SNI
	} {
		cfg.InsecureSkipVerify = true
		conn, err := tls.Dial("tcp", address, cfg)
		if err != nil {
			t.Fatalf("%q: %v", cfg.ServerName, err)
		}
		b.check(t, conn.ConnectionState())
		if got := conn.ConnectionState().NegotiatedProtocol; len(cfg.NextProtos) > 0 && got != "xmpp-client" {
			t.Errorf("%v: ALPN %q", cfg.NextProtos, got)
		}
		conn.Close()
	}
	if _, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"xmpp-server"}}); err == nil {
		t.Error("a server got in where clients do")
	}
}

// gathering holds writes back until it is let go, so that they arrive as one.
type gathering struct {
	net.Conn
	hold bool
	held []byte
}

func (g *gathering) Write(p []byte) (int, error) {
	if g.hold {
		g.held = append(g.held, p...)
		return len(p), nil
	}
	return g.Conn.Write(p)
}

// A restart drops what was sent ahead, but no part of a TLS record: the channel
// goes on.
func TestRestartKeepsTLSInStep(t *testing.T) {
	results := make(chan error, 1)
	s, err := New(Config{Domain: "localhost", TLS: always(selfSigned(t)), Handle: func(s *Stream) {
		s.SetDeadline(time.Now().Add(time.Minute))
		results <- func() error {
			if _, err := s.ReadOpen(); err != nil {
				return err
			}
			if _, err := s.Read(); err != nil {
				return err
			}
			s.Restart()
			_, err := s.ReadOpen()
			return err
		}()
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.ServeTLS(l) }()
	raw, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	g := &gathering{Conn: raw}
	conn := tls.Client(g, &tls.Config{InsecureSkipVerify: true})
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	const open = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='localhost' version='1.0'>"
	write := func(text string) {
		if _, err := io.WriteString(conn, text); err != nil {
			t.Fatal(err)
		}
	}
	write(open)
	g.hold = true
	write("<a xmlns='x'/>")
	write(strings.Repeat(" ", 8000)) // keepalives
	if _, err := raw.Write(g.held); err != nil {
		t.Fatal(err)
	}
	g.hold = false
	write(open)
	if err := <-results; err != nil {
		t.Errorf("the stream did not begin anew: %v", err)
	}
}
