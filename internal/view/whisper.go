// SPDX-License-Identifier: Apache-2.0

package view

import (
	"google.golang.org/protobuf/proto"

	"bavard/internal/command"
	"bavard/internal/stanza"
	"bavard/internal/state"
)

// Private messages in rooms. In the archives of the two the room takes the place
// of the other: its id is the peer's, and its addresses stand in the message, so
// that no archive shows who somebody is. Each has a copy of their own. Whoever is
// removed takes theirs along; a removed room leaves them.

// roomWhisper archives a private message for its sender and its recipient
// (XEP-0045 §privatemessage @1.35.5). Who is in the room, and in which role, is
// soft: the sender's node has looked at that.
func (t *txn) roomWhisper(q *request, w *command.RoomWhisper) (command.Outcome, error) {
	m := w.GetMessage()
	if m == nil {
		return refuse(stanza.Modify, stanza.BadRequest, "a private message says something"), nil
	}
	from, to := bare(m.From), m.To
	sender, recipient := t.account(from), t.account(to)
	if sender == 0 {
		return refuse(stanza.Auth, stanza.NotAuthorized, "the sender's account does not exist"), nil
	}
	r, err := t.room(w.Room)
	switch {
	case err != nil:
		return command.Outcome{}, err
	case r == nil:
		return noRoom(), nil
	case recipient == 0:
		return refuse(stanza.Cancel, stanza.ItemNotFound, "nobody is in the room under this nick"), nil
	}
	original, repeated, err := t.repeated(q.c.GetStream(), m.Dedupe)
	if err != nil {
		return command.Outcome{}, err
	}
	if repeated {
		t.event(state.Event{Kind: state.EventDuplicate, Account: from, Position: original, Message: m})
		return duplicate(original), nil
	}
	if o, err := t.mayWhisper(r, w); err != nil || o != nil {
		return outcomeOr(o), err
	}
	mine, theirs := proto.CloneOf(m), proto.CloneOf(m)
	mine.To, theirs.From = w.Room+"/"+w.ToNick, w.Room+"/"+w.Nick
	if sender != recipient {
		t.whispered(r, sender, mine, false)
		t.event(state.Event{Kind: state.EventMessage, Account: from, Position: t.pos, Message: mine, Whisper: w.Room})
	}
	t.whispered(r, recipient, theirs, true)
	t.event(state.Event{Kind: state.EventMessage, Account: to, Position: t.pos, Message: theirs, Incoming: true, Whisper: w.Room})
	if len(m.Dedupe) == dedupeSize {
		t.remember([dedupeSize]byte(m.Dedupe))
	}
	return accept(), nil
}

// mayWhisper refuses what the two may not say to each other: both may be in the
// room, have the nicks, and do not hold back what comes from there.
func (t *txn) mayWhisper(r *room, w *command.RoomWhisper) (*command.Outcome, error) {
	from, to := bare(w.Message.From), w.Message.To
	if r.config.GetWhispers() == command.RoomWhispers_ROOM_WHISPERS_NONE {
		o := refuse(stanza.Auth, stanza.Forbidden, "the room does not allow you private messages")
		return &o, nil
	}
	for _, who := range []struct{ jid, nick string }{{from, w.Nick}, {to, w.ToNick}} {
		m, err := t.member(r, who.jid)
		if err != nil {
			return nil, err
		}
		holder, _, err := t.holder(r, who.nick)
		if err != nil {
			return nil, err
		}
		barred, held := t.mayEnter(r, m.affiliation), holder == "" || holder == who.jid
		switch {
		case who.jid == from && barred != nil:
			return barred, nil
		case who.jid == from && !held:
			o := refuse(stanza.Cancel, stanza.Conflict, "somebody else has this nick: enter the room again")
			return &o, nil
		case barred != nil, !held:
			o := refuse(stanza.Cancel, stanza.ItemNotFound, "nobody is in the room under this nick")
			return &o, nil
		}
	}
	if blocked, err := t.blocks(from, w.Room+"/"+w.ToNick); err != nil || blocked {
		return &command.Outcome{Verdict: command.Refused, Err: stanza.Blocked()}, err
	}
	if blocked, err := t.blocks(to, w.Room+"/"+w.Nick); err != nil || blocked && from != to {
		o := refuse(stanza.Cancel, stanza.ServiceUnavailable, "nobody is there to answer")
		return &o, err
	}
	return nil, nil
}

// whispered archives one copy.
func (t *txn) whispered(r *room, account uint64, m *command.Message, incoming bool) {
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		raw = nil // strings of a decoded command are valid
	}
	t.archived(t.set(talkKey(account, r.id, t.pos), append(appendTalkHead(nil, t.meta.time), raw...)))
	t.index(account, r.id, incoming)
	if m.Timer != 0 { // of a message in a room it runs from when it was said
		t.expires(min(account, r.id), max(account, r.id), t.pos, m.Timer)
	}
}
