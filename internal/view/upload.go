// SPDX-License-Identifier: Apache-2.0

package view

import (
	"crypto/sha256"
	"errors"

	"bavard/internal/command"
	"bavard/internal/stanza"
	"bavard/internal/state"
)

// uploadSlice bounds the uploads that one command removes: four small writes
// each.
const uploadSlice = 100

// uploadCommand decides upon one about uploads.
func (t *txn) uploadCommand(c *command.Command) (command.Outcome, error) {
	switch q := c.Request.(type) {
	case *command.Command_UploadStore:
		return t.uploadStore(q.UploadStore)
	case *command.Command_UploadSweep:
		return t.uploadSweep(q.UploadSweep)
	case *command.Command_UploadRemove:
		return t.uploadRemove(q.UploadRemove)
	}
	return command.Outcome{}, ErrUnknownCommand
}

// uploadStore records a file (XEP-0363 §upload @1.2.0).
func (t *txn) uploadStore(c *command.UploadStore) (command.Outcome, error) {
	if o := checkUploadStore(c); o != nil {
		return *o, nil
	}
	owner := t.account(c.Account)
	if owner == 0 || owner != c.AccountId {
		return refuse(stanza.Auth, stanza.NotAuthorized, "there is no such account"), nil
	}
	u := uploadRecord{
		owner: owner, time: t.meta.time, purpose: c.Purpose, size: c.Size, typ: c.Type, name: c.Name, holders: c.Holders,
	}
	copy(u.sum[:], c.Sha256)
	if u.purpose == command.UploadPurpose_UPLOAD_PURPOSE_EPHEMERAL {
		u.expires = min(c.ExpiresMs, maxTime)
	}
	id := state.UploadID(c.Id)
	b, err := t.get(uploadKey(id))
	if err != nil {
		return command.Outcome{}, err
	}
	if b != nil {
		old, err := parseUpload(b)
		if err != nil {
			return command.Outcome{}, t.a.v.damaged(err)
		}
		if old.owner == u.owner && old.size == u.size && old.sum == u.sum {
			return duplicate(command.Position{}), nil
		}
		return refuse(stanza.Cancel, stanza.Conflict, "something else was uploaded there"), nil
	}
	return t.addUpload(id, &u, c)
}

func checkUploadStore(c *command.UploadStore) *command.Outcome {
	_, known := command.UploadPurpose_name[int32(c.Purpose)]
	ephemeral := c.Purpose == command.UploadPurpose_UPLOAD_PURPOSE_EPHEMERAL
	bad := len(c.Id) != uploadIDSize || len(c.Sha256) != sha256.Size || !known || ephemeral && c.ExpiresMs <= 0 ||
		c.Size == 0 || c.Size > 1<<50 || c.Name == "" || len(c.Name) > state.UploadName || len(c.Type) > state.UploadType || len(c.Holders) > state.UploadHolders
	for _, h := range c.Holders {
		bad = bad || len(h) > state.UploadName
	}
	if !bad {
		return nil
	}
	o := refuse(stanza.Modify, stanza.BadRequest, "that is no upload")
	return &o
}

// addUpload counts and writes an upload, if there is room for it.
func (t *txn) addUpload(id state.UploadID, u *uploadRecord, c *command.UploadStore) (command.Outcome, error) {
	own, all, err := t.uploadUsage(u.owner)
	if err != nil {
		return command.Outcome{}, err
	}
	over := func(have, more, most uint64) bool { return most > 0 && have+more > most }
	switch {
	case over(own.Bytes, u.size, c.AccountBytes), over(own.Files, 1, c.AccountFiles):
		return refuse(stanza.Wait, stanza.ResourceConstraint, "there is no room for more files of this account"), nil
	case over(all.Bytes, u.size, c.TotalBytes):
		return refuse(stanza.Wait, stanza.ResourceConstraint, "this server has no room for more files"), nil
	}
	own.Files, own.Bytes = own.Files+1, own.Bytes+u.size
	all.Files, all.Bytes = all.Files+1, all.Bytes+u.size
	t.put(idKey(tableUploadOf, u.owner), appendUsage(nil, own))
	t.put([]byte{tableRetention}, appendUsage(nil, all))
	t.put(uploadKey(id), u.append(nil))
	t.put(ownUploadKey(u.owner, u.time, id), (&ownUpload{u.purpose, u.size, u.expires}).append(nil))
	t.put(retentionKey(u.purpose, u.retained(), id), []byte{recordVersion})
	t.event(state.Event{Kind: state.EventUploadStored, Position: t.pos, Upload: id})
	return accept(), nil
}

// uploadUsage counts what an account has, and all together.
func (t *txn) uploadUsage(owner uint64) (own, all state.Usage, err error) {
	for _, of := range []struct {
		key []byte
		to  *state.Usage
	}{{idKey(tableUploadOf, owner), &own}, {[]byte{tableRetention}, &all}} {
		b, err := t.get(of.key)
		if err != nil {
			return own, all, err
		}
		if *of.to, err = parseUsage(b); err != nil {
			return own, all, t.a.v.damaged(err)
		}
	}
	return own, all, nil
}

// deleteUploads notes that the uploads of an account are to be removed.
func (t *txn) deleteUploads(owner uint64) error {
	b, err := t.get(idKey(tableUploadOf, owner))
	if err == nil && b != nil {
		t.put(deletedUploadsKey(owner), []byte{recordVersion})
	}
	return err
}

// uploadSweep removes a slice of what is to go.
func (t *txn) uploadSweep(c *command.UploadSweep) (command.Outcome, error) {
	room, err := t.sweepDeleted(uploadSlice)
	if err != nil {
		return command.Outcome{}, err
	}
	for _, of := range []struct {
		purpose command.UploadPurpose
		before  int64
	}{
		{command.UploadPurpose_UPLOAD_PURPOSE_EPHEMERAL, t.meta.time + 1},
		{command.UploadPurpose_UPLOAD_PURPOSE_MESSAGE, min(c.MessageBeforeMs, t.meta.time)},
	} {
		if of.before <= 0 || room == 0 {
			continue
		}
		keys, err := t.next(retentionStart(of.purpose, 0), retentionStart(of.purpose, of.before), room)
		if err != nil {
			return command.Outcome{}, err
		}
		if err := t.removeUploads(keys); err != nil {
			return command.Outcome{}, err
		}
		room -= len(keys)
	}
	return accept(), nil
}

// uploadRemove removes one that its owner does not want any more.
func (t *txn) uploadRemove(c *command.UploadRemove) (command.Outcome, error) {
	none := refuse(stanza.Cancel, stanza.ItemNotFound, "you have no such file here")
	owner := t.account(c.Account)
	if len(c.Id) != uploadIDSize || owner == 0 || owner != c.AccountId {
		return none, nil
	}
	key := uploadKey(state.UploadID(c.Id))
	b, err := t.get(key)
	if err != nil || b == nil {
		return none, err
	}
	u, err := parseUpload(b)
	if err != nil {
		return command.Outcome{}, t.a.v.damaged(err)
	}
	if u.owner != owner {
		return none, nil
	}
	return accept(), t.removeUploads([]string{string(key)})
}

// sweepDeleted removes uploads of deleted accounts, and returns how many more may
// be removed.
func (t *txn) sweepDeleted(room int) (int, error) {
	for room > 0 {
		prefix := []byte{tableRetention, retentionDeleted}
		notes, err := t.next(prefix, prefixEnd(prefix), 1)
		if err != nil || len(notes) == 0 {
			return room, err
		}
		owner, err := idOf([]byte(notes[0])[1:])
		if err != nil {
			return 0, t.a.v.damaged(err)
		}
		keys, err := t.next(ownUploads(owner), prefixEnd(idKey(tableUploadOf, owner)), room)
		if err != nil {
			return 0, err
		}
		if err := t.removeUploads(keys); err != nil {
			return 0, err
		}
		if room -= len(keys); room > 0 {
			t.delete([]byte(notes[0]))
			t.delete(idKey(tableUploadOf, owner))
		}
	}
	return 0, nil
}

// removeUploads removes those whose ids end these keys.
func (t *txn) removeUploads(keys []string) error {
	for _, key := range keys {
		id, err := uploadIDOf([]byte(key))
		if err != nil {
			return t.a.v.damaged(err)
		}
		b, err := t.get(uploadKey(id))
		if err != nil {
			return err
		}
		u, err := parseUpload(b)
		if b == nil {
			err = errors.Join(err, corruptf("upload %x is counted and not there", id))
		}
		if err != nil {
			return t.a.v.damaged(err)
		}
		own, all, err := t.uploadUsage(u.owner)
		if err != nil {
			return err
		}
		for _, n := range []*state.Usage{&own, &all} {
			n.Files, n.Bytes = n.Files-min(n.Files, 1), n.Bytes-min(n.Bytes, u.size)
		}
		t.put(idKey(tableUploadOf, u.owner), appendUsage(nil, own))
		t.put([]byte{tableRetention}, appendUsage(nil, all))
		t.delete(uploadKey(id))
		t.delete(ownUploadKey(u.owner, u.time, id))
		t.delete(retentionKey(u.purpose, u.retained(), id))
		t.event(state.Event{Kind: state.EventUploadRemoved, Position: t.pos, Upload: id})
	}
	return nil
}
