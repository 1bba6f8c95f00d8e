// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"bavard/drill/client"
	"bavard/internal/mesh"
	"bavard/internal/stanza"
	"bavard/internal/state"
	"bavard/internal/xmlstream"
)

// relay is a way from one mesh to another that can be cut.
type relay struct {
	l  net.Listener
	to string

	mu    sync.Mutex
	conns []net.Conn
	cut   bool
}

func newRelay(t *testing.T, to string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{l: l, to: to}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { r.carry(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		r.set(true)
		wg.Wait()
	})
	return r
}

func (r *relay) carry(c net.Conn) {
	defer c.Close()
	d, err := net.Dial("tcp", r.to)
	if err != nil {
		return
	}
	defer d.Close()
	r.mu.Lock()
	cut := r.cut
	r.conns = append(r.conns, c, d)
	r.mu.Unlock()
	if cut {
		return
	}
	done := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{c, d}, {d, c}} {
		go func() {
			_, _ = io.Copy(way[0], way[1]) // ends with either connection
			done <- struct{}{}
		}()
	}
	<-done
	_, _ = c.Close(), d.Close()
	<-done
}

func (r *relay) set(cut bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cut = cut
	for _, c := range r.conns {
		_ = c.Close()
	}
	r.conns = nil
}

// sight is what somebody's device sees.
type sight struct {
	*client.Session
	messages chan *client.Inbound

	mu   sync.Mutex
	last map[string]*xmlstream.Element // presence, by who it is from
	gone map[string]int                // how often that was that they are not there
}

func appear(ctx context.Context, t *testing.T, at *testServer, account, resource string) *sight {
	t.Helper()
	s := &sight{messages: make(chan *client.Inbound, 1024), last: map[string]*xmlstream.Element{}, gone: map[string]int{}}
	s.Session = enter(ctx, t, at, client.Config{JID: account, Resource: resource, Carbons: true, Handler: client.Handler{
		Presence: func(p *xmlstream.Element) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.last[p.Get("from")] = p
			if p.Get("type") == "unavailable" {
				s.gone[p.Get("from")]++
			}
		},
		Message: func(in *client.Inbound) { s.messages <- in },
	}})
	return s
}

// sees waits until the last presence from an address is of a type ("" is available)
// and says this, if anything.
func (s *sight) sees(ctx context.Context, t *testing.T, from, typ, show string) {
	t.Helper()
	await(ctx, t, s.JID()+" sees "+from+" "+typ+show, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		p := s.last[from]
		return p != nil && p.Get("type") == typ && p.Child(stanza.NSClient, "show").Text() == show
	})
}

// hears waits for a message that has an element.
func (s *sight) hears(ctx context.Context, t *testing.T, space, local string) *client.Inbound {
	t.Helper()
	for {
		select {
		case in := <-s.messages:
			if in.Stanza.Child(space, local) != nil {
				return in
			}
		case <-ctx.Done():
			t.Fatalf("%s hears no %s", s.JID(), local)
		}
	}
}

// befriend has two accounts see each other's presence.
func befriend(ctx context.Context, t *testing.T, one, other *sight) {
	t.Helper()
	for _, step := range []struct {
		who  *sight
		to   *sight
		kind string
	}{{one, other, "subscribe"}, {other, one, "subscribed"}, {other, one, "subscribe"}, {one, other, "subscribed"}} {
		if err := step.who.Subscription(ctx, client.Bare(step.to.JID()), step.kind); err != nil {
			t.Fatal(err)
		}
		step.to.sees(ctx, t, client.Bare(step.who.JID()), step.kind, "")
	}
}

func ping(ctx context.Context, from *sight, to string) error {
	_, err := from.IQ(ctx, xmlstream.New(stanza.NSClient, "iq", "type", "get", "to", to).Add(xmlstream.New(stanza.NSPing, "ping")))
	return err
}

func typing(ctx context.Context, t *testing.T, from *sight, to string) {
	t.Helper()
	if err := from.SendStanza(ctx, xmlstream.New(stanza.NSClient, "message", "type", "chat", "to", to).
		Add(xmlstream.New(stanza.NSChatStates, "composing"))); err != nil {
		t.Fatal(err)
	}
}

// meshed makes the servers of a cell whose meshes can be cut, each from each.
func meshed(t *testing.T, grace time.Duration) (nodes []*testServer, cut func(one, other int, cut bool)) {
	nodes = nodesOf(t)
	names := []string{"a", "b", "c"}
	relays := map[[2]string]*relay{}
	for i, s := range nodes {
		for j, to := range names {
			if i != j {
				relays[[2]string{names[i], to}] = newRelay(t, s.cfg.Cell.Meshes()[to])
			}
		}
		s.meshed = func(o *mesh.Options) {
			o.Grace, o.Silence = grace, 30*time.Second // a busy machine is no silent one
			for to := range o.Peers {
				o.Peers[to] = relays[[2]string{o.Node, to}].l.Addr().String()
			}
		}
	}
	return nodes, func(one, other int, cut bool) {
		relays[[2]string{names[one], names[other]}].set(cut)
		relays[[2]string{names[other], names[one]}].set(cut)
	}
}

// TestNodesSeeEachOther: who is connected to one node sees who is to another,
// reaches their devices, and learns that they are gone; and messages do not need it.
func TestNodesSeeEachOther(t *testing.T) {
	t.Parallel()
	nodes, cut := meshed(t, 2*time.Second)
	startAll(t, nodes...)
	stopAll(t, nodes...)
	nodes[0].account("alice")
	nodes[1].account("bob")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	phone := appear(ctx, t, nodes[0], "alice@localhost", "phone")
	bob := appear(ctx, t, nodes[1], "bob@localhost", "desk")
	befriend(ctx, t, phone, bob)
	phone.sees(ctx, t, "bob@localhost/desk", "", "")
	bob.sees(ctx, t, "alice@localhost/phone", "", "")

	tablet := appear(ctx, t, nodes[2], "alice@localhost", "tablet")
	tablet.sees(ctx, t, "bob@localhost/desk", "", "")
	bob.sees(ctx, t, "alice@localhost/tablet", "", "")
	phone.sees(ctx, t, "alice@localhost/tablet", "", "")
	if err := bob.SendStanza(ctx, xmlstream.New(stanza.NSClient, "presence").Add(xmlstream.NewText(stanza.NSClient, "show", "dnd"))); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*sight{phone, tablet} {
		s.sees(ctx, t, "bob@localhost/desk", "", "dnd")
	}

	typing(ctx, t, phone, "bob@localhost")
	if in := bob.hears(ctx, t, stanza.NSChatStates, "composing"); in.From != "alice@localhost/phone" {
		t.Errorf("%s types", in.From)
	}
	if in := tablet.hears(ctx, t, stanza.NSChatStates, "composing"); in.Carbon != client.CarbonSent {
		t.Errorf("the tablet has %+v", in)
	}
	typing(ctx, t, bob, "alice@localhost/phone")
	if in := phone.hears(ctx, t, stanza.NSChatStates, "composing"); in.Carbon != client.Direct {
		t.Errorf("the phone has %+v", in)
	}
	if in := tablet.hears(ctx, t, stanza.NSChatStates, "composing"); in.Carbon != client.CarbonReceived {
		t.Errorf("the tablet has %+v", in)
	}
	for _, s := range []*sight{phone, tablet} {
		if err := ping(ctx, s, bob.JID()); err != nil {
			t.Errorf("%s asks: %v", s.JID(), err)
		}
	}
	var refused *stanza.Error
	if err := ping(ctx, phone, "bob@localhost/nowhere"); !errors.As(err, &refused) || refused.Condition != stanza.ServiceUnavailable {
		t.Errorf("nobody answers: %v", err)
	}
	meshIsCut(ctx, t, nodes, cut, phone, bob)
}

// meshIsCut goes on when all see each other.
func meshIsCut(ctx context.Context, t *testing.T, nodes []*testServer, cut func(one, other int, cut bool), phone, bob *sight) {
	t.Helper()
	_, err := nodes[0].server.cell.Left("bob@localhost")
	if !errors.Is(err, state.ErrNotFound) {
		t.Errorf("bob has left: %v", err)
	}
	cut(0, 1, true)
	if err := phone.Send(ctx, client.NewMessage("bob@localhost", "without the mesh")); err != nil {
		t.Fatal(err)
	}
	bob.hears(ctx, t, stanza.NSClient, "body")
	bob.sees(ctx, t, "alice@localhost/phone", "unavailable", "")
	phone.sees(ctx, t, "bob@localhost/desk", "unavailable", "")
	await(ctx, t, "it is noted since when bob is not seen", func() bool {
		_, err := nodes[0].server.cell.Left("bob@localhost")
		return err == nil
	})
	cut(0, 1, false)
	bob.sees(ctx, t, "alice@localhost/phone", "", "")
	phone.sees(ctx, t, "bob@localhost/desk", "", "dnd")

	nodes[2].stop()
	<-nodes[2].done
	for _, s := range []*sight{phone, bob} {
		s.sees(ctx, t, "alice@localhost/tablet", "unavailable", "")
	}
	nodes[2].done <- nil

	// The same device, elsewhere: the older session ends, and it is seen all the time.
	again := appear(ctx, t, nodes[1], "alice@localhost", "phone")
	select {
	case <-phone.Done():
	case <-ctx.Done():
		t.Fatal("the phone is there twice")
	}
	again.sees(ctx, t, "bob@localhost/desk", "", "dnd")
	if err := ping(ctx, bob, again.JID()); err != nil {
		t.Errorf("bob asks the phone: %v", err)
	}
	if err := again.Close(ctx); err != nil {
		t.Error(err)
	}
	bob.sees(ctx, t, "alice@localhost/phone", "unavailable", "")
}
