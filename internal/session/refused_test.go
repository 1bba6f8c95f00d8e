// SPDX-License-Identifier: Apache-2.0

package session_test

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// refusable is a message that the server refuses before anything of it is stored.
func refusable() *xmlstream.Element {
	return xmlstream.New(stanza.NSClient, "message", "to", bare(1), "type", "chat", "id", strings.Repeat("x", 2000)).
		Add(xmlstream.NewText(stanza.NSClient, "body", "hello"))
}

// TestRefusedIsNotTicked: a message that was refused before it came to the journal is not
// called handled by the messages behind it, once its error may be lost with the node.
func TestRefusedIsNotTicked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, false)
		var serving sync.WaitGroup
		p := arrive(t, w.up(), 0, &serving, xmlstream.New(stanza.NSSM, "enable", "resume", "true"))
		id, received := p.previd()
		p.say(1, "first") // the second stanza: the first is presence
		soon()
		p.wire.send(refusable())
		soon()
		p.say(1, "third")
		soon()
		w.crash()
		serving.Wait()
		w.start()
		n := w.up()
		defer w.teardown(n)
		r, h, known := n.sessions.Resume(p.full.Bare(), id, received)
		if r != nil || !known || h != 2 {
			t.Errorf("after the node was lost it says h=%d, known %t: only two stanzas were not refused", h, known)
		}
	})
}

// TestEndingSessionIsDeaf: what comes in when a session has left its rooms is neither
// decided nor counted, so that the device sends it again on its next one.
func TestEndingSessionIsDeaf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, false)
		n := w.up()
		defer w.teardown(n)
		var serving sync.WaitGroup
		defer serving.Wait()
		p := arrive(t, n, 0, &serving, xmlstream.New(stanza.NSSM, "enable", "resume", "true"))
		defer p.wire.hangUp()
		p.previd()
		left := make(chan struct{})
		w.gone = func() {
			p.wire.send(refusable())
			p.wire.send(xmlstream.New(stanza.NSSM, "r"))
			<-time.After(time.Second) // fake: what could be done with it is done
			close(left)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := n.sessions.Shutdown(ctx); err != nil {
			t.Fatal(err)
		}
		<-left
		w.gone = nil
		if c := p.told(); c != stanza.StreamSystemShutdown {
			t.Errorf("told %s", c)
		}
		for _, el := range p.wire.taken() {
			h, err := strconv.Atoi(el.Get("h"))
			if el.Is(stanza.NSClient, "message") || el.Is(stanza.NSSM, "a") && (err != nil || h > 1) {
				t.Errorf("answered after the rooms were left: %s h=%q", el.Name.Local, el.Get("h"))
			}
		}
	})
}
