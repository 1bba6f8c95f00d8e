// SPDX-License-Identifier: Apache-2.0

package view

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"bavard/internal/command"
	"bavard/internal/stanza"
	"bavard/internal/state"
)

// maxVCard bounds a vCard, in bytes.
const maxVCard = 64 << 10

// vcardSet is XEP-0054 §usecases @1.3.0.
func (t *txn) vcardSet(c *command.VCardSet) (command.Outcome, error) {
	id := t.account(c.Account)
	if id == 0 {
		return refuse(stanza.Auth, stanza.NotAuthorized, "there is no such account"), nil
	}
	if o := checkPicture(c); o != nil {
		return *o, nil
	}
	vcard := c.Vcard
	if len(vcard) <= maxVCard && c.Picture != nil {
		kept, refused, err := t.picture(c, id)
		if err != nil || refused != nil {
			return outcomeOr(refused), err
		}
		if !kept && c.Picture.Base64 != "" {
			vcard = (&state.Avatar{Type: c.Picture.Type, Base64: c.Picture.Base64}).Into(vcard)
		}
	}
	switch {
	case len(vcard) > maxVCard:
		return refuse(stanza.Modify, stanza.PolicyViolation, "a vCard has at most 64 KiB"), nil
	case len(vcard) == 0:
		t.delete(idKey(tableVCard, id))
	default:
		t.put(idKey(tableVCard, id), append([]byte{recordVersion}, vcard...))
	}
	return accept(), nil
}

// left notes when an account's last device went.
func (t *txn) left(c *command.Left) (command.Outcome, error) {
	id := t.account(c.Account)
	if id == 0 {
		return refuse(stanza.Auth, stanza.NotAuthorized, "there is no such account"), nil
	}
	t.put(idKey(tableLeft, id), binary.AppendUvarint([]byte{recordVersion}, uint64(max(t.meta.time, 0))))
	return accept(), nil
}

// VCard returns an account's vCard, as the element that the client sent;
// state.ErrNotFound when there is no account or no vCard.
func (v *View) VCard(account string) ([]byte, error) {
	b, err := v.ofAccount(tableVCard, account)
	if err != nil {
		return nil, err
	}
	r := read(b)
	out := r.take(len(r.b))
	return out, v.damaged(r.end())
}

// Left returns when the account's last device went, as far as that was noted;
// state.ErrNotFound when it was not, or there is no account.
func (v *View) Left(account string) (time.Time, error) {
	b, err := v.ofAccount(tableLeft, account)
	if err != nil {
		return time.Time{}, err
	}
	ms, err := parseCount(b)
	return time.UnixMilli(int64(ms)).UTC(), v.damaged(err)
}

// ofAccount reads what a table has of an account.
func (v *View) ofAccount(table byte, account string) ([]byte, error) {
	if err := v.enter(); err != nil {
		return nil, err
	}
	defer v.leave()
	id, err := v.accountID(v.db, account)
	if err != nil {
		return nil, v.readError(err)
	}
	b, err := v.get(v.db, idKey(table, id))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, state.ErrNotFound
	}
	return b, v.damaged(err)
}
