// SPDX-License-Identifier: Apache-2.0

package negotiate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"bavard/internal/listen"
	"bavard/internal/stanza"
)

// What a node says that cannot, or had better not, take who comes.

// TestNotCurrent: a node that cannot tell what is current admits nobody.
func TestNotCurrent(t *testing.T) {
	stale := errors.New("no leader")
	behind := false
	var mu sync.Mutex
	set := func(v bool) { mu.Lock(); behind = v; mu.Unlock() }
	current := func(context.Context) error {
		mu.Lock()
		defer mu.Unlock()
		if behind {
			return stale
		}
		return nil
	}
	run(t, func(t *testing.T, framing listen.Framing) {
		n := start(t, options{current: current})
		d := n.dial(t, framing)
		d.begin()
		set(true)
		d.act(n, "plain "+user+" "+password)
		d.expect("temporary-auth-failure")
		set(false)
		d.act(n, "plain "+user+" "+password)
		d.expect("success")
		d.open("to", "localhost", "version", "1.0")
		d.expect("open")
		d.expect("bind")
		set(true)
		d.send("<iq xmlns='jabber:client' type='set' id='b1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
		d.expect("internal-server-error")
		set(false)
	})
}

// TestElsewhere: who has proven who they are, and had better be somewhere else, is told so before anything is given to them; who has
// not proven it learns nothing of that.
func TestElsewhere(t *testing.T) {
	elsewhere := func(account string) *stanza.StreamError {
		if account != user+"@localhost" {
			return nil
		}
		return stanza.StreamErr(stanza.StreamInternalServerError, "please try another")
	}
	run(t, func(t *testing.T, framing listen.Framing) {
		n := start(t, options{elsewhere: elsewhere})
		d := n.dial(t, framing)
		d.begin()
		d.act(n, "plain "+user+" wrong")
		d.expect("not-authorized")
		d.act(n, "plain "+user+" "+password)
		d.expect("please try another")
		d.close()
		if err := <-n.ended; err == nil {
			t.Error("it was let in")
		}
	})
}

// TestStopsWhileAsking: a server that stops while somebody comes in says so, and has
// nothing to complain of.
func TestStopsWhileAsking(t *testing.T) {
	var stopping atomic.Bool
	current := func(context.Context) error {
		if stopping.Load() {
			return fmt.Errorf("ask the journal: %w", context.Canceled)
		}
		return nil
	}
	run(t, func(t *testing.T, framing listen.Framing) {
		var text bytes.Buffer
		stopping.Store(false)
		n := start(t, options{current: current, log: slog.New(slog.NewTextHandler(&text, nil))})
		d := n.dial(t, framing)
		d.begin()
		d.act(n, "plain "+user+" "+password)
		d.expect("success")
		d.open("to", "localhost", "version", "1.0")
		d.expect("open")
		d.expect("bind")
		stopping.Store(true)
		d.send("<iq xmlns='jabber:client' type='set' id='b1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
		d.expect("system-shutdown")
		d.close()
		<-n.ended
		if strings.Contains(text.String(), "level=ERROR") {
			t.Errorf("it logged:\n%s", text.String())
		}
	})
}
