// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	bolt "go.etcd.io/bbolt"
	"go.etcd.io/etcd/server/v3/storage/schema"
)

// Whatever has become of etcd's database file, reading it before the member starts
// ends with an error at worst, and not the process.
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
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	refused := 0
	for range 300 {
		text := bytes.Clone(whole)
		for range 1 + random.IntN(64) {
			text[random.IntN(len(text))] ^= byte(1 + random.IntN(255))
		}
		if random.IntN(3) == 0 {
			text = text[:random.IntN(len(text))]
		}
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readMemberDatabase(dir); err != nil {
			refused++
		}
	}
	if refused == 0 {
		t.Errorf("seed %d: no damage was found", seed)
	}
	t.Logf("%d of 300 damaged databases were refused", refused)
}
