// SPDX-License-Identifier: Apache-2.0

package room

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"bavard/internal/command"
	"bavard/internal/route"
	"bavard/internal/stanza"
	"bavard/internal/state"
	"bavard/internal/xmlstream"
)

// does has a device send a stanza.
func (n *node) does(t *testing.T, d *device, st *xmlstream.Element) {
	t.Helper()
	q := &route.Request{From: must(t, st.Get("from")), To: must(t, st.Get("to")), Stanza: st, Payload: st.First()}
	for _, e := range (&rooms{o: n.hub.o, hub: n.hub}).handle(q) {
		switch e := e.(type) {
		case route.Visit:
			e.Do(d)
		case route.Reply:
			d.Enqueue(route.Serialise(e.Stanza))
		}
	}
	synctest.Wait()
}

// has waits for all that is on its way, and looks for something in what came since
// the last time.
func (d *device) has(t *testing.T, what string, want ...string) {
	t.Helper()
	synctest.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, w := range want {
		if !slices.ContainsFunc(d.got, func(s string) bool { return strings.Contains(s, w) }) {
			t.Errorf("%s: %q is not in %q", what, w, d.got)
		}
	}
	d.got = nil
}

func iq(from, to, typ, id string, payload *xmlstream.Element) *xmlstream.Element {
	return xmlstream.New(stanza.NSClient, "iq", "type", typ, "id", id, "from", from, "to", to).Add(payload)
}

func giving(nick, role string) *xmlstream.Element {
	return iq("owner@localhost/x", hall, "set", "g", xmlstream.New(stanza.NSMUCAdmin, "query").
		Add(xmlstream.New(stanza.NSMUCAdmin, "item", "nick", nick, "role", role).Add(xmlstream.NewText(stanza.NSMUCAdmin, "reason", "so there"))))
}

// TestRolesElsewhere: who is on another node is given a role, kicked and banned.
func TestRolesElsewhere(t *testing.T) {
	pair(t, func(_ claims, a, b *node) {
		boss, bob, eve := a.enters(t, "owner", "boss"), b.enters(t, "bob", "bob"), b.enters(t, "eve", "eve")
		boss.take()
		a.does(t, boss, giving("bob", "visitor"))
		boss.has(t, "bob has no voice", "type='result'", "role='visitor'", "so there")
		bob.has(t, "bob has no voice", "role='visitor'", "actor nick='boss'")
		b.does(t, bob, xmlstream.New(stanza.NSClient, "message", "from", "bob@localhost/x", "to", hall).
			Add(xmlstream.New(stanza.NSData, "x", "type", "submit").Add(xmlstream.New(stanza.NSData, "field", "var", "FORM_TYPE").
				Add(xmlstream.NewText(stanza.NSData, "value", formRequest)))))
		boss.has(t, "bob asks for voice", "muc#request_allow")
		eve.take()
		a.does(t, boss, giving("bob", "none"))
		boss.gets(t, "bob is kicked", "", "-bob 307")
		bob.has(t, "bob is kicked", "code='307'")
		eve.gets(t, "bob is kicked", "-bob 307")
		b.does(t, eve, xmlstream.New(stanza.NSClient, "message", "from", "eve@localhost/x", "to", hall, "type", "groupchat").Add(xmlstream.New(stanza.NSChatStates, "composing")))
		boss.has(t, "eve types", "composing")
		ban := []state.Event{{Kind: state.EventRoom, Account: hall, Room: &state.RoomEvent{
			By: "owner@localhost/x", Changes: []state.RoomChange{{JID: "eve@localhost", New: command.Affiliation_AFFILIATION_OUTCAST, Reason: "enough"}},
		}}}
		a.hub.Offer(ban) // her own node is behind
		boss.gets(t, "eve's node does not know yet")
		b.hub.Offer(ban)
		eve.has(t, "eve is banned", "code='301'", "enough", "actor nick='boss'")
		boss.has(t, "eve is banned", "code='301'", "affiliation='outcast'", "enough")
		if n := b.hub.Stats().Visits; n != 0 || a.hub.Count(hall) != 1 {
			t.Errorf("%d visits, %d occupants", n, a.hub.Count(hall))
		}
		b.enters(t, "bob", "bob")
		a.set(func() { a.cut = true })
		boss.take()
		a.does(t, boss, giving("bob", "none"))
		boss.has(t, "b is not reached", "remote-server-timeout")
	})
}

// TestBetweenOccupantsElsewhere: private messages that are not kept, and requests and their
// answers.
func TestBetweenOccupantsElsewhere(t *testing.T) {
	pair(t, func(_ claims, a, b *node) {
		ann, bob := a.enters(t, "ann", "ann"), b.enters(t, "bob", "bob")
		ann.take()
		bob.take()
		a.does(t, ann, xmlstream.New(stanza.NSClient, "message", "from", "ann@localhost/x", "to", hall+"/bob", "type", "chat").Add(xmlstream.New(stanza.NSChatStates, "composing")))
		bob.has(t, "ann types to bob", "from='"+hall+"/ann'", "composing", "occupant-id")
		a.does(t, ann, iq("ann@localhost/x", hall+"/bob", "get", "q1", xmlstream.New(stanza.NSVersion, "query")))
		bob.mu.Lock()
		_, id, _ := strings.Cut(strings.Join(bob.got, ""), "id='")
		bob.mu.Unlock()
		id, _, _ = strings.Cut(id, "'")
		bob.has(t, "ann asks bob", "type='get'", "from='"+hall+"/ann'", "bob@localhost/x")
		b.does(t, bob, iq("bob@localhost/x", hall+"/ann", "result", id, xmlstream.New(stanza.NSVersion, "query")))
		ann.has(t, "bob answers", "id='q1'", "type='result'", "from='"+hall+"/bob'", "ann@localhost/x")
		b.does(t, bob, iq("bob@localhost/x", hall+"/ann", "result", id, nil))
		ann.gets(t, "he answers again")

		// Who has left meanwhile does not answer.
		b.set(func() { b.cut = true })
		b.hub.Gone(bob)
		a.does(t, ann, iq("ann@localhost/x", hall+"/bob", "get", "q2", xmlstream.New(stanza.NSVersion, "query")))
		b.set(func() { b.cut = false })
		a.does(t, ann, iq("ann@localhost/x", hall+"/bob", "get", "q3", xmlstream.New(stanza.NSVersion, "query")))
		ann.has(t, "bob has left", "id='q3'", "service-unavailable")
		a.set(func() { a.cut = true })
		a.does(t, ann, iq("ann@localhost/x", hall+"/bob", "get", "q4", xmlstream.New(stanza.NSVersion, "query")))
		ann.has(t, "b is not reached", "id='q4'", "remote-server-timeout")
	})
}
