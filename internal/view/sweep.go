// SPDX-License-Identifier: Apache-2.0

package view

import (
	"bytes"
	"slices"
)

// sweepSlice bounds the invites that are looked at for each new one. New ones
// fall anywhere among the others, because keys are hashes: so each is looked at
// once in about as many new invites as there are, divided by this number, and
// those that are no good any more stay few.
const sweepSlice = 16

// sweepInvites removes those of the next invites after key that have expired or
// been used up, or whose inviter or room has gone.
func (t *txn) sweepInvites(key []byte) error {
	keys, err := t.next(key, prefixEnd([]byte{tableInvite}), sweepSlice)
	if err != nil {
		return err
	}
	if len(keys) < sweepSlice { // on from the first one
		more, err := t.next([]byte{tableInvite}, key, sweepSlice-len(keys))
		if err != nil {
			return err
		}
		keys = append(keys, more...)
	}
	for _, k := range keys {
		invite, err := record(t, k, parseInvite)
		if err != nil {
			return err
		}
		dead := invite.Uses == 0 || !invite.Expires.IsZero() && !t.time().Before(invite.Expires.Add(inviteGrace))
		if !dead && invite.Inviter != "" {
			there, err := t.is(person{invite.Inviter, invite.InviterID})
			if err != nil {
				return err
			}
			dead = !there
		}
		if !dead && invite.Room != "" {
			if dead, err = t.roomGone(&invite); err != nil {
				return err
			}
		}
		if dead {
			t.dropInvite([]byte(k), &invite)
		}
	}
	return nil
}

// forgetInvite removes an invite of a deleted account: it is no good any more.
func (t *txn) forgetInvite(key, account string) error {
	b, err := t.get([]byte(key))
	if err != nil || !bytes.Contains(b, []byte(account)) {
		return err
	}
	invite, err := parseInvite(b)
	if err == nil && invite.Inviter == account {
		t.dropInvite([]byte(key), &invite)
	}
	return t.a.v.damaged(err)
}

// forgetCircle takes a deleted account out of a circle, as whoever came next
// would have: nobody meets it there any more.
func (t *txn) forgetCircle(key, account string) error {
	b, err := t.get([]byte(key))
	if err != nil || !bytes.Contains(b, []byte(account)) {
		return err
	}
	all, err := parseCircle(b)
	if err != nil {
		return t.a.v.damaged(err)
	}
	switch members := slices.DeleteFunc(slices.Clone(all), func(m person) bool { return m.jid == account }); len(members) {
	case len(all): // somebody whose name ends like it
	case 0:
		t.delete([]byte(key))
	default:
		t.put([]byte(key), appendCircle(nil, members))
	}
	return nil
}
