// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// A session ends when its server leaves it waiting for longer than it is patient, having asked; not while nothing is
// waited for, and not while the server is heard.
func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const patience = 4 * time.Second
		here, there := net.Pipe()
		p := &peer{t: t, conn: there}
		cfg := Config{
			JID: "ann@localhost", Password: "secret", Resource: "r", Mechanism: "PLAIN", Patience: patience,
			DialContext: func(context.Context, string, string) (net.Conn, error) { return here, nil },
		}
		done := p.run(func() error {
			return errors.Join(p.open(plainOffer), p.hear(plainAuth), p.say("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"),
				p.open(bindOffer), p.hear(bindAsk), p.say(bindResult), p.hear(enableAsk), p.say(enabled))
		})
		s, err := Dial(t.Context(), cfg)
		if err = errors.Join(err, <-done); err != nil {
			t.Fatal(err)
		}
		defer s.Cut()
		lives := func(after time.Duration) {
			t.Helper()
			time.Sleep(after) // fake: of the bubble
			if err := s.Err(); err != nil {
				t.Fatalf("it ended: %v", err)
			}
		}
		lives(10 * patience) // nothing is waited for

		done = p.run(func() error { return p.hear(chat("m1", "hi"), ask) })
		if err := errors.Join(s.Send(t.Context(), NewMessageID("m1", "bob@localhost", "hi")), <-done); err != nil {
			t.Fatal(err)
		}
		done = p.run(func() error { return p.hear(ask) })
		lives(patience * 3 / 4)
		if err := <-done; err != nil { // it has asked anew
			t.Fatal(err)
		}
		if err := p.say("<presence from='bob@localhost/x' to='ann@localhost/r'/>"); err != nil {
			t.Fatal(err)
		}
		done = p.run(func() error { return p.hear(ask) })
		lives(patience * 3 / 4)
		if err := errors.Join(<-done, p.say(ack(1))); err != nil {
			t.Fatal(err)
		}
		lives(10 * patience)

		done = p.run(func() error { return p.hear(chat("m2", "hi"), ask, ask) })
		began := time.Now()
		if err := errors.Join(s.Send(t.Context(), NewMessageID("m2", "bob@localhost", "hi")), <-done); err != nil {
			t.Fatal(err)
		}
		<-s.Done()
		if took := time.Since(began); !errors.Is(s.Err(), ErrSilent) || took < patience || took > patience*5/4 {
			t.Errorf("it ended after %v: %v", took, s.Err())
		}
	})
}
