// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
)

// damageDatabase flips a bit of the batch with this revision in etcd's database
// file, and in nothing else. It finds the record by its key in bbolt: the
// revision in 8 bytes, '_', the sub-revision in 8 bytes.
func damageDatabase(t *testing.T, etcdDir string, revision uint64) {
	t.Helper()
	path := filepath.Join(etcdDir, "member", "snap", "db")
	db, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	key := binary.BigEndian.AppendUint64(nil, revision)
	key = append(key, '_')
	key = binary.BigEndian.AppendUint64(key, 0)
	n := 0
	for at := 0; ; {
		i := bytes.Index(db[at:], key)
		if i < 0 {
			break
		}
		at += i + len(key)
		if j := bytes.Index(db[at:], []byte("command")); j >= 0 && j < 400 {
			db[at+j] ^= 4
			n++
		}
	}
	if n == 0 {
		t.Fatalf("revision %d not found in %s", revision, path)
	}
	if err := os.WriteFile(path, db, 0o600); err != nil {
		t.Fatal(err)
	}
}
