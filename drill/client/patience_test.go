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

// piped gives a peer, and cfg for a session that reaches it: within the bubble of a test.
func piped(t *testing.T, cfg Config) (*peer, Config) {
	here, there := net.Pipe()
	cfg.JID, cfg.Password, cfg.Resource, cfg.Mechanism = "ann@localhost", "secret", "r", "PLAIN"
	cfg.DialContext = func(context.Context, string, string) (net.Conn, error) { return here, nil }
	return &peer{t: t, conn: there}, cfg
}

// patient is a session with a piped peer, with stream management.
func patient(t *testing.T, cfg Config) (*peer, *Session) {
	t.Helper()
	p, cfg := piped(t, cfg)
	done := p.run(func() error {
		return errors.Join(p.open(plainOffer), p.hear(plainAuth), p.say("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"),
			p.open(bindOffer), p.hear(bindAsk), p.say(bindResult), p.hear(enableAsk), p.say(enabled))
	})
	s, err := Dial(t.Context(), cfg)
	if err = errors.Join(err, <-done); err != nil {
		t.Fatal(err)
	}
	return p, s
}

// A session ends when its server leaves it waiting for longer than it is patient, having asked; not while nothing is
// waited for, and not while the server is heard.
func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const patience = 4 * time.Second
		p, s := patient(t, Config{Patience: patience})
		defer s.Cut()
		lives := func(after time.Duration) {
			t.Helper()
			time.Sleep(after) // fake: of the bubble
			if err := s.Err(); err != nil {
				t.Fatalf("it ended: %v", err)
			}
		}
		lives(10 * patience) // nothing is waited for

		done := p.run(func() error { return p.hear(chat("m1", "hi"), ask) })
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

// A session tells for how long its server has left it waiting, be it for the end of the stream.
func TestSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s := patient(t, Config{Patience: 4 * time.Second, HearWithin: time.Second})
		time.Sleep(time.Minute) // fake: of the bubble
		if silent := s.Silent(); silent != 0 {
			t.Errorf("it has waited for %v, for nothing", silent)
		}
		done := p.run(func() error { return p.hear(chat("m1", "hi"), ask) })
		if err := errors.Join(s.Send(t.Context(), NewMessageID("m1", "bob@localhost", "hi")), <-done); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second) // fake, too
		if silent := s.Silent(); silent < time.Second || silent > 5*time.Second/4 {
			t.Errorf("it has waited for %v, not 1 s", silent)
		}
		if err := p.say(ack(1)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if silent := s.Silent(); silent != 0 {
			t.Errorf("answered, it has waited for %v", silent)
		}
		done = p.run(p.swallow)
		began := time.Now()
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took < 4*time.Second || took > 5*time.Second || !errors.Is(s.Err(), ErrSilent) {
			t.Errorf("it waited for the end of the stream for %v: %v", took, s.Err())
		}
		<-done
	})
}

// Dial gives up a server that takes the connection and then says nothing; one that has said what it offers may take
// longer to log in.
func TestHearWithin(t *testing.T) {
	for _, c := range []struct {
		name  string
		says  func(p *peer) error
		want  error
		after time.Duration
	}{
		{"silent", (*peer).swallow, ErrSilent, 2 * time.Second},
		{"slow", func(p *peer) error {
			if err := errors.Join(p.open(plainOffer), p.hear(plainAuth)); err != nil {
				return err
			}
			return p.swallow()
		}, context.DeadlineExceeded, 7 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, cfg := piped(t, Config{HearWithin: 2 * time.Second})
				done := p.run(func() error { return c.says(p) })
				ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second)
				defer cancel()
				began := time.Now()
				_, err := Dial(ctx, cfg)
				if took := time.Since(began); !errors.Is(err, c.want) || took != c.after {
					t.Errorf("after %v: %v", took, err)
				}
				<-done
			})
		})
	}
}
