// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestLowDisk: below the mark nothing is taken, reading goes on, and it is over
// when there is room.
func TestLowDisk(t *testing.T) {
	t.Parallel()
	var free atomic.Uint64
	free.Store(1 << 30)
	e := etcdEngine(t, Options{MinFree: 1 << 20, UnsafeNoFsync: true, free: func(string) (uint64, error) { return free.Load(), nil }})
	j := e.open(t)
	commit(t, j, "before")
	free.Store(1<<20 - 1)
	refused := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		return j.Submit(ctx, []byte("probe"), func(uint64, uint32, error) {})
	}
	until(t, "commands are refused", func() bool { return refused() != nil })
	if err := refused(); !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), "MiB free") {
		t.Errorf("submit: %v", err)
	}
	if s := j.Stats(); !strings.Contains(s.Full, "MiB free") {
		t.Errorf("stats %+v", s)
	}
	if _, err := j.Latest(testContext(t)); err != nil {
		t.Error(err)
	}
	b, err := tail(t, j, 0).Next(testContext(t))
	if err != nil || b.Counter != 1 {
		t.Errorf("next: %+v, %v", b, err)
	}
	free.Store(1<<20 + 1<<17) // an eighth more
	until(t, "commands are taken", func() bool { return refused() == nil })
}

// TestReserve: room is kept for a start on a full disk, given up for it, and kept
// again when there is room.
func TestReserve(t *testing.T) {
	t.Parallel()
	var free atomic.Uint64
	free.Store(1 << 40)
	e := etcdEngine(t, Options{MinFree: 8 << 20, UnsafeNoFsync: true, free: func(string) (uint64, error) { return free.Load(), nil }})
	j := e.open(t)
	file := filepath.Join(j.(*etcdJournal).opts.Dir, reserveFile)
	kept := func() bool {
		info, err := os.Stat(file)
		return err == nil && info.Size() == 2<<20
	}
	if !kept() {
		t.Fatal("nothing is kept in reserve")
	}
	closeJournal(t, j)
	free.Store(1)
	j = e.open(t)
	if kept() {
		t.Error("the reserve was not given up for the start")
	}
	if j.MakeRoom() {
		t.Error("the reserve is given up twice")
	}
	if err := j.Submit(testContext(t), []byte("probe"), func(uint64, uint32, error) {}); !errors.Is(err, ErrFull) {
		t.Errorf("submit: %v", err)
	}
	free.Store(1 << 40)
	until(t, "the reserve is back", kept)
	if !j.MakeRoom() || kept() {
		t.Error("the reserve cannot be given up")
	}
}

// TestSpoolLimit: a view that makes nothing durable ends in refusal, not in a
// full disk.
func TestSpoolLimit(t *testing.T) {
	t.Parallel()
	e := etcdEngine(t, Options{MaxSpool: 1 << 20, segment: 64 << 10, UnsafeNoFsync: true})
	j := e.open(t)
	tl := tail(t, j, 0)
	big := strings.Repeat("x", 100<<10)
	var last uint64
	until(t, "commands are refused", func() bool {
		done := make(chan uint64, 1)
		err := j.Submit(t.Context(), []byte(big), func(revision uint64, _ uint32, err error) { done <- revision })
		if err != nil && !errors.Is(err, ErrFull) {
			t.Fatal(err)
		}
		if err == nil {
			last = <-done
		}
		return err != nil
	})
	for b := (Batch{}); b.Revision < last; {
		var err error
		if b, err = tl.Next(testContext(t)); err != nil {
			t.Fatal(err)
		}
	}
	j.Release(last)
	until(t, "commands are taken", func() bool {
		return j.Submit(t.Context(), []byte("probe"), func(uint64, uint32, error) {}) == nil
	})
}

// TestQuota: when etcd's database is full, nothing is lost, commands are refused,
// and what the view releases makes room, without anyone's help.
func TestQuota(t *testing.T) {
	t.Parallel()
	e := etcdEngine(t, Options{Quota: 8 << 20, UnsafeNoFsync: true})
	j := e.open(t)
	tl := tail(t, j, 0)
	r := newRecorder(t)
	big := strings.Repeat("x", MaxCommand)
	n := 0
	until(t, "commands are refused", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		err := j.Submit(ctx, []byte(big), r.settled(big))
		if err != nil && !errors.Is(err, ErrFull) && !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		if err == nil {
			n++
		}
		return errors.Is(err, ErrFull)
	})
	go func() { // what a view does
		for {
			b, err := tl.Next(context.Background())
			if err != nil {
				return
			}
			j.Release(b.Revision)
		}
	}()
	for _, s := range r.wait(n) {
		if s.err != nil {
			t.Fatal(s.err)
		}
	}
	until(t, "commands are taken", func() bool {
		return j.Submit(t.Context(), []byte("probe"), func(uint64, uint32, error) {}) == nil
	})
	alarms, err := j.(*etcdJournal).client.AlarmList(testContext(t))
	if err != nil || len(alarms.Alarms) != 0 {
		t.Errorf("alarms %v, %v", alarms, err)
	}
}

func TestDirectoryInUse(t *testing.T) {
	t.Parallel()
	e := etcdEngine(t, Options{UnsafeNoFsync: true})
	j := e.open(t)
	opts := j.(*etcdJournal).opts
	if _, err := OpenEtcd(testContext(t), opts); err == nil || !strings.Contains(err.Error(), "in use by process") {
		t.Errorf("opened twice: %v", err)
	}
	info, err := os.Stat(opts.Dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory %v, %v", info.Mode(), err)
	}
	closeJournal(t, j)
	j = e.open(t)
	commit(t, j, "works again")
}

func TestOptionsAreChecked(t *testing.T) {
	dir := t.TempDir()
	for name, opts := range map[string]Options{
		"no name":                   {Dir: dir, SpoolDir: dir},
		"bad name":                  {Name: "a/b", Dir: dir, SpoolDir: dir},
		"long name":                 {Name: strings.Repeat("a", 65), Dir: dir, SpoolDir: dir},
		"no dir":                    {Name: "a", SpoolDir: dir},
		"no spool":                  {Name: "a", Dir: dir},
		"cell without certificates": {Name: "a", Dir: dir, SpoolDir: dir, Peers: &Peers{Members: map[string]string{"a": "127.0.0.1:1", "b": "127.0.0.1:2"}}},
		"file as dir":               {Name: "a", Dir: filepath.Join(dir, "file"), SpoolDir: dir},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if j, err := OpenEtcd(testContext(t), opts); err == nil {
				closeJournal(t, j)
				t.Error("opened")
			}
		})
	}
}

func TestWindowPlan(t *testing.T) {
	now := time.Unix(1000, 0)
	w := newWindow(64 << 20)
	w.at = now
	for i := range uint64(20) {
		w.add(10+i, 1<<20)
		w.add(10+i, 1<<20) // seen again
	}
	plan := func(at time.Time, spooled, want uint64) {
		t.Helper()
		if got := w.plan(at, nodeState{w.releasedTo(), spooled}); got != want {
			t.Errorf("plan %d, want %d", got, want)
		}
	}
	plan(now, 29, 0)
	w.release(12)
	plan(now, 29, 0)
	plan(now.Add(compactAfter), 29, 12) // time has passed
	w.release(14)
	plan(now, 29, 14) // enough bytes
	w.compactedTo(14, now)
	plan(now.Add(time.Hour), 29, 0) // nothing new
	for i := range uint64(60) {
		w.add(100+i, 1<<20)
	}
	plan(now, 0, 0)         // over the limit, but nothing is spooled
	plan(now, 20, 20)       // as far as it is spooled
	plan(now, 159, 111)     // down to three quarters of the limit
	w.release(140)          // or what is released, if that is more
	plan(now, 159, 140)     //
	w.compactedTo(140, now) //
	if s := new(Stats); w.bytes != 19<<20 {
		w.fill(s)
		t.Errorf("stats %+v", s)
	}
}

// TestSpoolCannotBeWritten: reading goes on while the spool cannot be written, and
// the spool is whole again when it can.
func TestSpoolCannotBeWritten(t *testing.T) {
	t.Parallel()
	e := etcdEngine(t, Options{segment: 2 << 10, recent: 1 << 10, UnsafeNoFsync: true})
	j := e.open(t)
	tl := tail(t, j, 0)
	want := numbered(300)
	commit(t, j, want[:100]...)
	read(t, tl, 50) // the reader lags, and has to find its place
	s := tl.(*etcdTailer).spool
	swap := func(flag int) {
		s.mu.Lock()
		defer s.mu.Unlock()
		last := s.segments[len(s.segments)-1]
		f, err := os.OpenFile(last.path, flag, 0)
		if err != nil {
			t.Fatal(err)
		}
		s.closeActiveLocked()
		s.active, s.limit = f, 1<<20
	}
	swap(os.O_RDONLY)
	commit(t, j, want[100:200]...)
	got := read(t, tl, 150)
	if got[149].cmd != want[199] {
		t.Fatalf("read %q", got[149].cmd)
	}
	if _, last, _ := s.covers(); last >= got[149].revision {
		t.Fatal("the spool was written")
	}
	swap(os.O_RDWR)
	commit(t, j, want[200:]...)
	until(t, "the spool is whole", func() bool {
		_, last, _ := s.covers()
		latest, err := j.Latest(testContext(t))
		return err == nil && last == latest
	})
	for i, c := range read(t, tl, 100) {
		if c.cmd != want[200+i] {
			t.Fatalf("command %d is %q", i, c.cmd)
		}
	}
	closeJournal(t, j)
	for i, c := range read(t, tail(t, e.open(t), 0), 300) {
		if c.cmd != want[i] {
			t.Fatalf("command %d is %q", i, c.cmd)
		}
	}
}
