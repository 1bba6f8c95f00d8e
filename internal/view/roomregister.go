// SPDX-License-Identifier: Apache-2.0

package view

import (
	"bavard/internal/command"
	"bavard/internal/stanza"
	"bavard/internal/state"
)

// roomRegister makes a person a member at their own wish, where the owner has
// allowed it, and reserves a nick for them (XEP-0045 §register @1.35.5).
func (t *txn) roomRegister(c *command.RoomRegister) (command.Outcome, error) {
	r, err := t.room(c.Room)
	if err != nil {
		return command.Outcome{}, err
	}
	who := bare(c.By)
	account := t.account(who)
	switch {
	case r == nil:
		return noRoom(), nil
	case account == 0:
		return refuse(stanza.Auth, stanza.NotAuthorized, "there is no such account"), nil
	case c.Nick == "" || len(c.Nick) > command.RoomNickSize:
		return refuse(stanza.Modify, stanza.JIDMalformed, "a nick has 1 to 255 bytes"), nil
	}
	m, err := t.member(r, who)
	if err != nil {
		return command.Outcome{}, err
	}
	if isMember(m.affiliation) {
		return t.roomNick(&command.RoomNick{Room: c.Room, Jid: who, Nick: c.Nick, Free: c.Free})
	}
	if refused, err := t.mayRegister(r, m.affiliation, who, account); err != nil || refused != nil {
		return outcomeOr(refused), err
	}
	holder, guest, err := t.holder(r, c.Nick)
	switch {
	case err != nil:
		return command.Outcome{}, err
	case holder != "" && holder != who && (!guest || !c.Free):
		return refuse(stanza.Cancel, stanza.Conflict, "somebody else has this nick"), nil
	case holder != "" && holder != who:
		r = t.change(r)
		if err := t.loseNick(r, holder, c.Nick); err != nil {
			return command.Outcome{}, err
		}
	}
	change := state.RoomChange{JID: who, Old: m.affiliation, New: command.Affiliation_AFFILIATION_MEMBER, Nick: c.Nick}
	if _, err := t.affiliate(r, &change, c.Nick); err != nil {
		return command.Outcome{}, err
	}
	t.roomEvent(c.Room, &state.RoomEvent{Changes: []state.RoomChange{change}, By: c.By})
	return accept(), nil
}

// mayRegister refuses who cannot make themselves a member.
func (t *txn) mayRegister(r *room, a command.Affiliation, who string, account uint64) (*command.Outcome, error) {
	const outcast = command.Affiliation_AFFILIATION_OUTCAST
	_, domain := split(who)
	all, err := t.member(r, domain)
	if err != nil {
		return nil, err
	}
	o := command.Outcome{}
	switch {
	case r.locked:
		o = refuse(stanza.Cancel, stanza.ItemNotFound, "the room is not ready yet")
	case a == outcast, all.affiliation == outcast, !r.config.GetRegistration():
		o = refuse(stanza.Cancel, stanza.NotAllowed, "in this room admins make members")
	case r.affiliations >= roomMost(r):
		o = refuse(stanza.Cancel, stanza.ResourceConstraint, "the room has as many members as it can have")
	default:
		return t.mayJoin(account)
	}
	return &o, nil
}
