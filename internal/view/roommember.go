// SPDX-License-Identifier: Apache-2.0

package view

import (
	"slices"

	"bavard/internal/command"
	"bavard/internal/stanza"
	"bavard/internal/state"
)

// roomAffiliate changes affiliations, all or none (XEP-0045 §affil-priv
// @1.35.5).
func (t *txn) roomAffiliate(c *command.RoomAffiliate) (command.Outcome, error) {
	r, err := t.room(c.Room)
	if err != nil {
		return command.Outcome{}, err
	}
	if r == nil {
		return noRoom(), nil
	}
	if n := len(c.Changes); n == 0 || n > command.RoomChanges {
		return refuse(stanza.Modify, stanza.BadRequest, "one change takes 1 to 100 persons"), nil
	}
	by := bare(c.By)
	me, err := t.member(r, by)
	if err != nil {
		return command.Outcome{}, err
	}
	if len(c.Changes) == 1 && c.Changes[0].Jid == by && c.Changes[0].Affiliation == command.Affiliation_AFFILIATION_NONE &&
		me.affiliation >= command.Affiliation_AFFILIATION_MEMBER {
		return t.leaveByChoice(r, by, me)
	}
	changes := make([]state.RoomChange, 0, len(c.Changes))
	seen := map[string]bool{}
	owners, affiliations := r.owners, r.affiliations
	for _, want := range c.Changes {
		if seen[want.Jid] {
			return refuse(stanza.Modify, stanza.BadRequest, "somebody is named twice"), nil
		}
		seen[want.Jid] = true
		old, refused, err := t.mayAffiliate(r, me.affiliation, c, want)
		if err != nil || refused != nil {
			return outcomeOr(refused), err
		}
		counted(&owners, &affiliations, old.affiliation, want.Affiliation)
		changes = append(changes, state.RoomChange{JID: want.Jid, Old: old.affiliation, New: want.Affiliation, Nick: want.Nick, Reason: want.Reason})
	}
	if owners == 0 {
		return refuse(stanza.Cancel, stanza.Conflict, "a room needs an owner: name another one first"), nil
	}
	if most := roomMost(r); affiliations > most && affiliations > r.affiliations {
		return refuse(stanza.Cancel, stanza.ResourceConstraint, "the room has as many members as it can have"), nil
	}
	for i := range changes {
		if r, err = t.affiliate(r, &changes[i], changes[i].Nick); err != nil {
			return command.Outcome{}, err
		}
	}
	t.roomEvent(c.Room, &state.RoomEvent{Changes: changes, By: c.By})
	return accept(), nil
}

// leaveByChoice: who leaves a group asks nobody. The last owner of an open
// room cannot leave it to people who are no members (XEP-0045 §revokeowner
// @1.35.5); a group that the last member leaves is over.
func (t *txn) leaveByChoice(r *room, by string, me member) (command.Outcome, error) {
	if me.affiliation == command.Affiliation_AFFILIATION_OWNER && r.owners == 1 && !r.config.GetMembersOnly() {
		heir, _, err := t.heir(r, by)
		if err != nil {
			return command.Outcome{}, err
		}
		if heir == "" {
			return refuse(stanza.Cancel, stanza.Conflict, "a room needs an owner: name another one first, or destroy it"), nil
		}
	}
	return accept(), t.leaveRoom(r, by)
}

func roomMost(r *room) uint32 {
	if r.config.GetMembersOnly() {
		return command.RoomMembers
	}
	return command.RoomAffiliations
}

// counted follows a change in the numbers of owners and of affiliations.
func counted(owners, affiliations *uint32, old, now command.Affiliation) {
	if old == command.Affiliation_AFFILIATION_OWNER {
		*owners--
	}
	if now == command.Affiliation_AFFILIATION_OWNER {
		*owners++
	}
	if old != command.Affiliation_AFFILIATION_NONE {
		*affiliations--
	}
	if now != command.Affiliation_AFFILIATION_NONE {
		*affiliations++
	}
}

// mayAffiliate gives what the room keeps of the person, or why the change is
// refused: an owner may change everybody, an admin who is neither admin nor
// owner, a member may invite where the room allows that.
func (t *txn) mayAffiliate(r *room, mine command.Affiliation, c *command.RoomAffiliate, want *command.RoomAffiliation) (member, *command.Outcome, error) {
	no := func(cond stanza.Condition, typ stanza.ErrorType, text string) (member, *command.Outcome, error) {
		o := refuse(typ, cond, text)
		return member{}, &o, nil
	}
	if _, ok := command.Affiliation_name[int32(want.Affiliation)]; !ok || want.Jid == "" || bare(want.Jid) != want.Jid || len(want.Jid) > 2*1024 {
		return no(stanza.BadRequest, stanza.Modify, "that is no affiliation of a person")
	}
	if len(want.Reason) > command.RoomTextSize || len(want.Nick) > command.RoomNickSize {
		return no(stanza.NotAcceptable, stanza.Modify, "the nick or the reason is too long")
	}
	if local, domain := split(want.Jid); local == "" && want.Affiliation > command.Affiliation_AFFILIATION_OUTCAST {
		return no(stanza.NotAcceptable, stanza.Modify, "a domain can only be an outcast")
	} else if domain == t.cell.domain && local != "" && want.Affiliation > command.Affiliation_AFFILIATION_OUTCAST && t.account(want.Jid) == 0 {
		return no(stanza.ItemNotFound, stanza.Cancel, "there is no account "+want.Jid)
	}
	old, err := t.member(r, want.Jid)
	if err != nil {
		return member{}, nil, err
	}
	const admin = command.Affiliation_AFFILIATION_ADMIN
	invites := c.Invite && want.Affiliation == command.Affiliation_AFFILIATION_MEMBER && old.affiliation == command.Affiliation_AFFILIATION_NONE &&
		mine == command.Affiliation_AFFILIATION_MEMBER && r.config.GetInvitesByMembers()
	switch {
	case mine == command.Affiliation_AFFILIATION_OWNER, invites:
	case mine < admin:
		return no(stanza.Forbidden, stanza.Auth, "only admins of the room can do that")
	case old.affiliation >= admin || want.Affiliation >= admin:
		return no(stanza.NotAllowed, stanza.Cancel, "only an owner of the room can do that")
	}
	if want.Nick != "" {
		holder, _, err := t.holder(r, want.Nick)
		if err != nil {
			return member{}, nil, err
		}
		if holder != "" && holder != want.Jid {
			return no(stanza.Conflict, stanza.Cancel, "somebody else has this nick")
		}
	}
	if account := t.account(want.Jid); account != 0 && isMember(want.Affiliation) && !isMember(old.affiliation) {
		if o, err := t.mayJoin(account); o != nil || err != nil {
			return member{}, o, err
		}
	}
	return old, nil, nil
}

func isMember(a command.Affiliation) bool { return a >= command.Affiliation_AFFILIATION_MEMBER }

// affiliate carries out one change. nick, if any, is claimed; who loses their
// affiliation loses their nicks.
func (t *txn) affiliate(r *room, c *state.RoomChange, nick string) (*room, error) {
	old, err := t.member(r, c.JID)
	if err != nil {
		return nil, err
	}
	r = t.change(r)
	counted(&r.owners, &r.affiliations, old.affiliation, c.New)
	for _, n := range old.nicks {
		t.delete(nickKey(r.id, old.affiliation == command.Affiliation_AFFILIATION_NONE, n))
	}
	if old.affiliation == command.Affiliation_AFFILIATION_NONE && len(old.nicks) > 0 {
		t.delete(guestKey(r.id, c.JID))
		r.guests--
	}
	now := member{affiliation: c.New, since: t.pos, reason: c.Reason}
	if isMember(old.affiliation) && isMember(c.New) {
		now.since = old.since
	}
	if isMember(c.New) {
		now.nicks = old.nicks
		if nick != "" {
			now.nicks = append([]string{nick}, without(old.nicks, nick)...)
		}
		now.nicks = now.nicks[:min(len(now.nicks), command.RoomNicks)]
		for _, n := range now.nicks {
			t.put(nickKey(r.id, false, n), appendString([]byte{recordVersion}, c.JID))
		}
		c.Nick = first(now.nicks)
	} else {
		c.Nick = first(old.nicks)
	}
	if c.New == command.Affiliation_AFFILIATION_NONE {
		t.delete(memberKey(r.id, c.JID))
	} else {
		t.put(memberKey(r.id, c.JID), now.append(nil))
	}
	if account := t.account(c.JID); account != 0 && isMember(old.affiliation) != isMember(c.New) {
		if isMember(c.New) {
			t.put(joinedKey(account, r.jid), []byte{recordVersion})
		} else {
			t.delete(joinedKey(account, r.jid))
		}
	}
	t.saveRoom(r)
	return r, nil
}

// holder gives who has claimed a nick, "" for nobody, and whether it is
// somebody without affiliation.
func (t *txn) holder(r *room, nick string) (jid string, guest bool, err error) {
	for _, guest := range []bool{false, true} {
		b, err := t.get(nickKey(r.id, guest, nick))
		if err != nil {
			return "", false, err
		}
		if b != nil {
			jid, err := parseHolder(b)
			return jid, guest, t.a.v.damaged(err)
		}
	}
	return "", false, nil
}

// roomNick claims a nick, so that nobody else can speak under it.
func (t *txn) roomNick(c *command.RoomNick) (command.Outcome, error) {
	r, err := t.room(c.Room)
	if err != nil {
		return command.Outcome{}, err
	}
	if r == nil {
		return noRoom(), nil
	}
	if o := checkNick(c.Nick); o != nil || c.Nick == "" {
		return refuse(stanza.Modify, stanza.JIDMalformed, "a nick has 1 to 255 bytes"), nil
	}
	m, err := t.member(r, c.Jid)
	if err != nil {
		return command.Outcome{}, err
	}
	if o := t.mayEnter(r, m.affiliation); o != nil {
		return *o, nil
	}
	holder, guest, err := t.holder(r, c.Nick)
	switch {
	case err != nil:
		return command.Outcome{}, err
	case holder == c.Jid && first(m.nicks) == c.Nick:
		return accept(), nil
	case holder != "" && holder != c.Jid && (!guest || !c.Free):
		return refuse(stanza.Cancel, stanza.Conflict, "somebody else has this nick"), nil
	}
	r = t.change(r)
	if holder != "" && holder != c.Jid {
		if err := t.loseNick(r, holder, c.Nick); err != nil {
			return command.Outcome{}, err
		}
	}
	t.claim(r, c.Jid, m, c.Nick)
	t.saveRoom(r)
	t.roomEvent(c.Room, &state.RoomEvent{Nick: c})
	return accept(), nil
}

// mayEnter refuses who may not be in a room (XEP-0045 §enter-banned @1.35.5,
// §enter-members @1.35.5).
func (t *txn) mayEnter(r *room, a command.Affiliation) *command.Outcome {
	var o command.Outcome
	switch {
	case r.locked && a != command.Affiliation_AFFILIATION_OWNER:
		o = refuse(stanza.Cancel, stanza.ItemNotFound, "the room is not ready yet")
	case a == command.Affiliation_AFFILIATION_OUTCAST:
		o = refuse(stanza.Auth, stanza.Forbidden, "you have been banned from this room")
	case r.config.GetMembersOnly() && !isMember(a):
		o = refuse(stanza.Auth, stanza.RegistrationRequired, "only members may enter this room")
	default:
		return nil
	}
	return &o
}

// claim writes that a person has a nick; the oldest of too many is let go.
func (t *txn) claim(r *room, jid string, m member, nick string) {
	guest := m.affiliation == command.Affiliation_AFFILIATION_NONE
	if guest && len(m.nicks) == 0 {
		if r.guests >= command.RoomGuests {
			for _, table := range []byte{tableGuest, tableGuestNick} {
				prefix := idKey(table, r.id)
				t.deleteRange(prefix, prefixEnd(prefix))
			}
			r.guests = 0
		}
		r.guests++
	}
	nicks := append([]string{nick}, without(m.nicks, nick)...)
	for len(nicks) > command.RoomNicks {
		t.delete(nickKey(r.id, guest, nicks[len(nicks)-1]))
		nicks = nicks[:len(nicks)-1]
	}
	m.nicks = slices.Clip(nicks)
	t.put(nickKey(r.id, guest, nick), appendString([]byte{recordVersion}, jid))
	if guest {
		t.put(guestKey(r.id, jid), m.append(nil))
	} else {
		t.put(memberKey(r.id, jid), m.append(nil))
	}
}

// loseNick takes a nick from a guest.
func (t *txn) loseNick(r *room, jid, nick string) error {
	m, err := t.member(r, jid)
	if err != nil {
		return err
	}
	m.nicks = without(m.nicks, nick)
	t.delete(nickKey(r.id, true, nick))
	if len(m.nicks) == 0 {
		t.delete(guestKey(r.id, jid))
		r.guests--
	} else {
		t.put(guestKey(r.id, jid), m.append(nil))
	}
	return nil
}
