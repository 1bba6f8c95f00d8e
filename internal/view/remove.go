// SPDX-License-Identifier: Apache-2.0

package view

import (
	"encoding/binary"

	"bavard/internal/command"
	"bavard/internal/stanza"
	"bavard/internal/state"
)

// maxFormer bounds the deleted accounts that are remembered of one name.
const maxFormer = 64

// accountDisable keeps an account from logging in, or lets it again.
func (t *txn) accountDisable(c *command.AccountDisable) (command.Outcome, error) {
	if t.account(c.Jid) == 0 {
		return refuse(stanza.Cancel, stanza.ItemNotFound, "there is no such account"), nil
	}
	rec, err := t.accountRecord(c.Jid)
	if err != nil {
		return command.Outcome{}, err
	}
	if c.Enable {
		rec.flags &^= accountDisabled
	} else {
		rec.flags |= accountDisabled
		t.forgetClients(t.account(c.Jid))
		t.event(state.Event{Kind: state.EventDisabled, Account: c.Jid, Position: t.pos})
		if err := t.forgetPushes(c.Jid, rec.id, func(state.PushDevice) bool { return true }); err != nil {
			return command.Outcome{}, err
		}
	}
	t.put(accountKey(c.Jid), rec.append(nil))
	return accept(), nil
}

// ownTables have the account's id at the start of their keys and hold nothing
// that is also another's.
func ownTables() []byte {
	return []byte{
		tableBlock, tableVCard, tableAvatar, tableItem, tablePrivate, tableRelation, tableBlocksOf, tableCursor, tableNode, tableOrder, tableRoster, tableRosterOf, tablePubsubOf, tableLeft,
		tableClient, tableRecovery, tableLink,
		tablePush, tablePushService,
		tablePeers, tableFloor, tableLook, tableHidden,
	}
}

// accountDelete removes an account and all that is its own. Its
// subscriptions end as if it had removed each contact; a message that somebody
// else has in their archive stays there. Its id is never given again.
func (t *txn) accountDelete(c *command.AccountDelete) (command.Outcome, error) {
	id := t.account(c.Jid)
	if id == 0 {
		return refuse(stanza.Cancel, stanza.ItemNotFound, "there is no such account"), nil
	}
	if err := t.leaveContacts(c.Jid, id); err != nil {
		return command.Outcome{}, err
	}
	if err := t.leaveRooms(c.Jid, id); err != nil {
		return command.Outcome{}, err
	}
	if err := t.forgetTraces(c.Jid, id); err != nil {
		return command.Outcome{}, err
	}
	if err := t.deleteUploads(id); err != nil {
		return command.Outcome{}, err
	}
	if err := t.deleteReports(id); err != nil {
		return command.Outcome{}, err
	}
	t.accounts[c.Jid] = 0
	t.removeArchive(tableSweep, id)
	for _, table := range ownTables() {
		prefix := idKey(table, id)
		t.deleteRange(prefix, prefixEnd(prefix))
	}
	t.blockers[c.Jid] = 0
	t.avatars[c.Jid] = state.AvatarHash{}
	t.hidden[c.Jid] = false
	t.delete(accountKey(c.Jid))
	t.delete(directoryKey(c.Jid))
	t.meta.people--
	if err := t.addFormer(c.Jid, id); err != nil {
		return command.Outcome{}, err
	}
	t.event(state.Event{Kind: state.EventDeleted, Account: c.Jid, Position: t.pos})
	return accept(), nil
}

// leaveContacts ends the subscriptions of an account, both ways.
func (t *txn) leaveContacts(account string, id uint64) error {
	prefix := idKey(tableRoster, id)
	peers, err := t.under(prefix)
	if err != nil {
		return err
	}
	for _, key := range peers {
		peer := key[len(prefix):]
		own, err := t.side(account, peer)
		if err != nil {
			return err
		}
		if t.account(peer) == 0 || peer == account {
			continue
		}
		other, err := t.side(peer, account)
		if err != nil {
			return err
		}
		for _, end := range []struct {
			when subscription
			typ  command.SubscriptionType
		}{
			{subTo | pendingOut, command.SubscriptionType_SUBSCRIPTION_TYPE_UNSUBSCRIBE},
			{subFrom | pendingIn, command.SubscriptionType_SUBSCRIPTION_TYPE_UNSUBSCRIBED},
		} {
			if own.old.sub&end.when == 0 {
				continue
			}
			if _, err := t.arrive(other, end.typ, "", nil); err != nil {
				return err
			}
		}
		if err := t.save(other, false); err != nil {
			return err
		}
	}
	return nil
}

// addFormer remembers under which ids others have messages of a deleted
// account, so that they find them by its name.
func (t *txn) addFormer(jid string, id uint64) error {
	b, err := t.get(formerKey(jid))
	if err != nil {
		return err
	}
	var ids []uint64
	if b != nil {
		if ids, err = parseFormer(b); err != nil {
			return t.a.v.damaged(err)
		}
	}
	ids = append(ids, id)
	t.put(formerKey(jid), appendFormer(nil, ids[max(0, len(ids)-maxFormer):]))
	return nil
}

// former reports whether there were accounts of a name, and whether what others'
// records say of one of them is still being removed.
func (t *txn) former(jid string) (former, removing bool, err error) {
	b, err := t.get(formerKey(jid))
	if err != nil || b == nil {
		return false, false, err
	}
	ids, err := parseFormer(b)
	if err != nil {
		return false, false, t.a.v.damaged(err)
	}
	for _, id := range ids {
		if b, err = t.get(idKey(tableTrace, id)); err != nil || b != nil {
			return true, b != nil, err
		}
	}
	return true, false, nil
}

func appendFormer(dst []byte, ids []uint64) []byte {
	dst = append(dst, recordVersion)
	for _, id := range ids {
		dst = binary.BigEndian.AppendUint64(dst, id)
	}
	return dst
}

func parseFormer(b []byte) ([]uint64, error) {
	r := read(b)
	var ids []uint64
	for r.err == nil && len(r.b) > 0 {
		ids = append(ids, r.uint64())
	}
	return ids, r.end()
}
