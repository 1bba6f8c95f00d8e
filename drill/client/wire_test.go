// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// certificate makes a self-signed one for localhost and the pool that trusts it.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

const startTLSOffer = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>"

func (p *peer) startTLS(cert tls.Certificate) error {
	if err := errors.Join(p.accept(), p.open(startTLSOffer), p.hear(`<starttls xmlns="urn:ietf:params:xml:ns:xmpp-tls"/>`),
		p.say("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")); err != nil {
		return err
	}
	conn := tls.Server(p.conn, &tls.Config{Certificates: []tls.Certificate{cert}})
	p.conn = conn
	return conn.Handshake()
}

func TestStartTLS(t *testing.T) {
	cert, pool := certificate(t)
	p := newPeer(t)
	cfg := p.config()
	cfg.TLS = &tls.Config{RootCAs: pool}
	s := dial(t, p, cfg, func() error {
		return errors.Join(p.startTLS(cert), p.open(plainOffer), p.hear(plainAuth), p.say("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"),
			p.open(bindOffer), p.hear(bindAsk), p.say(bindResult), p.hear(enableAsk), p.say(enabled))
	})
	done := p.run(func() error { return errors.Join(p.hear(chat("m1", "hi"), ask), p.say(ack(1))) })
	o := messages(1)[0]
	if err := s.Send(testContext(t), o); err != nil {
		t.Fatal(err)
	}
	<-o.Settled()
	wait(t, done)
}

func TestStartTLSRefuses(t *testing.T) {
	cert, _ := certificate(t)
	_, otherPool := certificate(t)
	t.Run("untrusted certificate", func(t *testing.T) {
		p := newPeer(t)
		cfg := p.config()
		cfg.TLS = &tls.Config{RootCAs: otherPool}
		done := p.run(func() error { return p.startTLS(cert) })
		_, err := Dial(testContext(t), cfg)
		contains(t, err, "certificate")
		if <-done == nil {
			t.Error("the handshake went well")
		}
	})
	t.Run("stripped offer", func(t *testing.T) {
		p := newPeer(t)
		cfg := p.config()
		cfg.TLS = &tls.Config{RootCAs: otherPool}
		done := p.run(func() error { return errors.Join(p.accept(), p.open(plainOffer)) })
		_, err := Dial(testContext(t), cfg)
		contains(t, err, "no STARTTLS")
		wait(t, done)
	})
	t.Run("data behind proceed", func(t *testing.T) {
		p := newPeer(t)
		cfg := p.config()
		cfg.TLS = &tls.Config{RootCAs: otherPool}
		done := p.run(func() error {
			return errors.Join(p.accept(), p.open(startTLSOffer), p.hear(`<starttls xmlns="urn:ietf:params:xml:ns:xmpp-tls"/>`),
				p.say("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/><message/>"))
		})
		_, err := Dial(testContext(t), cfg)
		contains(t, err, "behind")
		wait(t, done)
	})
}

// frameScript is a WebSocket server's part: lines with "C: " are expected,
// "mark" closes the next channel, others are sent.
func frameScript(ctx context.Context, conn *websocket.Conn, lines string, marks ...chan struct{}) error {
	for line := range strings.SplitSeq(strings.TrimSpace(lines), "\n") {
		if line == "mark" {
			close(marks[0])
			marks = marks[1:]
			continue
		}
		want, expect := strings.CutPrefix(line, "C: ")
		if !expect {
			if err := conn.Write(ctx, websocket.MessageText, []byte(strings.TrimPrefix(line, "S: "))); err != nil {
				return err
			}
			continue
		}
		_, data, err := conn.Read(ctx)
		if err != nil {
			return err
		}
		if got := strings.ReplaceAll(string(data), "'", `"`); got != want {
			return fmt.Errorf("heard %s instead of %s", got, want)
		}
	}
	return nil
}

func TestWebSocket(t *testing.T) {
	const script = `
C: <open xmlns="urn:ietf:params:xml:ns:xmpp-framing" to="localhost" version="1.0"/>
S: <open xmlns='urn:ietf:params:xml:ns:xmpp-framing' from='localhost' id='1' version='1.0'/>
S: <stream:features xmlns:stream='http://etherx.jabber.org/streams'><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms></stream:features>
C: <auth xmlns="urn:ietf:params:xml:ns:xmpp-sasl" mechanism="PLAIN">AGFubgBzZWNyZXQ=</auth>
S: <success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>
C: <open xmlns="urn:ietf:params:xml:ns:xmpp-framing" to="localhost" version="1.0"/>
S: <open xmlns='urn:ietf:params:xml:ns:xmpp-framing' from='localhost' id='2' version='1.0'/>
S: <stream:features xmlns:stream='http://etherx.jabber.org/streams'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/><sm xmlns='urn:xmpp:sm:3'/></stream:features>
C: <iq xmlns="jabber:client" type="set" id="bind"><bind xmlns="urn:ietf:params:xml:ns:xmpp-bind"><resource>r</resource></bind></iq>
S: <iq xmlns='jabber:client' type='result' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>ann@localhost/r</jid></bind></iq>
C: <enable xmlns="urn:xmpp:sm:3" resume="true"/>
S: <enabled xmlns='urn:xmpp:sm:3' id='sm1' resume='true'/>
C: <message xmlns="jabber:client" type="chat" to="bob@localhost" id="m1"><body>hi</body><origin-id xmlns="urn:xmpp:sid:0" id="m1"/></message>
C: <r xmlns="urn:xmpp:sm:3"/>
S: <a xmlns='urn:xmpp:sm:3' h='1'/>
S: <message xmlns='jabber:client' from='bob@localhost/x'><body>there</body></message>
S: <r xmlns='urn:xmpp:sm:3'/>
C: <a xmlns="urn:xmpp:sm:3" h="1"/>
mark
C: <a xmlns="urn:xmpp:sm:3" h="1"/>
C: <close xmlns="urn:ietf:params:xml:ns:xmpp-framing"/>
S: <close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>
`
	done, heard := make(chan error, 1), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"xmpp"}})
		if err == nil {
			err = frameScript(r.Context(), conn, script, heard)
		}
		done <- err
	}))
	defer server.Close()
	got := make(chan string, 1)
	s, err := Dial(testContext(t), Config{
		JID: "ann@localhost", Password: "secret", Resource: "r", Mechanism: "PLAIN",
		WebSocket: "ws" + strings.TrimPrefix(server.URL, "http"),
		Handler:   Handler{Message: func(m *Inbound) { got <- m.Body }},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Cut()
	o := messages(1)[0]
	if err := s.Send(testContext(t), o); err != nil {
		t.Fatal(err)
	}
	<-o.Settled()
	if body := <-got; body != "there" {
		t.Error(body)
	}
	<-heard // the answer to <r/> is a frame of its own, before the end
	if err := s.Close(testContext(t)); err != nil {
		t.Error(err)
	}
	wait(t, done)
}

func TestWebSocketSubprotocolIsDemanded(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if conn, err := websocket.Accept(w, r, nil); err == nil {
			conn.CloseNow()
		}
	}))
	defer server.Close()
	_, err := Dial(testContext(t), Config{JID: "ann@localhost", WebSocket: "ws" + strings.TrimPrefix(server.URL, "http")})
	contains(t, err, "subprotocol")
}
