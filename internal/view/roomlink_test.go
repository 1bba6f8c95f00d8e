// SPDX-License-Identifier: Apache-2.0

package view

import (
	"crypto/sha256"
	"errors"
	"slices"
	"testing"

	"bavard/internal/command"
	"bavard/internal/stanza"
	"bavard/internal/state"
)

func sumOf(token string) []byte {
	h := sha256.Sum256([]byte(token))
	return h[:]
}

// link makes an invite to a room; by "" is the operator.
func link(room, by, token string, uses uint32) *command.Command {
	if by != "" {
		by = at(by)
	}
	return &command.Command{Request: &command.Command_InviteCreate{InviteCreate: &command.InviteCreate{TokenHash: sumOf(token), Uses: uses, Inviter: by, Room: in(room)}}}
}

func redeem(who, token string) *command.Command {
	return &command.Command{Request: &command.Command_InviteRedeem{InviteRedeem: &command.InviteRedeem{TokenHash: sumOf(token), Account: at(who)}}}
}

func revoke(room, by, token string) *command.Command {
	return &command.Command{Request: &command.Command_InviteRevoke{InviteRevoke: &command.InviteRevoke{TokenHash: sumOf(token), Room: in(room), By: at(by)}}}
}

func registers(who, token string) *command.Command {
	c := create(who)
	c.GetAccountCreate().Invite, c.GetAccountCreate().Registered = token, true
	return c
}

// A link makes members, of newcomers and of who is here, as often as it says,
// as long as who made it may invite and nobody has taken it back.
func TestRoomLinks(t *testing.T) {
	c := newCell(t, "ann", "bob", "eve", "joe")
	c.accept(makeRoom("club", "ann", nil))
	c.refused(link("nowhere", "ann", "t0", 1), stanza.ItemNotFound)
	c.refused(link("club", "bob", "t0", 1), stanza.Forbidden)
	c.accept(link("club", "ann", "t1", 2))
	i, err := c.v.Invite(sumOf("t1"))
	if err != nil || i.Room != in("club") || i.Uses != 2 {
		t.Fatalf("%+v, %v", i, err)
	}
	c.accept(redeem("bob", "t1"))
	c.accept(redeem("bob", "t1")) // spends nothing
	c.accept(registers("new", "t1"))
	for _, who := range []string{"bob", "new"} {
		if rooms, err := c.v.RoomsOf(at(who)); err != nil || !slices.Equal(rooms, []string{in("club")}) {
			t.Errorf("%s is in %v, %v", who, rooms, err)
		}
		if m, _ := c.v.RoomMember(in("club"), at(who)); m.Affiliation != aMember {
			t.Errorf("%s is %v", who, m.Affiliation)
		}
	}
	if items, _, err := c.v.Roster(at("new")); err != nil || len(items) != 0 {
		t.Errorf("a link made contacts: %v, %v", items, err)
	}
	c.refused(redeem("eve", "t1"), stanza.ItemNotFound) // used up
	c.refused(registers("late", "t1"), stanza.NotAllowed)

	c.accept(link("club", "bob", "t2", 9)) // members invite here
	c.accept(affiliation("club", "ann", "joe", outcast))
	c.refused(redeem("joe", "t2"), stanza.Forbidden)
	c.refused(revoke("club", "new", "t2"), stanza.Forbidden)
	c.accept(affiliation("club", "ann", "bob", none))
	c.refused(redeem("eve", "t2"), stanza.ItemNotFound) // he may not any more
	c.accept(revoke("club", "bob", "t2"))
	c.refused(revoke("club", "ann", "t2"), stanza.ItemNotFound)

	c.accept(link("club", "", "t3", 9))
	if links, err := c.v.RoomLinks(in("club")); err != nil || len(links) != 1 || links[0].Inviter != "" {
		t.Errorf("links %+v, %v", links, err)
	}
	c.accept(destroyRoom("club", "ann"))
	c.accept(makeRoom("club", "joe", nil))
	if _, err := c.v.Invite(sumOf("t3")); !errors.Is(err, state.ErrNotFound) {
		t.Errorf("the invite survived its room: %v", err)
	}
	c.refused(redeem("eve", "t3"), stanza.ItemNotFound)
	c.scrubbed()
}

// A room has so many links; those that are used up make room.
func TestRoomLinksAreBounded(t *testing.T) {
	c := newCell(t, "ann", "bob")
	c.accept(makeRoom("club", "ann", nil))
	for n := range command.RoomLinks {
		c.accept(link("club", "ann", string(rune('a'+n)), 1))
	}
	c.refused(link("club", "ann", "more", 1), stanza.ResourceConstraint)
	c.accept(redeem("bob", "a"))
	c.accept(link("club", "ann", "more", 1))
	if links, err := c.v.RoomLinks(in("club")); err != nil || len(links) != command.RoomLinks {
		t.Errorf("%d links, %v", len(links), err)
	}
}
