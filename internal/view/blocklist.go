// SPDX-License-Identifier: Apache-2.0

package view

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2"

	"bavard/internal/command"
	"bavard/internal/stanza"
	"bavard/internal/state"
)

// maxBlocked bounds a blocklist, in addresses.
const maxBlocked = 1000

// blockCommand decides upon commands that change blocklists and reports.
func (t *txn) blockCommand(c *command.Command) (command.Outcome, error) {
	switch q := c.Request.(type) {
	case *command.Command_Block:
		return t.block(q.Block)
	case *command.Command_BlockReport:
		return t.blockReport(q.BlockReport)
	case *command.Command_ReportRemove:
		return t.reportRemove(q.ReportRemove)
	default:
		return t.unblock(c.GetUnblock())
	}
}

// block is XEP-0191 §block @1.3.
func (t *txn) block(c *command.Block) (command.Outcome, error) {
	id := t.account(c.Account)
	if o := checkBlocklist(id, c.Account, c.Jids); o != nil {
		return *o, nil
	}
	if len(c.Jids) == 0 {
		return refuse(stanza.Modify, stanza.BadRequest, "name at least one address to block"), nil
	}
	n, err := t.blocksOf(id)
	if err != nil {
		return command.Outcome{}, err
	}
	var added []string
	for _, j := range c.Jids {
		b, err := t.get(blockKey(id, j))
		if err != nil {
			return command.Outcome{}, err
		}
		if b == nil && !slices.Contains(added, j) {
			added = append(added, j)
		}
	}
	if n+uint64(len(added)) > maxBlocked {
		return refuse(stanza.Wait, stanza.ResourceConstraint, "the blocklist is full: it has room for 1000 addresses"), nil
	}
	for _, j := range added {
		t.put(blockKey(id, j), []byte{recordVersion})
	}
	t.setBlocksOf(c.Account, id, n+uint64(len(added)))
	t.event(state.Event{
		Kind: state.EventBlocks, Account: c.Account, Position: t.pos,
		Blocks: &state.Blocks{JIDs: c.Jids, Added: true},
	})
	return accept(), nil
}

// unblock is XEP-0191 §unblock @1.3 and, without addresses, §unblockall.
func (t *txn) unblock(c *command.Unblock) (command.Outcome, error) {
	id := t.account(c.Account)
	if o := checkBlocklist(id, c.Account, c.Jids); o != nil {
		return *o, nil
	}
	n, err := t.blocksOf(id)
	if err != nil {
		return command.Outcome{}, err
	}
	change := &state.Blocks{JIDs: c.Jids, All: len(c.Jids) == 0}
	if change.All {
		if change.JIDs, err = t.blocklist(id); err != nil {
			return command.Outcome{}, err
		}
	}
	for _, j := range change.JIDs {
		key := blockKey(id, j)
		b, err := t.get(key)
		if err != nil {
			return command.Outcome{}, err
		}
		if b != nil && n > 0 {
			t.delete(key)
			n--
		}
	}
	t.setBlocksOf(c.Account, id, n)
	t.event(state.Event{Kind: state.EventBlocks, Account: c.Account, Position: t.pos, Blocks: change})
	return accept(), nil
}

func checkBlocklist(id uint64, account string, jids []string) *command.Outcome {
	var o command.Outcome
	switch {
	case id == 0:
		o = refuse(stanza.Auth, stanza.NotAuthorized, "there is no such account")
		return &o
	case len(jids) > maxBlocked:
		o = refuse(stanza.Modify, stanza.PolicyViolation, "at most 1000 addresses at once")
		return &o
	}
	for _, j := range jids {
		switch {
		case j == "" || len(j) > maxJID:
			o = refuse(stanza.Modify, stanza.JIDMalformed, "an item has no valid JID")
			return &o
		case bare(j) == account:
			// XEP-0191 §privacy @1.3: a device is never blocked by its own account.
			o = refuse(stanza.Cancel, stanza.NotAllowed, "nobody blocks themselves")
			return &o
		}
	}
	return nil
}

// blocklist reads a list as the batch has left it.
func (t *txn) blocklist(id uint64) (list []string, err error) {
	list, err = t.a.v.readBlocklist(t.a.v.db, id)
	if err != nil {
		return nil, t.a.v.damaged(err)
	}
	prefix := string(blockKey(id, ""))
	seen := make(map[string]bool, len(list))
	kept := list[:0]
	for _, j := range list {
		seen[j] = true
		if key := prefix + j; !t.touched([]byte(key)) || t.overlay[key] != nil {
			kept = append(kept, j)
		}
	}
	for key, b := range t.overlay {
		if j, ok := strings.CutPrefix(key, prefix); ok && b != nil && !seen[j] {
			kept = append(kept, j)
		}
	}
	slices.Sort(kept)
	return kept, nil
}

func (t *txn) blocksOf(id uint64) (uint64, error) {
	b, err := t.get(idKey(tableBlocksOf, id))
	if err != nil || b == nil {
		return 0, err
	}
	n, err := parseCount(b)
	return n, t.a.v.damaged(err)
}

func (t *txn) setBlocksOf(account string, id, n uint64) {
	key := idKey(tableBlocksOf, id)
	if n == 0 {
		t.delete(key)
		t.blockers[account] = 0
		return
	}
	t.put(key, binary.AppendUvarint([]byte{recordVersion}, n))
	t.blockers[account] = id
}

func parseCount(b []byte) (uint64, error) {
	r := read(b)
	n := r.uvarint()
	return n, r.end()
}

// matching gives the entries of a blocklist that hold an address: itself, its
// bare JID, its domain (XEP-0191 §matching @1.3).
func matching(address string) [3]string {
	b := bare(address)
	_, domain := split(b)
	return [3]string{address, b, domain}
}

// blocks reports whether an account's blocklist holds an address.
func (t *txn) blocks(account, address string) (bool, error) {
	id, changed := t.blockers[account]
	if !changed {
		id = t.a.v.blockers.get(account)
	}
	if id == 0 || bare(address) == account {
		return false, nil
	}
	for _, entry := range matching(address) {
		if b, err := t.get(blockKey(id, entry)); b != nil || err != nil {
			return b != nil, err
		}
	}
	return false, nil
}

// barred refuses what a blocklist holds back: the sender's own is told, the
// recipient's looks as if nobody was there (XEP-0191 §block @1.3).
func (t *txn) barred(from, to string) (*command.Outcome, error) {
	blocked, err := t.blocks(bare(from), to)
	if err != nil {
		return nil, err
	}
	if blocked {
		return &command.Outcome{Verdict: command.Refused, Err: stanza.Blocked()}, nil
	}
	if blocked, err = t.blocks(bare(to), from); err != nil || !blocked {
		return nil, err
	}
	o := refuse(stanza.Cancel, stanza.ServiceUnavailable, "nobody is there to answer")
	return &o, nil
}

// Blocked reports whether an account's blocklist holds an address. It costs no
// read when the account blocks nobody.
func (v *View) Blocked(account, address string) (bool, error) {
	id := v.blockers.get(account)
	if id == 0 || bare(address) == account {
		return false, nil
	}
	if err := v.enter(); err != nil {
		return false, err
	}
	defer v.leave()
	for _, entry := range matching(address) {
		_, err := v.get(v.db, blockKey(id, entry))
		if err == nil {
			return true, nil
		}
		if !errors.Is(err, pebble.ErrNotFound) {
			return false, v.damaged(err)
		}
	}
	return false, nil
}

// Blocklist returns the addresses that an account blocks, sorted.
func (v *View) Blocklist(account string) ([]string, error) {
	if err := v.enter(); err != nil {
		return nil, err
	}
	defer v.leave()
	id, err := v.accountID(v.db, account)
	if err != nil {
		return nil, v.readError(err)
	}
	list, err := v.readBlocklist(v.db, id)
	return list, v.damaged(err)
}

func (v *View) readBlocklist(r pebble.Reader, id uint64) (list []string, err error) {
	prefix := blockKey(id, "")
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: prefixEnd(prefix)})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		list = append(list, string(it.Key()[len(prefix):]))
	}
	return list, it.Error()
}
