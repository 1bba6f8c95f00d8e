// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"

	bolt "go.etcd.io/bbolt"
	"go.etcd.io/etcd/server/v3/storage/schema"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"
)

// Reading a damaged database of etcd before the member starts ends with an error, and
// not the process.
func TestDamagedMemberDatabase(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "member", "snap", "db")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	for n := range uint64(200) {
		if err := db.Update(func(tx *bolt.Tx) error {
			for _, b := range []struct{ name, key []byte }{
				{schema.Meta.Name(), schema.MetaConsistentIndexKeyName}, {schema.Key.Name(), binary.BigEndian.AppendUint64(nil, n)},
			} {
				bucket, err := tx.CreateBucketIfNotExists(b.name)
				if err != nil {
					return err
				}
				if err := bucket.Put(b.key, binary.BigEndian.AppendUint64(nil, n)); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d, err := readMemberDatabase(dir); err != nil || d.applied != 199 || d.revision != 199 {
		t.Fatalf("%+v, %v", d, err)
	}
	// Pages that say that they are others make bbolt panic; what lies behind the end of the
	// file cannot be read.
	page := os.Getpagesize()
	elsewhere := bytes.Clone(whole)
	for at := 2 * page; at < len(elsewhere); at += page {
		binary.LittleEndian.PutUint64(elsewhere[at:], 6032)
	}
	noMeta := bytes.Clone(whole)
	for _, at := range []int{0, page} {
		clear(noMeta[at : at+page])
	}
	for name, text := range map[string][]byte{"pages": elsewhere, "meta pages": noMeta, "end": whole[:3*page], "all": whole[:100]} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if d, err := readMemberDatabase(dir); err == nil {
			t.Errorf("%s: it has %+v", name, d)
		}
	}
}

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
