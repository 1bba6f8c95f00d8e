// SPDX-License-Identifier: Apache-2.0

package server

import (
	"fmt"
	"testing"
	"time"

	"bavard/internal/mesh"
)

// TestPace: who comes is sent elsewhere after answers were surely late, who is there after they were for longer; never while most
// others are late, too, and again and again only with growing pauses.
func TestPace(t *testing.T) {
	t.Parallel()
	p, now := &pace{}, time.Now()
	p.looked = now
	// is goes on for a while; it gives how often those who are there were sent away.
	is := func(late, enough bool, d time.Duration) (left int) {
		for range d / paceEvery {
			now = now.Add(paceEvery)
			if p.step(now, late, enough) {
				left++
			}
		}
		return left
	}
	wants := func(what string, shut bool) {
		t.Helper()
		if p.shut.Load() != shut {
			t.Fatalf("%s: it sends people elsewhere: %t", what, !shut)
		}
	}
	is(true, true, surelySlow-paceEvery)
	is(false, true, paceEvery)
	is(true, true, surelySlow-paceEvery)
	wants("an answer came in time meanwhile", false)
	is(true, false, time.Minute)
	wants("others are slow, too", false)
	is(true, true, surelySlow-paceEvery)
	wants("others are well again a moment before it is", false)
	is(false, true, paceEvery)
	if left := is(true, true, surelySlow); left != 0 {
		t.Errorf("those who are there were sent away %d times at once", left)
	}
	wants("it was late for long enough", true)
	is(false, true, wellAgain-paceEvery)
	wants("it is well for a moment", true)
	if left := is(true, true, time.Minute); left != 1 {
		t.Errorf("those who are there were sent away %d times in a minute", left)
	}
	is(true, false, paceEvery)
	wants("others are slow now", false)

	// It is slow and well in turn: between two times that people are sent away there are pauses, which grow.
	var times []time.Time
	for end := now.Add(time.Hour); now.Before(end); {
		if is(true, true, leaveSlow+surelySlow) > 0 {
			times = append(times, now)
		}
		if left := is(false, true, wellAgain); left != 0 {
			t.Fatal("they are sent away while it is well")
		}
		wants("it is well again", false)
	}
	if n := len(times); n < 6 || n > 15 {
		t.Errorf("sent away %d times in an hour", n)
	}
	for i := 2; i < len(times)-1; i++ {
		if a, b := times[i].Sub(times[i-1]), times[i+1].Sub(times[i]); b < a && a < leavePauseMost {
			t.Errorf("a pause of %v after one of %v", b, a)
		}
	}
	is(false, true, 2*leavePauseMost)
	if left := is(true, true, leaveSlow+surelySlow); left != 1 {
		t.Errorf("after it was well for long, those who are there were sent away %d times", left)
	}

	// A process that did not run was not slow for that long.
	is(false, true, 2*leavePauseMost)
	now = now.Add(time.Hour)
	p.step(now, true, true)
	wants("it did not run", false)
}

// TestSentElsewhereOnce: who comes back is taken, whose client may know no other node; who is remembered is bounded.
func TestSentElsewhereOnce(t *testing.T) {
	t.Parallel()
	p, now := &pace{}, time.Now()
	if p.elsewhere("alice", now) {
		t.Error("a node that is well sends people elsewhere")
	}
	p.shut.Store(true)
	for i, want := range []bool{true, false, false} {
		if p.elsewhere("alice", now) != want {
			t.Errorf("attempt %d: %t", i, !want)
		}
	}
	if !p.elsewhere("bob", now) || !p.elsewhere("alice", now.Add(toldFor)) {
		t.Error("somebody is not sent elsewhere")
	}
	for i := range 2 * toldMost {
		p.elsewhere(fmt.Sprint(i), now)
	}
	if len(p.told) > toldMost {
		t.Errorf("%d are remembered", len(p.told))
	}
	if !p.elsewhere("carol", now.Add(2*toldFor)) || len(p.told) != 1 {
		t.Errorf("nobody is forgotten: %d", len(p.told))
	}
}

// TestMost: those that are as they should be have to be most of the cell without this node.
func TestMost(t *testing.T) {
	t.Parallel()
	well := mesh.Node{Reached: true, Pace: mesh.PaceInTime}
	for what, change := range map[string]func(n *mesh.Node){
		"not reached":   func(n *mesh.Node) { n.Reached = false },
		"drained":       func(n *mesh.Node) { n.Drained = true },
		"diverged":      func(n *mesh.Node) { n.Diverged = true },
		"slow":          func(n *mesh.Node) { n.Pace = mesh.PaceSlow },
		"does not say":  func(n *mesh.Node) { n.Pace = mesh.PaceUnknown },
		"says too much": func(n *mesh.Node) { n.Pace = 257 },
	} {
		ill := well
		change(&ill)
		for _, tc := range []struct {
			others []mesh.Node
			want   bool
		}{
			{nil, false},
			{[]mesh.Node{well}, false}, // of two nodes
			{[]mesh.Node{well, well}, true},
			{[]mesh.Node{well, ill}, false},
			{[]mesh.Node{well, well, ill}, false}, // of four
			{[]mesh.Node{well, well, well, ill}, true},
			{[]mesh.Node{well, well, ill, ill}, false},
		} {
			if most(tc.others) != tc.want {
				t.Errorf("%s: %+v: %t", what, tc.others, !tc.want)
			}
		}
	}
}

// TestLeadNoMore: a leader is slow when nothing came in time for a while, other than what it had asked before it led.
func TestLeadNoMore(t *testing.T) {
	t.Parallel()
	var r reach
	is := func(leads, slow bool, d time.Duration) (gives bool) {
		for range d / paceEvery {
			gives = r.step(leads, slow)
		}
		return gives
	}
	for _, tc := range []struct {
		leads, slow bool
		d           time.Duration
		want        bool
	}{
		{false, true, time.Minute, false},
		{true, true, newLeader, false},
		{true, false, paceEvery, false},
		{true, true, surelySlow - paceEvery, false},
		{true, true, paceEvery, true},
		{true, false, paceEvery, false},
		{true, true, surelySlow, true},
		{false, true, paceEvery, false},
		{true, true, newLeader, false},
	} {
		if got := is(tc.leads, tc.slow, tc.d); got != tc.want {
			t.Errorf("%+v: %t", tc, got)
		}
	}
}
