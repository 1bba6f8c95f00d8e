// SPDX-License-Identifier: Apache-2.0

package view

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"bavard/internal/command"
	"bavard/internal/stanza"
	"bavard/internal/state"
)

// whispers something to somebody in a room, each under their own name as nick.
func whispers(room, from, to, id string) *command.Command {
	m := &command.Message{
		From: at(from) + "/x", To: at(to), Id: id, OriginId: id, Type: command.MessageType_MESSAGE_TYPE_CHAT,
		Payload: []byte("<body>" + id + "</body>"), Flags: command.FlagBody,
	}
	if id != "" {
		sum := sha256.Sum256([]byte(m.From + "\n" + in(room) + "/" + to + "\n" + id))
		m.Dedupe = sum[:dedupeSize]
	}
	return &command.Command{Request: &command.Command_RoomWhisper{RoomWhisper: &command.RoomWhisper{Room: in(room), Message: m, Nick: from, ToNick: to}}}
}

// inArchive gives from, to and id of what an account finds.
func (c *cellOf) inArchive(q state.Query) string {
	c.t.Helper()
	var out []string
	for _, e := range c.archive(q).Entries {
		out = append(out, fmt.Sprintf("%s>%s:%s", e.Message.From, e.Message.To, e.Message.Id))
	}
	return strings.ReplaceAll(strings.Join(out, " "), domain, "d")
}

// A private message in a room is in the archives of the two, and shows neither who
// the other is; it is in no other archive.
func TestWhisper(t *testing.T) {
	c := newCell(t, "ann", "bob", "eve")
	c.accept(makeRoom("hall", "ann", open()))
	c.accept(nick("hall", "bob", "bob", true))
	c.accept(message("ann/x", "bob", "m0"))
	w := whispers("hall", "ann", "bob", "w1")
	events := c.accept(w)
	if len(events) != 2 || events[0].Account != at("ann") || events[0].Incoming || events[0].Whisper != in("hall") || events[0].Message.To != in("hall")+"/bob" ||
		events[1].Account != at("bob") || !events[1].Incoming || events[1].Whisper != in("hall") || events[1].Message.From != in("hall")+"/ann" {
		t.Fatalf("%+v", events)
	}
	c.wantDuplicate(w, events[0].Position)
	c.accept(whispers("hall", "bob", "ann", ""))
	c.accept(whispers("hall", "ann", "ann", "note"))
	for _, want := range []struct{ account, with, want string }{
		{"ann", "", "ann@d/x>bob@d:m0 ann@d/x>hall@rooms.d/bob:w1 hall@rooms.d/bob>ann@d: hall@rooms.d/ann>ann@d:note"},
		{"bob", "", "ann@d/x>bob@d:m0 hall@rooms.d/ann>bob@d:w1 bob@d/x>hall@rooms.d/ann:"},
		{"ann", at("bob"), "ann@d/x>bob@d:m0"},
		{"bob", at("ann"), "ann@d/x>bob@d:m0"},
		{"ann", in("hall"), "ann@d/x>hall@rooms.d/bob:w1 hall@rooms.d/bob>ann@d: hall@rooms.d/ann>ann@d:note"},
		{"ann", in("hall") + "/bob", "ann@d/x>hall@rooms.d/bob:w1 hall@rooms.d/bob>ann@d:"},
		{"eve", "", ""},
	} {
		if got := c.inArchive(state.Query{Account: at(want.account), With: want.with}); got != want.want {
			t.Errorf("%s with %q: %s, want %s", want.account, want.with, got, want.want)
		}
	}
	if got := c.inArchive(state.Query{Account: at("bob"), OnlyIncoming: true}); got != "ann@d/x>bob@d:m0 hall@rooms.d/ann>bob@d:w1" {
		t.Errorf("offline: %s", got)
	}
	if got := c.said(state.Query{Room: in("hall")}); got != "" {
		t.Errorf("the room has %s", got)
	}
	c.accept(deleteChat("bob", in("hall"), events[0].Position))
	if got := c.inArchive(state.Query{Account: at("bob")}); got != "ann@d/x>bob@d:m0 bob@d/x>hall@rooms.d/ann:" {
		t.Errorf("after deleting the chat: %s", got)
	}
	c.scrubbed()
}

// The list of chats has one with each nick, with what is unread in it, until the
// room's chat is deleted or the room is gone.
func TestWhispersAreChats(t *testing.T) {
	c := newCell(t, "ann", "bob", "eve")
	c.accept(makeRoom("hall", "eve", open()))
	c.accept(nick("hall", "ann", "ann", true))
	c.accept(nick("hall", "bob", "bob", true))
	list := func(who, want string) {
		t.Helper()
		var rows []string
		page := c.chats(who)
		for _, chat := range page.Chats {
			if !chat.Room {
				rows = append(rows, fmt.Sprintf("%s:%s:%d", strings.TrimPrefix(chat.JID, in("hall")), chat.Last.Message.Id, chat.Unread))
			}
		}
		if got := fmt.Sprintf("%s (%d/%d)", strings.Join(rows, " "), page.UnreadChats, page.Unread); got != want {
			t.Errorf("%s has %s, want %s", who, got, want)
		}
	}
	first := c.accept(whispers("hall", "bob", "ann", "w1"))[0].Position
	c.accept(whispers("hall", "eve", "ann", "w2"))
	c.accept(whispers("hall", "bob", "ann", "w3"))
	list("ann", "/bob:w3:2 /eve:w2:1 (2/3)")
	list("bob", "/ann:w3:0 (0/0)")
	c.accept(noteChats("ann", c.v.Applied()))
	c.accept(displayedUpTo("ann", in("hall")+"/bob", first))
	list("ann", "/bob:w3:1 /eve:w2:1 (2/2)")
	// Who answers has read; a marker says so, too.
	c.accept(whispers("hall", "ann", "eve", "w4"))
	mark := whispers("hall", "ann", "bob", "")
	mark.GetRoomWhisper().Message.Flags, mark.GetRoomWhisper().Message.Payload = 0, []byte("<displayed xmlns='"+stanza.NSMarkers+"' id='w3'/>")
	last := c.accept(mark)[0].Position
	list("ann", "/eve:w4:0 /bob:w3:0 (0/0)")
	c.accept(deleteChat("ann", in("hall"), last))
	list("ann", " (0/0)")
	list("eve", "/ann:w4:1 (1/1)")
	c.accept(whispers("hall", "bob", "ann", "w5"))
	list("ann", "/bob:w5:1 (1/1)")
	c.accept(destroyRoom("hall", "eve"))
	list("ann", " (0/0)")
}

// The list looks at the newest private messages of a room and no further.
func TestManyWhispers(t *testing.T) {
	c := newCell(t, "ann", "bob", "eve")
	c.accept(makeRoom("hall", "eve", open()))
	c.accept(nick("hall", "ann", "ann", true))
	c.accept(nick("hall", "bob", "bob", true))
	c.accept(whispers("hall", "bob", "ann", "w1"))
	var many []*command.Command
	for i := range whisperLooks {
		many = append(many, whispers("hall", "eve", "ann", fmt.Sprint(i)))
	}
	c.apply(many...)
	page := c.chats("ann")
	if len(page.Chats) != 1 || page.Chats[0].JID != in("hall")+"/eve" || page.Unread != state.ChatUnread {
		t.Errorf("%+v", page)
	}
}

// Private messages outlive the room; whoever is removed takes theirs along, and
// nobody else's.
func TestWhispersStay(t *testing.T) {
	c := newCell(t, "ann", "bob", "eve")
	c.accept(makeRoom("hall", "eve", open()))
	c.accept(nick("hall", "ann", "ann", true))
	c.accept(nick("hall", "bob", "bob", true))
	c.accept(whispers("hall", "ann", "bob", "w1"))
	late := whispers("hall", "bob", "ann", "w2")
	late.GetRoomWhisper().Message.Timer = 60
	c.accept(late)
	c.accept(remove("bob"))
	c.sweep()
	const all = "ann@d/x>hall@rooms.d/bob:w1 hall@rooms.d/bob>ann@d:w2"
	if got := c.inArchive(state.Query{Account: at("ann")}); got != all {
		t.Errorf("ann has %s", got)
	}
	c.scrub()
	c.now = c.now.Add(time.Minute)
	c.blank()
	if e := c.archive(state.Query{Account: at("ann")}).Entries; !strings.HasPrefix(string(e[1].Message.Payload), "<ephemeral") || string(e[0].Message.Payload) != "<body>w1</body>" {
		t.Errorf("%+v", e)
	}
	c.accept(destroyRoom("hall", "eve"))
	c.sweep()
	if got := c.inArchive(state.Query{Account: at("ann")}); got != all {
		t.Errorf("without the room ann has %s", got)
	}
	c.accept(remove("ann"))
	c.sweep()
	c.scrub()
}

func TestWhispersRefused(t *testing.T) {
	c := newCell(t, "ann", "bob", "eve")
	c.accept(makeRoom("hall", "ann", open()))
	c.refused(whispers("nowhere", "ann", "bob", "w"), stanza.ItemNotFound)
	c.refused(whispers("hall", "ann", "nobody", "w"), stanza.ItemNotFound)
	c.refused(whispers("hall", "nobody", "ann", "w"), stanza.NotAuthorized)
	c.accept(nick("hall", "eve", "bob", true))
	c.refused(whispers("hall", "ann", "bob", "w"), stanza.ItemNotFound)
	c.refused(whispers("hall", "bob", "ann", "w"), stanza.Conflict)
	c.accept(nick("hall", "bob", "bob", true))
	c.accept(whispers("hall", "ann", "bob", "w1"))
	c.accept(block("bob", in("hall")+"/ann"))
	c.refused(whispers("hall", "ann", "bob", "w2"), stanza.ServiceUnavailable)
	c.refused(whispers("hall", "bob", "ann", "w2"), stanza.NotAcceptable)
	c.accept(unblock("bob"))
	c.accept(affiliation("hall", "ann", "bob", outcast))
	c.refused(whispers("hall", "ann", "bob", "w3"), stanza.ItemNotFound)
	c.refused(whispers("hall", "bob", "ann", "w3"), stanza.Forbidden)
	c.accept(setRoom("hall", "ann", &command.RoomConfig{Whispers: command.RoomWhispers_ROOM_WHISPERS_NONE.Enum()}))
	c.refused(whispers("hall", "ann", "eve", "w4"), stanza.Forbidden)
	c.refused(&command.Command{Request: &command.Command_RoomWhisper{RoomWhisper: &command.RoomWhisper{Room: in("hall")}}}, stanza.BadRequest)
	if got := c.inArchive(state.Query{Account: at("bob")}); got != "hall@rooms.d/ann>bob@d:w1" {
		t.Errorf("bob has %s", got)
	}
}

// copies are what the two archive of an accepted private message.
func copies(w *command.RoomWhisper, at state.Entry) []state.Entry {
	mine, theirs := at, at
	mine.Message, theirs.Message = proto.CloneOf(w.Message), proto.CloneOf(w.Message)
	mine.Message.To, theirs.Message.From = w.Room+"/"+w.ToNick, w.Room+"/"+w.Nick
	if bare(w.Message.From) == w.Message.To {
		return []state.Entry{theirs}
	}
	return []state.Entry{mine, theirs}
}
