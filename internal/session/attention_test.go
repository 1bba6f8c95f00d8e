// SPDX-License-Identifier: Apache-2.0

package session_test

import (
	"fmt"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"bavard/internal/dispatch"
	"bavard/internal/jid"
	"bavard/internal/route"
	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// missed collects what sessions say that devices missed.
type missed struct {
	mu  sync.Mutex
	log []string
}

func (m *missed) take(full jid.JID, messages []route.Out) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.log = append(m.log, fmt.Sprintf("%s %d", full.Resource(), len(messages)))
}

func (m *missed) taken() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	text := fmt.Sprint(m.log)
	m.log = nil
	return text
}

// TestMissed: what a device that was thought to be there does not acknowledge is told
// once, when it is silent for too long or its stream breaks; what came while it was known not to
// look is not.
func TestMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, false)
		n := w.up()
		defer w.teardown(n)
		var serving sync.WaitGroup
		defer serving.Wait()
		lost := n.missed
		phone := arrive(t, n, 0, &serving, xmlstream.New(stanza.NSSM, "enable", "resume", "true"))
		other := arrive(t, n, 1, &serving)
		defer other.wire.hangUp()
		got := 0
		ack := func() {
			for _, el := range phone.wire.taken() {
				if el.Name.Space == stanza.NSClient {
					got++
				}
			}
			phone.wire.send(xmlstream.New(stanza.NSSM, "a", "h", strconv.Itoa(got)))
			soon()
		}
		alive := func() { other.wire.send(xmlstream.New(stanza.NSSM, "r")) }
		is := func(want dispatch.Attention) {
			t.Helper()
			all := n.hub.Attending(bare(0))
			if len(all) != 1 || all[0].Attention != want || !all[0].Messages {
				t.Errorf("%+v, want %+v", all, want)
			}
		}
		ack()
		is(dispatch.Attention{Here: true}) // it may have been left alone
		phone.say(1, "hello")
		soon()
		is(dispatch.Attention{Here: true, Looking: true})
		other.say(0, "m1")
		soon()
		ack()
		<-time.After(time.Minute)
		alive()
		if got := lost.taken(); got != "[]" {
			t.Errorf("missed %s, and all is acknowledged", got)
		}
		other.say(0, "m2")
		other.types(0, "composing")
		<-time.After(50 * time.Second)
		synctest.Wait()
		if got := lost.taken(); got != "[device 1]" {
			t.Errorf("missed %s of a silent device", got)
		}
		is(dispatch.Attention{})
		ack()
		is(dispatch.Attention{Here: true, Looking: true})
		phone.wire.send(indication("inactive"))
		soon()
		is(dispatch.Attention{})
		other.say(0, "m3") // whoever is to know is told at once
		soon()
		phone.wire.send(indication("active"))
		soon()
		is(dispatch.Attention{Here: true, Looking: true})
		alive()
		other.say(0, "m4")
		soon()
		phone.wire.sever()
		soon()
		is(dispatch.Attention{})
		if got := lost.taken(); got != "[device 1]" {
			t.Errorf("missed %s of a device that was cut off", got)
		}
		other.say(0, "m5")
		soon()
		if got := lost.taken(); got != "[]" {
			t.Errorf("missed %s of one that is known to be away", got)
		}
	})
}
