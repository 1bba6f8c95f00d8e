// SPDX-License-Identifier: Apache-2.0

package view

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"bavard/internal/command"
	"bavard/internal/stanza"
	"bavard/internal/state"
)

const (
	none    = command.Affiliation_AFFILIATION_NONE
	outcast = command.Affiliation_AFFILIATION_OUTCAST
	aMember = command.Affiliation_AFFILIATION_MEMBER
	admin   = command.Affiliation_AFFILIATION_ADMIN
	owner   = command.Affiliation_AFFILIATION_OWNER

	moderator = command.RoomRole_ROOM_ROLE_MODERATOR
	speaker   = command.RoomRole_ROOM_ROLE_PARTICIPANT
	visitor   = command.RoomRole_ROOM_ROLE_VISITOR
)

// in gives the address of a room by its name.
func in(room string) string { return room + "@rooms." + domain }

func makeRoom(room, by string, c *command.RoomConfig) *command.Command {
	return &command.Command{Request: &command.Command_RoomCreate{RoomCreate: &command.RoomCreate{
		Room: in(room), By: at(by) + "/x", Nick: by, Config: c, Unlocked: true,
	}}}
}

func setRoom(room, by string, c *command.RoomConfig) *command.Command {
	return &command.Command{Request: &command.Command_RoomConfigure{RoomConfigure: &command.RoomConfigure{Room: in(room), By: at(by) + "/x", Config: c}}}
}

func destroyRoom(room, by string) *command.Command {
	if by != "" {
		by = at(by) + "/x"
	}
	return &command.Command{Request: &command.Command_RoomDestroy{RoomDestroy: &command.RoomDestroy{Room: in(room), By: by, Reason: "over"}}}
}

func affiliation(room, by, whom string, a command.Affiliation) *command.Command {
	return &command.Command{Request: &command.Command_RoomAffiliate{RoomAffiliate: &command.RoomAffiliate{
		Room: in(room), By: at(by) + "/x", Changes: []*command.RoomAffiliation{{Jid: at(whom), Affiliation: a}},
	}}}
}

func invited(c *command.Command) *command.Command {
	c.GetRoomAffiliate().Invite = true
	return c
}

func nick(room, who, name string, free bool) *command.Command {
	return &command.Command{Request: &command.Command_RoomNick{RoomNick: &command.RoomNick{Room: in(room), Jid: at(who), Nick: name, Free: free}}}
}

func register(room, who, name string, free bool) *command.Command {
	return &command.Command{Request: &command.Command_RoomRegister{RoomRegister: &command.RoomRegister{Room: in(room), By: at(who) + "/x", Nick: name, Free: free}}}
}

// says something in a room under one's own name as nick.
func says(room, who, id string, role command.RoomRole) *command.Command {
	m := &command.RoomMessage{
		Room: in(room), From: at(who) + "/x", Nick: who, Role: role, Id: id, OriginId: id,
		Payload: []byte("<body>" + id + "</body>"), Flags: command.FlagBody,
	}
	if id != "" {
		sum := sha256.Sum256([]byte(m.From + "\n" + m.Room + "\n" + id))
		m.Dedupe = sum[:dedupeSize]
	}
	return &command.Command{Request: &command.Command_RoomMessage{RoomMessage: m}}
}

func moderate(room, by string, target command.Position, role command.RoomRole) *command.Command {
	return &command.Command{Request: &command.Command_RoomModerate{RoomModerate: &command.RoomModerate{
		Room: in(room), By: at(by) + "/x", Nick: by, Role: role, Target: target.AppendTo(nil), Reason: "rude",
	}}}
}

// said gives what a room's archive holds, with tombstones and notices.
func (c *cellOf) said(q state.Query) string {
	c.t.Helper()
	var out []string
	for _, e := range c.archive(q).Entries {
		switch {
		case e.Room.Moderates != nil:
			out = append(out, "notice")
		case e.Room.Tombstone != nil:
			out = append(out, "("+e.Room.Id+")")
		default:
			out = append(out, e.Room.Id)
		}
	}
	return strings.Join(out, " ")
}

func (c *cellOf) scrubbed() {
	c.t.Helper()
	if err := c.v.Scrub(context.Background(), nil); err != nil {
		c.t.Fatal(err)
	}
}

func open() *command.RoomConfig {
	return &command.RoomConfig{MembersOnly: proto.Bool(false), NonAnonymous: proto.Bool(false)}
}

// A group: made, filled by invitation, talked in, left, and gone with its
// archive.
func TestRoomLife(t *testing.T) {
	c := newCell(t, "ann", "bob", "eve")
	events := c.accept(makeRoom("choir", "ann", &command.RoomConfig{Name: proto.String("Choir")}))
	if len(events) != 1 || !events[0].Room.Created || events[0].Account != in("choir") {
		t.Fatalf("events %+v", events)
	}
	c.refused(makeRoom("choir", "bob", nil), stanza.Conflict)
	c.refused(makeRoom("none", "nobody", nil), stanza.NotAuthorized)
	c.refused(says("choir", "bob", "m0", speaker), stanza.RegistrationRequired)
	c.refused(says("nowhere", "bob", "m0", speaker), stanza.ItemNotFound)
	c.accept(says("choir", "ann", "m1", moderator))
	events = c.accept(affiliation("choir", "ann", "bob", aMember))
	if ch := events[0].Room.Changes; len(ch) != 1 || ch[0] != (state.RoomChange{JID: at("bob"), Old: none, New: aMember}) {
		t.Fatalf("changes %+v", ch)
	}
	c.accept(invited(affiliation("choir", "bob", "eve", aMember)))
	c.accept(nick("choir", "eve", "eve", false))
	c.accept(says("choir", "eve", "m2", speaker))
	if r := c.apply(says("choir", "eve", "m2", speaker)); r.Outcomes[0].Verdict != command.Duplicate || r.Events[0].Room.Duplicate != r.Outcomes[0].Original {
		t.Fatalf("a repeat: %+v, %+v", r.Outcomes[0], r.Events)
	}
	if got := c.said(state.Query{Room: in("choir")}); got != "m1 m2" {
		t.Fatalf("archive %q", got)
	}
	if rooms, err := c.v.RoomsOf(at("eve")); err != nil || !slices.Equal(rooms, []string{in("choir")}) {
		t.Fatalf("rooms %v, %v", rooms, err)
	}
	r, err := c.v.Room(in("choir"))
	if err != nil || r.Config.GetName() != "Choir" || !r.Config.GetMembersOnly() || r.Affiliations != 3 {
		t.Fatalf("%+v, %v", r, err)
	}
	c.accept(affiliation("choir", "eve", "eve", none)) // she leaves
	if rooms, err := c.v.RoomsOf(at("eve")); err != nil || len(rooms) != 0 {
		t.Fatalf("rooms %v, %v", rooms, err)
	}
	c.refused(says("choir", "eve", "m3", speaker), stanza.RegistrationRequired)
	c.scrubbed()
	c.refused(destroyRoom("choir", "bob"), stanza.Forbidden)
	c.refused(destroyRoom("choir", ""), stanza.Conflict) // it is to stay
	c.accept(destroyRoom("choir", "ann"))
	if _, err := c.v.Room(in("choir")); !errors.Is(err, state.ErrNotFound) {
		t.Fatalf("after its end: %v", err)
	}
	c.scrubbed()
	c.accept(makeRoom("choir", "bob", nil)) // made anew, it has no past
	if got := c.said(state.Query{Room: in("choir")}); got != "" {
		t.Fatalf("archive %q", got)
	}
}

// Who may change whose affiliation: XEP-0045 §affil-priv @1.35.5.
func TestRoomAffiliations(t *testing.T) {
	for _, tc := range []struct {
		by   command.Affiliation
		from command.Affiliation
		to   command.Affiliation
		want stanza.Condition // "" for accepted
	}{
		{owner, none, owner, ""},
		{owner, member0, none, ""},
		{owner, admin, outcast, ""},
		{owner, owner, member0, ""},
		{admin, none, member0, ""},
		{admin, member0, outcast, ""},
		{admin, outcast, none, ""},
		{admin, none, admin, stanza.NotAllowed},
		{admin, admin, none, stanza.NotAllowed},
		{admin, owner, outcast, stanza.NotAllowed},
		{member0, none, member0, stanza.Forbidden},
		{member0, member0, outcast, stanza.Forbidden},
		{none, none, member0, stanza.Forbidden},
		{outcast, none, outcast, stanza.Forbidden},
	} {
		t.Run(fmt.Sprint(tc.by, tc.from, tc.to), func(t *testing.T) {
			c := newCell(t, "ann", "bob", "eve")
			c.accept(makeRoom("r", "ann", open()))
			for who, a := range map[string]command.Affiliation{"bob": tc.by, "eve": tc.from} {
				if a != none {
					c.accept(affiliation("r", "ann", who, a))
				}
			}
			change := affiliation("r", "bob", "eve", tc.to)
			if tc.want != "" {
				c.refused(change, tc.want)
				return
			}
			c.accept(change)
			if m, err := c.v.RoomMember(in("r"), at("eve")); err != nil || m.Affiliation != tc.to {
				t.Fatalf("%+v, %v", m, err)
			}
		})
	}
}

const member0 = aMember

func TestRoomKeepsAnOwner(t *testing.T) {
	c := newCell(t, "ann", "bob", "eve")
	c.accept(makeRoom("r", "ann", nil))
	c.refused(affiliation("r", "ann", "ann", admin), stanza.Conflict)
	c.accept(affiliation("r", "ann", "bob", aMember))
	c.accept(affiliation("r", "ann", "eve", admin))
	c.accept(affiliation("r", "ann", "ann", none)) // the last owner leaves
	if m, _ := c.v.RoomMember(in("r"), at("eve")); m.Affiliation != owner {
		t.Fatalf("eve is %v", m.Affiliation)
	}
	c.accept(remove("eve")) // an account that is removed leaves its rooms
	if m, _ := c.v.RoomMember(in("r"), at("bob")); m.Affiliation != owner {
		t.Fatalf("bob is %v", m.Affiliation)
	}
	c.accept(remove("bob"))
	if _, err := c.v.Room(in("r")); !errors.Is(err, state.ErrNotFound) {
		t.Fatalf("a room without anybody: %v", err)
	}
	c.scrubbed()
}

// The last owner of an open room does not take it away from who is in it.
func TestLastOwnerOfAnOpenRoomStays(t *testing.T) {
	c := newCell(t, "ann", "bob")
	c.accept(makeRoom("r", "ann", open()))
	c.refused(affiliation("r", "ann", "ann", none), stanza.Conflict)
	c.accept(affiliation("r", "ann", "bob", aMember))
	c.accept(affiliation("r", "ann", "ann", none))
	if m, _ := c.v.RoomMember(in("r"), at("bob")); m.Affiliation != owner {
		t.Fatalf("bob is %v", m.Affiliation)
	}
}

func TestRoomNicks(t *testing.T) {
	c := newCell(t, "ann", "bob", "eve")
	c.accept(makeRoom("r", "ann", open()))
	c.refused(nick("r", "bob", "ann", true), stanza.Conflict) // an owner's is never taken
	c.accept(nick("r", "bob", "b", false))
	c.refused(nick("r", "eve", "b", false), stanza.Conflict)
	c.accept(nick("r", "eve", "b", true)) // bob is not there
	if who, err := c.v.RoomNick(in("r"), "b"); err != nil || who != at("eve") {
		t.Fatalf("%q, %v", who, err)
	}
	m := says("r", "bob", "m1", speaker)
	m.GetRoomMessage().Nick = "b"
	c.refused(m, stanza.Conflict)
	for i := range 2 * command.RoomNicks {
		c.accept(nick("r", "bob", fmt.Sprint("b", i), false))
	}
	if who, _ := c.v.RoomNick(in("r"), "b0"); who != "" {
		t.Errorf("the oldest of too many nicks is still %s's", who)
	}
	if m, _ := c.v.RoomMember(in("r"), at("bob")); len(m.Nicks) != command.RoomNicks || m.Nick() != "b7" {
		t.Errorf("%+v", m)
	}
	c.accept(affiliation("r", "ann", "bob", aMember)) // keeps them
	c.refused(nick("r", "eve", "b7", true), stanza.Conflict)
	c.accept(affiliation("r", "ann", "bob", outcast)) // loses them
	c.accept(nick("r", "eve", "b7", false))
	c.refused(nick("r", "bob", "again", false), stanza.Forbidden)
}

func TestWhoMaySpeak(t *testing.T) {
	c := newCell(t, "ann", "bob", "eve")
	c.accept(makeRoom("r", "ann", open()))
	subject := func(who string, role command.RoomRole) *command.Command {
		m := says("r", who, "", role)
		m.GetRoomMessage().Flags = command.FlagSubject
		return m
	}
	c.accept(says("r", "bob", "m1", visitor)) // not moderated
	c.accept(subject("bob", speaker))
	c.accept(setRoom("r", "ann", &command.RoomConfig{Moderated: proto.Bool(true), SubjectByAll: proto.Bool(false)}))
	c.refused(says("r", "bob", "m2", visitor), stanza.Forbidden)
	c.accept(says("r", "bob", "m3", speaker))
	c.refused(subject("bob", speaker), stanza.Forbidden)
	c.accept(subject("bob", moderator))
	c.accept(setRoom("r", "ann", &command.RoomConfig{Announcements: proto.Bool(true)}))
	c.refused(says("r", "bob", "m4", speaker), stanza.Forbidden)
	c.accept(says("r", "ann", "m5", speaker)) // she owns it
	c.refused(setRoom("r", "bob", open()), stanza.Forbidden)
	c.refused(setRoom("r", "ann", &command.RoomConfig{MaxOccupants: proto.Uint32(0)}), stanza.NotAcceptable)
	c.refused(setRoom("r", "ann", &command.RoomConfig{Unseen: proto.Uint32(command.RoomUnseen + 1)}), stanza.NotAcceptable)
	c.refused(setRoom("r", "ann", &command.RoomConfig{ListsFor: proto.Uint32(command.RoomListsForAll + 1)}), stanza.NotAcceptable)
	if r, err := c.v.Room(in("r")); err != nil || r.Subject.Nick != "bob" || r.Subject.Position.IsZero() {
		t.Fatalf("%+v, %v", r, err)
	}
}

// What is taken back leaves a tombstone with its place, its time and who said
// it; only authors and moderators can.
func TestRoomTombstones(t *testing.T) {
	c := newCell(t, "ann", "bob", "eve")
	c.accept(makeRoom("r", "ann", open()))
	var at1 []command.Position
	for i, who := range []string{"bob", "bob", "eve"} {
		at1 = append(at1, c.accept(says("r", who, fmt.Sprint("m", i), speaker))[0].Position)
	}
	takesBack := func(who string, p command.Position) *command.Command {
		m := says("r", who, "", speaker)
		m.GetRoomMessage().Retracts, m.GetRoomMessage().Id = p.AppendTo(nil), "taken"
		return m
	}
	c.accept(takesBack("eve", at1[0])) // not hers
	c.accept(takesBack("bob", at1[0]))
	if got := c.said(state.Query{Room: in("r")}); got != "(m0) m1 m2 taken taken" {
		t.Fatalf("archive %q", got)
	}
	c.refused(moderate("r", "bob", at1[2], speaker), stanza.Forbidden)
	c.refused(moderate("r", "ann", command.Position{Revision: 999}, moderator), stanza.ItemNotFound)
	if e := c.accept(moderate("r", "ann", at1[2], moderator)); e[0].Room.Message.Moderates.Reason != "rude" {
		t.Fatalf("%+v", e)
	}
	if r := c.apply(moderate("r", "ann", at1[2], moderator)); r.Outcomes[0].Verdict != command.Duplicate {
		t.Fatalf("taken back twice: %+v", r.Outcomes)
	}
	// In the batch that it was said in.
	c.apply(says("r", "bob", "m3", speaker), takesBack("bob", command.Position{Revision: c.revision + 1}))
	if got := c.said(state.Query{Room: in("r")}); got != "(m0) m1 (m2) taken taken notice (m3) taken" {
		t.Fatalf("archive %q", got)
	}
	if e := c.archive(state.Query{Room: in("r"), Max: 1}).Entries[0]; len(e.Room.Payload) != 0 || e.Room.OriginId != "" || e.Room.From != at("bob")+"/x" || e.Number != 1 {
		t.Fatalf("a tombstone: %+v", e)
	}
	c.scrubbed()
	// Tombstones made by the batch that removes the room.
	c.apply(moderate("r", "ann", at1[1], moderator), destroyRoom("r", "ann"))
	c.scrubbed()
}

func TestRoomArchive(t *testing.T) {
	c := newCell(t, "ann", "bob")
	c.accept(makeRoom("r", "ann", open()))
	c.accept(makeRoom("other", "ann", open()))
	var p []command.Position
	for i := range 6 {
		c.now = c.now.Add(time.Minute)
		p = append(p, c.accept(says("r", people[i%2], fmt.Sprint("m", i), speaker))[0].Position)
		c.accept(says("other", "ann", fmt.Sprint("o", i), speaker))
	}
	for want, q := range map[string]state.Query{
		"m0 m1 m2": {Max: 3},
		"m4 m5":    {Max: 2, Backward: true},
		"m2 m3":    {Max: 2, Backward: true, Before: p[4]},
		"m5":       {After: p[4]},
		"m1 m3 m5": {With: in("r") + "/bob"},
		"m0 m2 m4": {With: at("ann")},
		"":         {With: in("r") + "/nobody"},
		"m1 m4":    {IDs: []command.Position{p[4], p[1]}},
		"m3 m4":    {Start: start.Add(4 * time.Minute), End: start.Add(5 * time.Minute)},
	} {
		q.Room = in("r")
		if got := c.said(q); got != want {
			t.Errorf("%+v: %q, want %q", q, got, want)
		}
	}
	if _, err := c.v.Archive(context.Background(), state.Query{Room: in("nowhere")}); !errors.Is(err, state.ErrNotFound) {
		t.Errorf("no room: %v", err)
	}
	if _, err := c.v.Archive(context.Background(), state.Query{Room: in("r"), After: command.Position{Revision: 1}}); !errors.Is(err, state.ErrNotFound) {
		t.Errorf("a position that is not of the room: %v", err)
	}
	if n, err := c.v.RoomNumber(in("r")); err != nil || n != 6 {
		t.Errorf("number %d, %v", n, err)
	}
}

// The guests of a public room are many; what is remembered of them is bounded.
func TestRoomForgetsGuests(t *testing.T) {
	c := newCell(t, "ann")
	c.accept(makeRoom("r", "ann", open()))
	var cmds []*command.Command
	for i := range command.RoomGuests + 2 {
		cmds = append(cmds, nick("r", fmt.Sprint("guest", i), fmt.Sprint("g", i), false))
	}
	c.apply(cmds...)
	for nick, want := range map[string]string{"ann": at("ann"), "g0": "", fmt.Sprint("g", command.RoomGuests+1): at(fmt.Sprint("guest", command.RoomGuests+1))} {
		if who, err := c.v.RoomNick(in("r"), nick); err != nil || who != want {
			t.Errorf("%s is %q's, %v; want %q", nick, who, err, want)
		}
	}
}

// randomRoom draws commands about few rooms, so that they meet.
func randomRoom(r *rapid.T, i int) *command.Command {
	who := func(label string) string { return rapid.SampledFrom(people).Draw(r, label) }
	room := rapid.SampledFrom([]string{"r0", "r1"}).Draw(r, "room")
	switch rapid.IntRange(0, 11).Draw(r, "about a room") {
	case 10, 11:
		w := whispers(room, who("from"), who("to"), rapid.SampledFrom([]string{"", "w0", fmt.Sprint("w", i)}).Draw(r, "id"))
		w.GetRoomWhisper().Message.Timer = uint32(rapid.SampledFrom([]int{0, 0, 60}).Draw(r, "timer"))
		return w
	case 0, 1:
		return makeRoom(room, who("by"), rapid.SampledFrom([]*command.RoomConfig{nil, open(), {Persistent: proto.Bool(false)}}).Draw(r, "config"))
	case 2:
		return setRoom(room, who("by"), rapid.SampledFrom([]*command.RoomConfig{open(), {Unarchived: proto.Bool(true)}, {Moderated: proto.Bool(true)}}).Draw(r, "config"))
	case 3:
		return destroyRoom(room, rapid.SampledFrom([]string{"", "ann", "bob"}).Draw(r, "by"))
	case 4, 5:
		a := rapid.SampledFrom([]command.Affiliation{none, outcast, aMember, admin, owner}).Draw(r, "affiliation")
		c := affiliation(room, who("by"), who("whom"), a)
		c.GetRoomAffiliate().Invite = rapid.Bool().Draw(r, "invite")
		return c
	case 6:
		return nick(room, who("jid"), rapid.SampledFrom(people).Draw(r, "nick"), rapid.Bool().Draw(r, "free"))
	}
	id := rapid.SampledFrom([]string{"", "m0", fmt.Sprint("m", i)}).Draw(r, "id")
	return says(room, who("from"), id, rapid.SampledFrom([]command.RoomRole{visitor, speaker, moderator}).Draw(r, "role"))
}

// checkRooms: what is counted of rooms, and each way to find a member or a
// nick, agree.
func checkRooms(t rapid.TB, v *View) {
	rooms, err := v.Rooms("", 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rooms {
		members, err := v.RoomMembers(r.JID)
		if err != nil {
			t.Fatal(err)
		}
		owners := 0
		for _, m := range members {
			if m.Affiliation == owner {
				owners++
			}
			for _, n := range m.Nicks {
				if who, err := v.RoomNick(r.JID, n); err != nil || who != m.JID {
					t.Fatalf("%s: nick %s of %s is %s's, %v", r.JID, n, m.JID, who, err)
				}
			}
			if joined, err := v.RoomsOf(m.JID); err == nil && slices.Contains(joined, r.JID) != isMember(m.Affiliation) {
				t.Fatalf("%s: %s is %v and finds %v", r.JID, m.JID, m.Affiliation, joined)
			}
		}
		if len(members) != r.Affiliations || owners == 0 {
			t.Fatalf("%s: %d members, %d owners, counted %d", r.JID, len(members), owners, r.Affiliations)
		}
	}
}
