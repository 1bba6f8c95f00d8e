// SPDX-License-Identifier: Apache-2.0

package view

import (
	"bytes"

	"github.com/cockroachdb/pebble/v2"
	"google.golang.org/protobuf/proto"

	"bavard/internal/command"
	"bavard/internal/stanza"
	"bavard/internal/state"
)

// roomMessage archives a message of a room, once for all who are in it
// (XEP-0045 §message @1.35.5).
func (t *txn) roomMessage(q *request, m *command.RoomMessage) (command.Outcome, error) {
	r, err := t.room(m.Room)
	if err != nil {
		return command.Outcome{}, err
	}
	if r == nil {
		return noRoom(), nil
	}
	sender := t.account(bare(m.From))
	if sender == 0 {
		return refuse(stanza.Auth, stanza.NotAuthorized, "the sender's account does not exist"), nil
	}
	original, repeated, err := t.repeated(q.c.GetStream(), m.Dedupe)
	if err != nil {
		return command.Outcome{}, err
	}
	if repeated {
		t.roomEvent(m.Room, &state.RoomEvent{Message: m, Sender: sender, Duplicate: original})
		return duplicate(original), nil
	}
	if o, err := t.maySpeak(r, m); err != nil || o != nil {
		return outcomeOr(o), err
	}
	r = t.change(r)
	if m.Flags&command.FlagSubject != 0 {
		r.subject = subjectRecord{position: t.pos, time: t.meta.time, from: m.From, sender: sender, nick: m.Nick, id: m.Id, payload: m.Payload}
		t.saveRoom(r)
	}
	if len(m.Retracts) > 0 {
		if err := t.takeBack(r, sender, m); err != nil {
			return command.Outcome{}, err
		}
	}
	if m.Flags&command.FlagNoStore == 0 && !r.config.GetUnarchived() {
		// Counted only when archived: the archive is where the number is kept.
		if m.Flags&command.FlagBody != 0 {
			r.number++
		}
		t.say(r, sender, q.raw)
		if m.Timer != 0 && m.Flags&command.FlagSubject == 0 {
			t.expires(0, r.id, t.pos, m.Timer)
		}
	}
	if len(m.Dedupe) == dedupeSize {
		t.remember([dedupeSize]byte(m.Dedupe))
	}
	t.roomEvent(m.Room, &state.RoomEvent{Message: m, Sender: sender, Number: r.number})
	return accept(), nil
}

// maySpeak refuses who may not say this in the room. The role is what the
// sender's node knows; everything else is decided here.
func (t *txn) maySpeak(r *room, m *command.RoomMessage) (*command.Outcome, error) {
	who, err := t.member(r, bare(m.From))
	if err != nil {
		return nil, err
	}
	if o := t.mayEnter(r, who.affiliation); o != nil {
		return o, nil
	}
	moderator := m.Role == command.RoomRole_ROOM_ROLE_MODERATOR || who.affiliation >= command.Affiliation_AFFILIATION_ADMIN
	no := func(text string) (*command.Outcome, error) {
		o := refuse(stanza.Auth, stanza.Forbidden, text)
		return &o, nil
	}
	switch {
	case !moderator && r.config.GetAnnouncements():
		return no("only moderators may write in this room")
	case !moderator && r.config.GetModerated() && m.Role == command.RoomRole_ROOM_ROLE_VISITOR:
		return no("you have no voice in this room")
	case !moderator && m.Flags&command.FlagSubject != 0 && !r.config.GetSubjectByAll():
		return no("only moderators may change the subject of this room")
	}
	holder, _, err := t.holder(r, m.Nick)
	if err != nil {
		return nil, err
	}
	if holder != "" && holder != bare(m.From) {
		o := refuse(stanza.Cancel, stanza.Conflict, "somebody else has this nick: enter the room again")
		return &o, nil
	}
	return nil, nil
}

// say writes one encoded message to the room's archive.
func (t *txn) say(r *room, sender uint64, raw []byte) {
	value := append(appendSaidHead(make([]byte, 0, 32+len(raw)), t.meta.time, r.number, sender), raw...)
	t.archived(t.set(saidKey(r.id, t.pos), value))
}

// takeBack leaves a tombstone of the sender's own message; of any other, and
// of what is not there, nothing changes, and the message is one like others
// (XEP-0424 §tombstones @0.4.2).
func (t *txn) takeBack(r *room, sender uint64, m *command.RoomMessage) error {
	p, err := command.ParsePosition(m.Retracts)
	if err != nil {
		return nil //nolint:nilerr // a made-up id means nothing
	}
	e, value, err := t.saidAt(r, p)
	if err != nil || e == nil || e.Room.Tombstone != nil || bare(e.Room.From) != bare(m.From) || e.Sender != 0 && e.Sender != sender {
		return err
	}
	t.bury(r, e, value, &command.RoomTombstone{TimeMs: t.meta.time, By: m.From, ByAccount: sender, Id: m.Id})
	return nil
}

// roomModerate takes back a message of somebody else (XEP-0425
// §usecase-success @0.3.0).
func (t *txn) roomModerate(c *command.RoomModerate) (command.Outcome, error) {
	r, err := t.room(c.Room)
	if err != nil {
		return command.Outcome{}, err
	}
	if r == nil {
		return noRoom(), nil
	}
	who, err := t.member(r, bare(c.By))
	if err != nil {
		return command.Outcome{}, err
	}
	if o := t.mayEnter(r, who.affiliation); o != nil {
		return *o, nil
	}
	if c.Role != command.RoomRole_ROOM_ROLE_MODERATOR && who.affiliation < command.Affiliation_AFFILIATION_ADMIN {
		return refuse(stanza.Auth, stanza.Forbidden, "only moderators of the room can do that"), nil
	}
	if len(c.Reason) > command.RoomTextSize {
		return refuse(stanza.Modify, stanza.NotAcceptable, "the reason is too long"), nil
	}
	p, err := command.ParsePosition(c.Target)
	if err != nil {
		return refuse(stanza.Cancel, stanza.ItemNotFound, "the room has no such message"), nil
	}
	e, value, err := t.saidAt(r, p)
	switch {
	case err != nil:
		return command.Outcome{}, err
	case e == nil:
		return refuse(stanza.Cancel, stanza.ItemNotFound, "the room has no such message"), nil
	case e.Room.Tombstone != nil:
		return duplicate(p), nil
	}
	by := t.account(bare(c.By))
	t.bury(r, e, value, &command.RoomTombstone{TimeMs: t.meta.time, By: c.By, ByNick: c.Nick, Reason: c.Reason, ByAccount: by})
	c = proto.CloneOf(c)
	c.ByAccount = by
	notice := &command.RoomMessage{Room: c.Room, Moderates: c}
	r = t.change(r)
	t.say(r, 0, encodeRoomMessage(notice))
	t.roomEvent(c.Room, &state.RoomEvent{Message: notice, Number: r.number})
	return accept(), nil
}

func encodeRoomMessage(m *command.RoomMessage) []byte {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return nil // strings of a decoded command are valid
	}
	return b
}

// bury replaces an archived message by its tombstone. Its place, its time and
// who said it stay (XEP-0313 §archive_order @1.1.3).
func (t *txn) bury(r *room, e *state.Entry, old []byte, stone *command.RoomTombstone) {
	left := &command.RoomMessage{Room: e.Room.Room, From: e.Room.From, Nick: e.Room.Nick, Role: e.Room.Role, Id: e.Room.Id, Tombstone: stone}
	t.rewriteSaid(saidKey(r.id, e.Position), e, old, left)
}

// rewriteSaid archives what is left of a message in its place.
func (t *txn) rewriteSaid(key []byte, e *state.Entry, old []byte, left *command.RoomMessage) {
	t.meta.sum -= recordHash(&t.digest, opSet, key, old)
	value := append(appendSaidHead(nil, e.Time.UnixMilli(), e.Number, e.Sender), encodeRoomMessage(left)...)
	t.put(key, value)
	t.meta.sum += recordHash(&t.digest, opSet, key, value)
	t.removed = true // a scrub that is under way sees two states
}

// saidAt reads a message of a room's archive, nil when there is none.
func (t *txn) saidAt(r *room, p command.Position) (*state.Entry, []byte, error) {
	key := saidKey(r.id, p)
	b, err := t.get(key)
	if err != nil {
		return nil, nil, err
	}
	if b == nil && p.Revision == t.pos.Revision && p.Epoch == t.pos.Epoch {
		if b, err = t.written(key); err != nil {
			return nil, nil, err
		}
	}
	if b == nil {
		return nil, nil, nil
	}
	e, err := parseSaid(p, b)
	return &e, b, t.a.v.damaged(err)
}

// written finds what this batch has set a key to that is not in the overlay.
func (t *txn) written(key []byte) ([]byte, error) {
	var found []byte
	for r := t.b.Reader(); ; {
		kind, k, value, ok, err := r.Next()
		if err != nil {
			return nil, t.a.v.damaged(err)
		}
		if !ok {
			return found, nil
		}
		if kind == pebble.InternalKeyKindSet && bytes.Equal(k, key) {
			found = bytes.Clone(value)
		}
	}
}

func (t *txn) unarchived(hash uint64) {
	t.meta.records--
	t.meta.sum -= hash
}
