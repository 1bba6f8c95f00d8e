// SPDX-License-Identifier: Apache-2.0

package view

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"bavard/internal/state"
)

// Room gives a room by its bare JID; state.ErrNotFound when there is none.
func (v *View) Room(jid string) (state.Room, error) {
	if err := v.enter(); err != nil {
		return state.Room{}, err
	}
	defer v.leave()
	r, err := v.readRoom(v.db, jid)
	if err != nil {
		return state.Room{}, v.readError(err)
	}
	return r.state(), nil
}

func (v *View) readRoom(db pebble.Reader, jid string) (*room, error) {
	b, err := v.get(db, roomKey(jid))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, fmt.Errorf("room %s: %w", jid, state.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	return parseRoom(jid, b)
}

func (v *View) roomID(db pebble.Reader, jid string) (uint64, error) {
	r, err := v.readRoom(db, jid)
	if err != nil {
		return 0, err
	}
	return r.id, nil
}

// RoomMember gives what a room keeps of a person, given by their bare JID; of
// one that it does not know, AFFILIATION_NONE. An outcast domain is not looked
// at.
func (v *View) RoomMember(room, jid string) (state.RoomMember, error) {
	if err := v.enter(); err != nil {
		return state.RoomMember{}, err
	}
	defer v.leave()
	id, err := v.roomID(v.db, room)
	if err != nil {
		return state.RoomMember{}, v.readError(err)
	}
	for _, key := range [][]byte{memberKey(id, jid), guestKey(id, jid)} {
		b, err := v.get(v.db, key)
		if errors.Is(err, pebble.ErrNotFound) {
			continue
		}
		var m member
		if err == nil {
			m, err = parseMember(b)
		}
		if err != nil {
			return state.RoomMember{}, v.readError(err)
		}
		return m.state(jid), nil
	}
	return state.RoomMember{JID: jid}, nil
}

func (m *member) state(jid string) state.RoomMember {
	return state.RoomMember{JID: jid, Affiliation: m.affiliation, Nicks: m.nicks, Reason: m.reason, Since: m.since}
}

// RoomMembers gives all who have an affiliation with a room, by address: at
// most command.RoomAffiliations.
func (v *View) RoomMembers(room string) (out []state.RoomMember, err error) {
	if err := v.enter(); err != nil {
		return nil, err
	}
	defer v.leave()
	id, err := v.roomID(v.db, room)
	if err != nil {
		return nil, v.readError(err)
	}
	prefix := idKey(tableMember, id)
	err = v.rangeOver(prefix, nil, func(key, value []byte) (bool, error) {
		m, err := parseMember(value)
		out = append(out, m.state(string(key[len(prefix):])))
		return true, err
	})
	return out, err
}

// RoomNick gives who has claimed a nick in a room, "" for nobody.
func (v *View) RoomNick(room, nick string) (string, error) {
	if err := v.enter(); err != nil {
		return "", err
	}
	defer v.leave()
	id, err := v.roomID(v.db, room)
	if err != nil {
		return "", v.readError(err)
	}
	for _, guest := range []bool{false, true} {
		b, err := v.get(v.db, nickKey(id, guest, nick))
		if errors.Is(err, pebble.ErrNotFound) {
			continue
		}
		if err != nil {
			return "", v.readError(err)
		}
		jid, err := parseHolder(b)
		return jid, v.damaged(err)
	}
	return "", nil
}

// Rooms gives up to most rooms whose address comes after a given one, "" for
// the first, by address.
func (v *View) Rooms(after string, most int) (out []state.Room, err error) {
	if err := v.enter(); err != nil {
		return nil, err
	}
	defer v.leave()
	var from []byte
	if after != "" {
		from = append(roomKey(after), 0)
	}
	err = v.rangeOver([]byte{tableRoom}, from, func(key, value []byte) (bool, error) {
		r, err := parseRoom(string(key[1:]), bytes.Clone(value)) // it refers to it; the iterator's goes
		if err != nil {
			return false, err
		}
		out = append(out, r.state())
		return len(out) < most, nil
	})
	return out, err
}

// RoomsOf gives the addresses of the rooms that an account is a member of: at
// most command.RoomsOfOne.
func (v *View) RoomsOf(account string) (out []string, err error) {
	if err := v.enter(); err != nil {
		return nil, err
	}
	defer v.leave()
	id, err := v.accountID(v.db, account)
	if err != nil {
		return nil, v.readError(err)
	}
	prefix := idKey(tableJoined, id)
	err = v.rangeOver(prefix, nil, func(key, _ []byte) (bool, error) {
		out = append(out, string(key[len(prefix):]))
		return true, nil
	})
	return out, err
}

// RoomNumber gives the number of messages with a body that a room has had.
func (v *View) RoomNumber(room string) (uint64, error) {
	if err := v.enter(); err != nil {
		return 0, err
	}
	defer v.leave()
	id, err := v.roomID(v.db, room)
	if err != nil {
		return 0, v.readError(err)
	}
	return v.said(v.db, id)
}

// rangeOver visits the records under a prefix, from a key on when one is
// given, until visit has had enough.
func (v *View) rangeOver(prefix, from []byte, visit func(key, value []byte) (bool, error)) (err error) {
	if from == nil {
		from = prefix
	}
	it, err := v.db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: prefixEnd(prefix)})
	if err != nil {
		return v.damaged(err)
	}
	defer func() { err = errors.Join(err, v.damaged(it.Close())) }()
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return v.damaged(err)
		}
		if more, err := visit(it.Key(), value); err != nil || !more {
			return v.damaged(err)
		}
	}
	return v.damaged(it.Error())
}

// scanSaid reads a room's archive.
func (s *search) scanSaid() error {
	return s.scan(saidPrefix(s.me), func(it *pebble.Iterator) (bool, error) {
		p, err := positionOf(it.Key())
		if err != nil {
			return false, err
		}
		value, err := it.ValueAndErr()
		if err != nil {
			return false, err
		}
		return s.take(p, value)
	})
}

// matchesSaid filters messages of a room by time and by who said them: an
// occupant's address, or a real bare one.
func (s *search) matchesSaid(e *state.Entry) bool {
	q := s.q
	switch {
	case !q.Start.IsZero() && e.Time.Before(q.Start), !q.End.IsZero() && e.Time.After(q.End):
		return false
	case q.With == "":
		return true
	case bare(q.With) == q.Room:
		return len(q.With) > len(q.Room) && e.Room.Nick == q.With[len(q.Room)+1:]
	}
	return bare(e.Room.From) == bare(q.With)
}
