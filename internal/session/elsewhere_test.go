// SPDX-License-Identifier: Apache-2.0

package session_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"bavard/internal/dispatch"
	"bavard/internal/jid"
	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// elsewhere keeps what another node is told of sessions.
type elsewhere struct {
	mu  sync.Mutex
	all map[jid.JID]dispatch.Bound
}

func (e *elsewhere) Tell(b dispatch.Bound, gone bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.all == nil {
		e.all = map[jid.JID]dispatch.Bound{}
	}
	if e.all[b.JID] = b; gone {
		delete(e.all, b.JID)
	}
}

func (e *elsewhere) Bound(string) []dispatch.Remote    { return nil }
func (e *elsewhere) All(func(dispatch.Remote))         {}
func (e *elsewhere) Pass(string, dispatch.Passed) bool { return false }
func (e *elsewhere) Whole() bool                       { return true }
func (e *elsewhere) told(j jid.JID) (b dispatch.Bound, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	b, ok = e.all[j]
	return b, ok
}

// TestAttentionIsTold: other nodes know at once when a device is cut off, or says
// that nobody looks, and soon what else there is to say.
func TestAttentionIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, false)
		n := w.up()
		defer w.teardown(n)
		var serving sync.WaitGroup
		defer serving.Wait()
		phone := arrive(t, n, 0, &serving, xmlstream.New(stanza.NSSM, "enable", "resume", "true"))
		is := func(what string, want dispatch.Attention) {
			t.Helper()
			if b, ok := n.elsewhere.told(phone.full); !ok || !b.Available || b.Attention != want {
				t.Errorf("%s: %+v, want %+v", what, b, want)
			}
		}
		is("it is there", dispatch.Attention{Here: true})
		phone.say(1, "hello")
		<-time.After(20 * time.Second)
		is("it wrote", dispatch.Attention{Here: true, Looking: true})
		phone.wire.send(indication("inactive"))
		soon()
		is("nobody looks", dispatch.Attention{})
		phone.wire.send(indication("active"))
		soon()
		is("somebody looks", dispatch.Attention{Here: true, Looking: true})
		phone.wire.sever()
		soon()
		is("it is cut off", dispatch.Attention{})
		<-time.After(2 * time.Minute)
		synctest.Wait()
		if b, ok := n.elsewhere.told(phone.full); ok {
			t.Errorf("it has not come back: %+v", b)
		}
	})
}
