// SPDX-License-Identifier: Apache-2.0

package negotiate

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"bavard/internal/account"
	"bavard/internal/account/accounttest"
	"bavard/internal/command"
	"bavard/internal/jid"
	"bavard/internal/listen"
	"bavard/internal/stanza"
	"bavard/internal/state"
	"bavard/internal/xmlstream"
)

const (
	user     = "juliet"
	password = "r0m30myr0m30"
	token    = "TOKEN"
)

// run runs a test over each framing.
func run(t *testing.T, f func(t *testing.T, framing listen.Framing)) {
	for _, framing := range []listen.Framing{listen.TCP, listen.WebSocket} {
		t.Run(framing.String(), func(t *testing.T) { f(t, framing) })
	}
}

// derived are the keys of the password, made once.
var derived = sync.OnceValues(func() (*command.Credentials, error) { return account.Derive(password) })

// options of a node under test.
type options struct {
	startTLS  bool
	noPlain   bool // no login without TLS
	open      bool // registration without an invite
	directTLS bool // or https
	tls12     bool // the client knows no newer TLS
	current   func(context.Context) error
	elsewhere func(account string) *stanza.StreamError
	turns     int           // negotiations that work at the same time
	patience  time.Duration // of logins with a password
	timeout   time.Duration
	limits    listen.Limits
	log       *slog.Logger
	origins   []string
}

// node is a server that negotiates and then tells the client who it is.
type node struct {
	store    *accounttest.Store
	accounts *account.Service
	server   *listen.Server
	tls      *tls.Config
	client   *tls.Config // of the clients
	tcp      string      // address
	web      *httptest.Server
	https    bool
	ended    chan error // of each negotiation
}

// prepare makes a node that listens nowhere yet.
func prepare(t testing.TB, o options) *node {
	t.Helper()
	cert, roots := certificate(t)
	n := &node{store: accounttest.New(), client: &tls.Config{RootCAs: roots, ServerName: "localhost"}, ended: make(chan error, 1000)}
	n.tls = &tls.Config{Certificates: []tls.Certificate{cert}}
	config := account.Config{Domain: "localhost", Store: n.store}
	if o.open {
		config.Open = &account.Limits{AddressHourly: 2, AddressDaily: 2, Hourly: 2, Daily: 2}
	}
	n.accounts = account.New(config)
	if o.tls12 {
		n.client.MaxVersion = tls.VersionTLS12
	}
	cred, err := derived()
	if err != nil {
		t.Fatal(err)
	}
	n.do(t, &command.Command{Request: &command.Command_AccountCreate{
		AccountCreate: &command.AccountCreate{Jid: user + "@localhost", Credentials: cred, Name: "Juliet"},
	}})
	n.invite(t, token, 2)
	deps := Deps{
		Domain: "localhost", Accounts: n.accounts, AllowPlaintext: !o.noPlain, Resume: resume, Inline: []string{stanza.NSCarbons, stanza.NSSM}, Current: o.current, Elsewhere: o.elsewhere, Log: o.log, PasswordWait: o.patience, Timeout: o.timeout,
		Features: func() []*xmlstream.Element {
			return []*xmlstream.Element{xmlstream.New(stanza.NSCaps, "c", "hash", "sha-1", "node", "n", "ver", "v")}
		},
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	if o.startTLS {
		deps.TLS = n.tls
	}
	n.server, err = listen.New(listen.Config{
		Domain: "localhost", TLS: func() *tls.Config { return n.tls }, Log: deps.Log, Limits: o.limits, Origins: o.origins, Turns: o.turns,
		Handle: func(s *listen.Stream) { n.ended <- handle(s, deps) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// start makes a node that listens on loopback.
func start(t testing.TB, o options) *node {
	t.Helper()
	n := prepare(t, o)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n.tcp = l.Addr().String()
	if o.directTLS {
		go func() { _ = n.server.ServeTLS(l) }()
	} else {
		go func() { _ = n.server.ServeTCP(l) }()
	}
	n.web = httptest.NewUnstartedServer(n.server.WebSocket())
	if o.directTLS {
		n.https = true
		n.web.Listener = n.server.Encrypt(n.web.Listener, "http/1.1")
	}
	n.web.Start()
	t.Cleanup(func() {
		n.web.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := n.server.Shutdown(ctx); err != nil {
			t.Error("streams did not end:", err)
		}
	})
	return n
}

func (n *node) invite(t testing.TB, token string, uses uint32) {
	t.Helper()
	n.do(t, &command.Command{Request: &command.Command_InviteCreate{
		InviteCreate: &command.InviteCreate{TokenHash: account.HashToken(token), Uses: uses},
	}})
}

func (n *node) do(t testing.TB, cmd *command.Command) {
	t.Helper()
	out, err := n.store.Do(context.Background(), cmd)
	if err != nil || out.Verdict != command.Accepted {
		t.Fatal(out, err)
	}
}

// handle negotiates, says who logged in and waits for the client to leave.
func handle(s *listen.Stream, deps Deps) error {
	login, err := Run(context.Background(), s, deps)
	if err != nil {
		return err
	}
	if in := login.Inline; in != nil {
		if err := s.WriteElement(in.Success()); err != nil {
			return err
		}
		if in.Features != nil {
			if err := s.WriteElement(in.Features); err != nil {
				return err
			}
		}
	}
	m := xmlstream.New(stanza.NSClient, "message", "to", login.JID.String())
	m.Add(xmlstream.NewText(stanza.NSClient, "body", login.Account.JID+" by "+login.Mechanism))
	if login.Resumed != nil {
		m.Add(xmlstream.New(stanza.NSSM, "resumed", "previd", login.Resumed.(string)))
	}
	if err := s.WriteElement(m); err != nil {
		return err
	}
	for {
		if _, err := s.Read(); err != nil {
			s.Close(listen.StreamError(err))
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return err
		}
	}
}

// resume knows one session of juliet's and half of another.
func resume(_ context.Context, acc state.Account, previd string, _ uint32) Resumption {
	switch {
	case acc.JID != user+"@localhost":
	case previd == "alive":
		return Resumption{Session: previd, JID: jidOf(acc.JID + "/balcony")}
	case previd == "dead":
		return Resumption{H: 7, Known: true}
	}
	return Resumption{}
}

func jidOf(s string) jid.JID {
	j, err := jid.Parse(s)
	if err != nil {
		panic(err)
	}
	return j
}

// certificate makes a self-signed one for localhost.
func certificate(t testing.TB) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Now().Add(100 * 365 * 24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

// device is a client of either framing.
type device struct {
	t       testing.TB
	framing listen.Framing
	conn    net.Conn // TCP, or TLS over it; under the WebSocket only TLS
	reader  *xmlstream.Reader
	ws      *websocket.Conn
	next    *xmlstream.Element // read ahead
	wait    time.Duration      // for the server
}

const patience = time.Minute

func (n *node) dial(t testing.TB, framing listen.Framing) *device {
	t.Helper()
	d := &device{t: t, framing: framing, wait: patience}
	if framing == listen.TCP {
		conn, err := net.Dial("tcp", n.tcp)
		if err != nil {
			t.Fatal(err)
		}
		d.use(conn)
		t.Cleanup(func() { _ = d.conn.Close() })
		return d
	}
	address := "ws://" + n.web.Listener.Addr().String()
	transport := &http.Transport{DisableKeepAlives: true, DialTLSContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := (&tls.Dialer{Config: n.client}).DialContext(ctx, network, address)
		if err == nil {
			d.conn = conn
		}
		return conn, err
	}}
	if n.https {
		address = "wss" + address[2:]
	}
	ws, resp, err := websocket.Dial(t.Context(), address, &websocket.DialOptions{Subprotocols: []string{"xmpp"}, HTTPClient: &http.Client{Transport: transport}})
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols || ws.Subprotocol() != "xmpp" {
		t.Fatalf("status %d, subprotocol %q", resp.StatusCode, ws.Subprotocol())
	}
	d.ws = ws
	t.Cleanup(func() { _ = ws.CloseNow() })
	return d
}

func (d *device) use(conn net.Conn) {
	_ = conn.SetDeadline(time.Now().Add(patience))
	d.conn = conn
	d.reader = xmlstream.NewReader(conn, xmlstream.AfterAuth)
}

// startTLS shakes hands after <proceed/>.
func (d *device) startTLS(cfg *tls.Config) {
	d.t.Helper()
	c := tls.Client(d.conn, cfg)
	if err := c.HandshakeContext(d.t.Context()); err != nil {
		d.t.Fatal(err)
	}
	d.use(c)
}

// send writes text as it stands: bytes over TCP, one message over WebSocket.
func (d *device) send(s string) {
	d.t.Helper()
	var err error
	if d.framing == listen.TCP {
		_, err = io.WriteString(d.conn, s)
	} else {
		err = d.ws.Write(d.t.Context(), websocket.MessageText, []byte(s))
	}
	if err != nil {
		d.t.Logf("send: %v", err)
	}
}

// open sends a stream header with these attributes.
func (d *device) open(attrs ...string) {
	d.t.Helper()
	var b []byte
	if d.framing == listen.TCP {
		b = append(b, "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='"+stanza.NSStream+"'"...)
		d.reader.Reset(d.conn)
	} else {
		b = append(b, "<open xmlns='"+stanza.NSFraming+"'"...)
	}
	for i := 0; i+1 < len(attrs); i += 2 {
		b = xmlstream.AppendAttr(b, attrs[i], attrs[i+1])
	}
	if d.framing == listen.WebSocket {
		b = append(b, '/')
	}
	d.send(string(append(b, '>')))
}

func (d *device) close() {
	d.t.Helper()
	if d.framing == listen.TCP {
		d.send("</stream:stream>")
		return
	}
	d.send("<close xmlns='" + stanza.NSFraming + "'/>")
}

// readOpen reads a stream header.
func (d *device) readOpen() (*xmlstream.Element, error) {
	if d.framing == listen.TCP {
		return d.reader.ReadOpen()
	}
	return d.read()
}

// read gives the server's next element, io.EOF at the end of the stream.
func (d *device) read() (*xmlstream.Element, error) {
	if e := d.next; e != nil {
		d.next = nil
		return e, nil
	}
	if d.framing == listen.TCP {
		return d.reader.Read()
	}
	ctx, cancel := context.WithTimeout(d.t.Context(), d.wait)
	defer cancel()
	_, data, err := d.ws.Read(ctx)
	if err != nil {
		return nil, err
	}
	e, err := xmlstream.ParseElement(data, xmlstream.AfterAuth)
	if err == nil && e.Is(stanza.NSFraming, "close") {
		return nil, io.EOF
	}
	return e, err
}

func (d *device) mustRead() *xmlstream.Element {
	d.t.Helper()
	e, err := d.read()
	if err != nil {
		d.t.Fatal("read: ", err)
	}
	return e
}

// gone waits until the server has ended the connection.
func (d *device) gone() bool {
	var err error
	for err == nil {
		if d.framing == listen.TCP {
			_, err = io.Copy(io.Discard, d.conn)
			var timeout net.Error
			return !errors.As(err, &timeout) || !timeout.Timeout()
		}
		ctx, cancel := context.WithTimeout(d.t.Context(), d.wait)
		_, _, err = d.ws.Read(ctx)
		cancel()
	}
	return !errors.Is(err, context.DeadlineExceeded)
}
