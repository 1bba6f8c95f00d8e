// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

func messages(n int) []*Outgoing {
	var out []*Outgoing
	for i := range n {
		out = append(out, NewMessageID(fmt.Sprint("m", i+1), "bob@localhost", "hi"))
	}
	return out
}

func TestTick(t *testing.T) {
	p := newPeer(t)
	cfg := p.config()
	ticked := make(chan string, 8)
	cfg.Handler.Ticked = func(o *Outgoing) { ticked <- o.ID }
	refused := make(chan string, 8)
	cfg.Handler.Refused = func(id string, c stanza.Condition) { refused <- id + " " + string(c) }
	s := dial(t, p, cfg, p.login)
	if s.JID() != "ann@localhost/r" || s.Resumed() {
		t.Fatalf("bound as %s, resumed %v", s.JID(), s.Resumed())
	}
	refusal := func(id string) string {
		return `<message type='error' id='` + id + `' from='bob@localhost'><error type='cancel'><forbidden xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>`
	}
	done := p.run(func() error {
		return errors.Join(p.hear(chat("m1", "hi"), ask, chat("m2", "hi"), ask, chat("m3", "hi"), ask),
			p.say(ack(1)), p.say(refusal("m2")), p.say(ack(3)), p.say(refusal("m1")))
	})
	out := messages(3)
	for _, o := range out {
		if err := s.Send(testContext(t), o); err != nil {
			t.Fatal(err)
		}
	}
	wait(t, done)
	if got := []string{<-ticked, <-refused, <-ticked, <-refused}; fmt.Sprint(got) != "[m1 m2 forbidden m3 m1 forbidden]" {
		t.Errorf("got %v", got)
	}
	for i, want := range []State{Ticked, Refused, Ticked} {
		<-out[i].Settled()
		if out[i].State() != want || out[i].SettledAt.Before(out[i].SentAt) {
			t.Errorf("message %d is %d, settled %v after it was sent", i+1, out[i].State(), out[i].SettledAt.Sub(out[i].SentAt))
		}
	}
	s.Cut()
	if len(s.Unsettled()) != 0 {
		t.Error("unsettled messages are left")
	}
}

func TestTooHighAckEndsTheSession(t *testing.T) {
	p := newPeer(t)
	s := dial(t, p, p.config(), p.login)
	wait(t, p.run(func() error { return p.say(ack(1)) }))
	<-s.Done()
	if !errors.Is(s.Err(), ErrProtocol) {
		t.Error(s.Err())
	}
	if err := s.Send(testContext(t), messages(1)[0]); !errors.Is(err, ErrProtocol) {
		t.Error(err)
	}
}

func TestResume(t *testing.T) {
	p := newPeer(t)
	cfg := p.config()
	got := make(chan string, 8)
	cfg.Handler.Message = func(m *Inbound) { got <- m.Body }
	ticked := make(chan string, 8)
	cfg.Handler.Ticked = func(o *Outgoing) { ticked <- o.ID }
	s := dial(t, p, cfg, p.login)
	wait(t, p.run(func() error {
		return errors.Join(p.say("<message from='bob@localhost/x'><body>1</body></message>"), p.say("<r xmlns='urn:xmpp:sm:3'/>"), p.hear(ack(1)))
	}))
	if body := <-got; body != "1" {
		t.Error(body)
	}
	done := p.run(func() error { return p.hear("<presence/>", chat("m1", "hi"), ask, chat("m2", "hi"), ask) })
	if err := s.Available(testContext(t), 0); err != nil {
		t.Fatal(err)
	}
	for _, o := range messages(2) {
		if err := s.Send(testContext(t), o); err != nil {
			t.Fatal(err)
		}
	}
	wait(t, done)
	s.Cut()
	if n := len(s.Unsettled()); n != 2 {
		t.Fatalf("%d unsettled", n)
	}
	cfg.Resume = s.Resumption()
	// The server has handled the presence and m1: m2 comes again, as it was.
	again := dial(t, p, cfg, func() error {
		return errors.Join(p.authenticate(), p.hear(`<resume xmlns="urn:xmpp:sm:3" previd="sm1" h="1"/>`),
			p.say(`<resumed xmlns='urn:xmpp:sm:3' previd='sm1' h='2'/>`), p.hear(chat("m2", "hi"), ask), p.say(ack(3)))
	})
	if !again.Resumed() || again.Stream() != s.Stream() || again.JID() != s.JID() {
		t.Errorf("resumed %v", again.Resumed())
	}
	if a, b := <-ticked, <-ticked; a != "m1" || b != "m2" {
		t.Errorf("ticked %s, %s", a, b)
	}
}

// An answer to what was asked before the cut is not taken for an answer to what
// is asked after it.
func TestResumedStreamTellsRequestsApart(t *testing.T) {
	p := newPeer(t)
	s := dial(t, p, p.config(), p.login)
	ctx, cancel := context.WithCancel(testContext(t))
	asked := p.run(func() error {
		defer cancel()
		return p.hear(`<iq type="get" id="q1"><ping xmlns="urn:xmpp:ping"/></iq>`)
	})
	if err := s.Ping(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	wait(t, asked)
	s.Cut()
	cfg := p.config()
	cfg.Resume = s.Resumption()
	again := dial(t, p, cfg, func() error {
		return errors.Join(p.authenticate(), p.hear(`<resume xmlns="urn:xmpp:sm:3" previd="sm1" h="0"/>`), p.say(`<resumed xmlns='urn:xmpp:sm:3' previd='sm1' h='1'/>`), p.hear(ask))
	})
	done := p.run(func() error {
		return errors.Join(p.hear(`<iq type="get" id="q2"><ping xmlns="urn:xmpp:ping"/></iq>`),
			p.say(`<iq type='error' id='q1'><error type='cancel'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq><iq type='result' id='q2'/>`))
	})
	if err := again.Ping(testContext(t)); err != nil {
		t.Error(err)
	}
	wait(t, done)
}

func TestResumeFails(t *testing.T) {
	for _, tt := range []struct {
		failed string
		left   int
	}{
		{"<failed xmlns='urn:xmpp:sm:3' h='2'/>", 1},
		{"<failed xmlns='urn:xmpp:sm:3'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>", 3},
	} {
		p := newPeer(t)
		s := dial(t, p, p.config(), p.login)
		out := messages(3)
		done := p.run(func() error { return p.hear(chat("m1", "hi"), ask, chat("m2", "hi"), ask, chat("m3", "hi"), ask) })
		for _, o := range out {
			if err := s.Send(testContext(t), o); err != nil {
				t.Fatal(err)
			}
		}
		wait(t, done)
		s.Cut()
		cfg := p.config()
		cfg.Resume = s.Resumption()
		again := dial(t, p, cfg, func() error {
			return errors.Join(p.authenticate(), p.hear(`<resume xmlns="urn:xmpp:sm:3" previd="sm1" h="0"/>`), p.say(tt.failed),
				p.hear(bindAsk), p.say(bindResult), p.hear(enableAsk), p.say(enabled))
		})
		left := s.Unsettled()
		if again.Resumed() || len(left) != tt.left || again.Stream() == s.Stream() {
			t.Fatalf("resumed %v, %d left", again.Resumed(), len(left))
		}
		// The repetition is identical.
		done = p.run(func() error { return errors.Join(p.hear(chat("m3", "hi"), ask), p.say(ack(1))) })
		if err := again.Send(testContext(t), out[2]); err != nil {
			t.Fatal(err)
		}
		wait(t, done)
		<-out[2].Settled()
		if out[2].Attempts != 2 || out[2].State() != Ticked {
			t.Errorf("attempts %d, state %d", out[2].Attempts, out[2].State())
		}
	}
}

func TestBacklog(t *testing.T) {
	p := newPeer(t)
	cfg := p.config()
	cfg.MaxUnacked = 2
	cfg.AckEvery = 2
	s := dial(t, p, cfg, p.login)
	done := p.run(func() error { return p.hear(chat("m1", "hi"), chat("m2", "hi"), ask) })
	out := messages(3)
	for i, o := range out {
		if err := s.Send(testContext(t), o); errors.Is(err, ErrBacklog) != (i == 2) {
			t.Errorf("message %d: %v", i+1, err)
		}
	}
	wait(t, done)
}

// TestManyRequests: one after the other, as whoever reads a long archive sends them, they never wait for more than the server's next answer.
func TestManyRequests(t *testing.T) {
	p := newPeer(t)
	cfg := p.config()
	cfg.MaxUnacked = 4
	s := dial(t, p, cfg, p.login)
	const many = 12
	done := p.run(func() error {
		for n := 1; n <= many; n++ {
			err := p.hear(fmt.Sprintf(`<iq type="get" id="q%d"><ping xmlns="urn:xmpp:ping"/></iq>`, n))
			if n%2 == 0 {
				err = errors.Join(err, p.hear(ask), p.say(fmt.Sprintf(`<a xmlns='urn:xmpp:sm:3' h='%d'/>`, n)))
			}
			if err := errors.Join(err, p.say(fmt.Sprintf(`<iq type='result' id='q%d'/>`, n))); err != nil {
				return err
			}
		}
		return nil
	})
	for n := range many {
		if err := s.Ping(testContext(t)); err != nil {
			t.Fatalf("request %d: %v", n+1, err)
		}
	}
	wait(t, done)
}

func TestIQ(t *testing.T) {
	p := newPeer(t)
	cfg := p.config()
	pushes := make(chan RosterItem, 1)
	cfg.Handler.RosterPush = func(i RosterItem) { pushes <- i }
	cfg.NoStreamManagement = true
	s := dial(t, p, cfg, func() error { return errors.Join(p.authenticate(), p.hear(bindAsk), p.say(bindResult)) })
	done := p.run(func() error {
		return errors.Join(
			p.hear(`<iq type="get" id="q1"><query xmlns="jabber:iq:roster"/></iq>`),
			p.say(`<iq type='result' id='q1'><query xmlns='jabber:iq:roster'><item jid='bob@localhost' name='Bob' subscription='both'><group>g</group></item></query></iq>`),
			p.hear(`<iq type="get" id="q2"><ping xmlns="urn:xmpp:ping"/></iq>`),
			p.say(`<iq type='error' id='q2'><error type='wait'><resource-constraint xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>`),
			p.say(`<iq type='get' id='s1' from='localhost'><ping xmlns='urn:xmpp:ping'/></iq>`), p.hear(`<iq type="result" id="s1" to="localhost"/>`),
			p.say(`<iq type='set' id='s2'><query xmlns='jabber:iq:roster'><item jid='eve@localhost' subscription='none' ask='subscribe'/></query></iq>`), p.hear(`<iq type="result" id="s2"/>`),
		)
	})
	ctx := testContext(t)
	items, err := s.Roster(ctx)
	if err != nil || fmt.Sprint(items) != "[{bob@localhost Bob both false [g]}]" {
		t.Error(items, err)
	}
	var refusal *stanza.Error
	if err := s.Ping(ctx); !errors.As(err, &refusal) || refusal.Condition != stanza.ResourceConstraint || refusal.Type != stanza.Wait {
		t.Error(err)
	}
	wait(t, done)
	if item := <-pushes; item.JID != "eve@localhost" || !item.Ask {
		t.Error(item)
	}
	// A response that never comes is waited for no longer than the context.
	short, cancel := context.WithCancel(ctx)
	cancel()
	if err := s.Ping(short); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	// Nor longer than the session.
	wait(t, p.run(func() error { return errors.Join(p.conn.Close()) }))
	if err := s.Ping(ctx); err == nil {
		t.Error("a dead session answers")
	}
}

func TestInbound(t *testing.T) {
	p := newPeer(t)
	cfg := p.config()
	got := make(chan *Inbound, 8)
	cfg.Handler.Message = func(m *Inbound) { got <- m }
	dial(t, p, cfg, p.login)
	inner := `<forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' from='ann@localhost/other' to='bob@localhost' id='i'><body>hi</body></message></forwarded>`
	wait(t, p.run(func() error {
		return errors.Join(
			p.say(`<message from='bob@localhost/x' to='ann@localhost' type='chat' id='1'><body>a</body><origin-id xmlns='urn:xmpp:sid:0' id='o'/>`+
				`<stanza-id xmlns='urn:xmpp:sid:0' by='bob@localhost' id='forged'/><stanza-id xmlns='urn:xmpp:sid:0' by='ann@localhost' id='s'/>`+
				`<delay xmlns='urn:xmpp:delay' stamp='2026-01-02T03:04:05.678Z'/></message>`),
			p.say(`<message from='ann@localhost'><sent xmlns='urn:xmpp:carbons:2'>`+inner+`</sent></message>`),
			p.say(`<message from='ann@localhost'><received xmlns='urn:xmpp:carbons:2'>`+inner+`</received></message>`),
			p.say(`<message from='eve@localhost'><sent xmlns='urn:xmpp:carbons:2'>`+inner+`</sent></message>`),
			p.say(`<message from='eve@localhost'><result xmlns='urn:xmpp:mam:2' queryid='aq1' id='z'>`+inner+`</result></message>`),
		)
	}))
	m := <-got
	if m.From != "bob@localhost/x" || m.Body != "a" || m.OriginID != "o" || m.ArchiveID != "s" || m.ID != "1" ||
		!m.Delay.Equal(time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)) || m.Carbon != Direct {
		t.Errorf("%+v", m)
	}
	if m = <-got; m.Carbon != CarbonSent || m.From != "ann@localhost/other" || m.Body != "hi" {
		t.Errorf("%+v", m)
	}
	if m = <-got; m.Carbon != CarbonReceived {
		t.Errorf("%+v", m)
	}
	for range 2 { // forged envelopes are not opened
		if m = <-got; m.Carbon != Direct || m.Body != "" || m.From != "eve@localhost" {
			t.Errorf("%+v", m)
		}
	}
}

func TestArchive(t *testing.T) {
	p := newPeer(t)
	cfg := p.config()
	cfg.NoStreamManagement = true
	s := dial(t, p, cfg, func() error { return errors.Join(p.authenticate(), p.hear(bindAsk), p.say(bindResult)) })
	result := func(query, id string) string {
		return `<message><result xmlns='urn:xmpp:mam:2' queryid='` + query + `' id='` + id + `'><forwarded xmlns='urn:xmpp:forward:0'>` +
			`<delay xmlns='urn:xmpp:delay' stamp='2026-01-02T03:04:05Z'/><message xmlns='jabber:client' from='bob@localhost/x'><body>` + id + `</body></message></forwarded></result></message>`
	}
	fin := func(id, complete, first, last string) string {
		return `<iq type='result' id='` + id + `'><fin xmlns='urn:xmpp:mam:2' complete='` + complete + `'><set xmlns='http://jabber.org/protocol/rsm'><first>` + first + `</first><last>` + last + `</last><count>3</count></set></fin></iq>`
	}
	query := func(id, paging string) string {
		return `<iq type="set" id="` + id + `"><query xmlns="urn:xmpp:mam:2" queryid="a` + fmt.Sprint("q", id[1]-'0'-1) + `"><x xmlns="jabber:x:data" type="submit"><field var="FORM_TYPE" type="hidden"><value>urn:xmpp:mam:2</value></field><field var="with"><value>bob@localhost</value></field></x>` +
			`<set xmlns="http://jabber.org/protocol/rsm"><max>2</max>` + paging + `</set></query></iq>`
	}
	done := p.run(func() error {
		return errors.Join(
			p.hear(query("q2", "")), p.say(result("aq1", "1")), p.say(result("aq1", "2")), p.say(fin("q2", "false", "1", "2")),
			p.hear(query("q4", "<after>2</after>")), p.say(result("aq3", "3")), p.say(fin("q4", "true", "3", "3")),
			p.hear(query("q6", "<before/>")), p.say(result("aq5", "2")), p.say(result("aq5", "3")), p.say(fin("q6", "false", "2", "3")),
			p.hear(query("q8", "<before>2</before>")), p.say(result("aq7", "1")), p.say(fin("q8", "true", "1", "1")),
		)
	})
	q := Query{With: "bob@localhost", Max: 2}
	forwards, err := s.ArchiveForwards(testContext(t), q)
	if err != nil {
		t.Fatal(err)
	}
	var backwards []*Inbound
	if err := Backwards(testContext(t), s.Archive, q, func(in *Inbound) { backwards = append(backwards, in) }); err != nil {
		t.Fatal(err)
	}
	slices.Reverse(backwards)
	wait(t, done)
	for _, all := range [][]*Inbound{forwards, backwards} {
		var ids string
		for _, m := range all {
			ids += m.ArchiveID + m.Body + " "
			if m.Delay.IsZero() {
				t.Error("no delay")
			}
		}
		if ids != "11 22 33 " {
			t.Errorf("read %s", ids)
		}
	}
}

func TestLoginRefused(t *testing.T) {
	p := newPeer(t)
	done := p.run(func() error {
		return errors.Join(p.accept(), p.open(plainOffer), p.hear(plainAuth), p.say("<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>"))
	})
	_, err := Dial(testContext(t), p.config())
	wait(t, done)
	if !errors.Is(err, ErrAuth) {
		t.Error(err)
	}
	contains(t, err, "not-authorized")
}

func TestStreamErrorIsTold(t *testing.T) {
	p := newPeer(t)
	s := dial(t, p, p.config(), p.login)
	wait(t, p.run(func() error {
		return p.say("<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>")
	}))
	<-s.Done()
	var streamErr *stanza.StreamError
	if !errors.As(s.Err(), &streamErr) || streamErr.Condition != stanza.StreamConflict {
		t.Error(s.Err())
	}
}

func TestDialEndsWithItsContext(t *testing.T) {
	p := newPeer(t)
	silent := make(chan struct{})
	done := p.run(func() error { defer close(silent); return errors.Join(p.accept(), p.open(plainOffer)) })
	ctx, cancel := context.WithCancel(testContext(t))
	go func() { <-silent; cancel() }()
	if _, err := Dial(ctx, p.config()); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	wait(t, done)
}

func TestClose(t *testing.T) {
	p := newPeer(t)
	s := dial(t, p, p.config(), p.login)
	done := p.run(func() error {
		if err := p.hear(ack(0)); err != nil {
			return err
		}
		if e, err := p.reader.Read(); err == nil {
			return fmt.Errorf("heard <%s/> instead of the end", e.Name.Local)
		}
		return p.say("</stream:stream>")
	})
	if err := s.Close(testContext(t)); err != nil {
		t.Error(err)
	}
	wait(t, done)
	if err := s.Send(testContext(t), messages(1)[0]); err == nil {
		t.Error("sent after the end")
	}
}

func TestUnknownElementEndsTheSession(t *testing.T) {
	for _, xml := range []string{"<x xmlns='y'/>", "<foo/>", "<b xmlns='urn:xmpp:sm:3'/>", "<message>"} {
		p := newPeer(t)
		s := dial(t, p, p.config(), p.login)
		wait(t, p.run(func() error { return errors.Join(p.say(xml), p.conn.Close()) }))
		<-s.Done()
		if s.Err() == nil {
			t.Errorf("%s: no error", xml)
		}
	}
}

func TestStanzasOfOthersCount(t *testing.T) {
	p := newPeer(t)
	s := dial(t, p, p.config(), p.login)
	done := p.run(func() error {
		return errors.Join(p.hear(`<iq type="get" id="x" to="bob@localhost"/>`), p.say("<presence from='bob@localhost/x'/><message/><iq type='result' id='none'/><r xmlns='urn:xmpp:sm:3'/>"), p.hear(ack(3)))
	})
	if err := s.SendStanza(testContext(t), xmlstream.New(stanza.NSClient, "iq", "type", "get", "id", "x", "to", "bob@localhost")); err != nil {
		t.Fatal(err)
	}
	wait(t, done)
}
