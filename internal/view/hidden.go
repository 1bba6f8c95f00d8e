// SPDX-License-Identifier: Apache-2.0

package view

import "bavard/internal/state"

// Hidden reports whether an account has said that nobody is to see its presence.
// It costs no read.
func (v *View) Hidden(account string) bool {
	return v.hidden.get(account)
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
