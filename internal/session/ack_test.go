// SPDX-License-Identifier: Apache-2.0

package session_test

import (
	"strconv"
	"strings"
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

// TestUnackedIsBounded: what a device with stream management reads and does not
// acknowledge is bounded in bytes, not only in stanzas.
func TestUnackedIsBounded(t *testing.T) {
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
		stream.send(xmlstream.New(stanza.NSSM, "enable", "resume", "true"))
		// To a device of one's own, so that nothing but the answers comes back.
		body := strings.Repeat("x", 200<<10)
		for i := 0; i < 100; i++ {
			stream.send(xmlstream.New(stanza.NSClient, "message", "to", full.String(), "type", "headline", "id", strconv.Itoa(i)).
				Add(xmlstream.NewText(stanza.NSClient, "body", body)))
			<-time.After(time.Second) // fake
			stream.mu.Lock()
			ended, err := stream.ended, stream.err
			stream.mu.Unlock()
			if !ended {
				continue
			}
			if err == nil || err.Condition != stanza.StreamPolicyViolation || i < 70 {
				t.Fatalf("after %d stanzas the stream ended with %v", i, err)
			}
			return
		}
		t.Fatal("20 MB are kept for a device that acknowledges nothing")
	})
}

// TestRequestsThatCanWait: for what moves no offline cursor a device that was just heard is asked
// once in a while, for all of it, within three seconds and 32 stanzas; one that was
// silent is asked at once, as it may be gone.
func TestRequestsThatCanWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, false)
		n := w.up()
		defer w.teardown(n)
		var serving sync.WaitGroup
		defer serving.Wait()
		phone := arrive(t, n, 0, &serving, xmlstream.New(stanza.NSSM, "enable", "resume", "true"))
		other := arrive(t, n, 1, &serving)
		defer other.wire.hangUp()
		got := 0
		settle := func() {
			<-time.After(100 * time.Millisecond) // fake, as all that follows
			synctest.Wait()
		}
		// asked counts the requests; if there are any, all that came is acknowledged.
		asked := func() (requests int) {
			settle()
			for _, el := range phone.wire.taken() {
				switch {
				case el.Is(stanza.NSSM, "r"):
					requests++
				case el.Name.Space == stanza.NSClient:
					got++
				}
			}
			if requests > 0 {
				phone.wire.send(xmlstream.New(stanza.NSSM, "a", "h", strconv.Itoa(got)))
			}
			settle()
			return requests
		}
		ping := func() {
			phone.wire.send(xmlstream.New(stanza.NSClient, "iq", "type", "get", "id", "p", "to", "localhost").
				Add(xmlstream.New(stanza.NSPing, "ping")))
		}
		<-time.After(4 * time.Second)
		asked()
		before := got
		for range 5 {
			ping()
		}
		if r := asked(); r != 0 || got != before+5 {
			t.Errorf("asked %d times at once for %d answers", r, got-before)
		}
		<-time.After(3 * time.Second)
		if r := asked(); r != 1 {
			t.Errorf("asked %d times within three seconds", r)
		}
		<-time.After(5 * time.Second)
		if r := asked(); r != 0 {
			t.Errorf("asked %d times for nothing", r)
		}
		for range 40 {
			ping()
		}
		if r := asked(); r != 1 {
			t.Errorf("asked %d times at once for 40 answers", r)
		}
		<-time.After(5 * time.Second)
		asked()
		<-time.After(20 * time.Second)
		other.types(0, "composing")
		if r := asked(); r != 1 {
			t.Errorf("asked %d times at once after 20 seconds of silence", r)
		}
		other.types(0, "paused")
		if r := asked(); r != 0 {
			t.Errorf("asked %d times although it has just answered", r)
		}
		phone.wire.hangUp()
	})
}
