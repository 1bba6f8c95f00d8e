// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"testing"

	"bavard/drill/client"
	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// TestDinoGroup: Dino is invited to a private group and joins it as another of its
// account's devices has bookmarked it; it and Profanity hear each other there.
func TestDinoGroup(t *testing.T) {
	needDino(t)
	need(t, "profanity", "tmux")
	needModule(t, "slixmpp")
	t.Parallel()
	const choir = "choir@rooms.chat.test"
	s := startServerOf(t, "chat.test", "")
	d := s.dino(t, "ann")
	bob := s.slixmppInRooms(t, "bob@chat.test/one", d.network)
	bob.do("enter", map[string]any{"room": choir, "nick": "Bob"})
	bob.do("configure", map[string]any{"room": choir, "values": map[string]any{"muc#roomconfig_roomname": "The choir"}})
	for _, who := range []string{"ann", "eve"} {
		bob.do("invite", map[string]any{"room": choir, "jid": who + "@chat.test", "reason": "sing"})
	}
	d.heard("jabber:x:conference}:jid='"+choir, "bob@chat.test")

	other, _ := s.login(t, "ann")
	bookmark(t, other, choir, "Ann")
	bob.event("occupant", "nick", "Ann", "affiliation", "member", "type", "available")
	eve := s.profanityAt(t, "eve@chat.test/prof", d.network.host(), d.network.port())
	eve.typeLine("/join " + choir + " nick Eve")
	bob.event("occupant", "nick", "Eve", "affiliation", "member")
	eve.shows("You have joined the room as Eve") // what is typed before goes to another window

	eve.typeLine("a song of Profanity")
	d.received(choir, "a song of Profanity")
	d.show(choir)
	d.typeKeys("a song of Dino", "Return")
	bob.event("said", "body", "a song of Dino", "from", choir+"/Ann")
	eve.shows("a song of Dino")
	d.believes("1", "select count(*) from message where body = 'a song of Dino'")

	// What was said while it was away it gets from the room's archive, once.
	d.run.stop()
	eve.typeLine("a song without Dino")
	bob.event("said", "body", "a song without Dino")
	d.start()
	d.received(choir, "a song without Dino")
	d.believes("", "select body, count(*) from message where body is not null group by body having count(*) > 1")
}

// show opens a conversation that there is, as a click on its notification does.
func (d *dino) show(contact string) {
	d.t.Helper()
	d.act("open-conversation", contact)
	if _, err := d.desktop.run(testContext(d.t), "xdotool", "search", "--sync", "--onlyvisible", "--class", "dino"); err != nil {
		d.t.Fatal(err)
	}
}

// bookmark notes a room that all devices of the account are to enter (XEP-0402 §adding-a-bookmark
// @1.2.0).
func bookmark(t *testing.T, s *client.Session, room, nick string) {
	t.Helper()
	publish := xmlstream.New(stanza.NSPubsub, "publish", "node", stanza.NSBookmarks).Add(
		xmlstream.New(stanza.NSPubsub, "item", "id", room).Add(
			xmlstream.New(stanza.NSBookmarks, "conference", "autojoin", "true").Add(xmlstream.NewText(stanza.NSBookmarks, "nick", nick))))
	if _, err := s.IQ(testContext(t), xmlstream.New(stanza.NSClient, "iq", "type", "set").Add(xmlstream.New(stanza.NSPubsub, "pubsub").Add(publish))); err != nil {
		t.Fatal(err)
	}
}
