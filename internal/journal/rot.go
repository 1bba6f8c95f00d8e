// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/client/pkg/v3/fileutil"
	"go.etcd.io/etcd/server/v3/etcdserver/api/membership"
	"go.etcd.io/etcd/server/v3/storage/schema"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// ErrRotten: what this node has of the journal is not what was written. A node of several that
// can ask the others sets it aside and takes part anew.
var ErrRotten = errors.New("journal: its data is damaged")

// rotten makes an ErrRotten of an error with which data was read, unless it tells of this machine
// rather than of the data.
func rotten(what string, err error) error {
	for _, passes := range []error{fs.ErrPermission, syscall.ENOSPC, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.EROFS} {
		if errors.Is(err, passes) {
			return fmt.Errorf("journal: reading %s: %w", what, err)
		}
	}
	return fmt.Errorf("%w: %s: %w", ErrRotten, what, err)
}

// guarded calls read, whose panics, and faults of memory that is mapped, it gives as errors:
// etcd panics on records that it cannot decode.
func guarded(read func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return read()
}

// maxLogRecord bounds a record in etcd's log, in bytes. Its length is written at once, even
// when the power fails.
const maxLogRecord = 64 << 20

// checkLogFiles errs when a file of etcd's log does not end as etcd leaves it: the last one may
// be torn, of which etcd repairs what it can tell from damage, or hold a write that was not finished,
// which is cut off. It gives the index of the last entry; 0: there is none.
func checkLogFiles(dir string) (end uint64, err error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.wal"))
	if err != nil {
		return 0, err
	}
	slices.Sort(paths)
	for i, path := range paths {
		last := i == len(paths)-1
		u, err := checkLogFile(path, last)
		if err == nil && last && u.found {
			err = cutOff(path, u.from)
		}
		if err != nil {
			return 0, fmt.Errorf("%s: %w", filepath.Base(path), err)
		}
		if u.end > 0 {
			end = u.end
		}
	}
	return end, nil
}

func checkLogFile(path string, last bool) (u unfinished, err error) {
	f, err := os.Open(path)
	if err != nil {
		return u, err
	}
	defer f.Close()
	d := wal.NewDecoder(fileutil.NewFileReader(f))
	for {
		var rec walpb.Record
		err := d.Decode(&rec)
		switch {
		case errors.Is(err, io.ErrUnexpectedEOF) && last:
			return u, checkTorn(f, d.LastOffset())
		case errors.Is(err, io.EOF):
			return u, nil
		case err != nil:
			return u, err
		case rec.GetType() == wal.CrcType:
			if crc := d.LastCRC(); crc != 0 && rec.Validate(crc) != nil {
				return u, wal.ErrCRCMismatch
			}
			d.UpdateCRC(rec.GetCrc())
		default:
			if err := u.read(&rec, d.LastOffset()); err != nil {
				return u, err
			}
		}
	}
}

// unfinished finds, in the records of a file of etcd's log, entries of which the write was never
// finished: those that follow a snapshot from the leader, when the hard state is missing that commits
// the snapshot and ends the same write. As nobody waits for the end of a write that has not come,
// nobody was told that they are there. etcd passes over such a snapshot, and does not start on a
// log with the gap that is left then.
type unfinished struct {
	commit   uint64 // as the last hard state has it
	snapshot uint64 // index of the last one
	end      uint64 // index of the last entry, finished or not
	// from is the offset behind that snapshot, in bytes. found: entries that were not finished follow.
	from  int64
	found bool
}

// read takes the next record of a file, which ends at the offset end.
func (u *unfinished) read(rec *walpb.Record, end int64) error {
	switch rec.GetType() {
	case wal.StateType:
		u.commit = wal.MustUnmarshalState(rec.GetData()).GetCommit()
		u.found = false
	case wal.SnapshotType:
		var s walpb.Snapshot
		if err := proto.Unmarshal(rec.GetData(), &s); err != nil {
			return err
		}
		u.snapshot, u.from, u.found = s.GetIndex(), end, false
	case wal.EntryType:
		var e raftpb.Entry
		if err := proto.Unmarshal(rec.GetData(), &e); err != nil {
			return err
		}
		u.end, u.found = e.GetIndex(), u.snapshot > u.commit
	}
	return nil
}

// cutOff makes zeros of all of a file of etcd's log behind an offset, as etcd leaves what it has
// not used yet.
func cutOff(path string, at int64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil {
		err = errors.Join(f.Truncate(at), f.Truncate(info.Size()), f.Sync())
	}
	return errors.Join(err, f.Close())
}

// checkTorn errs when what comes at the end of a log has a length that nobody has written. etcd
// takes it for torn and would cut off all that follows, acknowledged or not.
func checkTorn(f io.ReaderAt, at int64) error {
	var b [8]byte
	if n, err := f.ReadAt(b[:], at); n < len(b) {
		if errors.Is(err, io.EOF) {
			return nil
		}
		return err
	}
	// The top byte says how much of it fills up to eight bytes.
	if n := binary.LittleEndian.Uint64(b[:]) &^ (0xff << 56); n > maxLogRecord {
		return fmt.Errorf("a record of %d bytes at offset %d", n, at)
	}
	return nil
}

// memberDatabase is what an etcd that does not run has in its database.
type memberDatabase struct {
	exists   bool
	applied  uint64 // index of the newest entry in it
	revision uint64 // its newest revision
	// alone: there is no other copy. What is in the values is not looked at: most of it the view
	// has long had, and what is read is checked then.
	alone bool
}

// readMemberDatabase reads and checks a database file of etcd; zero when there is none. All of it is
// read: etcd reads all keys when it starts, and ends the process on what it cannot.
func readMemberDatabase(path string, alone bool) (d memberDatabase, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return memberDatabase{}, nil
	}
	if err != nil {
		return memberDatabase{}, rotten("etcd's database", err)
	}
	defer f.Close()
	d.exists, d.alone = true, alone
	info, err := f.Stat()
	if err == nil {
		err = readPages(f, info.Size(), d.check)
	}
	if err != nil {
		return memberDatabase{}, rotten("etcd's database "+path, err)
	}
	return d, nil
}

// check takes one key of etcd's database, and errs where etcd, or what reads our values,
// could not go on.
func (d *memberDatabase) check(bucket string, key, value []byte) error {
	switch bucket {
	case string(schema.Key.Name()):
		return d.checkRevision(key, value)
	case string(schema.Meta.Name()):
		if string(key) == string(schema.MetaConsistentIndexKeyName) {
			if len(value) != 8 {
				return fmt.Errorf("%s has %d bytes", key, len(value))
			}
			d.applied = binary.BigEndian.Uint64(value)
		}
		if string(key) == string(schema.MetaConfStateName) && !json.Valid(value) {
			return fmt.Errorf("%s cannot be read", key)
		}
	case string(schema.Members.Name()):
		var m membership.Member
		if err := json.Unmarshal(value, &m); err != nil || m.ID.String() != string(key) {
			return fmt.Errorf("member %q cannot be read: %w", key, err)
		}
	}
	return nil
}

const (
	// A key of the bucket of values: its revision, '_', its place in it; and 't' if it deletes.
	revisionBytes = 8 + 1 + 8
	deletionBytes = revisionBytes + 1
	// placesMost bounds that place: etcd takes no more operations in one transaction (its max-txn-ops).
	placesMost = 128
)

// checkRevision checks a value with what it has of its own: its revision, twice, the name of its
// key, and in ours a checksum.
func (d *memberDatabase) checkRevision(key, value []byte) error {
	deletion := len(key) == deletionBytes && key[revisionBytes] == 't'
	if len(key) != revisionBytes && !deletion || key[8] != '_' || int64(binary.BigEndian.Uint64(key)) <= 0 || binary.BigEndian.Uint64(key[9:]) >= placesMost {
		return fmt.Errorf("%x is no revision", key)
	}
	revision := binary.BigEndian.Uint64(key)
	d.revision = revision
	var kv mvccpb.KeyValue
	if err := proto.Unmarshal(value, &kv); err != nil {
		return fmt.Errorf("revision %d: %w", revision, err)
	}
	switch {
	case d.alone:
		return nil
	case !strings.HasPrefix(string(kv.Key), ourPrefix):
		return fmt.Errorf("revision %d is of the key %q", revision, kv.Key)
	case deletion:
		return nil
	case uint64(kv.ModRevision) != revision || kv.CreateRevision <= 0 || kv.CreateRevision > kv.ModRevision || kv.Version <= 0:
		return fmt.Errorf("revision %d says that it is %d", revision, kv.ModRevision)
	}
	return checkValue(string(kv.Key), kv.Value, revision)
}

// checkValue errs where one of our values is not what was written. One of a later format is
// left to who reads it.
func checkValue(key string, value []byte, revision uint64) error {
	var err error
	switch name, isBatch := strings.CutPrefix(key, batchPrefix); {
	case isBatch:
		var b batch
		b, err = decodeBatch(value)
		if err == nil && b.writer != name {
			err = fmt.Errorf("it is a batch of %s", b.writer)
		}
		if errors.Is(err, errFormat) {
			err = nil
		}
	case strings.HasPrefix(key, nodePrefix) && len(value) > 0 && value[0] == nodeFormat:
		_, err = decodeNodeState(value)
	case key == idKey && len(value) != len(journalID{}):
		err = fmt.Errorf("it has %d bytes", len(value))
	default: // a batch whose key is another one now would be missing
		if _, wrong := decodeBatch(value); wrong == nil {
			err = errors.New("it is a batch")
		}
	}
	if err != nil {
		return fmt.Errorf("revision %d of %q: %w", revision, key, err)
	}
	return nil
}
