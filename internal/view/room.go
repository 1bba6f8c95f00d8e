// SPDX-License-Identifier: Apache-2.0

package view

import (
	"errors"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"google.golang.org/protobuf/proto"

	"bavard/internal/command"
	"bavard/internal/stanza"
	"bavard/internal/state"
)

// roomsCached bounds the rooms that the applier keeps in memory between
// batches.
const roomsCached = 4096

// room gives a room as the batch has left it, nil when there is none. The
// caller must not change it.
func (t *txn) room(jid string) (*room, error) {
	if r, ok := t.rooms[jid]; ok {
		return r, nil
	}
	r, ok := t.a.rooms[jid]
	if !ok {
		b, err := t.get(roomKey(jid))
		if err != nil || b == nil {
			return nil, err
		}
		if r, err = parseRoom(jid, b); err != nil {
			return nil, t.a.v.damaged(err)
		}
		if r.number, err = t.a.v.said(t.a.v.db, r.id); err != nil {
			return nil, err
		}
	}
	t.rooms[jid] = r
	return r, nil
}

// change gives a copy that the caller may change.
func (t *txn) change(r *room) *room {
	c := *r
	t.rooms[r.jid] = &c
	return &c
}

// keepRooms shows the rooms of a committed batch to later ones.
func (a *applier) keepRooms(rooms map[string]*room) {
	if len(a.rooms)+len(rooms) > roomsCached {
		clear(a.rooms)
	}
	for jid, r := range rooms {
		if r == nil {
			delete(a.rooms, jid)
		} else {
			a.rooms[jid] = r
		}
	}
}

func (t *txn) saveRoom(r *room) { t.put(roomKey(r.jid), r.append(nil)) }

// member gives what a room keeps of a person; of one it does not know, no
// affiliation and no nicks.
func (t *txn) member(r *room, jid string) (member, error) {
	for _, key := range [][]byte{memberKey(r.id, jid), guestKey(r.id, jid)} {
		b, err := t.get(key)
		if err != nil {
			return member{}, err
		}
		if b != nil {
			m, err := parseMember(b)
			return m, t.a.v.damaged(err)
		}
	}
	return member{}, nil
}

func noRoom() command.Outcome {
	return refuse(stanza.Cancel, stanza.ItemNotFound, "there is no such room")
}

func (t *txn) roomEvent(room string, e *state.RoomEvent) {
	t.event(state.Event{Kind: state.EventRoom, Account: room, Position: t.pos, Room: e})
}

// roomCreate makes a room (XEP-0045 §createroom @1.35.5).
func (t *txn) roomCreate(c *command.RoomCreate) (command.Outcome, error) {
	owner := bare(c.By)
	account := t.account(owner)
	if account == 0 {
		return refuse(stanza.Auth, stanza.NotAuthorized, "the creator's account does not exist"), nil
	}
	if local, domain := split(c.Room); local == "" || domain == t.cell.domain || bare(c.Room) != c.Room {
		return refuse(stanza.Modify, stanza.JIDMalformed, "a room cannot have this address"), nil
	}
	old, err := t.room(c.Room)
	if err != nil {
		return command.Outcome{}, err
	}
	if old != nil {
		return refuse(stanza.Cancel, stanza.Conflict, "there is such a room already"), nil
	}
	if o := checkRoom(c.Config); o != nil {
		return *o, nil
	}
	if o := checkNick(c.Nick); o != nil {
		return *o, nil
	}
	if o, err := t.mayJoin(account); o != nil || err != nil {
		return outcomeOr(o), err
	}
	r := &room{id: t.meta.nextID, jid: c.Room, created: t.meta.time, locked: !c.Unlocked, config: roomConfigured(command.DefaultRoom(), c.Config)}
	t.meta.nextID++
	r.affiliations, r.owners = 1, 1
	t.rooms[c.Room] = r
	t.saveRoom(r)
	m := member{affiliation: command.Affiliation_AFFILIATION_OWNER, since: t.pos}
	if c.Nick != "" {
		m.nicks = []string{c.Nick}
		t.put(nickKey(r.id, false, c.Nick), appendString([]byte{recordVersion}, owner))
	}
	t.put(memberKey(r.id, owner), m.append(nil))
	t.put(joinedKey(account, c.Room), []byte{recordVersion})
	t.roomEvent(c.Room, &state.RoomEvent{Created: true, By: c.By})
	return accept(), nil
}

// roomConfigured gives base with what change sets; base is not changed.
func roomConfigured(base, change *command.RoomConfig) *command.RoomConfig {
	out := proto.CloneOf(base)
	proto.Merge(out, change)
	return out
}

// checkRoom refuses what a room cannot be configured as.
func checkRoom(c *command.RoomConfig) *command.Outcome {
	no := func(text string) *command.Outcome {
		o := refuse(stanza.Modify, stanza.NotAcceptable, text)
		return &o
	}
	switch {
	case c == nil:
		return nil
	case len(c.GetName()) > command.RoomNameSize:
		return no("the name of the room is too long")
	case len(c.GetDescription()) > command.RoomTextSize, len(c.GetPassword()) > command.RoomTextSize:
		return no("the description or the password is too long")
	case len(c.GetLang()) > 64:
		return no("the language is too long")
	case len(c.GetVcard()) > command.RoomVCard:
		return no("the vCard is too large")
	case c.MaxOccupants != nil && (c.GetMaxOccupants() == 0 || c.GetMaxOccupants() > command.RoomOccupants):
		return no("a room has room for 1 to 5000 occupants")
	case c.GetUnseen() > command.RoomUnseen:
		return no("presence is broadcast of moderators, participants and visitors")
	case c.GetListsFor() > command.RoomListsForAll:
		return no("lists are for moderators, participants, visitors and members")
	}
	if _, ok := command.RoomWhispers_name[int32(c.GetWhispers())]; !ok {
		return no("private messages are for anyone, participants, moderators or none")
	}
	return nil
}

func checkNick(nick string) *command.Outcome {
	if len(nick) <= command.RoomNickSize {
		return nil
	}
	o := refuse(stanza.Modify, stanza.NotAcceptable, "the nick is too long")
	return &o
}

// roomOf gives a room and refuses who does not own it.
func (t *txn) roomOf(jid, by string) (*room, *command.Outcome, error) {
	r, err := t.room(jid)
	if err != nil {
		return nil, nil, err
	}
	if r == nil {
		o := noRoom()
		return nil, &o, nil
	}
	m, err := t.member(r, bare(by))
	if err != nil {
		return nil, nil, err
	}
	if m.affiliation != command.Affiliation_AFFILIATION_OWNER {
		o := refuse(stanza.Auth, stanza.Forbidden, "only an owner of the room can do that")
		return nil, &o, nil
	}
	return r, nil, nil
}

// roomConfigure configures a room and unlocks it (XEP-0045 §roomconfig
// @1.35.5).
func (t *txn) roomConfigure(c *command.RoomConfigure) (command.Outcome, error) {
	r, refused, err := t.roomOf(c.Room, c.By)
	if err != nil || refused != nil {
		return outcomeOr(refused), err
	}
	if o := checkRoom(c.Config); o != nil {
		return *o, nil
	}
	old := r.config
	r = t.change(r)
	r.config, r.locked = roomConfigured(old, c.Config), false
	t.saveRoom(r)
	t.roomEvent(c.Room, &state.RoomEvent{Configured: true, Old: old, By: c.By})
	return accept(), nil
}

// roomDestroy removes a room; its archive, which nobody finds any more, goes in
// slices (XEP-0045 §destroyroom @1.35.5).
func (t *txn) roomDestroy(c *command.RoomDestroy) (command.Outcome, error) {
	r, err := t.room(c.Room)
	if err != nil {
		return command.Outcome{}, err
	}
	switch {
	case r == nil:
		return noRoom(), nil
	case len(c.Reason) > command.RoomTextSize || len(c.Alternate) > 3*1024:
		return refuse(stanza.Modify, stanza.NotAcceptable, "the reason is too long"), nil
	case c.By == "" && r.config.GetPersistent() && !r.locked:
		return refuse(stanza.Cancel, stanza.Conflict, "the room is to stay"), nil
	case c.By != "":
		if _, refused, err := t.roomOf(c.Room, c.By); err != nil || refused != nil {
			return outcomeOr(refused), err
		}
	}
	return accept(), t.removeRoom(r, c)
}

func (t *txn) removeRoom(r *room, c *command.RoomDestroy) error {
	prefix := idKey(tableMember, r.id)
	members, err := t.under(prefix)
	if err != nil {
		return err
	}
	for _, key := range members {
		if account := t.account(key[len(prefix):]); account != 0 {
			t.delete(joinedKey(account, r.jid))
		}
	}
	t.removeArchive(tableRoomSweep, r.id)
	if err := t.dropLinks(r); err != nil {
		return err
	}
	for _, table := range []byte{tableMember, tableGuest, tableNick, tableGuestNick} {
		prefix := idKey(table, r.id)
		t.deleteRange(prefix, prefixEnd(prefix))
	}
	t.delete(roomKey(r.jid))
	t.rooms[r.jid] = nil
	t.roomEvent(r.jid, &state.RoomEvent{Destroyed: c, By: c.By})
	return nil
}

// mayJoin refuses one more room to an account that has very many.
func (t *txn) mayJoin(account uint64) (*command.Outcome, error) {
	joined, err := t.under(idKey(tableJoined, account))
	if err != nil || len(joined) < command.RoomsOfOne {
		return nil, err
	}
	o := refuse(stanza.Cancel, stanza.NotAllowed, "that person is a member of too many rooms")
	return &o, nil
}

// leaveRooms ends all affiliations of an account that is deleted. A room that
// loses its last owner this way gets another one.
func (t *txn) leaveRooms(jid string, account uint64) error {
	prefix := idKey(tableJoined, account)
	keys, err := t.under(prefix)
	if err != nil {
		return err
	}
	for _, key := range keys {
		r, err := t.room(key[len(prefix):])
		if err != nil {
			return err
		}
		if r == nil {
			continue
		}
		if err := t.leaveRoom(r, jid); err != nil {
			return err
		}
	}
	return nil
}

// leaveRoom takes a person's affiliation away. Of a room's last owner the
// office goes on to whoever has the highest affiliation for longest; a room
// that nobody is left in is removed.
func (t *txn) leaveRoom(r *room, jid string) error {
	m, err := t.member(r, jid)
	if err != nil {
		return err
	}
	var changes []state.RoomChange
	if m.affiliation == command.Affiliation_AFFILIATION_OWNER && r.owners == 1 {
		heir, was, err := t.heir(r, jid)
		if err != nil {
			return err
		}
		if heir == "" {
			return t.removeRoom(r, &command.RoomDestroy{Room: r.jid})
		}
		change := state.RoomChange{JID: heir, Old: was.affiliation, New: command.Affiliation_AFFILIATION_OWNER, Nick: first(was.nicks)}
		if r, err = t.affiliate(r, &change, ""); err != nil {
			return err
		}
		changes = append(changes, change)
	}
	change := state.RoomChange{JID: jid, Old: m.affiliation, New: command.Affiliation_AFFILIATION_NONE, Nick: first(m.nicks)}
	if _, err = t.affiliate(r, &change, ""); err != nil {
		return err
	}
	t.roomEvent(r.jid, &state.RoomEvent{Changes: append(changes, change)})
	return nil
}

// heir is who becomes owner when the last one, but, leaves: "" for nobody.
func (t *txn) heir(r *room, but string) (jid string, best member, err error) {
	prefix := idKey(tableMember, r.id)
	keys, err := t.under(prefix)
	if err != nil {
		return "", member{}, err
	}
	for _, key := range keys {
		who := key[len(prefix):]
		b, err := t.get([]byte(key))
		if err != nil {
			return "", member{}, err
		}
		m, err := parseMember(b)
		if err != nil {
			return "", member{}, t.a.v.damaged(err)
		}
		if who == but || m.affiliation < command.Affiliation_AFFILIATION_MEMBER {
			continue
		}
		if jid == "" || m.affiliation > best.affiliation || m.affiliation == best.affiliation && m.since.Before(best.since) {
			jid, best = who, m
		}
	}
	return jid, best, nil
}

func first(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}

// said reads the number of the last message of a room's archive.
func (v *View) said(db pebble.Reader, id uint64) (number uint64, err error) {
	prefix := saidPrefix(id)
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: prefixEnd(prefix)})
	if err != nil {
		return 0, v.damaged(err)
	}
	defer func() { err = errors.Join(err, v.damaged(it.Close())) }()
	if !it.Last() {
		return 0, v.damaged(it.Error())
	}
	value, err := it.ValueAndErr()
	if err != nil {
		return 0, v.damaged(err)
	}
	r := readSince(value, saidVersion)
	r.uvarint()
	number = r.uvarint()
	return number, v.damaged(r.err)
}

// without gives list without nick; list is not changed.
func without(list []string, nick string) []string {
	out := slices.Clone(list)
	return slices.DeleteFunc(out, func(n string) bool { return n == nick })
}
