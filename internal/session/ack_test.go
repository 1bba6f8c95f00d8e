// SPDX-License-Identifier: Apache-2.0

package session_test

import (
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"bavard/internal/jid"
	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// ackWithin is how long a request for an ack may take.
const ackWithin = 250 * time.Millisecond

// TestAckIsNotStale: a request for an ack that follows a stanza which is handled
// at once is answered with a count that covers it, even while the answer to that
// stanza is being written. A client may wait for it before it goes on.
func TestAckIsNotStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, false)
		n := w.up()
		defer w.teardown(n)
		full, err := jid.Parse(bare(0) + "/device")
		if err != nil {
			t.Fatal(err)
		}
		stream := newWire()
		var serving sync.WaitGroup
		defer serving.Wait()
		defer stream.hangUp()
		serving.Go(func() { n.sessions.Serve(full, stream) })
		stream.send(xmlstream.New(stanza.NSSM, "enable"))
		got := 0
		for i := range 3000 {
			// Two, so that the answer to one is being written while the other is read.
			for range 2 {
				stream.send(xmlstream.New(stanza.NSClient, "iq", "type", "get", "id", strconv.Itoa(i), "to", "localhost").
					Add(xmlstream.New(stanza.NSPing, "ping")))
			}
			stream.send(xmlstream.New(stanza.NSSM, "r"))
			<-time.After(ackWithin) // fake: what is under way comes to its end
			last := ""
			for _, el := range stream.taken() {
				switch {
				case el.Is(stanza.NSSM, "a"):
					last = el.Get("h")
				case el.Is(stanza.NSClient, "iq"):
					got++
				}
			}
			if want := strconv.Itoa(2 * (i + 1)); last != want {
				t.Fatalf("the request was answered with h=%q, want %s", last, want)
			}
			stream.send(xmlstream.New(stanza.NSSM, "a", "h", strconv.Itoa(got)))
		}
	})
}
