// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	bolt "go.etcd.io/bbolt"
	"go.etcd.io/etcd/client/pkg/v3/fileutil"
	"go.etcd.io/etcd/server/v3/etcdserver/api/snap"
	"go.etcd.io/etcd/server/v3/storage"
	"go.etcd.io/etcd/server/v3/storage/schema"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"
)

// After a power cut etcd repairs its log and keeps what it has cut off beside it. The next start
// reads the log as ever.
func TestMemberLogThatWasRepaired(t *testing.T) {
	etcdDir := t.TempDir()
	dir := filepath.Join(etcdDir, "member", "wal")
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		t.Fatal(err)
	}
	w, err := wal.Create(zap.NewNop(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	entry := raftpb.Entry{Index: proto.Uint64(1), Term: proto.Uint64(1)}
	if err := errors.Join(w.Save(&raftpb.HardState{Term: proto.Uint64(1), Vote: proto.Uint64(1), Commit: proto.Uint64(1)}, []*raftpb.Entry{&entry}), w.Close()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "0000000000000000-0000000000000000.wal.broken"), []byte("cut off"), 0o600); err != nil {
		t.Fatal(err)
	}
	if l, err := readMemberLog(etcdDir); err != nil || l == nil || l.last != 1 {
		t.Errorf("%+v, %v", l, err)
	}
}

// A node has been sent a snapshot, and what follows it, and was killed while that was written:
// its hard state, which comes last, is not in its log. The node goes on with what it had before, as
// if it had been killed before the snapshot came.
func TestMemberLogOfAnUnfinishedSnapshot(t *testing.T) {
	for name, had := range map[string]uint64{"new": 0, "lagging": 3} {
		t.Run(name, func(t *testing.T) {
			etcdDir := t.TempDir()
			s, dir, snapDir := newMemberStorage(t, etcdDir)
			const sent, end = 100, 104
			var err error
			if had > 0 {
				err = s.Save(hardState(had), entries(1, had))
			}
			if err := errors.Join(err, s.SaveSnap(snapshotAt(sent)), s.Save(hardState(sent), entries(sent+1, end)), s.Close()); err != nil {
				t.Fatal(err)
			}
			if l, err := readMemberLog(etcdDir); err != nil || l.last != end || l.snapshot != sent {
				t.Fatalf("before anything is cut off: %+v, %v", l, err)
			}
			path := filepath.Join(dir, "0000000000000000-0000000000000000.wal")
			whole, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, at := range unfinishedEnds(t, path) {
				text := bytes.Clone(whole)
				clear(text[at:])
				if err := os.WriteFile(path, text, 0o600); err != nil {
					t.Fatal(err)
				}
				l, err := readMemberLog(etcdDir)
				if err != nil || l.last != had || l.snapshot != 0 {
					t.Errorf("cut off at %d: %+v, %v", at, l, err)
				}
			}
			// etcd goes on with it, and is sent the snapshot once more.
			w, err := wal.Open(zap.NewNop(), dir, &walpb.Snapshot{})
			if err != nil {
				t.Fatal(err)
			}
			if _, state, ents, err := w.ReadAll(); err != nil || state.GetCommit() != had || uint64(len(ents)) != had {
				t.Fatalf("etcd reads %v, %d entries: %v", state, len(ents), err)
			}
			s = storage.NewStorage(zap.NewNop(), w, snap.New(zap.NewNop(), snapDir))
			if err := errors.Join(s.SaveSnap(snapshotAt(sent)), s.Save(hardState(sent), entries(sent+1, end)), s.Close()); err != nil {
				t.Fatal(err)
			}
			if l, err := readMemberLog(etcdDir); err != nil || l.last != end || l.snapshot != sent {
				t.Errorf("after it was sent once more: %+v, %v", l, err)
			}
		})
	}
}

// A node whose log begins with a snapshot that it was sent, as etcd keeps no longer, has lost the end of
// the log, with all that etcd has written there of later snapshots.
func TestMemberLogWithoutItsStart(t *testing.T) {
	const sent, end = 100, 104
	for name, c := range map[string]struct {
		applied uint64
		lost    bool
	}{
		"the database has more":           {end + 500, true},
		"the database has the same":       {end, false},
		"there is nothing to learn it by": {0, false},
	} {
		t.Run(name, func(t *testing.T) {
			etcdDir := t.TempDir()
			s, _, snapDir := newMemberStorage(t, etcdDir)
			if err := errors.Join(s.SaveSnap(snapshotAt(sent)), s.Save(hardState(sent), entries(sent+1, end)), s.Close()); err != nil {
				t.Fatal(err)
			}
			remove(t, filepath.Join(snapDir, fmt.Sprintf("%016x-%016x.snap", 1, sent)))
			if c.applied > 0 {
				appliedDatabase(t, filepath.Join(snapDir, "db"), c.applied)
			}
			_, err := readMemberLog(etcdDir)
			if !errors.Is(err, ErrRotten) || errors.Is(err, ErrBehind) != c.lost {
				t.Errorf("%v", err)
			}
		})
	}
}

// newMemberStorage makes an empty log of etcd, and a place for snapshots, where a member has them.
func newMemberStorage(t *testing.T, etcdDir string) (s storage.Storage, walDir, snapDir string) {
	t.Helper()
	walDir, snapDir = filepath.Join(etcdDir, "member", "wal"), filepath.Join(etcdDir, "member", "snap")
	if err := os.MkdirAll(snapDir, 0o700); err != nil {
		t.Fatal(err)
	}
	w, err := wal.Create(zap.NewNop(), walDir, nil)
	if err != nil {
		t.Fatal(err)
	}
	return storage.NewStorage(zap.NewNop(), w, snap.New(zap.NewNop(), snapDir)), walDir, snapDir
}

// appliedDatabase makes a database of etcd that has the entries up to one.
func appliedDatabase(t *testing.T, path string, index uint64) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		meta, err := tx.CreateBucket(schema.Meta.Name())
		if err != nil {
			return err
		}
		return meta.Put(schema.MetaConsistentIndexKeyName, binary.BigEndian.AppendUint64(nil, index))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

func snapshotAt(index uint64) *raftpb.Snapshot {
	return &raftpb.Snapshot{Metadata: &raftpb.SnapshotMetadata{
		Index: proto.Uint64(index), Term: proto.Uint64(1), ConfState: &raftpb.ConfState{Voters: []uint64{1}},
	}, Data: []byte("store")}
}

func hardState(commit uint64) *raftpb.HardState {
	return &raftpb.HardState{Term: proto.Uint64(1), Vote: proto.Uint64(1), Commit: proto.Uint64(commit)}
}

func entries(first, last uint64) (es []*raftpb.Entry) {
	for i := first; i <= last; i++ {
		es = append(es, &raftpb.Entry{Index: proto.Uint64(i), Term: proto.Uint64(1), Data: bytes.Repeat([]byte{1}, 1500)})
	}
	return es
}

// unfinishedEnds gives the offsets in a log at which the write that ends it can have been cut short,
// in bytes: behind the last snapshot, within each entry after it, and behind it.
func unfinishedEnds(t *testing.T, path string) (at []int64) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const sector = 512 // what a disk writes as one
	d := wal.NewDecoder(fileutil.NewFileReader(f))
	for {
		var rec walpb.Record
		err := d.Decode(&rec)
		if errors.Is(err, io.EOF) {
			if len(at) != 9 {
				t.Fatalf("the write can be cut short in %d places", len(at))
			}
			return at
		}
		if err != nil {
			t.Fatal(err)
		}
		switch rec.GetType() {
		case wal.SnapshotType:
			at = []int64{d.LastOffset()}
		case wal.EntryType:
			at = append(at, (d.LastOffset()-1)/sector*sector, d.LastOffset())
		case wal.CrcType:
			d.UpdateCRC(rec.GetCrc())
		}
	}
}
