// SPDX-License-Identifier: Apache-2.0

package session_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"bavard/internal/session"
	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// paced begins a world in which devices are read at a pace.
func paced(t *testing.T, p session.Pace) (*world, *node) {
	w := newWorld(t, 1, false)
	w.teardown(w.up())
	w.pace = p
	w.start()
	return w, w.up()
}

// TestPace: who sends more than it may is read more slowly; nothing of it is
// lost, and others do not wait for it.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, n := paced(t, session.Pace{Stanzas: 20})
		defer w.teardown(n)
		var serving sync.WaitGroup
		defer serving.Wait()
		loud := arrive(t, n, 0, &serving)
		other := arrive(t, n, 1, &serving)
		reader := arrive(t, n, 2, &serving)
		for _, p := range []*person{loud, other, reader} {
			defer p.wire.hangUp()
		}
		<-time.After(time.Minute)
		reader.wire.taken()
		var want []string
		for i := range 300 { // four seconds' worth at once, the others 20 in a second
			want = append(want, fmt.Sprintf("loud-%d", i))
			loud.say(2, want[i])
		}
		soon()
		other.say(2, "other")
		soon()
		got, _ := messages(reader.wire.taken())
		if len(got) < 81 || len(got) > 81+3*20 || got[len(got)-1] == "other" && len(got) == 301 {
			t.Fatalf("after two seconds %d have come", len(got))
		}
		early := false
		for _, id := range got {
			early = early || id == "other"
		}
		if !early {
			t.Error("who sends little waits behind who sends much")
		}
		<-time.After(20 * time.Second)
		synctest.Wait()
		more, _ := messages(reader.wire.taken())
		var all []string
		for _, id := range append(got, more...) {
			if id != "other" {
				all = append(all, id)
			}
		}
		if fmt.Sprint(all) != fmt.Sprint(want) {
			t.Errorf("%d of %d have come, in another order perhaps", len(all), len(want))
		}
		if n.sessions.Stats().Held == 0 {
			t.Error("it is not counted")
		}
	})
}

// TestPaceOfAnAccount: several devices of one account have one share, and what is
// said where many are counts for more.
func TestPaceOfAnAccount(t *testing.T) {
	for _, c := range []struct {
		name string
		size int    // of bodies
		to   string // "" for a person
		pace session.Pace
		most int // that get through in the first two seconds, of all three devices
	}{
		{"stanzas", 1, "", session.Pace{Stanzas: 20}, 6 * 40},
		{"bytes", 1000, "", session.Pace{Bytes: 20 * 1200}, 6 * 44},
		{"crowds", 1, "crowded@localhost", session.Pace{Stanzas: 60}, 6 * 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, n := paced(t, c.pace)
				defer w.teardown(n)
				var serving sync.WaitGroup
				defer serving.Wait()
				var devices []*person
				for i := range 3 {
					p := arriveAs(t, n, 0, fmt.Sprint("device", i), &serving)
					defer p.wire.hangUp()
					devices = append(devices, p)
				}
				<-time.After(time.Minute)
				to := c.to
				if to == "" {
					to = bare(1)
				}
				for i := range 300 {
					for _, d := range devices {
						d.wire.send(xmlstream.New(stanza.NSClient, "message", "to", to, "type", "chat", "id", fmt.Sprint(i)).Add(
							xmlstream.NewText(stanza.NSClient, "body", fmt.Sprintf("%0*d", c.size, i))))
					}
				}
				soon()
				sum := 0
				for _, d := range devices {
					read := 300 - d.wire.unread()
					if sum += read; read == 0 {
						t.Errorf("nothing is read of %s", d.full)
					}
				}
				if sum > c.most {
					t.Errorf("%d are read, want at most %d", sum, c.most)
				}
			})
		})
	}
}

// TestPaceEndsWithTheStream: a device that is held can be back at once.
func TestPaceEndsWithTheStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, n := paced(t, session.Pace{Stanzas: 1})
		defer w.teardown(n)
		var serving sync.WaitGroup
		defer serving.Wait()
		p := arrive(t, n, 0, &serving, xmlstream.New(stanza.NSSM, "enable", "resume", "true"))
		previd, _ := p.previd()
		for i := range 30 {
			p.say(1, fmt.Sprint("m", i))
		}
		soon()
		began := time.Now()
		r, h, known := n.sessions.Resume(p.full.Bare(), previd, 0)
		if r == nil {
			t.Fatalf("not resumed: h %d, known %t", h, known)
		}
		if d := time.Since(began); d > time.Second {
			t.Errorf("it took %v", d)
		}
		p.wire = newWire()
		defer p.wire.hangUp()
		serving.Go(func() { n.sessions.ServeResumed(r, p.wire, nil) })
		soon()
	})
}
