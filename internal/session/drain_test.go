// SPDX-License-Identifier: Apache-2.0

package session_test

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"bavard/internal/dispatch"
	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// acknowledged is the last count that the server has acknowledged.
func (p *person) acknowledged() (h int) {
	for _, el := range p.wire.taken() {
		if el.Is(stanza.NSSM, "a") {
			h, _ = strconv.Atoi(el.Get("h"))
		}
	}
	return h
}

// TestDrain: devices are sent away one after the other, each with what it sent acknowledged;
// other nodes show them until they are back there, or 10 s have passed.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, false)
		n := w.up()
		defer w.teardown(n)
		var serving sync.WaitGroup
		defer serving.Wait()
		const people = 4
		var devices []*person
		for who := range people {
			d := arrive(t, n, who, &serving, xmlstream.New(stanza.NSSM, "enable", "resume", "true"))
			d.say(1, "hello")
			devices = append(devices, d)
		}
		soon()
		began := time.Now()
		var left []int
		if err := n.sessions.Drain(t.Context(), 20*time.Second, func(n int) { left = append(left, n) }); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took < 5*time.Second || took > 25*time.Second {
			t.Errorf("it took %v", took)
		}
		if s := n.sessions.Stats().Sessions; s != 0 || left[len(left)-1] != 0 || !slices.Contains(left, 2) {
			t.Errorf("%d sessions are there; left: %v", s, left)
		}
		for _, d := range devices {
			if end := d.told(); end != stanza.StreamSystemShutdown {
				t.Errorf("%v is told %v", d.full, end)
			}
			if h := d.acknowledged(); h != 2 {
				t.Errorf("%v: %d stanzas are acknowledged", d.full, h)
			}
		}
		for _, d := range devices { // some time is over already
			if b, ok := n.elsewhere.told(d.full); ok && (!b.Available || b.Attention != (dispatch.Attention{})) {
				t.Errorf("%v is known as %+v", d.full, b)
			}
		}
		<-time.After(12 * time.Second)
		synctest.Wait()
		if b, ok := n.elsewhere.told(devices[0].full); ok {
			t.Errorf("it has not come back: %+v", b)
		}

		// Nobody is let in until that is taken back.
		if end := arrive(t, n, 0, &serving).told(); end != stanza.StreamSystemShutdown {
			t.Errorf("a late one is told %v", end)
		}
		n.sessions.Undrain()
		arrive(t, n, 0, &serving, xmlstream.New(stanza.NSSM, "enable"))

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := n.sessions.Drain(ctx, time.Hour, func(int) {}); err == nil || n.sessions.Stats().Sessions != 1 {
			t.Errorf("cut short: %v", err)
		}
		n.sessions.Undrain()
	})
}
