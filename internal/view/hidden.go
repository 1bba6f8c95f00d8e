// SPDX-License-Identifier: Apache-2.0

package view

import (
	"encoding/binary"
	"errors"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"bavard/internal/state"
)

// hidden are the accounts that nobody is to see the presence of: few, and in
// memory, so that presence needs no read.
type hidden struct {
	sync.RWMutex
	accounts map[string]bool // by bare JID
}

// publish shows what a batch has changed.
func (h *hidden) publish(changed map[string]bool) {
	if len(changed) == 0 {
		return
	}
	h.Lock()
	defer h.Unlock()
	for jid, is := range changed {
		if is {
			h.accounts[jid] = true
		} else {
			delete(h.accounts, jid)
		}
	}
}

// loadHidden fills the directory.
func (a *applier) loadHidden() (err error) {
	it, err := a.v.db.NewIter(&pebble.IterOptions{LowerBound: []byte{tableHidden}, UpperBound: []byte{tableHidden + 1}})
	if err != nil {
		return a.v.damaged(err)
	}
	defer func() { err = errors.Join(err, a.v.damaged(it.Close())) }()
	ids := map[uint64]bool{}
	for ok := it.First(); ok; ok = it.Next() {
		if len(it.Key()) != 1+idSize {
			return a.v.damaged(corruptf("key %x", it.Key()))
		}
		ids[binary.BigEndian.Uint64(it.Key()[1:])] = true
	}
	h := &a.v.hidden
	h.Lock()
	defer h.Unlock()
	h.accounts = make(map[string]bool, len(ids))
	for jid, id := range a.accounts {
		if ids[id] {
			h.accounts[jid] = true
		}
	}
	return a.v.damaged(it.Error())
}

// Hidden reports whether an account has said that nobody is to see its presence.
// It costs no read.
func (v *View) Hidden(account string) bool {
	v.hidden.RLock()
	defer v.hidden.RUnlock()
	return v.hidden.accounts[account]
}

// hides notes whether the account is hidden, after a change of the node that
// says so: by its newest item.
func (t *txn) hides(account string, n *node) error {
	now := false
	// A node that has been deleted has no items, and is found no more.
	there, err := t.node(n.account, n.name)
	if err != nil {
		return err
	}
	if there != nil {
		newest, err := t.newest(there)
		if err != nil {
			return err
		}
		now = newest != nil && state.HidesPresence(newest.payload)
	}
	key := idKey(tableHidden, n.account)
	b, err := t.get(key)
	if err != nil || now == (b != nil) {
		return err
	}
	if now {
		t.put(key, []byte{recordVersion})
	} else {
		t.delete(key)
	}
	t.hidden[account] = now
	t.event(state.Event{Kind: state.EventHidden, Account: account, Position: t.pos})
	return nil
}
