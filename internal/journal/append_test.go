// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// gate holds attempts for batches from a counter on back until it is opened.
type gate struct {
	from    uint64
	arrived chan struct{}
	open    chan struct{}
	once    sync.Once
}

func newGate(from uint64) *gate {
	return &gate{from: from, arrived: make(chan struct{}), open: make(chan struct{})}
}

func (g *gate) fate(a Attempt) Fate {
	if a.Counter >= g.from {
		g.once.Do(func() { close(g.arrived) })
		<-g.open
	}
	return Fate{}
}

func await(t testing.TB, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatal("nothing happened")
	}
}

// until polls for a condition that nothing announces.
func until(t testing.TB, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(patience)
	for !cond() {
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("not so after %v: %s", patience, what)
		}
	}
}

func TestGroupCommit(t *testing.T) {
	run(t, func(t *testing.T, e *engine) {
		g := newGate(2)
		e.inject(g.fate)
		j := e.open(t)
		r := newRecorder(t)
		r.submit(j, "first")
		await(t, g.arrived)
		r.submit(j, numbered(100)...)
		if s := j.Stats(); s.Queued != 100 || s.QueuedBytes <= 0 || s.Unsettled <= 0 {
			t.Errorf("%d commands and %d bytes queued, and a batch on its way for %v", s.Queued, s.QueuedBytes, s.Unsettled)
		}
		close(g.open)
		settled := r.wait(101)
		for i, s := range settled[1:] {
			if s.revision != settled[1].revision || s.index != uint32(i) {
				t.Fatalf("command %d is at %d/%d: not one batch", i, s.revision, s.index)
			}
		}
		if s := j.Stats(); s.Batches != 2 || s.Commands != 101 || s.Queued != 0 || s.QueuedBytes != 0 || s.Unsettled != 0 {
			t.Errorf("stats %+v", s)
		}
	})
}

func TestBatchesAreBounded(t *testing.T) {
	run(t, func(t *testing.T, e *engine) {
		g := newGate(2)
		e.inject(g.fate)
		j := e.open(t)
		tl := tail(t, j, 0)
		r := newRecorder(t)
		r.submit(j, "first")
		await(t, g.arrived)
		big := strings.Repeat("x", MaxCommand)
		r.submit(j, big, big, big, "last")
		close(g.open)
		settled := r.wait(5)
		if a, b := settled[1].revision, settled[2].revision; a >= b {
			t.Errorf("two commands of %d bytes are at %d and %d", MaxCommand, a, b)
		}
		same(t, read(t, tl, 5), settled)
		if err := j.Submit(testContext(t), make([]byte, MaxCommand+1), nil); !errors.Is(err, ErrTooLarge) {
			t.Errorf("a command too large: %v", err)
		}
	})
}

// TestRetry: whatever happens to attempts, the command is there once.
func TestRetry(t *testing.T) {
	fates := map[string]Fate{
		"applied but not answered": {Silent: true},
		"lost":                     {Lost: true},
		"refused":                  {Err: errors.New("no leader")},
	}
	for name, fate := range fates {
		t.Run(name, func(t *testing.T) {
			runAll(t, func(t *testing.T, e *engine) {
				e.inject(func(a Attempt) Fate {
					if a.Try <= 2 {
						return fate
					}
					return Fate{}
				})
				j := e.open(t)
				tl := tail(t, j, 0)
				r := newRecorder(t)
				r.submit(j, "one")
				r.wait(1)
				r.submit(j, "two")
				settled := r.wait(2)
				for _, s := range settled {
					if s.err != nil {
						t.Error(s.err)
					}
				}
				same(t, read(t, tl, 2), settled)
				if j.Stats().Retries == 0 {
					t.Error("no retries counted")
				}
			})
		})
	}
}

func TestFencing(t *testing.T) {
	runAll(t, func(t *testing.T, e *engine) {
		j := e.open(t)
		commit(t, j, "before")
		e.rival(t, j)
		r := newRecorder(t)
		r.submit(j, "fenced")
		if err := r.wait(1)[0].err; !errors.Is(err, ErrFenced) {
			t.Errorf("settled with %v", err)
		}
		// Those behind it are refused as well, when they are taken or settled.
		later := make(chan error, 1)
		err := j.Submit(testContext(t), []byte("later"), func(_ uint64, _ uint32, err error) { later <- err })
		if err == nil {
			err = <-later
		}
		if !errors.Is(err, ErrFenced) {
			t.Errorf("submit: %v", err)
		}
		read(t, tail(t, j, 0), 1)
	})
}

// TestFencedInFlight: what had been applied before the other incarnation came is
// not called fenced, for that would say that it never took effect.
func TestFencedInFlight(t *testing.T) {
	for name, applied := range map[string]bool{"applied": true, "not applied": false} {
		t.Run(name, func(t *testing.T) {
			run(t, func(t *testing.T, e *engine) {
				var first atomic.Bool
				first.Store(true)
				var second sync.Once
				again, rivalled := make(chan struct{}), make(chan struct{})
				e.inject(func(a Attempt) Fate {
					switch {
					case a.Counter != 2 || a.Commands == 0:
						return Fate{}
					case first.Swap(false):
						return Fate{Silent: applied, Lost: !applied}
					}
					second.Do(func() { close(again) })
					<-rivalled
					return Fate{}
				})
				j := e.open(t)
				r := newRecorder(t)
				r.submit(j, "in flight")
				await(t, again)
				e.rival(t, j)
				close(rivalled)
				err := r.wait(1)[0].err
				if applied && (!errors.Is(err, ErrClosed) || errors.Is(err, ErrFenced)) {
					t.Errorf("applied, settled with %v", err)
				}
				if !applied && !errors.Is(err, ErrFenced) {
					t.Errorf("not applied, settled with %v", err)
				}
			})
		})
	}
}

func TestQueueIsBounded(t *testing.T) {
	run(t, func(t *testing.T, e *engine) {
		g := newGate(2)
		e.inject(g.fate)
		j := e.open(t)
		r := newRecorder(t)
		r.submit(j, "first")
		await(t, g.arrived)
		n := 1
		big := strings.Repeat("x", MaxCommand)
		for j.Stats().QueuedBytes+MaxCommand+commandOverhead <= queueBytes {
			r.submit(j, big)
			n++
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		defer cancel()
		if err := j.Submit(ctx, []byte(big), r.settled("given up")); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("submit to a full queue: %v", err)
		}
		blocked := make(chan error, 1)
		go func() { blocked <- j.Submit(testContext(t), []byte(big), r.settled("blocked")) }()
		close(g.open)
		if err := <-blocked; err != nil {
			t.Fatal(err)
		}
		for _, s := range r.wait(n + 1) {
			if s.err != nil {
				t.Fatal(s.err)
			}
		}
	})
}

func TestCloseSettlesAll(t *testing.T) {
	run(t, func(t *testing.T, e *engine) {
		e.inject(func(a Attempt) Fate { return Fate{Lost: a.Commands > 0} })
		j := e.open(t)
		tl := tail(t, j, 0)
		if b, err := tl.Next(testContext(t)); err != nil || b.Counter != 1 || len(b.Commands) != 0 {
			t.Fatalf("the first batch is %+v, %v", b, err)
		}
		r := newRecorder(t)
		r.submit(j, numbered(50)...)
		next := make(chan error, 1)
		go func() {
			_, err := tl.Next(context.Background())
			next <- err
		}()
		closeJournal(t, j)
		for _, s := range r.wait(50) {
			if !errors.Is(s.err, ErrClosed) {
				t.Fatalf("settled with %v", s.err)
			}
		}
		if err := <-next; !errors.Is(err, ErrClosed) {
			t.Errorf("next: %v", err)
		}
		if err := j.Submit(testContext(t), nil, nil); !errors.Is(err, ErrClosed) {
			t.Errorf("submit: %v", err)
		}
		if _, err := j.Latest(testContext(t)); !errors.Is(err, ErrClosed) {
			t.Errorf("latest: %v", err)
		}
		if _, err := j.Tail(testContext(t), 0); !errors.Is(err, ErrClosed) {
			t.Errorf("tail: %v", err)
		}
		closeJournal(t, j) // again
	})
}

func TestCloseReleasesBlockedSubmitters(t *testing.T) {
	run(t, func(t *testing.T, e *engine) {
		e.inject(func(a Attempt) Fate { return Fate{Lost: a.Commands > 0} })
		j := e.open(t)
		big := make([]byte, MaxCommand)
		var wg sync.WaitGroup
		var refused atomic.Int32
		for range 40 { // twice the queue
			wg.Go(func() {
				err := j.Submit(testContext(t), big, func(uint64, uint32, error) {})
				if err != nil && !errors.Is(err, ErrClosed) {
					t.Error(err)
				}
				if err != nil {
					refused.Add(1)
				}
			})
		}
		until(t, "the queue is full", func() bool { return j.Stats().QueuedBytes+MaxCommand >= queueBytes })
		closeJournal(t, j)
		wg.Wait()
		if refused.Load() == 0 {
			t.Error("nobody was blocked")
		}
	})
}

func TestManyWriters(t *testing.T) {
	runAll(t, func(t *testing.T, e *engine) {
		j := e.open(t)
		tl := tail(t, j, 0)
		const workers, each = 16, 50
		var wg sync.WaitGroup
		recorders := make([]*recorder, workers)
		for w := range workers {
			recorders[w] = newRecorder(t)
			wg.Go(func() { recorders[w].submit(j, numbered(each)...) })
		}
		wg.Wait()
		at := map[result]string{}
		for _, r := range recorders {
			settled := r.wait(each)
			for i, s := range settled {
				if s.err != nil || i > 0 && !before(settled[i-1].result, s.result) {
					t.Fatalf("outcome %d: %+v", i, s)
				}
				at[s.result] = s.cmd
			}
		}
		if len(at) != workers*each {
			t.Fatalf("%d places for %d commands", len(at), workers*each)
		}
		for _, got := range read(t, tl, workers*each) {
			if at[got.result] != got.cmd {
				t.Fatalf("%q is where %q was settled", got.cmd, at[got.result])
			}
		}
	})
}

func before(a, b result) bool {
	return a.revision < b.revision || a.revision == b.revision && a.index < b.index
}

// TestSlowStore: where each answer takes longer than the time after which another attempt is made, what is
// appended takes no longer than one answer.
func TestSlowStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const takes = 1100 * time.Millisecond
		c := NewCluster(ClusterOptions{Linger: time.Nanosecond, Fault: func(Attempt) Fate { return Fate{Delay: takes} }})
		j, err := c.Writer(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			begun := time.Now()
			if commit(t, j, "something"); time.Since(begun) > takes+time.Millisecond {
				t.Errorf("it took %v", time.Since(begun))
			}
		}
		closeJournal(t, j)
	})
}
