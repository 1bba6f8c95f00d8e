// SPDX-License-Identifier: Apache-2.0

package view

import (
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"bavard/internal/command"
	"bavard/internal/stanza"
)

// Where the owner allows it, who is no member makes themselves one, under a nick
// that nobody else has.
func TestRoomRegistration(t *testing.T) {
	c := newCell(t, "ann", "bob", "eve", "joe", "kim")
	c.accept(makeRoom("club", "ann", nil))
	c.refused(register("club", "bob", "bobby", true), stanza.NotAllowed)
	c.refused(register("nowhere", "bob", "bobby", true), stanza.ItemNotFound)
	c.refused(register("club", "nobody", "bobby", true), stanza.NotAuthorized)
	c.accept(setRoom("club", "ann", &command.RoomConfig{Registration: proto.Bool(true), MembersOnly: proto.Bool(false)}))
	c.accept(nick("club", "joe", "guest", true)) // has no affiliation
	c.accept(affiliation("club", "ann", "eve", outcast))
	c.refused(register("club", "eve", "evil", true), stanza.NotAllowed)
	c.refused(register("club", "bob", "ann", true), stanza.Conflict)
	c.refused(register("club", "bob", "guest", false), stanza.Conflict) // he is there
	c.refused(register("club", "bob", "", true), stanza.JIDMalformed)
	c.accept(register("club", "bob", "guest", true)) // he is away
	if m, err := c.v.RoomMember(in("club"), at("bob")); err != nil || m.Affiliation != aMember || m.Nick() != "guest" {
		t.Errorf("%+v, %v", m, err)
	}
	if rooms, err := c.v.RoomsOf(at("bob")); err != nil || !slices.Equal(rooms, []string{in("club")}) {
		t.Errorf("in %v, %v", rooms, err)
	}
	c.refused(nick("club", "joe", "guest", true), stanza.Conflict) // it is a member's
	c.accept(register("club", "bob", "bobby", true))               // another one
	c.refused(register("club", "bob", "ann", true), stanza.Conflict)
	c.accept(nick("club", "joe", "joey", true))
	c.accept(register("club", "joe", "joey", false)) // who had it as a guest keeps it
	c.accept(register("club", "ann", "boss", true))
	for who, want := range map[string]command.Affiliation{"ann": command.Affiliation_AFFILIATION_OWNER, "joe": aMember} {
		if m, err := c.v.RoomMember(in("club"), at(who)); err != nil || m.Affiliation != want {
			t.Errorf("%s: %+v, %v", who, m, err)
		}
	}
	c.accept(setRoom("club", "ann", &command.RoomConfig{Registration: proto.Bool(false)}))
	c.refused(register("club", "kim", "kim", true), stanza.NotAllowed)
	c.accept(register("club", "bob", "robert", true)) // members reserve nicks all the same
	c.scrubbed()
}
