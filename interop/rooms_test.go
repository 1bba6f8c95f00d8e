// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"fmt"
	"strings"
	"testing"
)

const room = "choir@rooms.localhost"

// slixmppInRooms starts a peer that can use rooms, and makes it available.
func (s *server) slixmppInRooms(t *testing.T, jid string, network *line) *script {
	t.Helper()
	p := startScript(t, "slixmpp "+jid, []string{python, "-B", "testdata/slixmpp_rooms.py"})
	p.do("connect", map[string]any{"jid": jid, "password": password, "host": network.host(), "port": atoi(t, network.port()), "ca": s.ca})
	p.event("session_start", "jid", jid)
	p.do("available", nil)
	return p
}

// TestSlixmppRooms: a private group, of slixmpp's plugin for rooms.
func TestSlixmppRooms(t *testing.T) {
	needModule(t, "slixmpp")
	t.Parallel()
	s := startServer(t)
	enter := func(p *script, nick string) any { return p.do("enter", map[string]any{"room": room, "nick": nick}) }
	network := s.line(t)
	ann, bob := s.slixmppInRooms(t, "ann@localhost/one", network), s.slixmppInRooms(t, "bob@localhost/one", network)
	if got := fmt.Sprint(ann.do("rooms", map[string]any{"service": "localhost"})); !strings.Contains(got, "rooms.localhost") {
		t.Errorf("the service of rooms is not found: %s", got)
	}
	enter(ann, "Ann")
	ann.do("configure", map[string]any{"room": room, "values": map[string]any{"muc#roomconfig_roomname": "The choir"}})
	bob.refused("enter", map[string]any{"room": room, "nick": "Bob"})
	ann.do("invite", map[string]any{"room": room, "jid": "bob@localhost", "reason": "sing"})
	bob.event("invited", "room", room, "reason", "sing")
	if got := fmt.Sprint(enter(bob, "Bob")); got != "[Ann Bob]" {
		t.Errorf("bob sees %s", got)
	}
	ann.event("occupant", "nick", "Bob", "affiliation", "member", "role", "participant", "jid", "bob@localhost/one")

	id := ann.do("say", map[string]any{"room": room, "body": "la"})
	mine := ann.event("said", "body", "la", "from", room+"/Ann", "id", fmt.Sprint(id))
	theirs := bob.event("said", "body", "la", "from", room+"/Ann")
	if mine["stanza_id"] != theirs["stanza_id"] || mine["stanza_id"] == "" || mine["occupant"] != theirs["occupant"] || mine["occupant"] == "" {
		t.Errorf("ann sees %v, bob %v", mine, theirs)
	}
	bob.do("subject", map[string]any{"room": room, "subject": "Tuesday"})
	ann.event("subject", "subject", "Tuesday")
	bob.do("ping", map[string]any{"occupant": room + "/Bob"})

	// Who is away is a member all the same, and finds what was said.
	bob.do("leave", map[string]any{"room": room, "nick": "Bob"})
	ann.event("occupant", "nick", "Bob", "type", "unavailable")
	ann.do("say", map[string]any{"room": room, "body": "la la"})
	ann.event("said", "body", "la la")
	if got := fmt.Sprint(bob.do("said", map[string]any{"room": room})); got != "[la  la la]" {
		t.Errorf("bob finds %q", got)
	}
	bob.refused("ping", map[string]any{"occupant": room + "/Bob"})
	if got := fmt.Sprint(ann.do("people", map[string]any{"room": room, "affiliation": "member"})); got != "[bob@localhost]" {
		t.Errorf("members are %s", got)
	}

	enter(bob, "Bob")
	ann.do("role", map[string]any{"room": room, "nick": "Bob", "role": "none"})
	bob.event("occupant", "nick", "Bob", "type", "unavailable", "role", "none")
	ann.do("affiliation", map[string]any{"room": room, "affiliation": "outcast", "jid": "bob@localhost"})
	bob.refused("enter", map[string]any{"room": room, "nick": "Bob"})
	for _, p := range []*script{ann, bob} {
		p.never("stream_error")
	}
}

// TestSlixmppRegistersWithARoom: who has not been invited makes themselves a
// member where the owner allows it, by slixmpp's plugin for XEP-0077, whispers and
// leaves; who has been invited declines.
func TestSlixmppRegistersWithARoom(t *testing.T) {
	needModule(t, "slixmpp")
	t.Parallel()
	s := startServer(t)
	network := s.line(t)
	ann, bob, eve := s.slixmppInRooms(t, "ann@localhost/one", network), s.slixmppInRooms(t, "bob@localhost/one", network), s.slixmppInRooms(t, "eve@localhost/one", network)
	in := map[string]any{"room": room}
	as := func(nick string) map[string]any { return map[string]any{"room": room, "nick": nick} }
	ann.do("enter", as("Ann"))
	ann.do("configure", map[string]any{"room": room, "values": map[string]any{"muc#roomconfig_roomname": "The choir"}})
	bob.refused("registered", in)
	ann.do("configure", map[string]any{"room": room, "values": map[string]any{"{urn:bavard:rooms:0}registration": true}})

	if got := fmt.Sprint(bob.do("registered", in)); !strings.Contains(got, "muc#register_roomnick") {
		t.Errorf("the form has %s", got)
	}
	bob.do("register", as("Bob"))
	if got := fmt.Sprint(bob.do("registered", in)); got != "Bob" {
		t.Errorf("bob has registered as %s", got)
	}
	eve.refused("register", as("Bob"))
	bob.do("enter", as("Bob"))
	ann.event("occupant", "nick", "Bob", "affiliation", "member")

	ann.do("whisper", map[string]any{"occupant": room + "/Bob", "body": "psst"})
	bob.event("message", "from", room+"/Ann", "body", "psst")
	for p, with := range map[*script]string{ann: "/Bob", bob: "/Ann"} {
		if got := fmt.Sprint(p.do("whispered", map[string]any{"occupant": room + with})); got != "[psst]" {
			t.Errorf("the archive of %s has %s", p.name, got)
		}
	}

	bob.do("unregister", in)
	bob.event("occupant", "nick", "Bob", "type", "unavailable", "affiliation", "none")
	if got := fmt.Sprint(ann.do("people", map[string]any{"room": room, "affiliation": "member"})); got != "[]" {
		t.Errorf("members are %s", got)
	}

	ann.do("invite", map[string]any{"room": room, "jid": "eve@localhost", "reason": "sing"})
	eve.event("invited", "room", room)
	eve.do("decline", map[string]any{"room": room, "jid": "ann@localhost", "reason": "hoarse"})
	ann.event("declined", "from", room, "by", "eve@localhost", "reason", "hoarse")
	for _, p := range []*script{ann, bob, eve} {
		p.never("stream_error")
	}
}
