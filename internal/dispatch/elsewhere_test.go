// SPDX-License-Identifier: Apache-2.0

package dispatch_test

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"bavard/internal/archive"
	"bavard/internal/command"
	"bavard/internal/dispatch"
	"bavard/internal/jid"
	"bavard/internal/route"
	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// side is one of two nodes that tell each other everything at once.
type side struct {
	name  string
	hub   *dispatch.Hub
	other *side
	jobs  chan func()

	mu      sync.Mutex
	known   map[jid.JID]dispatch.Bound // of the other
	cut     bool
	unknown bool // a third node is away
	holds   bool // what is told waits
	held    []func()
}

func (s *side) Tell(b dispatch.Bound, gone bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	tell := func() { s.other.hears(b, gone) }
	if s.holds {
		s.held = append(s.held, tell)
		return
	}
	s.jobs <- tell
}

func (s *side) hears(b dispatch.Bound, gone bool) {
	s.mu.Lock()
	var was, is *dispatch.Bound
	if known, ok := s.known[b.JID]; ok {
		was = &known
	}
	if !gone {
		is = &b
		s.known[b.JID] = b
	} else {
		delete(s.known, b.JID)
	}
	s.mu.Unlock()
	s.hub.Changed(s.other.name, was, is, false)
}

func (s *side) Bound(account string) (list []dispatch.Remote) {
	s.All(func(r dispatch.Remote) {
		if r.JID.Bare().String() == account {
			list = append(list, r)
		}
	})
	return list
}

func (s *side) All(f func(dispatch.Remote)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.known {
		f(dispatch.Remote{Bound: b, Node: s.other.name})
	}
}

func (s *side) Pass(node string, p dispatch.Passed) bool {
	s.mu.Lock()
	cut := s.cut || node != s.other.name
	s.mu.Unlock()
	if !cut {
		s.jobs <- func() { s.other.hub.Arrived(s.name, p) }
	}
	return !cut
}

func (s *side) Whole() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.cut && !s.unknown
}

func (s *side) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// release lets what was held go.
func (s *side) release() {
	s.set(func() {
		for _, f := range s.held {
			s.jobs <- f
		}
		s.holds, s.held = false, nil
	})
}

// pair gives f two nodes with one view, on fake time. Alice and Bob see each other,
// Eve nobody.
func pair(t *testing.T, f func(x *fixture, a, b *side)) {
	run(t, func(x *fixture) {
		key, _ := x.cell.ArchiveKey()
		ids, err := archive.NewIDs(key)
		if err != nil {
			t.Fatal(err)
		}
		a, b := &side{name: "a", known: map[jid.JID]dispatch.Bound{}}, &side{name: "b", known: map[jid.JID]dispatch.Bound{}}
		a.other, b.other = b, a
		var wg sync.WaitGroup
		for _, s := range []*side{a, b} {
			s.jobs = make(chan func(), 4096)
			s.hub = dispatch.New(dispatch.Options{
				Domain: "localhost", View: x.cell, IDs: ids, Logger: slog.New(slog.DiscardHandler), Elsewhere: s, Node: s.name,
			})
			wg.Go(func() {
				for job := range s.jobs {
					job()
				}
			})
		}
		x.do(&command.Command{Request: &command.Command_AccountCreate{AccountCreate: &command.AccountCreate{Jid: "eve@localhost"}}})
		for _, s := range [][2]string{{"alice", "bob"}, {"bob", "alice"}} {
			from, to := s[0]+"@localhost", s[1]+"@localhost"
			x.subscription(from, to, command.SubscriptionType_SUBSCRIPTION_TYPE_SUBSCRIBE)
			x.subscription(to, from, command.SubscriptionType_SUBSCRIPTION_TYPE_SUBSCRIBED)
		}
		f(x, a, b)
		synctest.Wait()
		close(a.jobs)
		close(b.jobs)
		wg.Wait()
		a.hub.Close()
		b.hub.Close()
	})
}

// bind connects a device to a node, available unless it is to be seen later.
func (s *side) bind(t *testing.T, full, client string, available bool) (*phone, *dispatch.Resource) {
	t.Helper()
	p := &phone{}
	r, _ := s.hub.Register(mustJID(t, full), client, p)
	if r == nil {
		t.Fatalf("%s is not bound", full)
	}
	s.hub.Update(r, func(r *dispatch.Resource) { r.SetCarbons(true); r.SetQueried() })
	if available {
		s.hub.Available(r, 0, presence(full))
	}
	synctest.Wait()
	return p, r
}

// take gives what a device was handed since the last time: name, type, who from, and the
// name of the first element in it.
func (p *phone) take(t *testing.T) (list []string) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, o := range p.got {
		e, err := xmlstream.ParseElement(append([]byte("<"+o.Name+" xmlns='"+stanza.NSClient+"'"), o.Rest...), xmlstream.AfterAuth)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.Join(strings.Fields(o.Name+" "+e.Get("type")+" "+e.Get("from")), " ")
		if first := e.First(); first != nil {
			text += " " + first.Name.Local
		}
		list = append(list, text)
	}
	p.got = nil
	return list
}

func (p *phone) gets(t *testing.T, what string, want ...string) {
	t.Helper()
	synctest.Wait()
	if got := p.take(t); !slices.Equal(got, want) {
		t.Errorf("%s: it has %q, want %q", what, got, want)
	}
}

func (x *fixture) subscription(from, to string, typ command.SubscriptionType) {
	x.t.Helper()
	x.do(&command.Command{Request: &command.Command_Subscription{Subscription: &command.Subscription{From: from, To: to, Type: typ}}})
}

// deliver hands on a stanza and gives the error that comes back at once.
func (s *side) deliver(t *testing.T, from, to string, st *xmlstream.Element, carbons bool) (answer *stanza.Error) {
	t.Helper()
	st = st.Clone().Set("from", from).Set("to", to)
	d := route.Deliver{To: mustJID(t, to), Stanza: st, Carbons: carbons, Bounce: st.Name.Local == "iq"}
	var mu sync.Mutex
	s.hub.Deliver(mustJID(t, from), d, func(err *stanza.Error) {
		mu.Lock()
		defer mu.Unlock()
		answer = err
	})
	synctest.Wait()
	mu.Lock()
	defer mu.Unlock()
	return answer
}

func question() *xmlstream.Element {
	return xmlstream.New(stanza.NSClient, "iq", "type", "get", "id", "1").Add(xmlstream.New(stanza.NSPing, "ping"))
}

func types() *xmlstream.Element {
	return xmlstream.New(stanza.NSClient, "message", "type", "chat").Add(xmlstream.New(stanza.NSChatStates, "composing"))
}

// TestSoftStanzasBetweenNodes: they reach the devices of all nodes, each once.
func TestSoftStanzasBetweenNodes(t *testing.T) {
	pair(t, func(_ *fixture, a, b *side) {
		alice, _ := a.bind(t, "alice@localhost/a", "", true)
		tablet, _ := b.bind(t, "alice@localhost/b", "", true)
		here, _ := a.bind(t, "bob@localhost/a", "", true)
		there, _ := b.bind(t, "bob@localhost/b", "", true)
		for _, p := range []*phone{alice, tablet, here, there} {
			p.take(t)
		}
		a.deliver(t, "alice@localhost/a", "bob@localhost", types(), true)
		here.gets(t, "to the account", "message chat alice@localhost/a composing")
		there.gets(t, "to the account", "message chat alice@localhost/a composing")
		tablet.gets(t, "to the account", "message chat alice@localhost sent")
		alice.gets(t, "to the account")

		a.deliver(t, "alice@localhost/a", "bob@localhost/b", types(), true)
		there.gets(t, "to a device elsewhere", "message chat alice@localhost/a composing")
		here.gets(t, "to a device elsewhere", "message chat bob@localhost received")
		tablet.gets(t, "to a device elsewhere", "message chat alice@localhost sent")

		a.deliver(t, "alice@localhost/a", "bob@localhost/a", types(), true)
		here.gets(t, "to a device here", "message chat alice@localhost/a composing")
		there.gets(t, "to a device here", "message chat bob@localhost received")
		tablet.take(t)

		a.deliver(t, "alice@localhost/a", "bob@localhost/nowhere", types(), false)
		here.gets(t, "to no device", "message chat alice@localhost/a composing")
		there.gets(t, "to no device", "message chat alice@localhost/a composing")
		a.deliver(t, "alice@localhost/a", "bob@localhost/nowhere", xmlstream.New(stanza.NSClient, "message", "type", "headline"), false)
		here.gets(t, "a headline to no device")
		there.gets(t, "a headline to no device")
	})
}

// TestRequestsBetweenNodes: they are answered, by the device or on its behalf.
func TestRequestsBetweenNodes(t *testing.T) {
	pair(t, func(_ *fixture, a, b *side) {
		alice, _ := a.bind(t, "alice@localhost/a", "", true)
		eve, _ := a.bind(t, "eve@localhost/a", "", true)
		bob, r := b.bind(t, "bob@localhost/b", "", true)
		for _, p := range []*phone{alice, bob} {
			p.take(t)
		}
		a.deliver(t, "alice@localhost/a", "bob@localhost/b", question(), false)
		bob.gets(t, "a request", "iq get alice@localhost/a ping")
		b.deliver(t, "bob@localhost/b", "alice@localhost/a", xmlstream.New(stanza.NSClient, "iq", "type", "result", "id", "1"), false)
		alice.gets(t, "an answer", "iq result bob@localhost/b")
		a.deliver(t, "eve@localhost/a", "bob@localhost/b", question(), false)
		eve.gets(t, "who may not know", "iq error bob@localhost/b error")
		b.hub.Update(r, func(r *dispatch.Resource) { r.SetDirected(mustJID(t, "eve@localhost/a"), true) })
		a.deliver(t, "eve@localhost/a", "bob@localhost/b", question(), false)
		bob.gets(t, "who was told", "iq get eve@localhost/a ping")

		condition := func(err *stanza.Error) stanza.Condition {
			if err == nil {
				return ""
			}
			return err.Condition
		}
		for _, step := range []struct {
			what, to string
			change   func()
			want     stanza.Condition
		}{
			{"nobody", "bob@localhost/x", func() {}, stanza.ServiceUnavailable},
			{"nobody, who may be elsewhere", "bob@localhost/x", func() { a.unknown = true }, stanza.RemoteServerTimeout},
			{"who is not reached", "bob@localhost/b", func() { a.cut = true }, stanza.RemoteServerTimeout},
			{"who has gone, unheard", "bob@localhost/b", func() { a.cut, a.unknown, a.known = false, false, map[jid.JID]dispatch.Bound{} }, stanza.ServiceUnavailable},
		} {
			a.set(step.change)
			if got := condition(a.deliver(t, "alice@localhost/a", step.to, question(), false)); got != step.want {
				t.Errorf("%s: %q", step.what, got)
			}
		}
		// It has just gone, and that is not known yet.
		b.set(func() { b.holds = true })
		b.hub.Unregister(r)
		a.set(func() { a.known[r.JID] = dispatch.Bound{JID: r.JID, Available: true} })
		a.deliver(t, "alice@localhost/a", "bob@localhost/b", question(), false)
		alice.gets(t, "who has just gone", "iq error bob@localhost/b error")
	})
}

// TestPresenceBetweenNodes: it is shown to who may see it, and taken back when its
// node is lost.
func TestPresenceBetweenNodes(t *testing.T) {
	pair(t, func(x *fixture, a, b *side) {
		eve, _ := a.bind(t, "eve@localhost/a", "", true)
		own, _ := a.bind(t, "bob@localhost/a", "", true)
		alice, _ := a.bind(t, "alice@localhost/a", "", true)
		for _, p := range []*phone{eve, own, alice} {
			p.take(t)
		}
		_, r := b.bind(t, "bob@localhost/b", "", false)
		alice.gets(t, "bound")
		b.hub.Available(r, 1, presence("bob@localhost/b"))
		alice.gets(t, "available", "presence bob@localhost/b")
		own.gets(t, "available", "presence bob@localhost/b")
		eve.gets(t, "available")
		b.hub.Update(r, func(r *dispatch.Resource) { r.SetCarbons(false) })
		alice.gets(t, "what is not its presence")
		if got := a.hub.Presences("bob@localhost"); len(got) != 2 {
			t.Errorf("%d presences", len(got))
		}
		// Directed presence passes as what it is.
		b.deliver(t, "bob@localhost/b", "eve@localhost/a", presence("bob@localhost/b"), false)
		eve.gets(t, "directed", "presence bob@localhost/b")
		b.deliver(t, "bob@localhost/b", "alice@localhost/a", presence("bob@localhost/b"), false)
		alice.take(t)
		last := xmlstream.New(stanza.NSClient, "presence", "type", "unavailable", "from", "bob@localhost/b").Add(xmlstream.NewText(stanza.NSClient, "status", "bye"))
		b.hub.Update(r, func(r *dispatch.Resource) { r.SetUnavailable(last) })
		alice.gets(t, "unavailable", "presence unavailable bob@localhost/b status")
		b.hub.Available(r, 1, presence("bob@localhost/b"))
		alice.gets(t, "again", "presence bob@localhost/b")
		own.take(t)

		was := a.Bound("bob@localhost")[0].Bound
		a.set(func() { a.known = map[jid.JID]dispatch.Bound{} })
		a.hub.Changed("b", &was, nil, true)
		alice.gets(t, "lost", "presence unavailable bob@localhost/b")
		own.gets(t, "lost", "presence unavailable bob@localhost/b")
		eve.gets(t, "lost", "presence unavailable bob@localhost/b")

		// Who hides is seen by their own devices alone.
		x.do(&command.Command{Request: &command.Command_PubsubPublish{PubsubPublish: &command.PubsubPublish{
			Account: "bob@localhost", Node: stanza.NSPrivacy, Item: "current", Publisher: "bob@localhost/b",
			Payload: []byte("<privacy xmlns='" + stanza.NSPrivacy + "'><hidden/></privacy>"),
		}}})
		b.hub.Available(r, 1, presence("bob@localhost/b"))
		own.gets(t, "hidden", "presence bob@localhost/b")
		alice.gets(t, "hidden")
	})
}

// TestSameDeviceOnTwoNodes: the one that was bound last stays, however late the
// other node hears of it, and it is never seen as gone.
func TestSameDeviceOnTwoNodes(t *testing.T) {
	pair(t, func(_ *fixture, a, b *side) {
		bob, _ := a.bind(t, "bob@localhost/b", "", true)
		for name, step := range map[string]struct{ first, second, client string }{
			"the same resource": {"alice@localhost/x", "alice@localhost/x", ""},
			"the same client":   {"alice@localhost/y", "alice@localhost/z", "client"},
		} {
			bob.take(t)
			old, r := a.bind(t, step.first, step.client, true)
			current, r2 := b.bind(t, step.second, step.client, true)
			synctest.Wait()
			if !old.replaced || current.replaced {
				t.Errorf("%s: replaced: the old %t, the new %t", name, old.replaced, current.replaced)
			}
			if got := a.hub.Presences("alice@localhost"); len(got) != 1 || got[0].Get("from") != step.second {
				t.Errorf("%s: %d presences", name, len(got))
			}
			if was, _ := a.hub.Unregister(r); was {
				t.Errorf("%s: it is available", name)
			}
			if got := bob.take(t); got[len(got)-1] != "presence "+step.second {
				t.Errorf("%s: %q", name, got)
			}
			b.hub.Unregister(r2)
			synctest.Wait()
		}
		// At the same moment: both nodes decide alike.
		a.set(func() { a.holds = true })
		b.set(func() { b.holds = true })
		one, r1 := a.bind(t, "alice@localhost/x", "", true)
		two, r2 := b.bind(t, "alice@localhost/x", "", true)
		a.release()
		b.release()
		synctest.Wait()
		if one.replaced == two.replaced {
			t.Errorf("replaced: %t and %t", one.replaced, two.replaced)
		}
		a.hub.Unregister(r1)
		b.hub.Unregister(r2)
		synctest.Wait()
		// While the nodes do not hear of each other: the later one stays.
		a.set(func() { a.holds = true })
		b.set(func() { b.holds = true })
		for range 3 {
			one, r1 = a.bind(t, "alice@localhost/x", "", true)
		}
		<-time.After(time.Second)
		two, r2 = b.bind(t, "alice@localhost/x", "", true)
		a.release()
		b.release()
		synctest.Wait()
		if !one.replaced || two.replaced {
			t.Errorf("replaced: the earlier %t, the later %t", one.replaced, two.replaced)
		}
		a.hub.Unregister(r1)
		b.hub.Unregister(r2)
	})
}

// TestDevicesOfAllNodes: what asks for devices is told of all.
func TestDevicesOfAllNodes(t *testing.T) {
	pair(t, func(_ *fixture, a, b *side) {
		p, r := b.bind(t, "bob@localhost/b", "client", true)
		a.bind(t, "bob@localhost/a", "", false)
		attends := func() (here []string) {
			for _, d := range a.hub.Attending("bob@localhost") {
				if (d.Node == "b") != (d.JID.Resource() == "b") {
					t.Errorf("%s is on %q", d.JID, d.Node)
				}
				if d.Here {
					here = append(here, fmt.Sprintf("%s %t", d.JID.Resource(), d.Messages))
				}
			}
			slices.Sort(here)
			return here
		}
		if got := attends(); !slices.Equal(got, []string{"a true", "b true"}) {
			t.Errorf("%q", got)
		}
		p.mu.Lock()
		p.away = true
		p.mu.Unlock()
		b.hub.Noticed(r)
		synctest.Wait()
		if got := attends(); !slices.Equal(got, []string{"a true"}) {
			t.Errorf("with b away: %q", got)
		}
		if list, n := a.hub.Online(10); n != 1 || list[0] != "bob@localhost" {
			t.Errorf("online: %q", list)
		}
		all := a.hub.Connected("bob@localhost")
		if i := slices.IndexFunc(all, func(c dispatch.Connected) bool { return c.Client == "client" && time.Since(c.Since) < time.Minute }); len(all) != 2 || i < 0 {
			t.Errorf("%+v", all)
		}
		for i := range dispatch.ResourcesMost - 2 {
			b.bind(t, fmt.Sprintf("bob@localhost/%d", i), "", false)
		}
		if r, _ := a.hub.Register(mustJID(t, "bob@localhost/more"), "", &phone{}); r != nil || a.hub.Room(mustJID(t, "bob@localhost/more")) {
			t.Error("there is room for more devices than an account may have")
		}
		if !a.hub.Room(mustJID(t, "bob@localhost/b")) {
			t.Error("none may take the place of itself")
		}
	})
}
