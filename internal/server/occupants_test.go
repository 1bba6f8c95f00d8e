// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"testing"
	"time"

	"bavard/drill/client"
	"bavard/internal/jid"
	"bavard/internal/stanza"
	"bavard/internal/state"
	"bavard/internal/xmlstream"
)

// join has a device enter a room under a nick, and waits until it has.
func (s *sight) join(ctx context.Context, t *testing.T, room, nick string) {
	t.Helper()
	if err := s.SendStanza(ctx, xmlstream.New(stanza.NSClient, "presence", "to", room+"/"+nick).Add(xmlstream.New(stanza.NSMUC, "x"))); err != nil {
		t.Fatal(err)
	}
	s.finds(ctx, t, room+"/"+nick, "110")
}

// finds waits until the last presence of an occupant is available and says this of
// them: an affiliation or role, a status code.
func (s *sight) finds(ctx context.Context, t *testing.T, occupant string, what ...string) {
	t.Helper()
	await(ctx, t, s.JID()+" finds "+occupant, func() bool { return s.shows(occupant, "", what...) })
}

// loses waits until the last presence of an occupant is unavailable, and says this.
func (s *sight) loses(ctx context.Context, t *testing.T, occupant string, what ...string) {
	t.Helper()
	await(ctx, t, s.JID()+" loses "+occupant, func() bool { return s.shows(occupant, "unavailable", what...) })
}

func (s *sight) shows(occupant, typ string, what ...string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.last[occupant]
	if p == nil || p.Get("type") != typ {
		return false
	}
	x := p.Child(stanza.NSMUCUser, "x")
	item := x.Child(stanza.NSMUCUser, "item")
	said := map[string]bool{item.Get("affiliation"): true, item.Get("role"): true, item.Get("nick"): true, item.Child(stanza.NSMUCUser, "reason").Text(): true}
	for _, e := range x.Elements() {
		said[e.Get("code")] = true
	}
	for _, w := range what {
		if !said[w] {
			return false
		}
	}
	return true
}

// presence sends presence to a room.
func (s *sight) presence(ctx context.Context, t *testing.T, to, typ string, children ...*xmlstream.Element) {
	t.Helper()
	if err := s.SendStanza(ctx, xmlstream.New(stanza.NSClient, "presence", "to", to, "type", typ).Add(children...)); err != nil {
		t.Fatal(err)
	}
}

// configure sets options of a room.
func (s *sight) configure(ctx context.Context, t *testing.T, room string, options ...string) {
	t.Helper()
	x := xmlstream.New(stanza.NSData, "x", "type", "submit")
	field := func(name, value string) {
		x.Add(xmlstream.New(stanza.NSData, "field", "var", name).Add(xmlstream.NewText(stanza.NSData, "value", value)))
	}
	field("FORM_TYPE", "http://jabber.org/protocol/muc#roomconfig")
	for i := 0; i+1 < len(options); i += 2 {
		field("muc#roomconfig_"+options[i], options[i+1])
	}
	iq := xmlstream.New(stanza.NSClient, "iq", "type", "set", "to", room).Add(xmlstream.New(stanza.NSMUCOwner, "query").Add(x))
	if _, err := s.IQ(ctx, iq); err != nil {
		t.Fatal(err)
	}
}

// says sends a soft message to a room, or to somebody in it.
func (s *sight) says(ctx context.Context, t *testing.T, to, typ string) {
	t.Helper()
	st := xmlstream.New(stanza.NSClient, "message", "type", typ, "to", to).Add(xmlstream.New(stanza.NSChatStates, "composing"))
	if err := s.SendStanza(ctx, st); err != nil {
		t.Fatal(err)
	}
}

// TestOccupantsOnAllNodes: who is in a room on one node is seen on the others, and a
// temporary room goes when nobody is in it on any, not before.
func TestOccupantsOnAllNodes(t *testing.T) {
	t.Parallel()
	nodes, cut := meshed(t, 2*time.Second)
	startAll(t, nodes...)
	stopAll(t, nodes...)
	for i, name := range []string{"alice", "bob", "carol"} {
		nodes[i].account(name)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	alice := appear(ctx, t, nodes[0], "alice@localhost", "phone")
	bob := appear(ctx, t, nodes[1], "bob@localhost", "desk")
	carol := appear(ctx, t, nodes[2], "carol@localhost", "pad")
	const room = "hall@rooms.localhost"
	hall, err := jid.Parse(room)
	if err != nil {
		t.Fatal(err)
	}
	alice.join(ctx, t, room, "alice")
	alice.configure(ctx, t, room, "membersonly", "0", "persistentroom", "0")
	bob.join(ctx, t, room, "bob")
	bob.finds(ctx, t, room+"/alice", "owner", "moderator")
	alice.finds(ctx, t, room+"/bob", "none", "participant")
	alice.presence(ctx, t, room+"/alice", "unavailable")
	bob.loses(ctx, t, room+"/alice")

	await(ctx, t, "carol's node knows that bob alone is there", func() bool {
		there := nodes[2].server.rooms
		return there.Count(room) == 1 && there.Occupant(hall, "bob").String() == "bob@localhost"
	})
	carol.presence(ctx, t, room+"/bob", "", xmlstream.New(stanza.NSMUC, "x"))
	carol.sees(ctx, t, room+"/bob", "error", "")
	carol.join(ctx, t, room, "carol")
	bob.finds(ctx, t, room+"/carol", "participant")
	bob.presence(ctx, t, room+"/bob", "", xmlstream.NewText(stanza.NSClient, "show", "dnd"))
	carol.sees(ctx, t, room+"/bob", "", "dnd")
	bob.presence(ctx, t, room+"/rob", "", xmlstream.NewText(stanza.NSClient, "show", "dnd"))
	carol.loses(ctx, t, room+"/bob", "303", "rob")
	carol.sees(ctx, t, room+"/rob", "", "dnd")

	occupantsReachEachOther(ctx, t, room, bob, carol)

	// Two that do not hear of each other for a while.
	cut(1, 2, true)
	bob.loses(ctx, t, room+"/carol")
	carol.loses(ctx, t, room+"/rob")
	cut(1, 2, false)
	bob.finds(ctx, t, room+"/carol", "participant")
	carol.sees(ctx, t, room+"/rob", "", "dnd")

	nodes[2].stop()
	<-nodes[2].done
	bob.loses(ctx, t, room+"/carol")
	nodes[2].done <- nil

	// Alice's node has had the time to remove the room, and did not.
	alice.join(ctx, t, room, "alice")
	if alice.shows(room+"/alice", "", "201") {
		t.Error("the room was made anew")
	}
	alice.sees(ctx, t, room+"/rob", "", "dnd")
	kick := xmlstream.New(stanza.NSClient, "iq", "type", "set", "to", room).Add(xmlstream.New(stanza.NSMUCAdmin, "query").
		Add(xmlstream.New(stanza.NSMUCAdmin, "item", "nick", "rob", "role", "none").Add(xmlstream.NewText(stanza.NSMUCAdmin, "reason", "out"))))
	if _, err := alice.IQ(ctx, kick); err != nil {
		t.Fatal(err)
	}
	bob.loses(ctx, t, room+"/rob", "110", "307", "out")
	alice.loses(ctx, t, room+"/rob", "307", "out")
	alice.presence(ctx, t, room+"/alice", "unavailable")
	await(ctx, t, "the empty room is removed", func() bool {
		_, err := nodes[0].server.cell.Room(room)
		return errors.Is(err, state.ErrNotFound)
	})
}

// occupantsReachEachOther: bob, who is called rob, and carol are on two nodes.
func occupantsReachEachOther(ctx context.Context, t *testing.T, room string, bob, carol *sight) {
	t.Helper()
	bob.says(ctx, t, room, "groupchat")
	if in := carol.hears(ctx, t, stanza.NSChatStates, "composing"); in.From != room+"/rob" || in.Type != "groupchat" {
		t.Errorf("%s types, %s", in.From, in.Type)
	}
	bob.says(ctx, t, room+"/carol", "chat")
	if in := carol.hears(ctx, t, stanza.NSChatStates, "composing"); in.From != room+"/rob" || in.Type != "chat" {
		t.Errorf("%s types to carol, %s", in.From, in.Type)
	}
	whisper := client.NewMessage(room+"/rob", "between us")
	if err := carol.Send(ctx, whisper); err != nil {
		t.Fatal(err)
	}
	if in := bob.hears(ctx, t, stanza.NSClient, "body"); in.From != room+"/carol" || in.Body != "between us" {
		t.Errorf("%s writes %q", in.From, in.Body)
	}
	if err := ping(ctx, bob, room+"/carol"); err != nil {
		t.Errorf("bob asks carol: %v", err)
	}
}
