// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"crypto/tls"
	"errors"
	"testing"

	"bavard/internal/stanza"
)

const registration = `<iq type="set" id="register" to="localhost"><query xmlns="jabber:iq:register"><username>ann</username><password>secret</password></query></iq>`

func TestRegister(t *testing.T) {
	p := newPeer(t)
	const refusal = `<iq type='error' id='register'><error type='cancel'><conflict xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>`
	for _, answer := range []string{`<iq type='result' id='register'/>`, refusal, `<nonsense/>`} {
		done := p.run(func() error {
			return errors.Join(p.accept(), p.open(""), p.hear(registration), p.say(answer))
		})
		err := Register(testContext(t), p.config())
		wait(t, done)
		var refused *stanza.Error
		switch answer {
		case refusal:
			if !errors.As(err, &refused) || refused.Condition != stanza.Conflict {
				t.Error(err)
			}
		case `<nonsense/>`:
			if !errors.Is(err, ErrProtocol) {
				t.Error(err)
			}
		default:
			if err != nil {
				t.Error(err)
			}
		}
	}
}

func TestRegisterEndsWithItsContext(t *testing.T) {
	p := newPeer(t)
	ctx, cancel := context.WithCancel(testContext(t))
	done := p.run(func() error {
		err := errors.Join(p.accept(), p.open(""), p.hear(registration))
		cancel()
		return err
	})
	if err := Register(ctx, p.config()); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	wait(t, done)
}

func TestDirectTLS(t *testing.T) {
	cert, pool := certificate(t)
	p := newPeer(t)
	cfg := p.config()
	cfg.DirectTLS = true
	if _, err := Dial(testContext(t), cfg); err == nil {
		t.Error("direct TLS without TLS")
	}
	p.conn = nil
	if conn, err := p.listener.Accept(); err == nil { // that attempt
		conn.Close()
	}
	cfg.TLS = &tls.Config{RootCAs: pool}
	protocol := ""
	s := dial(t, p, cfg, func() error {
		if err := p.accept(); err != nil {
			return err
		}
		conn := tls.Server(p.conn, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"xmpp-client"}})
		p.conn = conn
		if err := conn.Handshake(); err != nil {
			return err
		}
		protocol = conn.ConnectionState().NegotiatedProtocol
		return errors.Join(p.open(plainOffer), p.hear(plainAuth), p.say("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"),
			p.open(bindOffer), p.hear(bindAsk), p.say(bindResult), p.hear(enableAsk), p.say(enabled))
	})
	if s.JID() != "ann@localhost/r" || protocol != "xmpp-client" {
		t.Errorf("%s, protocol %q", s.JID(), protocol)
	}
	s.Cut()
}
