// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"
)

// TestOpenGivesUp: an Open whose context has ended leaves nothing behind.
func TestOpenGivesUp(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	opts := Options{
		Name: "a", Dir: filepath.Join(dir, "journal"), SpoolDir: filepath.Join(dir, "spool"),
		Log: testLog(t), UnsafeNoFsync: true,
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if j, err := OpenEtcd(ctx, opts); !errors.Is(err, context.Canceled) {
		closeJournal(t, j)
		t.Errorf("open: %v", err)
	}
	j, err := OpenEtcd(testContext(t), opts)
	if err != nil {
		t.Fatal(err)
	}
	closeJournal(t, j)
}

// TestNoSockets: a single node's etcd listens on nothing.
func TestNoSockets(t *testing.T) {
	t.Parallel()
	e := etcdEngine(t, Options{UnsafeNoFsync: true})
	j := e.open(t).(*etcdJournal)
	if n := len(j.host.(*embedded).etcd.Peers) + len(j.host.(*embedded).etcd.Clients); n != 0 {
		t.Errorf("%d listeners", n)
	}
	err := filepath.WalkDir(j.opts.Dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type()&os.ModeSocket != 0 {
			t.Errorf("a socket: %s", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	for _, addr := range []string{"127.0.0.1:2379", "127.0.0.1:2380"} { // etcd's default ports
		if c, err := net.Dial("tcp", addr); err == nil {
			_ = c.Close()
			t.Errorf("something listens on %s", addr)
		}
	}
}

func TestEtcdLog(t *testing.T) {
	var out bytes.Buffer
	log := zapTo(slog.New(slog.NewTextHandler(&out, nil)), noMatter)
	log.Info("quiet")
	log.Warn("Running http and grpc server on single port. This is not recommended for production.")
	log.With(zap.String("with", "w")).Warn("warned", zap.Int("n", 3), zap.Error(errors.New("why")))
	for range 100 {
		log.Error("failed")
	}
	got := out.String()
	if strings.Count(got, "\n") != 1+sameMessages {
		t.Errorf("log:\n%s", got)
	}
	for _, want := range []string{`level=WARN msg="etcd: warned" part=etcd with=w n=3 error=why`, `level=ERROR msg="etcd: failed"`} {
		if !strings.Contains(got, want) {
			t.Errorf("log without %q:\n%s", want, got)
		}
	}
}

// TestStatsWhileDiskHangs: what a node knows of itself does not wait for its disk; else it would not know that it stores nothing.
func TestStatsWhileDiskHangs(t *testing.T) {
	t.Parallel()
	e := etcdEngine(t, Options{UnsafeNoFsync: true})
	j := e.open(t).(*etcdJournal)
	tail, err := j.Tail(testContext(t), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer tail.Close()
	want := j.Stats().SpoolBytes
	spool := j.currentTailer().spool
	spool.mu.Lock() // as while something is written
	defer spool.mu.Unlock()
	got := make(chan Stats, 1)
	go func() { got <- j.Stats() }()
	select {
	case s := <-got:
		if s.SpoolBytes != want || want == 0 {
			t.Errorf("the spool has %d bytes, and %d before", s.SpoolBytes, want)
		}
	case <-testContext(t).Done():
		t.Error("it waits for the disk")
	}
}
