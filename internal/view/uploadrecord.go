// SPDX-License-Identifier: Apache-2.0

package view

import (
	"encoding/binary"
	"time"

	"bavard/internal/command"
	"bavard/internal/state"
)

const uploadIDSize = len(state.UploadID{})

// uploadKinds are the first bytes in tableRetention that tell why an upload goes.
// Persisted: the purposes are those of command.UploadPurpose and one.
const (
	retentionDeleted  = 0 // with its account
	retentionPurposes = 1
)

func uploadKey(id state.UploadID) []byte { return append([]byte{tableUpload}, id[:]...) }

// ownUploadKey sorts an account's uploads by time.
func ownUploadKey(account uint64, ms int64, id state.UploadID) []byte {
	return append(binary.BigEndian.AppendUint64(idKey(tableUploadOf, account), uint64(ms)), id[:]...)
}

// ownUploads is before the first upload of an account and after its counts.
func ownUploads(account uint64) []byte { return append(idKey(tableUploadOf, account), 0) }

// retentionKey sorts uploads of a purpose by the time that retention goes by: of
// an ephemeral one its end, else when it was uploaded.
func retentionKey(p command.UploadPurpose, ms int64, id state.UploadID) []byte {
	key := binary.BigEndian.AppendUint64([]byte{tableRetention, retentionPurposes + byte(p)}, uint64(ms))
	return append(key, id[:]...)
}

// retentionStart is before all of a purpose from a time on.
func retentionStart(p command.UploadPurpose, ms int64) []byte {
	return binary.BigEndian.AppendUint64([]byte{tableRetention, retentionPurposes + byte(p)}, uint64(ms))
}

func deletedUploadsKey(account uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{tableRetention, retentionDeleted}, account)
}

// uploadIDOf reads the id that ends a key.
func uploadIDOf(key []byte) (id state.UploadID, err error) {
	if len(key) < uploadIDSize {
		return id, corruptf("key of %d bytes", len(key))
	}
	copy(id[:], key[len(key)-uploadIDSize:])
	return id, nil
}

// uploadRecord is an upload as it is stored.
type uploadRecord struct {
	owner         uint64
	time, expires int64 // Unix milliseconds; expires 0 for none
	purpose       command.UploadPurpose
	size          uint64
	sum           [32]byte
	typ, name     string
	holders       []string
}

func (u *uploadRecord) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(append(dst, recordVersion), u.owner)
	dst = binary.AppendUvarint(binary.AppendUvarint(dst, uint64(u.time)), uint64(u.expires))
	dst = binary.AppendUvarint(append(dst, byte(u.purpose)), u.size)
	dst = appendString(appendString(append(dst, u.sum[:]...), u.typ), u.name)
	dst = binary.AppendUvarint(dst, uint64(len(u.holders)))
	for _, h := range u.holders {
		dst = appendString(dst, h)
	}
	return dst
}

func parseUpload(b []byte) (uploadRecord, error) {
	r := read(b)
	u := uploadRecord{owner: r.uint64(), time: r.milliseconds(), expires: r.milliseconds(), purpose: command.UploadPurpose(r.byte()), size: r.uvarint()}
	copy(u.sum[:], r.take(len(u.sum)))
	u.typ, u.name = r.string(), r.string()
	n := r.uvarint()
	if n > state.UploadHolders {
		r.fail("%d holders", n)
	}
	for ; r.err == nil && n > 0; n-- {
		u.holders = append(u.holders, r.string())
	}
	if _, ok := command.UploadPurpose_name[int32(u.purpose)]; !ok {
		r.fail("purpose %d", u.purpose)
	}
	return u, r.end()
}

// milliseconds reads a time.
func (r *reader) milliseconds() int64 {
	ms := r.uvarint()
	if ms > maxTime {
		r.fail("a time beyond all")
		return 0
	}
	return int64(ms)
}

// retained is the time that retention goes by.
func (u *uploadRecord) retained() int64 {
	if u.purpose == command.UploadPurpose_UPLOAD_PURPOSE_EPHEMERAL {
		return u.expires
	}
	return u.time
}

func (u *uploadRecord) state(id state.UploadID) state.Upload {
	out := state.Upload{
		ID: id, Owner: u.owner, Time: time.UnixMilli(u.time).UTC(), Name: u.name, Type: u.typ, Size: int64(u.size), SHA256: u.sum,
		Purpose: u.purpose, Holders: u.holders,
	}
	if u.expires != 0 {
		out.Expires = time.UnixMilli(u.expires).UTC()
	}
	return out
}

// ownUpload is what an account's list has of an upload.
type ownUpload struct {
	purpose command.UploadPurpose
	size    uint64
	expires int64
}

func (o *ownUpload) append(dst []byte) []byte {
	dst = binary.AppendUvarint(append(dst, recordVersion, byte(o.purpose)), o.size)
	return binary.AppendUvarint(dst, uint64(o.expires))
}

func parseOwnUpload(b []byte) (ownUpload, error) {
	r := read(b)
	o := ownUpload{purpose: command.UploadPurpose(r.byte()), size: r.uvarint(), expires: r.milliseconds()}
	return o, r.end()
}

func appendUsage(dst []byte, u state.Usage) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(append(dst, recordVersion), u.Files), u.Bytes)
}

func parseUsage(b []byte) (state.Usage, error) {
	if b == nil {
		return state.Usage{}, nil
	}
	r := read(b)
	u := state.Usage{Files: r.uvarint(), Bytes: r.uvarint()}
	return u, r.end()
}

// checkUpload decodes a record of the tables of uploads.
func checkUpload(key, value []byte) (err error) {
	switch {
	case key[0] == tableUpload:
		_, err = parseUpload(value)
	case len(key) == 1 || key[0] == tableUploadOf && len(key) == 1+idSize:
		_, err = parseUsage(value)
	case key[0] == tableUploadOf:
		_, err = parseOwnUpload(value)
	default:
		err = read(value).end()
	}
	return err
}
