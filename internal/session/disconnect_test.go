// SPDX-License-Identifier: Apache-2.0

package session_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"bavard/internal/jid"
	"bavard/internal/session"
	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// person is a device whose client does only what a test says.
type person struct {
	t    *testing.T
	full jid.JID
	wire *wire
	wg   *sync.WaitGroup
}

func arrive(t *testing.T, n *node, account int, wg *sync.WaitGroup, setup ...*xmlstream.Element) *person {
	t.Helper()
	return arriveAs(t, n, account, "device", wg, setup...)
}

func arriveAs(t *testing.T, n *node, account int, resource string, wg *sync.WaitGroup, setup ...*xmlstream.Element) *person {
	t.Helper()
	full, err := jid.Parse(bare(account) + "/" + resource)
	if err != nil {
		t.Fatal(err)
	}
	p := &person{t: t, full: full, wire: newWire(), wg: wg}
	wg.Go(func() { n.sessions.Serve(full, p.wire) })
	for _, el := range append(setup, xmlstream.New(stanza.NSClient, "presence")) {
		p.wire.send(el)
	}
	soon()
	return p
}

// soon lets what is under way come to its end, on fake time.
func soon() {
	<-time.After(time.Second)
	synctest.Wait()
}

func (p *person) say(to int, id string) {
	p.wire.send(xmlstream.New(stanza.NSClient, "message", "to", bare(to), "type", "chat", "id", id).Add(
		xmlstream.NewText(stanza.NSClient, "body", "text of "+id), xmlstream.New(stanza.NSSID, "origin-id", "id", id)))
}

// told is why the server ended the stream; the test fails if it did not.
func (p *person) told() stanza.StreamCondition {
	p.t.Helper()
	p.wire.mu.Lock()
	defer p.wire.mu.Unlock()
	if !p.wire.ended || p.wire.err == nil {
		p.t.Fatalf("%s is not told to go: ended %t", p.full, p.wire.ended)
	}
	return p.wire.err.Condition
}

// previd is the id of the stream management that p has enabled, and how many stanzas it
// was sent.
func (p *person) previd() (id string, received uint32) {
	for _, el := range p.wire.taken() {
		switch {
		case el.Is(stanza.NSSM, "enabled"):
			id = el.Get("id")
		case el.Name.Space == stanza.NSClient:
			received++
		}
	}
	return id, received
}

// messages are the ids of what was delivered, in order, and the rest.
func messages(got []*xmlstream.Element) (ids []string, rest []*xmlstream.Element) {
	for _, el := range got {
		if el.Is(stanza.NSClient, "message") {
			ids = append(ids, el.Get("id"))
		} else {
			rest = append(rest, el)
		}
	}
	return ids, rest
}

func unstored() *stanza.StreamError {
	return stanza.StreamErr(stanza.StreamInternalServerError, "unstored")
}

// TestDisconnect: sessions that are cut off because nothing can be stored are
// told so; one that can be resumed waits, and loses neither what it had sent nor
// what it is sent, one that cannot ends.
func TestDisconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, false)
		n := w.up()
		defer w.teardown(n)
		var serving sync.WaitGroup
		defer serving.Wait()
		resumes := arrive(t, n, 0, &serving, xmlstream.New(stanza.NSSM, "enable", "resume", "true"))
		ends := arrive(t, n, 1, &serving, xmlstream.New(stanza.NSSM, "enable"))
		plain := arrive(t, n, 2, &serving)
		previd, received := resumes.previd()
		n.sessions.Disconnect(unstored())
		soon()
		for _, p := range []*person{resumes, ends, plain} {
			if c := p.told(); c != stanza.StreamInternalServerError {
				t.Errorf("%s is told %s", p.full, c)
			}
		}
		if s := n.sessions.Stats(); s != (session.Stats{Sessions: 1, Detached: 1}) {
			t.Fatalf("%+v: only the one that can be resumed stays, without a stream", s)
		}
		n.sessions.Disconnect(unstored()) // once more, as long as there is no journal

		other := arrive(t, n, 3, &serving, xmlstream.New(stanza.NSSM, "enable"))
		defer other.wire.hangUp()
		var want []string
		for i := range 20 {
			want = append(want, fmt.Sprintf("to-%d", i))
			other.say(0, want[i])
		}
		soon()
		r, h, known := n.sessions.Resume(resumes.full.Bare(), previd, received)
		if r == nil {
			t.Fatalf("not resumed: h %d, known %t", h, known)
		}
		resumes.wire = newWire()
		defer resumes.wire.hangUp()
		serving.Go(func() { n.sessions.ServeResumed(r, resumes.wire, nil) })
		soon()
		ids, rest := messages(resumes.wire.taken())
		if fmt.Sprint(ids) != fmt.Sprint(want) {
			t.Errorf("delivered %v, want %v", ids, want)
		}
		if len(rest) == 0 || !rest[0].Is(stanza.NSSM, "resumed") || rest[0].Get("h") != "1" {
			t.Errorf("the resumption begins with %v", rest)
		}
		if s := n.sessions.Stats(); s.Detached != 0 || s.Sessions != 2 {
			t.Errorf("%+v after the resumption", s)
		}
	})
}

// TestDisconnectUnderWay: what a session had under way when it was cut off is
// settled when it can be: it is counted for who resumes, and stored once for who
// sends it again.
func TestDisconnectUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, false)
		n := w.up()
		defer w.teardown(n)
		var serving sync.WaitGroup
		defer serving.Wait()
		from := arrive(t, n, 0, &serving, xmlstream.New(stanza.NSSM, "enable", "resume", "true"))
		to := arrive(t, n, 1, &serving, xmlstream.New(stanza.NSSM, "enable"))
		defer to.wire.hangUp()
		previd, received := from.previd()
		again := arrive(t, n, 2, &serving, xmlstream.New(stanza.NSSM, "enable"))
		var want, repeated []string
		for i := range 50 {
			want, repeated = append(want, fmt.Sprintf("m%d", i)), append(repeated, fmt.Sprintf("r%d", i))
			from.say(1, want[i])
			again.say(1, repeated[i])
		}
		synctest.Wait() // they are read, and none is settled: time stands still
		n.sessions.Disconnect(unstored())
		synctest.Wait() // no time passes, for those either that end
		for _, p := range []*person{from, again} {
			if c := p.told(); c != stanza.StreamInternalServerError {
				t.Errorf("%s is told %s", p.full, c)
			}
		}
		if ids, _ := messages(to.wire.taken()); len(ids) > 0 {
			t.Fatalf("%v are delivered already: nothing is under way", ids)
		}
		back := arrive(t, n, 1, &serving, xmlstream.New(stanza.NSSM, "enable"))
		defer back.wire.hangUp()
		r, _, _ := n.sessions.Resume(from.full.Bare(), previd, received)
		if r == nil {
			t.Fatal("not resumed")
		}
		from.wire = newWire()
		defer from.wire.hangUp()
		serving.Go(func() { n.sessions.ServeResumed(r, from.wire, nil) })
		soon()
		_, rest := messages(from.wire.taken())
		if len(rest) == 0 || !rest[0].Is(stanza.NSSM, "resumed") || rest[0].Get("h") != "51" {
			t.Errorf("the resumption begins with %v, want h 51", rest)
		}
		again = arrive(t, n, 2, &serving, xmlstream.New(stanza.NSSM, "enable"))
		defer again.wire.hangUp()
		for _, id := range repeated {
			again.say(1, id)
		}
		soon()
		all, _ := messages(back.wire.taken())
		for _, part := range [][]string{want, repeated} {
			var ids []string
			for _, id := range all {
				if id[0] == part[0][0] {
					ids = append(ids, id)
				}
			}
			if fmt.Sprint(ids) != fmt.Sprint(part) {
				t.Errorf("delivered %v, want %v", ids, part)
			}
		}
	})
}
