// SPDX-License-Identifier: Apache-2.0

package view

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"maps"
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

// The operator sees all invites, in pages, and takes back any; others only their
// own.
func TestInvitesAreListedAndTakenBack(t *testing.T) {
	c := newCell(t, "ann", "bob")
	c.accept(makeRoom("club", "ann", nil))
	c.accept(link("club", "ann", "t1", 2))
	want := map[string]bool{string(sumOf("t1")): true}
	for _, token := range []string{"t2", "t3", "t4", "t5"} {
		c.accept(&command.Command{Request: &command.Command_InviteCreate{InviteCreate: &command.InviteCreate{TokenHash: sumOf(token), Uses: 1, Circle: "x"}}})
		want[string(sumOf(token))] = true
	}
	listed := func(most int) map[string]bool {
		t.Helper()
		all := map[string]bool{}
		for from := []byte(nil); ; {
			page, next, err := c.v.Invites(from, most)
			if err != nil || len(page) > most {
				t.Fatalf("%d invites, %v", len(page), err)
			}
			for i := range page {
				all[string(page[i].Hash)] = true
			}
			if from = next; from == nil {
				return all
			}
		}
	}
	for most := 1; most < 7; most++ {
		if got := listed(most); !maps.Equal(got, want) {
			t.Errorf("pages of %d: %d invites, want %d", most, len(got), len(want))
		}
	}
	one := sumOf("t1")
	if page, _, err := c.v.Invites(one[:8], 1); err != nil || len(page) != 1 || !bytes.Equal(page[0].Hash, one) || page[0].Room != in("club") || page[0].ID() != hex.EncodeToString(one[:8]) {
		t.Errorf("by its id: %+v, %v", page, err)
	}
	take := func(token, by string) *command.Command {
		return &command.Command{Request: &command.Command_InviteRevoke{InviteRevoke: &command.InviteRevoke{TokenHash: sumOf(token), By: by}}}
	}
	c.refused(take("t9", ""), stanza.ItemNotFound)
	c.refused(take("t2", at("bob")), stanza.ItemNotFound)
	c.refused(take("t1", at("bob")), stanza.ItemNotFound)
	c.accept(take("t2", ""))
	c.accept(take("t1", "")) // it is to a room
	c.refused(take("t1", ""), stanza.ItemNotFound)
	if links, err := c.v.RoomLinks(in("club")); err != nil || len(links) != 0 {
		t.Errorf("the room still has %d links, %v", len(links), err)
	}
	c.accept(link("club", "ann", "t6", 1))
	c.accept(take("t6", at("ann")))
	c.accept(link("club", "ann", "t7", 1))
	c.accept(destroyRoom("club", "ann"))
	delete(want, string(sumOf("t1")))
	delete(want, string(sumOf("t2")))
	if got := listed(2); !maps.Equal(got, want) {
		t.Errorf("%d invites are left, want %d", len(got), len(want))
	}
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
