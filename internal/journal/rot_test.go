// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	bolt "go.etcd.io/bbolt"
	"google.golang.org/protobuf/proto"

	"go.etcd.io/etcd/api/v3/mvccpb"
)

// journalDir is the directory of a journal with some hundred batches, two snapshots and a clean end.
func journalDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	opts := Options{Name: "a", Dir: filepath.Join(dir, "journal"), SpoolDir: filepath.Join(dir, "spool"), MinFree: 1, UnsafeNoFsync: true}
	j, err := OpenEtcd(testContext(t), opts)
	if err != nil {
		t.Fatal(err)
	}
	for range 5 * snapshotCount / 2 {
		commit(t, j, "one batch")
	}
	commit(t, j, string(bytes.Repeat([]byte("large"), 60_000)))
	closeJournal(t, j)
	return opts.Dir
}

// newestOf gives the last file of a kind in a member's directory.
func newestOf(t *testing.T, dir, pattern string) string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "etcd", "member", pattern))
	if err != nil || len(all) == 0 {
		t.Fatalf("no %s: %v", pattern, err)
	}
	slices.Sort(all)
	return all[len(all)-1]
}

// change edits what is in a file.
func change(t *testing.T, path string, how func([]byte) []byte) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, how(text), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func flipAt(share float64) func([]byte) []byte {
	return func(b []byte) []byte {
		b[int(share*float64(len(bytes.TrimRight(b, "\x00"))))] ^= 4
		return b
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

// TestRottenMember: what a disk does to the files of a member is found before it starts, and what
// does no harm is not.
func TestRottenMember(t *testing.T) {
	t.Parallel()
	made := journalDir(t)
	for _, c := range []struct {
		name string
		do   func(t *testing.T, dir string)
		want error
	}{
		{"nothing", func(*testing.T, string) {}, nil},
		{"log flipped", func(t *testing.T, dir string) { change(t, newestOf(t, dir, "wal/*.wal"), flipAt(0.5)) }, ErrRotten},
		{"a length in the log", func(t *testing.T, dir string) {
			change(t, newestOf(t, dir, "wal/*.wal"), func(b []byte) []byte {
				first := binary.LittleEndian.Uint64(b)
				at := 8 + first&^(0xff<<56) + first>>56&7 // of the second record
				b[at+5] ^= 1
				return b
			})
		}, ErrRotten},
		{"log cut short", func(t *testing.T, dir string) {
			change(t, newestOf(t, dir, "wal/*.wal"), func(b []byte) []byte { return b[:len(bytes.TrimRight(b, "\x00"))/2] })
		}, ErrBehind},
		{"log empty", func(t *testing.T, dir string) {
			change(t, newestOf(t, dir, "wal/*.wal"), func([]byte) []byte { return nil })
		}, ErrRotten},
		{"newest snapshot flipped", func(t *testing.T, dir string) { change(t, newestOf(t, dir, "snap/*.snap"), flipAt(0.5)) }, nil},
		{"newest snapshot gone", func(t *testing.T, dir string) { remove(t, newestOf(t, dir, "snap/*.snap")) }, nil},
		{"database gone", func(t *testing.T, dir string) { remove(t, newestOf(t, dir, "snap/db")) }, ErrRotten},
		{"database cut short", func(t *testing.T, dir string) {
			change(t, newestOf(t, dir, "snap/db"), func(b []byte) []byte { return b[:len(b)/2] })
		}, ErrRotten},
		{"database of nothing", func(t *testing.T, dir string) {
			change(t, newestOf(t, dir, "snap/db"), func(b []byte) []byte { return make([]byte, len(b)) })
		}, ErrRotten},
		{"a value", func(t *testing.T, dir string) {
			change(t, newestOf(t, dir, "snap/db"), func(b []byte) []byte {
				b[bytes.Index(b, []byte("largelarge"))] ^= 1
				return b
			})
		}, ErrRotten},
		{"its name", func(t *testing.T, dir string) {
			change(t, filepath.Join(dir, ownerFile), func(b []byte) []byte { b[3] ^= 1; return b })
		}, ErrRotten},
		{"its name cut short", func(t *testing.T, dir string) {
			change(t, filepath.Join(dir, ownerFile), func(b []byte) []byte { return b[:9] })
		}, ErrRotten},
		{"its name gone", func(t *testing.T, dir string) { remove(t, filepath.Join(dir, ownerFile)) }, ErrRotten},
		{"its name as of before", func(t *testing.T, dir string) {
			change(t, filepath.Join(dir, ownerFile), func(b []byte) []byte { return b[:bytes.IndexByte(b, '\n')+1] })
		}, nil},
	} {
		dir := filepath.Join(t.TempDir(), "journal")
		if err := os.CopyFS(dir, os.DirFS(made)); err != nil {
			t.Fatal(err)
		}
		c.do(t, dir)
		_, err := beginMember(dir, filepath.Join(dir, "etcd"), false, 0)
		if !errors.Is(err, c.want) || (c.want == nil) != (err == nil) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

// TestRottenAlone: a server that has the only copy does not start on what etcd cannot read, and
// removes nothing.
func TestRottenAlone(t *testing.T) {
	t.Parallel()
	dir := journalDir(t)
	db := newestOf(t, dir, "snap/db")
	change(t, db, func(b []byte) []byte { return b[:len(b)/2] })
	before, err := os.ReadFile(db)
	if err != nil {
		t.Fatal(err)
	}
	_, err = OpenEtcd(testContext(t), Options{Name: "a", Dir: dir, SpoolDir: filepath.Join(filepath.Dir(dir), "spool"), MinFree: 1})
	if !errors.Is(err, ErrRotten) {
		t.Errorf("it starts: %v", err)
	}
	if after, err := os.ReadFile(db); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the database is another one: %v", err)
	}
}

// batches reads the batches in a database, as they are there.
func batches(path string) (all []string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	var d memberDatabase
	err = readPages(f, info.Size(), func(bucket string, key, value []byte) error {
		if err := d.check(bucket, key, value); err != nil || bucket != "key" {
			return err
		}
		var kv mvccpb.KeyValue
		if err := proto.Unmarshal(value, &kv); err != nil {
			return err
		}
		if bytes.HasPrefix(kv.Key, []byte(batchPrefix)) {
			if _, err := decodeBatch(kv.Value); err != nil {
				return err // of a later format, it says: nobody reads it
			}
			all = append(all, fmt.Sprintf("%x %s %x", key[:8], kv.Key, kv.Value)) // where in its transaction is all the same
		}
		return nil
	})
	return all, err
}

// TestFlippedDatabase: with bits flipped anywhere in it, a database is found damaged, or has the
// same batches as before.
func TestFlippedDatabase(t *testing.T) {
	t.Parallel()
	db := newestOf(t, journalDir(t), "snap/db")
	whole, err := os.ReadFile(db)
	if err != nil {
		t.Fatal(err)
	}
	want, err := batches(db)
	if err != nil || len(want) < 2*snapshotCount {
		t.Fatalf("%d batches: %v", len(want), err)
	}
	// What is in use is at the beginning.
	whole = whole[:min(len(whole), len(bytes.TrimRight(whole, "\x00"))+os.Getpagesize())]
	path := filepath.Join(t.TempDir(), "db")
	random := rand.New(rand.NewPCG(1, 2))
	// With one of its meta pages damaged it is as it was before the last transaction.
	metas := 2 * os.Getpagesize()
	found := 0
	const rounds = 100
	for range rounds {
		text := bytes.Clone(whole)
		for range 1 + random.IntN(8) {
			text[metas+random.IntN(len(text)-metas)] ^= 1 << random.IntN(8)
		}
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := batches(path)
		if err != nil {
			found++
		} else if !slices.Equal(got, want) {
			t.Fatalf("it has other batches, %d of %d, and no damage was found", len(got), len(want))
		}
	}
	if found == 0 {
		t.Error("nothing was found")
	}
	t.Logf("%d of %d found", found, rounds)
}

// boltFile is a file that bbolt has made, with what a walk through it has to give.
func boltFile(t testing.TB, keys int) (text []byte, want []string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "db")
	db, err := bolt.Open(path, 0o600, &bolt.Options{NoFreelistSync: true, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		for _, name := range []string{"empty", "few", "many"} { // in order
			b, err := tx.CreateBucket([]byte(name))
			if err != nil {
				return err
			}
			for n := range map[string]int{"few": 3, "many": keys}[name] {
				key, value := fmt.Appendf(nil, "%06d", n), bytes.Repeat([]byte{byte(n)}, 1+n*37%9000)
				want = append(want, fmt.Sprintf("%s %s %x", name, key, value))
				if err := b.Put(key, value); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	text, err = os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text, want
}

func walk(text []byte) (all []string, err error) {
	err = readPages(bytes.NewReader(text), int64(len(text)), func(bucket string, key, value []byte) error {
		all = append(all, fmt.Sprintf("%s %s %x", bucket, key, value))
		return nil
	})
	return all, err
}

// TestPages: a walk through a file that bbolt has made gives what is in it, and with a page that
// leads to itself it ends.
func TestPages(t *testing.T) {
	t.Parallel()
	text, want := boltFile(t, 2000)
	got, err := walk(text)
	if err != nil || !slices.Equal(got, want) {
		t.Fatalf("%d of %d keys: %v", len(got), len(want), err)
	}
	page := os.Getpagesize()
	turned := 0
	for at := 2 * page; at < len(text); at += page {
		id := binary.NativeEndian.Uint64(text[at:])
		if id == uint64(at/page) && binary.NativeEndian.Uint16(text[at+8:]) == pageIsBranch {
			circle := bytes.Clone(text)
			binary.NativeEndian.PutUint64(circle[at+pageHead+8:], id)
			if _, err := walk(circle); !errors.Is(err, errPage) {
				t.Errorf("page %d leads to itself: %v", id, err)
			}
			turned++
		}
	}
	if turned == 0 {
		t.Error("the file has no branch")
	}
}

func FuzzPages(f *testing.F) {
	text, _ := boltFile(f, 40)
	f.Add(text)
	f.Add(text[:os.Getpagesize()])
	f.Fuzz(func(_ *testing.T, text []byte) { _, _ = walk(text) })
}
