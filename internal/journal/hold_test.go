// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap/zapcore"
)

// envHoldDir has the test binary be the process of TestHeld.
const envHoldDir = "BAVARD_TEST_HOLD_DIR"

// roomy is a disk whose free space a test sets, and a process that notes when it
// is asked to start anew.
type roomy struct {
	free  atomic.Uint64
	again chan struct{}
}

func newRoomy(free uint64) *roomy {
	r := &roomy{again: make(chan struct{}, 2)}
	r.free.Store(free)
	return r
}

func (r *roomy) options() Options {
	return Options{
		MinFree: 8 << 20, UnsafeNoFsync: true, Again: func() { r.again <- struct{}{} },
		free: func(string) (uint64, error) { return r.free.Load(), nil },
	}
}

func (r *roomy) asked() bool { return len(r.again) > 0 }

// TestHeld: an etcd that wants to end the process because it cannot write its
// snapshot is held; reading goes on, and there is a new start when there is room,
// with everything that was settled. What is held stays until its process ends.
func TestHeld(t *testing.T) {
	t.Parallel()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cmd := exec.CommandContext(testContext(t), exe)
	cmd.Env = append(os.Environ(), envHoldDir+"="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	opts := Options{Name: "a", Dir: filepath.Join(dir, "journal"), SpoolDir: filepath.Join(dir, "spool"), MinFree: 1, Log: testLog(t), UnsafeNoFsync: true}
	j, err := OpenEtcd(testContext(t), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeJournal(t, j) })
	reader := tail(t, j, 0)
	for {
		b, err := reader.Next(testContext(t))
		if err != nil {
			t.Fatalf("what was settled is not there after a new start: %v", err)
		}
		if len(b.Commands) == 1 && string(b.Commands[0]) == "before" {
			break
		}
	}
}

// beHeld is the process of TestHeld.
func beHeld(dir string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r := newRoomy(1 << 40)
	opts := r.options()
	opts.Name, opts.Dir, opts.SpoolDir = "a", filepath.Join(dir, "journal"), filepath.Join(dir, "spool")
	opened, err := OpenEtcd(ctx, opts)
	if err != nil {
		return err
	}
	j := opened.(*etcdJournal)
	reader, err := j.Tail(ctx, 0)
	if err != nil {
		return err
	}
	settled := make(chan error, 1)
	if err := j.Submit(ctx, []byte("before"), func(_ uint64, _ uint32, err error) { settled <- err }); err != nil {
		return err
	}
	if err := <-settled; err != nil {
		return err
	}
	// No snapshot can be made: that the database is open does no harm to it.
	snap := filepath.Join(j.opts.etcdDir(), "member", "snap")
	if err := errors.Join(os.Rename(snap, snap+"-away"), os.WriteFile(snap, nil, 0o600)); err != nil {
		return err
	}
	r.free.Store(0)
	for i := range snapshotCount + 2 {
		go func() { _, _ = j.client.Put(ctx, "fills/"+strconv.Itoa(i), "") }()
	}
	refused := func() bool {
		return errors.Is(j.Submit(ctx, []byte("probe"), func(uint64, uint32, error) {}), ErrFull)
	}
	if !becomes(ctx, j.holding.held.Load) || !becomes(ctx, refused) {
		return errors.New("etcd is not held, or commands are taken")
	}
	if s := j.Stats(); s.Full == "" || !s.HasLeader {
		return fmt.Errorf("stats %+v", s)
	}
	if b, err := reader.Next(ctx); err != nil || b.Counter != 1 {
		return fmt.Errorf("next: %+v, %w", b, err)
	}
	if r.asked() {
		return errors.New("a new start is asked for although there is no room")
	}
	if err := errors.Join(os.Remove(snap), os.Rename(snap+"-away", snap)); err != nil {
		return err
	}
	r.free.Store(1 << 40)
	if !becomes(ctx, r.asked) {
		return errors.New("no new start is asked for")
	}
	begun := time.Now()
	if err := j.Close(); err != nil {
		return err
	}
	if took := time.Since(begun); took > againWithin/2 {
		return fmt.Errorf("closing took %v", took)
	}
	if len(r.again) != 1 {
		return fmt.Errorf("a new start is asked for %d times", len(r.again))
	}
	return nil
}

// becomes waits until the condition holds.
func becomes(ctx context.Context, holds func() bool) bool {
	for !holds() {
		if !sleep(ctx, retryPause) {
			return false
		}
	}
	return true
}

// TestHeldForRoomOnly: with room on the disk etcd ends the process, as it must
// when it knows no more what is on it.
func TestHeldForRoomOnly(t *testing.T) {
	t.Parallel()
	r := newRoomy(1 << 40)
	e := etcdEngine(t, r.options())
	j := e.open(t).(*etcdJournal)
	j.holdUp("a bad sector", []zapcore.Field{{Interface: errors.New("input/output error")}}) // returns
	if j.holding.held.Load() || r.asked() {
		t.Error("it is held although the disk has room")
	}
}

// TestStartOnFullDisk: a run that begins there writes no snapshot, which would end
// it, and is not to last.
func TestStartOnFullDisk(t *testing.T) {
	t.Parallel()
	r := newRoomy(1 << 40)
	e := etcdEngine(t, r.options())
	j := e.open(t).(*etcdJournal)
	commit(t, j, "before")
	if j.holding.sparse {
		t.Error("no snapshots although there is room")
	}
	closeJournal(t, j)
	r.free.Store(0)
	j = e.open(t).(*etcdJournal)
	before := newest(t, j)
	for range 2*snapshotCount + 2 {
		if _, err := j.client.Put(t.Context(), "fills", ""); err != nil {
			t.Fatal(err)
		}
	}
	if after := newest(t, j); after != before {
		t.Errorf("snapshot %s after %s", after, before)
	}
	if b, err := tail(t, j, 0).Next(testContext(t)); err != nil || b.Counter != 1 {
		t.Errorf("next: %+v, %v", b, err)
	}
	if r.asked() {
		t.Error("a new start is asked for although there is no room")
	}
	r.free.Store(1 << 40)
	until(t, "a new start is asked for", r.asked)
}

// newest names etcd's newest snapshot, "" if there is none.
func newest(t *testing.T, j *etcdJournal) string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(j.opts.etcdDir(), "member", "snap", "*.snap"))
	if err != nil {
		t.Fatal(err)
	}
	if len(names) == 0 {
		return ""
	}
	return names[len(names)-1]
}
