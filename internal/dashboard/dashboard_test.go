// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// recorder of a node that runs until the test ends; its n-th sample has n sessions.
func recorder(ctx context.Context, version string) *Recorder {
	n := 0
	r := NewRecorder(func() Sample {
		n++
		return Sample{At: time.Now().UnixMilli(), Sessions: n}
	}, func() About { return About{Version: version} })
	go r.Run(ctx)
	return r
}

func TestRecorderKeeps15Minutes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer synctest.Wait()
		defer cancel()
		r := recorder(ctx, "1")
		time.Sleep(20*time.Minute + Every/2)
		all := r.Report("", 7)
		if n := len(all.Samples); n != Kept || all.Next != 1200 || all.Samples[0].Sessions != 301 || all.Samples[Kept-1].Sessions != 1200 {
			t.Fatalf("%d samples, from %+v, next %d", n, all.Samples[0], all.Next)
		}
		if none := r.Report(all.Run, all.Next); len(none.Samples) != 0 {
			t.Errorf("%d are new at once", len(none.Samples))
		}
		time.Sleep(3 * Every)
		if some := r.Report(all.Run, all.Next); len(some.Samples) != 3 || some.Samples[0].Sessions != 1201 {
			t.Errorf("what is new after 3 s: %+v", some.Samples)
		}
		for _, next := range []uint64{1 << 63, 0} { // from another process, or nonsense: all there is
			if n := len(r.Report(all.Run, next).Samples); n != Kept {
				t.Errorf("after %d: %d samples", next, n)
			}
		}
	})
}

// TestRecorderThatWasLate: what is a second's is not said of an instant.
func TestRecorderThatWasLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer synctest.Wait()
		defer cancel()
		n := 0
		r := NewRecorder(func() Sample {
			at := time.Now().UnixMilli()
			if n++; n == 2 {
				time.Sleep(2*Every - Every/10)
			}
			return Sample{At: at}
		}, func() About { return About{} })
		go r.Run(ctx)
		time.Sleep(6*Every + Every/2)
		all := r.Report("", 0).Samples
		for i := 1; i < len(all); i++ {
			if since := all[i].At - all[i-1].At; since < (Every / 2).Milliseconds() {
				t.Errorf("sample %d comes %d ms after the one before", i, since)
			}
		}
		if len(all) != 5 {
			t.Errorf("%d samples", len(all))
		}
	})
}

// TestCellShowsWhoAnswers: three nodes, of which one dies and comes back as another process,
// and one is of a version that does not know the question.
func TestCellShowsWhoAnswers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer synctest.Wait()
		defer cancel()
		a := recorder(ctx, "1")
		var b atomic.Pointer[Recorder] // nil: it is dead
		b.Store(recorder(ctx, "2"))
		const ahead = 2 * time.Hour // of b's clock
		c := NewCell(CellOptions{
			Domain: "example.org",
			Nodes:  func() []Node { return []Node{{Name: "a", Self: true}, {Name: "b"}, {Name: "c"}} },
			Ask: func(ctx context.Context, node, run string, next uint64) (Report, error) {
				switch node {
				case "a":
					return a.Report(run, next), nil
				case "b":
					b := b.Load()
					if b == nil {
						return Report{}, errors.New("no way to it")
					}
					r := b.Report(run, next)
					r.Now += ahead.Milliseconds()
					for i := range r.Samples {
						r.Samples[i].At += ahead.Milliseconds()
					}
					return r, nil
				}
				return Report{}, ErrOlder
			},
		})
		go c.Run(ctx)
		time.Sleep(time.Minute + Every/2)
		seen := c.See("", 0)
		states := func(s Seen) (all []State) {
			for _, n := range s.Nodes {
				all = append(all, n.State)
			}
			return all
		}
		is := func(s Seen, want ...State) {
			t.Helper()
			for i, got := range states(s) {
				if got != want[i] {
					t.Errorf("the nodes are %v, want %v", states(s), want)
					return
				}
			}
		}
		is(seen, Answers, Answers, Older)
		for _, n := range seen.Nodes[:2] {
			last := n.Samples[len(n.Samples)-1]
			if age := time.Duration(seen.Now-last.At) * time.Millisecond; len(n.Samples) < 58 || age < 0 || age > 3*time.Second {
				t.Errorf("node %s: %d samples, the last one is %v old", n.Name, len(n.Samples), age)
			}
		}
		if b := seen.Nodes[1].About; b.Version != "2" || b.Failing == nil || b.Warnings == nil {
			t.Errorf("b says %+v", b)
		}

		// b dies: it is told, with when it was last heard, and what it said stays.
		b.Store(nil)
		heard := seen.Nodes[1].Heard
		time.Sleep(10 * time.Second)
		later := c.See(seen.Run, seen.Next)
		is(later, Answers, Silent, Older)
		if n := later.Nodes[1]; n.About == nil || n.Heard-heard > 1000 || len(n.Samples) > 1 {
			t.Errorf("b, which is dead: %+v", n)
		}
		if n := len(later.Nodes[0].Samples); n < 9 || n > 11 {
			t.Errorf("%d samples of a are new after 10 s", n)
		}

		// It comes back as another process.
		b.Store(recorder(ctx, "3"))
		time.Sleep(5 * time.Second)
		last := c.See(later.Run, later.Next)
		is(last, Answers, Answers, Older)
		if n := last.Nodes[1]; n.About.Version != "3" || len(n.Samples) < 3 || len(n.Samples) > 6 {
			t.Errorf("b, which is back: %+v", n)
		}
		// Another page is given all there is.
		if n := len(c.See("another", last.Next).Nodes[1].Samples); n < 62 {
			t.Errorf("another page is given %d samples of b", n)
		}
		time.Sleep(Kept * Every)
		if n := len(c.See("", 0).Nodes[0].Samples); n != Kept {
			t.Errorf("%d samples are kept", n)
		}
	})
}
