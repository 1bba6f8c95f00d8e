// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// TestClusterOfThree: three writers, one order, seen alike by all.
func TestClusterOfThree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewCluster(ClusterOptions{Linger: time.Nanosecond})
		var journals []Journal
		r := newRecorder(t)
		for _, name := range []string{"a", "b", "c"} {
			j, err := c.Writer(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			defer closeJournal(t, j)
			journals = append(journals, j)
		}
		for i := range 30 {
			r.submit(journals[i%3], fmt.Sprint(i))
			time.Sleep(time.Millisecond)
		}
		want := r.wait(30)
		for _, j := range journals {
			same(t, read(t, tail(t, j, 0), 30), want)
		}
		// Only what all have released goes.
		journals[0].Release(want[20].revision)
		journals[1].Release(want[25].revision)
		tail(t, journals[0], 0)
		journals[2].Release(want[10].revision)
		if _, err := journals[0].Tail(t.Context(), want[9].revision); !errors.Is(err, ErrCompacted) {
			t.Errorf("tail: %v", err)
		}
		read(t, tail(t, journals[0], want[10].revision), 19)
	})
}

func TestWithoutQuorum(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewCluster(ClusterOptions{})
		j, err := c.Writer(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		defer closeJournal(t, j)
		c.SetQuorum(false)
		r := newRecorder(t)
		r.submit(j, "patient")
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if _, err := j.Latest(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("latest: %v", err)
		}
		if s := j.Stats(); s.HasLeader || s.Commands != 0 {
			t.Errorf("stats %+v", s)
		}
		c.SetQuorum(true)
		settled := r.wait(1)
		if got, err := j.Latest(t.Context()); err != nil || got != settled[0].revision {
			t.Errorf("latest %d, %v", got, err)
		}
	})
}

// TestWindowOfMemory: bytes win over those who release nothing.
func TestWindowOfMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, err := OpenMemory("a", ClusterOptions{Window: 1000, Linger: time.Nanosecond})
		if err != nil {
			t.Fatal(err)
		}
		defer closeJournal(t, j)
		early := tail(t, j, 0)
		commit(t, j, numbered(100)...)
		if s := j.Stats(); s.WindowBytes > 1000 {
			t.Errorf("%d bytes kept", s.WindowBytes)
		}
		read(t, early, 100)
		if err := early.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := j.Tail(t.Context(), 0); !errors.Is(err, ErrCompacted) {
			t.Errorf("tail: %v", err)
		}
	})
}

func TestMissingBatchIsDamage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewCluster(ClusterOptions{})
		j, err := c.Writer(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		defer closeJournal(t, j)
		revisions := commit(t, j, numbered(5)...)
		c.Drop(revisions[1])
		for _, tt := range []struct {
			from uint64
			ok   int
		}{{0, 1}, {revisions[0], 0}} {
			tl := tail(t, j, tt.from)
			read(t, tl, tt.ok)
			_, err := tl.Next(t.Context())
			var damage *Damage
			if !errors.As(err, &damage) || damage.Revision != revisions[2] {
				t.Errorf("from %d: %v", tt.from, err)
			}
		}
	})
}

// TestCrashLosesTheEnd: a log that lost its end says so to who had read it.
func TestCrashLosesTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewCluster(ClusterOptions{})
		j, err := c.Writer(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		revisions := commit(t, j, numbered(5)...)
		if end := c.Crash(2); end != revisions[2] {
			t.Errorf("the log ends at %d", end)
		}
		if err := j.Submit(t.Context(), nil, nil); !errors.Is(err, ErrClosed) {
			t.Errorf("submit: %v", err)
		}
		j, err = c.Writer(t.Context(), "a") // its first batch takes a lost revision
		if err != nil {
			t.Fatal(err)
		}
		defer closeJournal(t, j)
		var damage *Damage
		if _, err := j.Tail(t.Context(), revisions[4]); !errors.As(err, &damage) {
			t.Errorf("tail: %v", err)
		}
		commit(t, j, "new")
		got := read(t, tail(t, j, 0), 4)
		if got[2].cmd != "command 2" || got[3].cmd != "new" {
			t.Errorf("read %+v", got)
		}
	})
}

// TestRandomFaults: whatever happens to attempts, what is settled is in the log
// once, where it was settled; what is fenced is not; nothing is there twice; and
// each writer's commands are in their order.
func TestRandomFaults(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		plan := drawPlan(rt)
		synctest.Test(t, func(t *testing.T) { simulate(t, rt, plan) })
	})
}

type simStep struct {
	writer   int
	commands int
	reopen   bool
	crash    bool
	wait     time.Duration
}

type simPlan struct {
	alone bool // one writer, opened once
	steps []simStep
	fates []Fate
}

func drawPlan(rt *rapid.T) simPlan {
	p := simPlan{alone: rapid.Bool().Draw(rt, "alone")}
	for range rapid.IntRange(1, 25).Draw(rt, "steps") {
		p.steps = append(p.steps, simStep{
			writer:   rapid.IntRange(0, 2).Draw(rt, "writer"),
			commands: rapid.IntRange(0, 5).Draw(rt, "commands"),
			reopen:   rapid.IntRange(0, 9).Draw(rt, "reopen") == 0,
			crash:    rapid.IntRange(0, 29).Draw(rt, "crash") == 0,
			wait:     time.Duration(rapid.SampledFrom([]int{0, 1, 50, 210, 1000}).Draw(rt, "wait")) * time.Millisecond,
		})
	}
	for range rapid.IntRange(1, 20).Draw(rt, "fates") {
		p.fates = append(p.fates, Fate{
			Delay:  time.Duration(rapid.SampledFrom([]int{0, 0, 1, 150, 199, 201, 450}).Draw(rt, "delay")) * time.Millisecond,
			Lost:   rapid.IntRange(0, 4).Draw(rt, "lost") == 0,
			Silent: rapid.IntRange(0, 4).Draw(rt, "silent") == 0,
		})
	}
	p.fates = append(p.fates, Fate{}) // so that every plan comes to an end
	if p.alone {
		for i, s := range p.steps {
			p.steps[i] = simStep{commands: s.commands, wait: s.wait}
		}
	}
	return p
}

// simulate gives all that was settled, then all that the log holds.
func simulate(t *testing.T, rt *rapid.T, p simPlan) []named {
	ctx := t.Context()
	c := NewCluster(ClusterOptions{Linger: time.Nanosecond, Fault: func(a Attempt) Fate {
		return p.fates[(int(a.Counter)*7+a.Try+int(a.Writer[0]))%len(p.fates)]
	}})
	names := []string{"a", "b", "c"}
	if p.alone {
		names = names[:1]
	}
	open := make([]Journal, len(names))
	var mu sync.Mutex
	var settled []named
	reopen := func(w int) {
		j, err := c.Writer(ctx, names[w])
		if err != nil {
			rt.Fatal(err)
		}
		if open[w] != nil {
			old := open[w]
			defer func() { _ = old.Close() }()
		}
		open[w] = j
	}
	for w := range open {
		reopen(w)
	}
	n := 0
	submitted := map[string][]string{}
	for _, s := range p.steps {
		if s.crash {
			c.Crash(0)
			for w := range open {
				reopen(w)
			}
		}
		if s.reopen {
			reopen(s.writer)
		}
		for range s.commands {
			n++
			cmd := fmt.Sprintf("%s%d", names[s.writer], n)
			err := open[s.writer].Submit(ctx, []byte(cmd), func(revision uint64, index uint32, err error) {
				mu.Lock()
				defer mu.Unlock()
				settled = append(settled, named{cmd, result{revision, index, err}})
			})
			if err != nil {
				rt.Fatal(err)
			}
			submitted[names[s.writer]] = append(submitted[names[s.writer]], cmd)
		}
		time.Sleep(s.wait)
		synctest.Wait()
	}
	time.Sleep(time.Hour)
	synctest.Wait()
	log := drain(rt, open[0])
	for _, j := range open {
		_ = j.Close()
	}
	judge(rt, submitted, settled, log)
	return append(settled, log...)
}

func drain(rt *rapid.T, j Journal) []named {
	tl, err := j.Tail(context.Background(), 0)
	if err != nil {
		rt.Fatal(err)
	}
	defer tl.Close()
	end, err := j.Latest(context.Background())
	if err != nil {
		rt.Fatal(err)
	}
	var out []named
	for last := uint64(0); last < end; {
		b, err := tl.Next(context.Background())
		if err != nil {
			rt.Fatal(err)
		}
		last = b.Revision
		for i, cmd := range b.Commands {
			out = append(out, named{string(cmd), result{b.Revision, uint32(i), nil}})
		}
	}
	return out
}

func judge(rt *rapid.T, submitted map[string][]string, settled, log []named) {
	at := map[string]result{}
	for _, l := range log {
		if _, twice := at[l.cmd]; twice {
			rt.Fatalf("%s is there twice", l.cmd)
		}
		at[l.cmd] = l.result
	}
	told := map[string]bool{}
	for _, s := range settled {
		if told[s.cmd] {
			rt.Fatalf("%s was settled twice", s.cmd)
		}
		told[s.cmd] = true
		place, ok := at[s.cmd]
		switch {
		case s.err == nil && place != s.result:
			rt.Fatalf("%s was settled at %+v and is at %+v", s.cmd, s.result, place)
		case errors.Is(s.err, ErrFenced) && ok:
			rt.Fatalf("%s was fenced and is at %+v", s.cmd, place)
		case s.err != nil && !errors.Is(s.err, ErrFenced) && !errors.Is(s.err, ErrClosed):
			rt.Fatalf("%s was settled with %v", s.cmd, s.err)
		}
	}
	for writer, cmds := range submitted {
		last := result{}
		for _, cmd := range cmds {
			if !told[cmd] {
				rt.Fatalf("%s of %s was never settled", cmd, writer)
			}
			if place, ok := at[cmd]; ok {
				if !before(last, place) {
					rt.Fatalf("%s at %+v is out of order", cmd, place)
				}
				last = place
			}
		}
	}
}
