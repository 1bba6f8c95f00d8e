// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestReleaseCompacts: what is released can no longer be read, what is not can.
func TestReleaseCompacts(t *testing.T) {
	runAll(t, func(t *testing.T, e *engine) {
		j := e.open(t)
		tl := tail(t, j, 0)
		big := strings.Repeat("x", MaxCommand)
		var cmds []string
		for range compactBytes/MaxCommand + 2 {
			cmds = append(cmds, big)
		}
		revisions := commit(t, j, append(cmds, "last but one", "last")...)
		n := len(revisions)
		read(t, tl, n)
		released := revisions[n-3]
		j.Release(released)
		until(t, "the window shrinks", func() bool { return j.Stats().WindowBytes < MaxCommand })
		if s := j.Stats(); s.Released != released || s.Latest != revisions[n-1] {
			t.Errorf("stats %+v", s)
		}
		if err := tl.Close(); err != nil {
			t.Fatal(err)
		}
		if j, ok := j.(*etcdJournal); ok {
			until(t, "the node that leads has compacted", func() bool {
				return errors.Is(j.readable(testContext(t), revisions[0]+1), ErrCompacted)
			})
		}
		if _, err := j.Tail(testContext(t), revisions[0]); !errors.Is(err, ErrCompacted) {
			t.Errorf("tail of what is compacted: %v", err)
		}
		got := read(t, tail(t, j, released), 2)
		if got[0].cmd != "last but one" || got[1].cmd != "last" {
			t.Errorf("after the release come %+v", got)
		}
	})
}

// TestReaderThatLags: history beyond the window goes, but not what the tailer
// has spooled.
func TestReaderThatLags(t *testing.T) {
	t.Parallel()
	e := etcdEngine(t, Options{Window: 1 << 20, UnsafeNoFsync: true, recent: 64 << 10})
	j := e.open(t)
	tl := tail(t, j, 0)
	big := strings.Repeat("x", 100<<10)
	var want []named
	r := newRecorder(t)
	for range 40 {
		r.submit(j, big)
	}
	want = r.wait(40)
	until(t, "etcd has compacted", func() bool {
		return j.(*etcdJournal).readable(testContext(t), want[10].revision) != nil && j.Stats().WindowBytes <= 1<<20
	})
	same(t, read(t, tl, 40), want)
	closeJournal(t, j)

	j = e.open(t) // and after a restart from the spool
	same(t, read(t, tail(t, j, 0), 40), want)
}

func spoolFiles(t *testing.T, j Journal) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(j.(*etcdJournal).opts.SpoolDir, "*"+segmentExt))
	if err != nil || len(names) == 0 {
		t.Fatalf("%d segments, %v", len(names), err)
	}
	return names
}

func edit(t *testing.T, path string, f func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, f(b), 0o600); err != nil {
		t.Fatal(err)
	}
}

func flip(b []byte) []byte {
	b[len(b)/2] ^= 1
	return b
}

// TestSpoolHeals: whatever happens to the spool's files while the journal is
// closed, all commands are read, in order.
func TestSpoolHeals(t *testing.T) {
	e := etcdEngine(t, Options{segment: 1 << 10, recent: 256, UnsafeNoFsync: true})
	j := e.open(t)
	tl := tail(t, j, 0)
	for _, c := range numbered(60) {
		commit(t, j, c)
	}
	want := read(t, tl, 60)
	files := spoolFiles(t, j)
	if len(files) < 4 {
		t.Fatalf("%d segments", len(files))
	}
	harms := map[string]func(first, middle, last string){
		"nothing":         func(_, _, _ string) {},
		"flipped first":   func(f, _, _ string) { edit(t, f, flip) },
		"flipped middle":  func(_, m, _ string) { edit(t, m, flip) },
		"flipped last":    func(_, _, l string) { edit(t, l, flip) },
		"torn end":        func(_, _, l string) { edit(t, l, func(b []byte) []byte { return b[:len(b)-3] }) },
		"torn header":     func(_, _, l string) { edit(t, l, func(b []byte) []byte { return b[:recordHeader] }) },
		"zeroed end":      func(_, _, l string) { edit(t, l, func(b []byte) []byte { return append(b, make([]byte, 99)...) }) },
		"empty last":      func(_, _, l string) { edit(t, l, func([]byte) []byte { return nil }) },
		"first missing":   func(f, _, _ string) { _ = os.Remove(f) },
		"middle missing":  func(_, m, _ string) { _ = os.Remove(m) },
		"last missing":    func(_, _, l string) { _ = os.Remove(l) },
		"record repeated": func(_, m, _ string) { edit(t, m, func(b []byte) []byte { return append(b, b[segmentHeader:]...) }) },
		"strange file": func(f, _, _ string) {
			edit(t, f, func(b []byte) []byte { return b })
			_ = os.WriteFile(segmentPath(filepath.Dir(f), 1<<40), []byte("strange"), 0o600)
		},
	}
	for name, harm := range harms {
		t.Run(name, func(t *testing.T) {
			closeJournal(t, j)
			files := spoolFiles(t, j)
			harm(files[0], files[len(files)/2], files[len(files)-1])
			j = e.open(t)
			n := len(want)
			for _, first := range []int{0, n / 2, n - 1} {
				from := uint64(0)
				if first > 0 {
					from = want[first-1].revision
				}
				tl := tail(t, j, from)
				same(t, read(t, tl, n-first), want[first:])
				if err := tl.Close(); err != nil {
					t.Fatal(err)
				}
			}
			tl := tail(t, j, want[n-1].revision)
			r := newRecorder(t)
			r.submit(j, name)
			more := r.wait(1)
			same(t, read(t, tl, 1), more)
			want = append(want, more...)
		})
	}
}

// TestSpoolHealsWhileRead: bytes that rot under a reader are read again from etcd.
func TestSpoolHealsWhileRead(t *testing.T) {
	t.Parallel()
	e := etcdEngine(t, Options{segment: 1 << 10, recent: 256, UnsafeNoFsync: true})
	for name, harm := range map[string]func(path string){
		"flipped": func(path string) { edit(t, path, flip) },
		"cut":     func(path string) { edit(t, path, func(b []byte) []byte { return b[:segmentHeader+5] }) },
		"removed": func(path string) { _ = os.Remove(path) },
	} {
		t.Run(name, func(t *testing.T) {
			j := e.open(t)
			defer closeJournal(t, j)
			end, err := j.Latest(testContext(t))
			if err != nil {
				t.Fatal(err)
			}
			tl := tail(t, j, end)
			var want []named
			before := len(spoolFiles(t, j))
			for _, c := range numbered(100) {
				want = append(want, named{c, result{revision: commit(t, j, c)[0]}})
			}
			until(t, "all is spooled", func() bool { return j.(*etcdJournal).currentTailer().spool.ends(want[99].revision) })
			got := read(t, tl, 1)
			files := spoolFiles(t, j)
			if len(files) < before+4 {
				t.Fatalf("%d segments more", len(files)-before)
			}
			for _, path := range files[before+1 : before+3] {
				harm(path)
			}
			got = append(got, read(t, tl, 99)...)
			same(t, got, want)
			last := commit(t, j, "last")
			if got := read(t, tl, 1); got[0].cmd != "last" || got[0].revision != last[0] {
				t.Errorf("last comes %+v", got)
			}
		})
	}
}

// TestSpoolBeyondRepair: what only the spool had and is damaged there asks for
// a snapshot, it is not skipped.
func TestSpoolBeyondRepair(t *testing.T) {
	t.Parallel()
	e := etcdEngine(t, Options{Window: 16 << 10, segment: 4 << 10, recent: 256, UnsafeNoFsync: true})
	j := e.open(t)
	tl := tail(t, j, 0)
	var want []named
	for range 60 {
		c := strings.Repeat("x", 1000)
		want = append(want, named{c, result{revision: commit(t, j, c)[0]}})
	}
	until(t, "etcd has compacted", func() bool {
		return j.(*etcdJournal).readable(testContext(t), want[20].revision) != nil
	})
	edit(t, spoolFiles(t, j)[2], flip)
	for i := 0; ; {
		b, err := tl.Next(testContext(t))
		if errors.Is(err, ErrCompacted) {
			if i == 0 || i > 20 {
				t.Errorf("read %d commands", i)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(b.Commands) > 0 {
			if b.Revision != want[i].revision {
				t.Fatalf("command %d is at %d, not %d", i, b.Revision, want[i].revision)
			}
			i++
		}
	}
}

// TestSpoolOfAnotherJournal is set aside.
func TestSpoolOfAnotherJournal(t *testing.T) {
	t.Parallel()
	e := etcdEngine(t, Options{UnsafeNoFsync: true})
	j := e.open(t)
	commit(t, j, numbered(5)...)
	read(t, tail(t, j, 0), 5)
	opts := j.(*etcdJournal).opts
	closeJournal(t, j)
	if err := os.RemoveAll(opts.etcdDir()); err != nil {
		t.Fatal(err)
	}
	j = e.open(t)
	commit(t, j, "of the new one")
	if got := read(t, tail(t, j, 0), 1); got[0].cmd != "of the new one" {
		t.Errorf("read %+v", got)
	}
}

// TestDamagedValue: a batch whose stored bytes have changed is not handed out.
func TestDamagedValue(t *testing.T) {
	run(t, func(t *testing.T, e *engine) {
		j := e.open(t)
		revisions := commit(t, j, numbered(5)...)
		if e.name == "etcd" {
			closeJournal(t, j)
		}
		e.damage(t, revisions[2])
		if e.name == "etcd" {
			j = e.open(t)
		}
		tl := tail(t, j, 0)
		read(t, tl, 2)
		for range 2 { // it stays so
			_, err := tl.Next(testContext(t))
			var damage *Damage
			if !errors.As(err, &damage) || damage.Revision != revisions[2] {
				t.Fatalf("next: %v, want damage at %d", err, revisions[2])
			}
		}
	})
}

// TestLogThatLostItsEnd: a reader that is ahead of the log is told.
func TestLogThatLostItsEnd(t *testing.T) {
	run(t, func(t *testing.T, e *engine) {
		j := e.open(t)
		revision := commit(t, j, "last")[0]
		_, err := j.Tail(testContext(t), revision+1)
		var damage *Damage
		if !errors.As(err, &damage) {
			t.Errorf("tail: %v", err)
		}
	})
}

func TestOneTailer(t *testing.T) {
	t.Parallel()
	j := etcdEngine(t, Options{UnsafeNoFsync: true}).open(t)
	tail(t, j, 0)
	if _, err := j.Tail(context.Background(), 0); err == nil {
		t.Error("a second tailer")
	}
}

// ends reports whether the spool has come to revision.
func (s *spool) ends(revision uint64) bool {
	_, last, _ := s.covers()
	return last == revision
}
