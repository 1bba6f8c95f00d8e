// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// peer is the scripted server of a test: it says what it is told to and expects
// what the client must say.
type peer struct {
	t        *testing.T
	listener net.Listener
	conn     net.Conn
	reader   *xmlstream.Reader
}

const header = "<stream:stream from='localhost' id='x' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"

func newPeer(t *testing.T) *peer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{t: t, listener: l}
	t.Cleanup(func() {
		l.Close()
		if p.conn != nil {
			p.conn.Close()
		}
	})
	return p
}

func (p *peer) config() Config {
	return Config{JID: "ann@localhost", Password: "secret", Resource: "r", Mechanism: "PLAIN", Addr: p.listener.Addr().String()}
}

// run plays the server's part beside the test.
func (p *peer) run(script func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- script() }()
	return done
}

func (p *peer) accept() error {
	if p.conn != nil {
		p.conn.Close()
	}
	conn, err := p.listener.Accept()
	p.conn = conn
	return err
}

// swallow reads what comes, and answers nothing, until the connection ends.
func (p *peer) swallow() error {
	_, err := io.Copy(io.Discard, p.conn)
	return err
}

func (p *peer) say(xml string) error {
	_, err := p.conn.Write([]byte(xml))
	return err
}

func (p *peer) open(features string) error {
	p.reader = xmlstream.NewReader(p.conn, limits)
	if _, err := p.reader.ReadOpen(); err != nil {
		return err
	}
	return p.say(header + "<stream:features>" + features + "</stream:features>")
}

// hear reads elements and compares them with what is expected, in the form in
// which the client serialises them.
func (p *peer) hear(wants ...string) error {
	for _, want := range wants {
		e, err := p.reader.Read()
		if err != nil {
			return fmt.Errorf("instead of %s: %w", want, err)
		}
		got := strings.ReplaceAll(string(xmlstream.AppendElement(nil, e, stanza.NSClient)), "'", `"`)
		if got != want {
			return fmt.Errorf("heard %s instead of %s", got, want)
		}
	}
	return nil
}

const (
	plainOffer = "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms>"
	bindOffer  = "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/><sm xmlns='urn:xmpp:sm:3'/>"
	plainAuth  = `<auth xmlns="urn:ietf:params:xml:ns:xmpp-sasl" mechanism="PLAIN">AGFubgBzZWNyZXQ=</auth>`
	bindAsk    = `<iq type="set" id="bind"><bind xmlns="urn:ietf:params:xml:ns:xmpp-bind"><resource>r</resource></bind></iq>`
	bindResult = `<iq type="result" id="bind"><bind xmlns="urn:ietf:params:xml:ns:xmpp-bind"><jid>ann@localhost/r</jid></bind></iq>`
	enableAsk  = `<enable xmlns="urn:xmpp:sm:3" resume="true"/>`
	enabled    = `<enabled xmlns='urn:xmpp:sm:3' id='sm1' resume='true'/>`
	ask        = `<r xmlns="urn:xmpp:sm:3"/>`
)

func ack(h uint32) string { return fmt.Sprintf(`<a xmlns="urn:xmpp:sm:3" h="%d"/>`, h) }

func chat(id, body string) string {
	return fmt.Sprintf(`<message type="chat" to="bob@localhost" id="%s"><body>%s</body><origin-id xmlns="urn:xmpp:sid:0" id="%s"/></message>`, id, body, id)
}

func (p *peer) authenticate() error {
	return errors.Join(p.accept(), p.open(plainOffer), p.hear(plainAuth),
		p.say("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"), p.open(bindOffer))
}

func (p *peer) login() error {
	return errors.Join(p.authenticate(), p.hear(bindAsk), p.say(bindResult), p.hear(enableAsk), p.say(enabled))
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// wait returns what the script says, or fails when it does not end.
func wait(t *testing.T, done <-chan error) {
	t.Helper()
	select {
	case err := <-done:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the peer's script does not end")
	}
}

func dial(t *testing.T, p *peer, cfg Config, script func() error) *Session {
	t.Helper()
	done := p.run(script)
	s, err := Dial(testContext(t), cfg)
	if err != nil {
		select {
		case peerErr := <-done:
			t.Fatal(err, peerErr)
		default:
			t.Fatal(err)
		}
	}
	t.Cleanup(s.Cut)
	wait(t, done)
	return s
}

func contains(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error is %v, want one with %q", err, want)
	}
}
