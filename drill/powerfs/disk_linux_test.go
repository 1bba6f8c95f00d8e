// SPDX-License-Identifier: Apache-2.0

package powerfs

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bavard/drill/await"
)

// mounted is a disk of 64 MiB that goes with the test.
func mounted(t *testing.T) *Disk {
	t.Helper()
	d, err := Mount(t.TempDir(), 64<<20)
	if errors.Is(err, ErrCannotMount) {
		t.Skipf("LEFT OUT: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Unmount(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func (d *Disk) at(name string) string { return filepath.Join(d.Path(), name) }

func cut(t *testing.T, d *Disk, survive float64) {
	t.Helper()
	if err := d.Cut(survive, rand.New(rand.NewPCG(1, 2))); err != nil {
		t.Fatal(err)
	}
}

// put writes a file, and syncs what it is told to: the file, its directory.
func put(t *testing.T, d *Disk, name string, content []byte, file, dir bool) {
	t.Helper()
	f, err := os.Create(d.at(name))
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Write(content)
	if file {
		err = errors.Join(err, unix.Fdatasync(int(f.Fd())))
	}
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	if dir {
		syncDir(t, filepath.Dir(d.at(name)))
	}
}

func syncDir(t *testing.T, path string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// names of the disk's root directory.
func names(t *testing.T, d *Disk) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(d.Path())
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func content(t *testing.T, d *Disk, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(d.at(name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestCutKeepsWhatWasSynced, and nothing else.
func TestCutKeepsWhatWasSynced(t *testing.T) {
	d := mounted(t)
	put(t, d, "name", []byte("x"), false, true)
	put(t, d, "first", []byte("x"), true, false) // its name goes with it
	put(t, d, "both", []byte("synced"), true, true)
	put(t, d, "removed", []byte("x"), true, true)
	put(t, d, "old", []byte("renamed"), true, true)
	put(t, d, "replaced", []byte("before"), true, true)
	put(t, d, "later", []byte("x"), true, false)

	f, err := os.OpenFile(d.at("both"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt([]byte("after that"), 3)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	put(t, d, "part", []byte("after"), true, false)
	for _, err := range []error{
		os.Remove(d.at("removed")), os.Rename(d.at("old"), d.at("new")), os.Rename(d.at("part"), d.at("replaced")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	put(t, d, "neither", []byte("x"), false, false)
	if got := content(t, d, "both"); string(got) != "synafter that" {
		t.Errorf("before the cut: %q", got)
	}
	cut(t, d, 0)
	if got, want := names(t, d), []string{"both", "first", "later", "name", "old", "part", "removed", "replaced"}; !slices.Equal(got, want) {
		t.Errorf("names %q, want %q", got, want)
	}
	for name, want := range map[string]string{"both": "synced", "name": "", "first": "x", "old": "renamed", "replaced": "before", "part": "after"} {
		if got := content(t, d, name); string(got) != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	// The disk goes on.
	if err := os.Rename(d.at("part"), d.at("replaced")); err != nil {
		t.Fatal(err)
	}
	syncDir(t, d.Path())
	cut(t, d, 0)
	if got := content(t, d, "replaced"); string(got) != "after" {
		t.Errorf("replaced, and synced: %q", got)
	}
}

// TestCutOfDirectories: what is synced in a directory is found again, and a file that moves
// to another one is in at least one of them.
func TestCutOfDirectories(t *testing.T) {
	d := mounted(t)
	if err := errors.Join(os.MkdirAll(d.at("a/b"), 0o700), os.Mkdir(d.at("c"), 0o700), os.Mkdir(d.at("gone"), 0o700)); err != nil {
		t.Fatal(err)
	}
	put(t, d, "a/b/f", []byte("deep"), true, false)
	put(t, d, "c/f", []byte("moves"), true, true)
	if err := os.Rename(d.at("c/f"), d.at("a/f")); err != nil {
		t.Fatal(err)
	}
	syncDir(t, d.at("c"))
	cut(t, d, 0)
	if got := names(t, d); !slices.Equal(got, []string{"a", "c"}) {
		t.Errorf("directories %q", got)
	}
	if got := content(t, d, "a/b/f"); string(got) != "deep" {
		t.Errorf("%q", got)
	}
	if got := content(t, d, "a/f"); string(got) != "moves" {
		t.Errorf("%q", got)
	}
	if _, err := os.Stat(d.at("c/f")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is where it was, too: %v", err)
	}
}

// TestCutKeepsPagesAtRandom: of what was not synced, each page is there or is as it was.
func TestCutKeepsPagesAtRandom(t *testing.T) {
	const count = 64
	d := mounted(t)
	old, fresh := bytes.Repeat([]byte("o"), count*pageBytes), bytes.Repeat([]byte("f"), count*pageBytes)
	put(t, d, "f", old, true, true)
	f, err := os.OpenFile(d.at("f"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Write(fresh)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	cut(t, d, 0.5)
	got := content(t, d, "f")
	kept := 0
	for at := 0; at < len(got); at += pageBytes {
		switch p := got[at : at+pageBytes]; {
		case bytes.Equal(p, fresh[:pageBytes]):
			kept++
		case !bytes.Equal(p, old[:pageBytes]):
			t.Fatalf("page %d is neither", at/pageBytes)
		}
	}
	if len(got) != len(old) || kept < count/4 || kept > count*3/4 {
		t.Errorf("%d bytes, %d of %d pages kept", len(got), kept, count)
	}
}

// TestDiskBehaves as others do: databases allocate, make holes and cut files short. They map files,
// too, which only other processes may do: a page fault here would hold up the runtime that has to answer it.
func TestDiskBehaves(t *testing.T) {
	d := mounted(t)
	f, err := os.Create(d.at("f"))
	if err != nil {
		t.Fatal(err)
	}
	fd := int(f.Fd())
	if err := errors.Join(unix.Fallocate(fd, 0, 0, 3*pageBytes), unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("across"), pageBytes-3); err != nil {
		t.Fatal(err)
	}
	if err := unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, pageBytes); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(pageBytes+2), f.Truncate(pageBytes+8), f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
	cut(t, d, 0)
	want := append(make([]byte, pageBytes), "os\x00\x00\x00\x00\x00\x00"...)
	if got := content(t, d, "f"); !bytes.Equal(got, want) {
		t.Errorf("%d bytes: %q", len(got), got[max(0, len(got)-12):])
	}
	put(t, d, "big", make([]byte, 48<<20), true, true)
	if err := os.WriteFile(d.at("too big"), make([]byte, 48<<20), 0o600); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("a full disk: %v", err)
	}
	if err := errors.Join(os.Remove(d.at("big")), os.Remove(d.at("too big"))); err != nil {
		t.Fatal(err)
	}
	syncDir(t, d.Path())
	// The kernel says in its own time that nobody has them open.
	err = await.Until(t.Context(), func(context.Context) error { return os.WriteFile(d.at("big again"), make([]byte, 48<<20), 0o600) })
	if err != nil {
		t.Error(err)
	}
}

// TestTruncatedAndNotSynced: a file is as before, or what is new stands alone.
func TestTruncatedAndNotSynced(t *testing.T) {
	for seed := range uint64(32) {
		s := newStore(1 << 20)
		n, _ := s.add(s.root, "f", unix.S_IFREG)
		old, fresh := bytes.Repeat([]byte("o"), 3*pageBytes), bytes.Repeat([]byte("f"), 2*pageBytes)
		s.write(n, 0, old)
		s.sync(n)
		s.truncate(n, 0)
		s.write(n, 0, fresh)
		s.cut(0.5, rand.New(rand.NewPCG(seed, 0)))
		got := make([]byte, n.size)
		n.read(0, got)
		if !bytes.Equal(got, old) && bytes.ContainsRune(got, 'o') {
			t.Errorf("seed %d: old and new in one: %d bytes", seed, len(got))
		}
	}
}

// TestFaults: a disk fails as it is told to, and is well afterwards.
func TestFaults(t *testing.T) {
	d := mounted(t)
	put(t, d, "f", []byte("x"), true, true)
	for _, c := range []struct {
		fault         Fault
		write, unlink error
	}{
		{Fault{Broken: true}, unix.EIO, unix.EIO},
		{Fault{Full: true}, unix.ENOSPC, nil},
	} {
		d.Fail(c.fault)
		if err := os.WriteFile(d.at("g"), []byte("y"), 0o600); !errors.Is(err, c.write) {
			t.Errorf("%+v: write: %v", c.fault, err)
		}
		if err := os.Remove(d.at("f")); !errors.Is(err, c.unlink) {
			t.Errorf("%+v: remove: %v", c.fault, err)
		}
		var room unix.Statfs_t
		if err := unix.Statfs(d.Path(), &room); err != nil || c.fault.Full && room.Bavail > 0 {
			t.Errorf("%+v: %d blocks, %v", c.fault, room.Bavail, err)
		}
		d.Heal()
		put(t, d, "f", []byte("x"), true, true)
	}
	const delay = 20 * time.Millisecond
	d.Fail(Fault{Delay: delay})
	begun := time.Now()
	put(t, d, "f", []byte("slow"), true, true)
	if took := time.Since(begun); took < 3*delay { // a write, the file's sync, its directory's
		t.Errorf("it took %v", took)
	}
	// What hangs goes on when it is healed.
	d.Fail(Fault{Delay: time.Hour})
	written := make(chan error, 1)
	go func() { written <- os.WriteFile(d.at("f"), []byte("later"), 0o600) }()
	if err := await.Until(t.Context(), func(context.Context) error {
		if d.store.fault.Load().waiting.Load() == 0 {
			return errors.New("nothing hangs")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	d.Heal()
	if err := <-written; err != nil || string(content(t, d, "f")) != "later" {
		t.Errorf("after it hung: %v", err)
	}
}
