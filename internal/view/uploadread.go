// SPDX-License-Identifier: Apache-2.0

package view

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"bavard/internal/command"
	"bavard/internal/state"
)

// Upload gives an upload; state.ErrNotFound when there is none, or its owner's
// account has been deleted.
func (v *View) Upload(id state.UploadID) (state.Upload, error) {
	if err := v.enter(); err != nil {
		return state.Upload{}, err
	}
	defer v.leave()
	b, err := v.get(v.db, uploadKey(id))
	if errors.Is(err, pebble.ErrNotFound) {
		return state.Upload{}, state.ErrNotFound
	}
	var u uploadRecord
	if err == nil {
		u, err = parseUpload(b)
	}
	if err != nil {
		return state.Upload{}, v.damaged(err)
	}
	switch _, err := v.get(v.db, deletedUploadsKey(u.owner)); {
	case err == nil:
		return state.Upload{}, state.ErrNotFound
	case !errors.Is(err, pebble.ErrNotFound):
		return state.Upload{}, v.damaged(err)
	}
	return u.state(id), nil
}

// Uploads gives up to most uploads in the order of their ids, after one; of deleted accounts,
// too, while they are there.
func (v *View) Uploads(after state.UploadID, most int) (out []state.Upload, err error) {
	if err := v.enter(); err != nil {
		return nil, err
	}
	defer v.leave()
	var from []byte
	if after != (state.UploadID{}) {
		from = append(uploadKey(after), 0)
	}
	err = v.rangeOver([]byte{tableUpload}, from, func(key, value []byte) (bool, error) {
		id, err := uploadIDOf(key)
		if err != nil {
			return false, err
		}
		u, err := parseUpload(value)
		out = append(out, u.state(id))
		return len(out) < most, err
	})
	return out, err
}

// UploadsOf gives up to most uploads of an account, the newest first; with an id that
// is one of them, those that are older. state.ErrNotFound says that it is none.
func (v *View) UploadsOf(account string, before state.UploadID, most int) ([]state.Upload, error) {
	if err := v.enter(); err != nil {
		return nil, err
	}
	defer v.leave()
	owner, err := v.accountID(v.db, account)
	if err != nil {
		return nil, v.readError(err)
	}
	// One state of the view: an upload in the list has its record.
	snap := v.db.NewSnapshot()
	out, err := v.uploadsOf(snap, owner, before, most)
	err = errors.Join(err, snap.Close())
	if errors.Is(err, state.ErrNotFound) {
		return nil, err
	}
	return out, v.damaged(err)
}

func (v *View) uploadsOf(snap *pebble.Snapshot, owner uint64, before state.UploadID, most int) (out []state.Upload, err error) {
	end := prefixEnd(idKey(tableUploadOf, owner))
	if before != (state.UploadID{}) {
		u, err := v.uploadAt(snap, before)
		switch {
		case errors.Is(err, pebble.ErrNotFound), err == nil && u.owner != owner:
			return nil, state.ErrNotFound
		case err != nil:
			return nil, err
		}
		end = ownUploadKey(owner, u.time, before)
	}
	it, err := snap.NewIter(&pebble.IterOptions{LowerBound: ownUploads(owner), UpperBound: end})
	if err != nil {
		return nil, err
	}
	for ok := it.Last(); ok && len(out) < most && err == nil; ok = it.Prev() {
		var id state.UploadID
		var u uploadRecord
		if id, err = uploadIDOf(it.Key()); err == nil {
			u, err = v.uploadAt(snap, id)
			out = append(out, u.state(id))
		}
	}
	return out, errors.Join(err, it.Error(), it.Close())
}

// uploadAt reads an upload's record.
func (v *View) uploadAt(from pebble.Reader, id state.UploadID) (uploadRecord, error) {
	b, err := v.get(from, uploadKey(id))
	if err != nil {
		return uploadRecord{}, err
	}
	return parseUpload(b)
}

// UploadUsage counts the uploads of an account, and all that there are.
func (v *View) UploadUsage(account string) (own, all state.Usage, err error) {
	if err := v.enter(); err != nil {
		return own, all, err
	}
	defer v.leave()
	id, err := v.accountID(v.db, account)
	if err != nil {
		return own, all, v.readError(err)
	}
	if own, err = v.usage(idKey(tableUploadOf, id)); err != nil {
		return own, all, err
	}
	all, err = v.usage([]byte{tableRetention})
	return own, all, err
}

// AllUploads counts all uploads that there are.
func (v *View) AllUploads() (state.Usage, error) {
	if err := v.enter(); err != nil {
		return state.Usage{}, err
	}
	defer v.leave()
	return v.usage([]byte{tableRetention})
}

func (v *View) usage(key []byte) (state.Usage, error) {
	b, err := v.get(v.db, key)
	if errors.Is(err, pebble.ErrNotFound) {
		return state.Usage{}, nil
	}
	var u state.Usage
	if err == nil {
		u, err = parseUsage(b)
	}
	return u, v.damaged(err)
}

// uploadsLooked bounds the uploads that UploadRoom looks at.
const uploadsLooked = 1000

// UploadRoom tells when so many files and bytes of an account will have gone by
// themselves, when those for messages are kept for some time, 0 for ever; zero
// if they will not. It looks at the account's oldest 1000 uploads.
func (v *View) UploadRoom(account string, files, bytes uint64, messages time.Duration) (at time.Time, err error) {
	if err := v.enter(); err != nil {
		return at, err
	}
	defer v.leave()
	id, err := v.accountID(v.db, account)
	if err != nil {
		return at, v.readError(err)
	}
	looked := 0
	var free state.Usage
	err = v.rangeOver(idKey(tableUploadOf, id), ownUploads(id), func(key, value []byte) (bool, error) {
		o, err := parseOwnUpload(value)
		if err != nil || len(key) != 1+idSize+8+uploadIDSize {
			return false, errors.Join(err, checkUpload(key, value))
		}
		var goes time.Time
		switch {
		case o.purpose == command.UploadPurpose_UPLOAD_PURPOSE_EPHEMERAL:
			goes = time.UnixMilli(o.expires)
		case o.purpose == command.UploadPurpose_UPLOAD_PURPOSE_MESSAGE && messages > 0:
			goes = time.UnixMilli(int64(binary.BigEndian.Uint64(key[1+idSize:]))).Add(messages)
		}
		if !goes.IsZero() {
			free.Files, free.Bytes = free.Files+1, free.Bytes+o.size
			if at.Before(goes) {
				at = goes.UTC()
			}
		}
		looked++
		return looked < uploadsLooked && (free.Files < files || free.Bytes < bytes), nil
	})
	if free.Files < files || free.Bytes < bytes {
		return time.Time{}, err
	}
	return at, err
}

// UploadsDue reports whether command.UploadSweep would remove something: of
// deleted accounts, ephemeral uploads whose end has come by now, those for
// messages that are older than messageBefore.
func (v *View) UploadsDue(now, messageBefore time.Time) (bool, error) {
	if err := v.enter(); err != nil {
		return false, err
	}
	defer v.leave()
	deleted := []byte{tableRetention, retentionDeleted}
	for _, r := range [][2][]byte{
		{deleted, prefixEnd(deleted)},
		{retentionStart(command.UploadPurpose_UPLOAD_PURPOSE_EPHEMERAL, 0), retentionStart(command.UploadPurpose_UPLOAD_PURPOSE_EPHEMERAL, now.UnixMilli()+1)},
		{retentionStart(command.UploadPurpose_UPLOAD_PURPOSE_MESSAGE, 0), retentionStart(command.UploadPurpose_UPLOAD_PURPOSE_MESSAGE, max(0, messageBefore.UnixMilli()))},
	} {
		it, err := v.db.NewIter(&pebble.IterOptions{LowerBound: r[0], UpperBound: r[1]})
		if err != nil {
			return false, v.damaged(err)
		}
		some := it.First()
		if err := v.damaged(errors.Join(it.Error(), it.Close())); some || err != nil {
			return some, err
		}
	}
	return false, nil
}
