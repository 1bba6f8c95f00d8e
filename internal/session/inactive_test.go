// SPDX-License-Identifier: Apache-2.0

package session_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

func indication(what string) *xmlstream.Element { return xmlstream.New(stanza.NSCSI, what) }

// shows sends a device presence.
func (p *person) shows(to int, show string) {
	p.wire.send(xmlstream.New(stanza.NSClient, "presence", "to", bare(to)).Add(xmlstream.NewText(stanza.NSClient, "show", show)))
}

// types sends an account a chat state.
func (p *person) types(to int, chatState string) {
	p.wire.send(xmlstream.New(stanza.NSClient, "message", "to", bare(to), "type", "chat").Add(xmlstream.New(stanza.NSChatStates, chatState)))
}

// brief tells what elements are, one word each.
func brief(got []*xmlstream.Element) string {
	var words []string
	for _, el := range got {
		switch {
		case el.Name.Space != stanza.NSClient:
		case el.Child(stanza.NSClient, "show") != nil:
			words = append(words, el.Child(stanza.NSClient, "show").Text())
		case el.Child(stanza.NSChatStates, "") != nil:
			words = append(words, el.Child(stanza.NSChatStates, "").Name.Local)
		case el.Get("id") != "":
			words = append(words, el.Get("id"))
		default:
			words = append(words, el.Name.Local)
		}
	}
	return strings.Join(words, " ")
}

// TestInactiveHour counts what a phone in a pocket gets in a busy hour, and how
// often that wakes it, with and without saying that nobody looks at it.
func TestInactiveHour(t *testing.T) {
	count := map[bool]int{}
	woken := map[bool]int{}
	for _, inactive := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, 1, false)
			n := w.up()
			defer w.teardown(n)
			var serving sync.WaitGroup
			defer serving.Wait()
			phone := arrive(t, n, 0, &serving)
			defer phone.wire.hangUp()
			var others []*person
			for i := 1; i < accounts; i++ {
				p := arrive(t, n, i, &serving)
				defer p.wire.hangUp()
				others = append(others, p)
			}
			if inactive {
				phone.wire.send(indication("inactive"))
			}
			soon()
			phone.wire.taken()
			said := 0
			for minute := range 60 {
				phone.wire.send(xmlstream.New(stanza.NSSM, "r")) // it is alive
				for i, p := range others {
					p.shows(0, []string{"away", "dnd", "chat", "xa"}[minute%4])
					soon()
					woken[inactive] += phone.counted(&count, inactive)
					for _, s := range []string{"composing", "paused"} {
						p.types(0, s)
						soon()
						woken[inactive] += phone.counted(&count, inactive)
					}
					if minute%10 == 3*i {
						p.say(0, fmt.Sprintf("m%d-%d", i, minute))
						said++
						soon()
						woken[inactive] += phone.counted(&count, inactive)
					}
				}
			}
			if inactive && woken[true] != said {
				t.Errorf("woken %d times by %d messages", woken[true], said)
			}
		})
	}
	t.Logf("active: %d stanzas, woken %d times; inactive: %d stanzas, woken %d times",
		count[false], woken[false], count[true], woken[true])
	if count[true]*4 > count[false] || woken[true]*10 > woken[false] {
		t.Errorf("an inactive phone gets %d stanzas at %d times, an active one %d at %d", count[true], woken[true], count[false], woken[false])
	}
}

// counted adds what came, and gives 1 if anything did.
func (p *person) counted(count *map[bool]int, inactive bool) int {
	n := 0
	for _, el := range p.wire.taken() {
		if el.Name.Space == stanza.NSClient {
			n++
		}
	}
	(*count)[inactive] += n
	return min(n, 1)
}

// TestInactiveOrder: what is held goes before what cannot wait, in the order in
// which it came, the newest of each kind, and all of it once the device is active.
func TestInactiveOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, false)
		n := w.up()
		defer w.teardown(n)
		var serving sync.WaitGroup
		defer serving.Wait()
		phone := arrive(t, n, 0, &serving, xmlstream.New(stanza.NSSM, "enable", "resume", "true"))
		one, two := arrive(t, n, 1, &serving), arrive(t, n, 2, &serving)
		defer one.wire.hangUp()
		defer two.wire.hangUp()
		step := func(want string, do func()) {
			t.Helper()
			do()
			soon()
			if got := brief(phone.wire.taken()); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		previd, _ := phone.previd()
		phone.wire.send(indication("inactive"))
		soon()
		step("", func() {
			one.shows(0, "away")
			one.types(0, "composing")
			soon()
			two.shows(0, "xa")
			soon()
			one.shows(0, "dnd")
			one.types(0, "paused")
		})
		if s := n.sessions.Stats(); s.Inactive != 1 || s.Spared != 2 {
			t.Errorf("%+v", s)
		}
		step("xa dnd paused m1", func() { one.say(0, "m1") })
		step("m2", func() { one.say(0, "m2") })
		step("", func() { one.types(0, "composing") })
		step("composing", func() { phone.wire.send(indication("active")) })
		step("away", func() { two.shows(0, "away") })
		step("", func() {
			phone.wire.send(indication("inactive"))
			soon()
			two.shows(0, "chat")
			phone.wire.send(xmlstream.New(stanza.NSSM, "r")) // an ack wakes nothing
		})

		// A resumed stream is active, and what was held comes with it.
		phone.wire.sever()
		soon()
		one.types(0, "gone")
		soon()
		r, _, _ := n.sessions.Resume(phone.full.Bare(), previd, 8)
		if r == nil {
			t.Fatal("not resumed")
		}
		phone.wire = newWire()
		defer phone.wire.hangUp()
		serving.Go(func() { n.sessions.ServeResumed(r, phone.wire, nil) })
		step("chat gone", func() {})
		step("dnd", func() { two.shows(0, "dnd") })
	})
}

// TestInactiveBound: a device that is inactive for long gets what was held once
// there is too much of it; nothing is lost.
func TestInactiveBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, false)
		n := w.up()
		defer w.teardown(n)
		var serving sync.WaitGroup
		defer serving.Wait()
		phone, other := arrive(t, n, 0, &serving), arrive(t, n, 1, &serving)
		defer phone.wire.hangUp()
		defer other.wire.hangUp()
		phone.wire.send(indication("inactive"))
		soon()
		phone.wire.taken()
		const sent = 1500
		got := 0
		for i := range sent {
			other.wire.send(xmlstream.New(stanza.NSClient, "message", "to", bare(0), "type", "chat", "id", fmt.Sprint(i)).
				Add(xmlstream.New(stanza.NSReceipts, "received", "id", "m")))
			if i%100 == 0 {
				soon()
				got += len(phone.wire.taken())
			}
		}
		soon()
		got += len(phone.wire.taken())
		if held := sent - got; held < 1 || held > 512 {
			t.Errorf("%d of %d are held", held, sent)
		}
		phone.wire.send(indication("active"))
		soon()
		if got += len(phone.wire.taken()); got < sent {
			t.Errorf("got %d of %d", got, sent)
		}
	})
}

// TestInactiveWord: what is neither active nor inactive ends the stream.
func TestInactiveWord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, false)
		n := w.up()
		defer w.teardown(n)
		var serving sync.WaitGroup
		defer serving.Wait()
		phone := arrive(t, n, 0, &serving)
		phone.wire.send(indication("asleep"))
		<-time.After(time.Second)
		if c := phone.told(); c != stanza.StreamUnsupportedStanza {
			t.Errorf("told %s", c)
		}
	})
}
