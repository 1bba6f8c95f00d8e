// SPDX-License-Identifier: Apache-2.0

package view

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/cockroachdb/pebble/v2"

	"bavard/internal/command"
	"bavard/internal/stanza"
	"bavard/internal/state"
)

const (
	// maxCircle bounds the redeemers of a circle that later ones meet.
	maxCircle = 16
	// maxName bounds names of accounts and roster items, in bytes.
	maxName = 1023
	// maxJID bounds a JID, in bytes: RFC 7622 §3.1.
	maxJID = 3071
	// maxCircleName bounds the name of a circle, in bytes.
	maxCircleName = 255
)

func (t *txn) cellInit(c *command.CellInit) (command.Outcome, error) {
	if t.cell != nil {
		return duplicate(t.cell.position), nil
	}
	if c.Domain == "" || len(c.Domain) > maxJID || len(c.ArchiveKey) != 16 {
		return refuse(stanza.Modify, stanza.BadRequest, "a cell needs a domain and an archive key of 16 bytes"), nil
	}
	if err := t.a.v.checkDomain(c.Domain); err != nil {
		return command.Outcome{}, err
	}
	t.cell = &cellRecord{position: t.pos, domain: c.Domain, archiveKey: bytes.Clone(c.ArchiveKey)}
	t.put([]byte{tableCell}, t.cell.append(nil))
	return accept(), nil
}

// cellJournal binds the cell to a journal. A restore, which begins a new epoch,
// may bind it to another one.
func (t *txn) cellJournal(c *command.CellJournal) (command.Outcome, error) {
	if len(c.Id) != journalIDSize {
		return refuse(stanza.Modify, stanza.BadRequest, "a journal has an id of 16 bytes"), nil
	}
	b, err := t.get([]byte{tableJournal})
	if err != nil {
		return command.Outcome{}, err
	}
	if b != nil {
		r, err := parseJournal(b)
		switch {
		case err != nil:
			return command.Outcome{}, t.a.v.damaged(err)
		case bytes.Equal(r.id, c.Id):
			return duplicate(r.position), nil
		case r.position.Epoch >= t.pos.Epoch:
			return refuse(stanza.Cancel, stanza.Conflict, "the cell has another journal"), nil
		}
	}
	r := journalRecord{position: t.pos, id: bytes.Clone(c.Id)}
	t.put([]byte{tableJournal}, r.append(nil))
	return accept(), nil
}

// Journal gives the id of the journal that the view is folded from, nil when it
// does not know yet, and the epoch: of an earlier one is what a restored view was
// folded from before.
func (v *View) Journal() (id []byte, epoch uint16, err error) {
	if err := v.enter(); err != nil {
		return nil, 0, err
	}
	defer v.leave()
	b, err := v.get(v.db, []byte{tableJournal})
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, v.damaged(err)
	}
	r, err := parseJournal(b)
	return r.id, r.position.Epoch, v.damaged(err)
}

func (t *txn) accountCreate(c *command.AccountCreate) (command.Outcome, error) {
	local, domain := split(c.Jid)
	switch {
	case local == "" || domain != t.cell.domain || bare(c.Jid) != c.Jid || len(c.Jid) > maxJID:
		return refuse(stanza.Modify, stanza.JIDMalformed, "an account is name@"+t.cell.domain), nil
	case len(c.Name) > maxName:
		return refuse(stanza.Modify, stanza.NotAcceptable, "the name is too long"), nil
	case t.account(c.Jid) != 0:
		return refuse(stanza.Cancel, stanza.Conflict, "this name is taken"), nil
	}
	switch former, removing, err := t.former(c.Jid); {
	case err != nil:
		return command.Outcome{}, err
	case former && c.Registered:
		return refuse(stanza.Cancel, stanza.Conflict, "this name is taken"), nil
	case removing:
		return refuse(stanza.Wait, stanza.Conflict, "the account that had this name is still being removed: try again in a while"), nil
	}
	var invite state.Invite
	if c.Invite != "" {
		var refused *command.Outcome
		var err error
		hash := sha256.Sum256([]byte(c.Invite))
		if invite, refused, err = t.redeem(hash[:], c.Jid); err != nil || refused != nil {
			return outcomeOr(refused), err
		}
	}
	creds, err := proto.MarshalOptions{Deterministic: true}.Marshal(c.Credentials)
	if err != nil {
		return refuse(stanza.Modify, stanza.BadRequest, "bad credentials"), nil
	}
	rec := accountRecord{id: t.meta.nextID, created: t.meta.time, name: c.Name, credentials: creds}
	t.meta.nextID++
	t.meta.people++
	t.accounts[c.Jid] = rec.id
	t.put(accountKey(c.Jid), rec.append(nil))
	if invite.Room != "" {
		return accept(), t.joinInvited(c.Jid, rec.name, &invite)
	}
	return accept(), t.introduce(c.Jid, &invite)
}

func outcomeOr(o *command.Outcome) command.Outcome {
	if o == nil {
		return command.Outcome{}
	}
	return *o
}

// redeem spends one use of an invite, for who is to have the address
// (XEP-0445 §preauth-ibr @0.2.0).
func (t *txn) redeem(hash []byte, jid string) (state.Invite, *command.Outcome, error) {
	key := inviteKey(hash)
	b, err := t.get(key)
	if err != nil {
		return state.Invite{}, nil, err
	}
	not := func(text string) (state.Invite, *command.Outcome, error) {
		o := refuse(stanza.Cancel, stanza.NotAllowed, text)
		return state.Invite{}, &o, nil
	}
	if b == nil {
		return not("this invite is unknown; ask for a new one")
	}
	invite, err := parseInvite(b)
	switch {
	case err != nil:
		return state.Invite{}, nil, t.a.v.damaged(err)
	case !invite.Expires.IsZero() && !t.time().Before(invite.Expires.Add(inviteGrace)):
		return not("this invite has expired; ask for a new one")
	case invite.Uses == 0:
		return not("this invite has been used up; ask for a new one")
	}
	if invite.Inviter != "" {
		if there, err := t.is(person{invite.Inviter, invite.InviterID}); err != nil {
			return state.Invite{}, nil, err
		} else if !there { // with their account, what they gave away has gone
			return not("this invite is unknown; ask for a new one")
		}
	}
	if invite.Room != "" {
		if o, err := t.mayJoinInvited(jid, &invite); err != nil || o != nil {
			return state.Invite{}, o, err
		}
	}
	invite.Uses--
	t.put(key, appendInvite(nil, &invite))
	return invite, nil, nil
}

// is reports whether an account is still the one that was meant: a name may
// have been given to somebody else since. Records that were written before ids
// were kept with names are believed as long as nobody had the name before.
func (t *txn) is(m person) (bool, error) {
	id := t.account(m.jid)
	if id == 0 || m.id != 0 {
		return id != 0 && id == m.id, nil
	}
	former, err := t.get(formerKey(m.jid))
	return former == nil, err
}

// introduce makes a new account the mutual contact of its inviter and of
// earlier members of its circle.
func (t *txn) introduce(jid string, invite *state.Invite) error {
	var peers []person
	if invite.Inviter != "" {
		peers = append(peers, person{invite.Inviter, invite.InviterID})
	}
	if invite.Circle != "" {
		members, err := t.joinCircle(invite.Circle, jid)
		if err != nil {
			return err
		}
		for _, m := range members {
			if m.jid != invite.Inviter {
				peers = append(peers, m)
			}
		}
	}
	for _, peer := range peers {
		there, err := t.is(peer)
		if err != nil {
			return err
		}
		if !there || peer.jid == jid {
			continue
		}
		if err := t.befriend(jid, peer.jid); err != nil {
			return err
		}
	}
	return nil
}

// joinCircle returns those who came before and adds the newcomer, if there is
// room. Those who have gone leave theirs.
func (t *txn) joinCircle(circle, jid string) ([]person, error) {
	key := circleKey(circle)
	b, err := t.get(key)
	if err != nil {
		return nil, err
	}
	var members []person
	if b != nil {
		all, err := parseCircle(b)
		if err != nil {
			return nil, t.a.v.damaged(err)
		}
		for _, m := range all {
			there, err := t.is(m)
			if err != nil {
				return nil, err
			}
			if there && m.jid != jid {
				members = append(members, m)
			}
		}
	}
	if len(members) < maxCircle {
		t.put(key, appendCircle(nil, append(slices.Clone(members), person{jid, t.account(jid)})))
	}
	return members, nil
}

func (t *txn) credentialsSet(c *command.CredentialsSet) (command.Outcome, error) {
	if t.account(c.Jid) == 0 {
		return refuse(stanza.Cancel, stanza.ItemNotFound, "there is no such account"), nil
	}
	rec, err := t.accountRecord(c.Jid)
	if err != nil {
		return command.Outcome{}, err
	}
	if rec.credentials, err = (proto.MarshalOptions{Deterministic: true}).Marshal(c.Credentials); err != nil {
		return refuse(stanza.Modify, stanza.BadRequest, "bad credentials"), nil
	}
	t.put(accountKey(c.Jid), rec.append(nil))
	if err := t.lockOut(rec.id, c.Client); err != nil {
		return command.Outcome{}, err
	}
	t.event(state.Event{Kind: state.EventCredentials, Account: c.Jid, Position: t.pos, By: c.By})
	// Who is logged out by it is notified of nothing any more.
	return accept(), t.forgetPushes(c.Jid, rec.id, func(d state.PushDevice) bool { return c.By != c.Jid+"/"+d.Resource })
}

// accountRecord reads the record of an account that exists.
func (t *txn) accountRecord(jid string) (accountRecord, error) {
	b, err := t.get(accountKey(jid))
	if err != nil {
		return accountRecord{}, err
	}
	if b == nil {
		return accountRecord{}, t.a.v.damaged(corruptf("account %s has an id and no record", jid))
	}
	rec, err := parseAccount(b)
	return rec, t.a.v.damaged(err)
}

func (t *txn) inviteCreate(c *command.InviteCreate) (command.Outcome, error) {
	switch {
	case len(c.TokenHash) != tokenSize || c.Uses == 0 || c.ExpiresMs < 0 || len(c.Circle) > maxCircleName:
		return refuse(stanza.Modify, stanza.BadRequest, "an invite needs a token hash of 32 bytes and at least one use"), nil
	case c.Inviter != "" && t.account(c.Inviter) == 0:
		return refuse(stanza.Cancel, stanza.ItemNotFound, "the inviter's account does not exist"), nil
	}
	invite := state.Invite{Uses: c.Uses, Inviter: c.Inviter, Circle: c.Circle}
	key := inviteKey(c.TokenHash)
	switch b, err := t.get(key); {
	case err != nil:
		return command.Outcome{}, err
	case b != nil:
		return refuse(stanza.Cancel, stanza.Conflict, "there is such an invite already"), nil
	}
	if err := t.sweepInvites(key); err != nil {
		return command.Outcome{}, err
	}
	if c.Inviter != "" {
		invite.InviterID = t.account(c.Inviter)
	}
	if c.ExpiresMs != 0 {
		invite.Expires = time.UnixMilli(c.ExpiresMs)
	}
	if c.Room != "" {
		if o, err := t.linkRoom(c, &invite); err != nil || o != nil {
			return outcomeOr(o), err
		}
	}
	t.put(key, appendInvite(nil, &invite))
	return accept(), nil
}

// offlineCursor moves an account's cursor forward.
func (t *txn) offlineCursor(c *command.OfflineCursor) (command.Outcome, error) {
	id := t.account(c.Account)
	if id == 0 {
		return refuse(stanza.Cancel, stanza.ItemNotFound, "there is no such account"), nil
	}
	to, err := command.ParsePosition(c.Position)
	if err != nil {
		return refuse(stanza.Modify, stanza.BadRequest, "a position has 12 bytes"), nil
	}
	key := idKey(tableCursor, id)
	b, err := t.get(key)
	if err != nil {
		return command.Outcome{}, err
	}
	if b != nil {
		at, err := parsePosition(b)
		if err != nil {
			return command.Outcome{}, t.a.v.damaged(err)
		}
		if !at.Before(to) {
			return accept(), nil
		}
	}
	t.put(key, appendPosition(nil, to))
	return accept(), nil
}

// inviteGrace lets an invite be redeemed that expired after it was presented:
// only then its end counts (XEP-0445 §preauth-ibr @0.2.0), and a sign-up takes a
// while.
const inviteGrace = 10 * time.Minute
