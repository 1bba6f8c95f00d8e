// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience bounds every wait of the tests.
const patience = time.Minute

// engine is what the suite needs of an engine.
type engine struct {
	name string
	// open opens the journal, again and again on the same data. The journal is
	// closed at the end of the test.
	open func(t *testing.T) Journal
	// inject makes the attempts of journals opened later meet their fate.
	inject func(func(Attempt) Fate)
	// rival opens the journal as the same writer while j is open.
	rival func(t *testing.T, j Journal)
	// damage flips a bit in the stored batch at revision. The journal is closed.
	damage func(t *testing.T, revision uint64)
}

// runAll runs f over all engines, a cell of several nodes too, which takes longer.
func runAll(t *testing.T, f func(t *testing.T, e *engine)) {
	run(t, f)
	t.Run("cell", func(t *testing.T) {
		t.Parallel()
		f(t, cellEngine(t, Options{segment: 2 << 10, recent: 1 << 10, UnsafeNoFsync: true}))
	})
}

// run runs f over the engines with one copy of what they keep.
func run(t *testing.T, f func(t *testing.T, e *engine)) {
	t.Run("memory", func(t *testing.T) { f(t, memoryEngine(t)) })
	t.Run("etcd", func(t *testing.T) {
		t.Parallel()
		// Small pieces, so that short tests see many of them; the tests of durability
		// leave fsync on.
		f(t, etcdEngine(t, Options{segment: 2 << 10, recent: 1 << 10, UnsafeNoFsync: true}))
	})
	t.Run("remote", func(t *testing.T) {
		t.Parallel()
		f(t, remoteEngine(t, Options{segment: 2 << 10, recent: 1 << 10}))
	})
}

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// testLog shows what a failing test's journal had to say.
func testLog(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(testWriter{t}, nil))
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

func memoryEngine(t *testing.T) *engine {
	e := &engine{name: "memory"}
	var fault func(Attempt) Fate
	c := NewCluster(ClusterOptions{Log: testLog(t), Fault: func(a Attempt) Fate {
		if fault == nil {
			return Fate{}
		}
		return fault(a)
	}})
	e.open = func(t *testing.T) Journal {
		j, err := c.Writer(testContext(t), "a")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { closeJournal(t, j) })
		return j
	}
	e.inject = func(f func(Attempt) Fate) { fault = f }
	e.rival = func(t *testing.T, _ Journal) { e.open(t) }
	e.damage = func(t *testing.T, revision uint64) {
		if !c.Damage(revision) {
			t.Fatalf("no revision %d", revision)
		}
	}
	return e
}

func etcdEngine(t *testing.T, opts Options) *engine { return etcdEngineOn(t, opts, nil) }

// etcdEngineOn runs on a server of its own, nil: in this process.
func etcdEngineOn(t *testing.T, opts Options, remote *server) *engine {
	e := &engine{name: "etcd"}
	if remote != nil {
		e.name, opts.Remote = "remote", &Remote{Endpoints: []string{remote.endpoint}, Prefix: "cell/"}
	}
	dir := t.TempDir()
	opts.Name, opts.Dir, opts.SpoolDir = "a", filepath.Join(dir, "journal"), filepath.Join(dir, "spool")
	if opts.MinFree == 0 {
		opts.MinFree = 1
	}
	opts.Log = testLog(t)
	var fault func(Attempt) Fate
	e.open = func(t *testing.T) Journal {
		opts := opts
		if f := fault; f != nil {
			opts.wrapStore = func(s store) store { return &faultyStore{store: s, writer: "a", fault: f} }
		}
		j, err := OpenEtcd(testContext(t), opts)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { closeJournal(t, j) })
		return j
	}
	e.inject = func(f func(Attempt) Fate) { fault = f }
	e.rival = func(t *testing.T, j Journal) {
		s := &etcdStore{client: j.(*etcdJournal).client, key: batchPrefix + "a"}
		a := newAppender(s, "a", j.Incarnation()+1, testLog(t))
		if err := a.open(testContext(t)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(a.stop)
	}
	e.damage = func(t *testing.T, revision uint64) {
		if remote == nil {
			damageDatabase(t, opts.etcdDir(), revision)
			return
		}
		remote.stop()
		damageDatabase(t, remote.dir, revision)
		remote.start()
	}
	return e
}

func closeJournal(t testing.TB, j Journal) {
	t.Helper()
	if err := j.Close(); err != nil {
		t.Error(err)
	}
}

// faultyStore does to a real store what Fate says.
type faultyStore struct {
	store
	writer string
	fault  func(Attempt) Fate
	count  attemptCount
}

func (s *faultyStore) replace(ctx context.Context, last uint64, value []byte) (outcome, error) {
	b, err := decodeBatch(value)
	if err != nil {
		return outcome{}, err
	}
	fate := s.fault(Attempt{s.writer, b.counter, s.count.next(b.counter), len(b.commands)})
	if fate.Err != nil {
		return outcome{}, fate.Err
	}
	if fate.Lost {
		<-ctx.Done()
		return outcome{}, ctx.Err()
	}
	o, err := s.store.replace(ctx, last, value)
	if fate.Silent {
		<-ctx.Done()
		return outcome{}, ctx.Err()
	}
	return o, err
}

// result is what became of a command.
type result struct {
	revision uint64
	index    uint32
	err      error
}

// recorder collects outcomes.
type recorder struct {
	t    testing.TB
	mu   sync.Mutex
	list []named
	more chan struct{}
}

type named struct {
	cmd string
	result
}

func newRecorder(t testing.TB) *recorder { return &recorder{t: t, more: make(chan struct{}, 1)} }

func (r *recorder) settled(cmd string) Settled {
	return func(revision uint64, index uint32, err error) {
		r.mu.Lock()
		r.list = append(r.list, named{cmd, result{revision, index, err}})
		r.mu.Unlock()
		select {
		case r.more <- struct{}{}:
		default:
		}
	}
}

// wait returns the outcomes once there are n.
func (r *recorder) wait(n int) []named {
	r.t.Helper()
	timeout := time.After(patience)
	for {
		r.mu.Lock()
		list := append([]named(nil), r.list...)
		r.mu.Unlock()
		if len(list) >= n {
			if len(list) > n {
				r.t.Fatalf("%d outcomes, want %d", len(list), n)
			}
			return list
		}
		select {
		case <-r.more:
		case <-timeout:
			r.t.Fatalf("%d outcomes after %v, want %d", len(list), patience, n)
		}
	}
}

func (r *recorder) submit(j Journal, cmds ...string) {
	r.t.Helper()
	for _, c := range cmds {
		if err := j.Submit(testContext(r.t), []byte(c), r.settled(c)); err != nil {
			r.t.Fatalf("submit %.20q: %v", c, err)
		}
	}
}

// commit submits commands one batch after the other and returns their revisions.
func commit(t testing.TB, j Journal, cmds ...string) []uint64 {
	t.Helper()
	var revisions []uint64
	for _, c := range cmds {
		r := newRecorder(t)
		r.submit(j, c)
		o := r.wait(1)[0]
		if o.err != nil {
			t.Fatal(o.err)
		}
		revisions = append(revisions, o.revision)
	}
	return revisions
}

func tail(t testing.TB, j Journal, from uint64) Tailer {
	t.Helper()
	tl, err := j.Tail(testContext(t), from)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tl.Close() })
	return tl
}

// read takes n commands from a tailer, with their places.
func read(t testing.TB, tl Tailer, n int) []named {
	t.Helper()
	ctx := testContext(t)
	var out []named
	for len(out) < n {
		b, err := tl.Next(ctx)
		if err != nil {
			t.Fatalf("after %d of %d commands: %v", len(out), n, err)
		}
		for i, c := range b.Commands {
			out = append(out, named{string(c), result{b.Revision, uint32(i), nil}})
		}
	}
	if len(out) > n {
		t.Fatalf("%d commands, want %d", len(out), n)
	}
	return out
}

func same(t testing.TB, got, want []named) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d commands, want %d", len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("command %d is %.40q at %d/%d, want %.40q at %d/%d", i, got[i].cmd, got[i].revision, got[i].index,
				want[i].cmd, want[i].revision, want[i].index)
		}
	}
}

func numbered(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("command %d", i)
	}
	return out
}

func TestOrder(t *testing.T) {
	runAll(t, func(t *testing.T, e *engine) {
		j := e.open(t)
		tl := tail(t, j, 0)
		r := newRecorder(t)
		r.submit(j, numbered(500)...)
		settled := r.wait(500)
		for i, c := range numbered(500) {
			if settled[i].cmd != c || settled[i].err != nil {
				t.Fatalf("outcome %d is of %q: %v", i, settled[i].cmd, settled[i].err)
			}
		}
		same(t, read(t, tl, 500), settled)
		latest, err := j.Latest(testContext(t))
		if err != nil || latest != settled[499].revision {
			t.Fatalf("latest %d, %v; the last command is at %d", latest, err, settled[499].revision)
		}
	})
}

func TestRestart(t *testing.T) {
	runAll(t, func(t *testing.T, e *engine) {
		j := e.open(t)
		r := newRecorder(t)
		r.submit(j, numbered(20)...)
		want := r.wait(20)
		first := j.Incarnation()
		closeJournal(t, j)

		j = e.open(t)
		if j.Incarnation() == first {
			t.Error("the incarnation did not change")
		}
		r = newRecorder(t)
		r.submit(j, "after")
		want = append(want, r.wait(1)...)
		same(t, read(t, tail(t, j, 0), 21), want)
	})
}

func TestTailFromAnyRevision(t *testing.T) {
	runAll(t, func(t *testing.T, e *engine) {
		j := e.open(t)
		cmds := numbered(6)
		revisions := commit(t, j, cmds...)
		for i, from := range revisions[:5] {
			tl := tail(t, j, from)
			got := read(t, tl, 5-i)
			if got[0].cmd != cmds[i+1] || got[0].revision != revisions[i+1] {
				t.Errorf("after revision %d comes %q at %d", from, got[0].cmd, got[0].revision)
			}
			if err := tl.Close(); err != nil {
				t.Error(err)
			}
			if _, err := tl.Next(testContext(t)); !errors.Is(err, ErrClosed) {
				t.Errorf("next after close: %v", err)
			}
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := tail(t, j, revisions[5]).Next(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("next at the end: %v", err)
		}
	})
}
