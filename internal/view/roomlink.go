// SPDX-License-Identifier: Apache-2.0

package view

import (
	"bytes"
	"errors"

	"github.com/cockroachdb/pebble/v2"

	"bavard/internal/command"
	"bavard/internal/stanza"
	"bavard/internal/state"
	"bavard/internal/xmlstream"
)

// An invite to a room is a record like other invites. The room knows its own by
// an index, so that they can be listed and taken back.

func roomLinkKey(room uint64, hash []byte) []byte { return append(idKey(tableRoomLink, room), hash...) }

// mayLink reports whether a person may invite to a room by a link: admins, and
// members where they invite. The operator, "", always may.
func (t *txn) mayLink(r *room, jid string) (bool, error) {
	if jid == "" {
		return true, nil
	}
	m, err := t.member(r, jid)
	return m.affiliation >= command.Affiliation_AFFILIATION_ADMIN || isMember(m.affiliation) && r.config.GetInvitesByMembers(), err
}

// linkRoom makes an invite one to a room.
func (t *txn) linkRoom(c *command.InviteCreate, invite *state.Invite) (*command.Outcome, error) {
	r, err := t.room(c.Room)
	if err != nil {
		return nil, err
	}
	if r == nil {
		o := noRoom()
		return &o, nil
	}
	if may, err := t.mayLink(r, c.Inviter); err != nil || !may {
		o := refuse(stanza.Auth, stanza.Forbidden, "only admins of the room can do that")
		return &o, err
	}
	alive, err := t.links(r)
	if err != nil {
		return nil, err
	}
	if alive >= command.RoomLinks {
		o := refuse(stanza.Wait, stanza.ResourceConstraint, "the room has as many invite links as it can have: take one back first")
		return &o, nil
	}
	invite.Room, invite.RoomID, invite.Created = r.jid, r.id, t.time()
	t.put(roomLinkKey(r.id, c.TokenHash), []byte{recordVersion})
	return nil, nil
}

// links counts a room's invites and removes those that are no good any more.
func (t *txn) links(r *room) (alive int, err error) {
	prefix := idKey(tableRoomLink, r.id)
	keys, err := t.under(prefix)
	if err != nil {
		return 0, err
	}
	for _, k := range keys {
		key := inviteKey([]byte(k[len(prefix):]))
		b, err := t.get(key)
		if err != nil {
			return 0, err
		}
		invite, err := parseInvite(b)
		if err != nil {
			return 0, t.a.v.damaged(err)
		}
		if invite.Uses > 0 && (invite.Expires.IsZero() || t.time().Before(invite.Expires.Add(inviteGrace))) {
			alive++
		} else {
			t.dropInvite(key, &invite)
		}
	}
	return alive, nil
}

// dropInvite removes an invite.
func (t *txn) dropInvite(key []byte, invite *state.Invite) {
	t.delete(key)
	if invite.Room != "" {
		t.delete(roomLinkKey(invite.RoomID, key[1:]))
	}
}

// dropLinks removes all invites to a room.
func (t *txn) dropLinks(r *room) error {
	prefix := idKey(tableRoomLink, r.id)
	keys, err := t.under(prefix)
	for _, k := range keys {
		t.delete([]byte(k))
		t.delete(inviteKey([]byte(k[len(prefix):])))
	}
	return err
}

// roomGone reports whether the room of an invite is no more.
func (t *txn) roomGone(invite *state.Invite) (bool, error) {
	r, err := t.room(invite.Room)
	return r == nil || r.id != invite.RoomID, err
}

// mayJoinInvited refuses who cannot become a member by an invite. Who made it
// must still be allowed to.
func (t *txn) mayJoinInvited(jid string, invite *state.Invite) (*command.Outcome, error) {
	no := func(typ stanza.ErrorType, c stanza.Condition, text string) (*command.Outcome, error) {
		o := refuse(typ, c, text)
		return &o, nil
	}
	r, err := t.room(invite.Room)
	if err != nil {
		return nil, err
	}
	if r == nil || r.id != invite.RoomID {
		return no(stanza.Cancel, stanza.NotAllowed, "this invite is unknown; ask for a new one")
	}
	if may, err := t.mayLink(r, invite.Inviter); err != nil {
		return nil, err
	} else if !may {
		return no(stanza.Cancel, stanza.NotAllowed, "this invite is unknown; ask for a new one")
	}
	m, err := t.member(r, jid)
	switch {
	case err != nil:
		return nil, err
	case m.affiliation == command.Affiliation_AFFILIATION_OUTCAST:
		return no(stanza.Auth, stanza.Forbidden, "you have been banned from this room")
	case r.affiliations >= roomMost(r):
		return no(stanza.Cancel, stanza.ResourceConstraint, "the room has as many members as it can have")
	}
	if account := t.account(jid); account != 0 {
		return t.mayJoin(account)
	}
	return nil, nil
}

// joinInvited makes an account a member of an invite's room, and has its
// devices enter it: by a bookmark (XEP-0402), under the name that it has.
func (t *txn) joinInvited(jid, name string, invite *state.Invite) error {
	r, err := t.room(invite.Room)
	if err != nil {
		return err
	}
	m, err := t.member(r, jid)
	if err != nil {
		return err
	}
	change := state.RoomChange{JID: jid, Old: m.affiliation, New: command.Affiliation_AFFILIATION_MEMBER}
	if _, err = t.affiliate(r, &change, ""); err != nil {
		return err
	}
	t.roomEvent(r.jid, &state.RoomEvent{Changes: []state.RoomChange{change}, By: invite.Inviter})
	if name == "" {
		name, _ = split(jid)
	}
	x := xmlstream.New(stanza.NSBookmarks, "conference", "name", r.config.GetName(), "autojoin", "true").
		Add(xmlstream.NewText(stanza.NSBookmarks, "nick", name))
	_, err = t.bookmarkSet(&command.BookmarkSet{Account: jid, Jid: r.jid, Conference: xmlstream.AppendElement(nil, x, ""), Publisher: jid})
	return err // a full list of bookmarks is no reason not to be a member
}

// inviteRevoke takes an invite back.
func (t *txn) inviteRevoke(c *command.InviteRevoke) (command.Outcome, error) {
	if c.Room == "" {
		return t.inviteRevokeAny(c)
	}
	r, err := t.room(c.Room)
	if err != nil {
		return command.Outcome{}, err
	}
	if r == nil {
		return noRoom(), nil
	}
	key := inviteKey(c.TokenHash)
	b, err := t.get(key)
	if err != nil {
		return command.Outcome{}, err
	}
	var invite state.Invite
	if b != nil {
		if invite, err = parseInvite(b); err != nil {
			return command.Outcome{}, t.a.v.damaged(err)
		}
	}
	if invite.RoomID != r.id {
		return refuse(stanza.Cancel, stanza.ItemNotFound, "the room has no such invite"), nil
	}
	if c.By != "" && c.By != invite.Inviter {
		m, err := t.member(r, c.By)
		if err != nil {
			return command.Outcome{}, err
		}
		if m.affiliation < command.Affiliation_AFFILIATION_ADMIN {
			return refuse(stanza.Auth, stanza.Forbidden, "only admins of the room can do that"), nil
		}
	}
	t.dropInvite(key, &invite)
	return accept(), nil
}

// inviteRevokeAny takes back an invite, to a room or not, of the operator or of
// who made it.
func (t *txn) inviteRevokeAny(c *command.InviteRevoke) (command.Outcome, error) {
	unknown := refuse(stanza.Cancel, stanza.ItemNotFound, "there is no such invite")
	key := inviteKey(c.TokenHash)
	b, err := t.get(key)
	if err != nil || b == nil {
		return unknown, err
	}
	invite, err := parseInvite(b)
	if err != nil {
		return command.Outcome{}, t.a.v.damaged(err)
	}
	if c.By != "" && (invite.Inviter != c.By || invite.InviterID != t.account(c.By)) {
		return unknown, nil
	}
	t.dropInvite(key, &invite)
	return accept(), nil
}

// inviteRedeem makes an account a member by an invite to a room.
func (t *txn) inviteRedeem(c *command.InviteRedeem) (command.Outcome, error) {
	if t.account(c.Account) == 0 {
		return refuse(stanza.Cancel, stanza.ItemNotFound, "there is no such account"), nil
	}
	b, err := t.get(inviteKey(c.TokenHash))
	if err != nil {
		return command.Outcome{}, err
	}
	unknown := refuse(stanza.Cancel, stanza.ItemNotFound, "this invite is unknown, has expired or is used up; ask for a new one")
	if b == nil {
		return unknown, nil
	}
	invite, err := parseInvite(b)
	if err != nil {
		return command.Outcome{}, t.a.v.damaged(err)
	}
	if invite.Room == "" {
		return refuse(stanza.Cancel, stanza.NotAllowed, "this invite is for who has no account"), nil
	}
	if r, err := t.room(invite.Room); err != nil {
		return command.Outcome{}, err
	} else if r != nil && r.id == invite.RoomID {
		if m, err := t.member(r, c.Account); err != nil || isMember(m.affiliation) {
			return accept(), err
		}
	}
	invite, refused, err := t.redeem(c.TokenHash, c.Account)
	switch {
	case err != nil:
		return command.Outcome{}, err
	case refused != nil && refused.Err.Condition == stanza.NotAllowed:
		return unknown, nil
	case refused != nil:
		return *refused, nil
	}
	rec, err := t.accountRecord(c.Account)
	if err != nil {
		return command.Outcome{}, err
	}
	return accept(), t.joinInvited(c.Account, rec.name, &invite)
}

// RoomLinks gives the invites to a room, those that have expired or are used up
// included until they are removed: at most command.RoomLinks and a few.
func (v *View) RoomLinks(room string) (out []state.ListedInvite, err error) {
	if err := v.enter(); err != nil {
		return nil, err
	}
	defer v.leave()
	id, err := v.roomID(v.db, room)
	if err != nil {
		return nil, v.readError(err)
	}
	prefix := idKey(tableRoomLink, id)
	err = v.rangeOver(prefix, nil, func(key, _ []byte) (bool, error) {
		hash := bytes.Clone(key[len(prefix):])
		b, err := v.get(v.db, inviteKey(hash))
		if errors.Is(err, pebble.ErrNotFound) {
			return true, nil // taken back meanwhile
		}
		if err != nil {
			return false, err
		}
		invite, err := parseInvite(b)
		out = append(out, state.ListedInvite{Hash: hash, Invite: invite})
		return true, err
	})
	return out, err
}
