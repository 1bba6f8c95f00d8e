// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"go.etcd.io/etcd/server/v3/storage/wal"
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
