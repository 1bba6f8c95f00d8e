// SPDX-License-Identifier: Apache-2.0

package negotiate

import (
	"context"
	"encoding/base64"
	"testing"
	"time"

	"bavard/internal/account"
	"bavard/internal/listen"
	"bavard/internal/stanza"
)

// busy is a node with one turn, which whoever asks for the state of accounts keeps
// until it is let go.
type busy struct {
	*node
	entered chan chan struct{} // has an entry for each of them: close it
	calm    chan struct{}      // closed: nobody keeps it any more
}

func startBusy(t *testing.T, patience time.Duration) *busy {
	t.Helper()
	b := &busy{entered: make(chan chan struct{}, 10), calm: make(chan struct{})}
	b.node = start(t, options{turns: 1, patience: patience, timeout: time.Minute, current: func(ctx context.Context) error {
		select {
		case <-b.calm:
			return nil
		default:
		}
		letGo := make(chan struct{})
		b.entered <- letGo
		select {
		case <-letGo:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}})
	return b
}

// until waits for a condition on the server's counts.
func (b *busy) until(t *testing.T, holds func(listen.Stats) bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !holds(b.server.Stats()); {
		if time.Now().After(end) {
			t.Fatalf("never: %+v", b.server.Stats())
		}
		<-time.After(time.Millisecond)
	}
}

// authenticate begins a login that asks for the state of accounts, and no more.
func (d *device) authenticate(with string) {
	d.t.Helper()
	first := base64.StdEncoding.EncodeToString([]byte("n,,n=" + user + ",r=abc"))
	d.send("<authenticate xmlns='" + stanza.NSSASL2 + "' mechanism='SCRAM-SHA-256'><initial-response>" + first + "</initial-response>" + agent + with + "</authenticate>")
}

// TestTokensGoFirst: who shows a token or resumes a session is served before those
// that have nothing but a password, although these came first.
func TestTokensGoFirst(t *testing.T) {
	b := startBusy(t, time.Minute)
	var devices []*device
	for range 5 {
		d := b.dial(t, listen.TCP)
		d.begin()
		devices = append(devices, d)
	}
	const previous = "<resume xmlns='urn:xmpp:sm:3' previd='alive' h='0'/>"
	devices[0].authenticate(previous)
	first := <-b.entered // it has the turn

	for i, d := range devices[1:3] {
		if i == 0 {
			d.authenticate("")
		} else {
			d.send("<auth xmlns='" + stanza.NSSASL + "' mechanism='PLAIN'>" + base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00"+password)) + "</auth>")
		}
		b.until(t, func(s listen.Stats) bool { return s.WaitingBehind == i+1 })
	}
	token := base64.StdEncoding.EncodeToString(append([]byte(user+"\x00"), make([]byte, 32)...))
	devices[3].send("<authenticate xmlns='" + stanza.NSSASL2 + "' mechanism='" + unbound + "'><initial-response>" + token + "</initial-response>" + agent + "<fast xmlns='" + stanza.NSFAST + "'/></authenticate>")
	second := <-b.entered // it does not wait for longer than turnWait
	devices[4].authenticate(previous)
	third := <-b.entered
	if s := b.server.Stats(); s.WaitingBehind != 2 || s.RefusedBehind != 0 {
		t.Errorf("%+v", s)
	}
	close(b.calm)
	for _, letGo := range []chan struct{}{first, second, third} {
		close(letGo)
	}
	devices[3].expect("failure")
	devices[1].expect("challenge")
	devices[2].expect("success")
	b.until(t, func(s listen.Stats) bool { return s.Waiting == 0 && s.WaitingBehind == 0 })
}

// TestPasswordsInVain: who waits for too long is told to come again later.
func TestPasswordsInVain(t *testing.T) {
	for _, in := range []profile{sasl1, sasl2} {
		t.Run(in.space, func(t *testing.T) {
			b := startBusy(t, 20*time.Millisecond)
			holder, d := b.dial(t, listen.TCP), b.dial(t, listen.TCP)
			holder.begin()
			d.begin()
			holder.authenticate("<resume xmlns='urn:xmpp:sm:3' previd='alive' h='0'/>")
			letGo := <-b.entered
			if in == sasl2 {
				d.authenticate("")
			} else {
				d.send("<auth xmlns='" + stanza.NSSASL + "' mechanism='SCRAM-SHA-1'>biwsbj1hLHI9Yg==</auth>")
			}
			failure := d.mustRead()
			if !failure.Is(in.space, "failure") || failure.Child(stanza.NSSASL, string(account.TemporaryAuthFailure)) == nil || failure.Child(in.space, "text") == nil {
				t.Errorf("%+v", failure)
			}
			if e := d.mustRead(); e.Child(stanza.NSStreamError, string(stanza.StreamResourceConstraint)) == nil {
				t.Errorf("%+v", e)
			}
			if s := b.server.Stats(); s.RefusedBehind != 1 || s.WaitingBehind != 0 {
				t.Errorf("%+v", s)
			}
			close(b.calm)
			close(letGo)
			d = b.dial(t, listen.TCP)
			d.begin()
			d.scram(in, "SCRAM-SHA-256", user, password, "n,,", "")
			d.expect("success")
		})
	}
}
