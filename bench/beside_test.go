// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"strings"
	"testing"
	"time"
)

// What was sent in a slice counts for it, whenever it arrived, and what was sent
// between slices for none.
func TestBesideIsSummedUp(t *testing.T) {
	began := time.Now()
	at := func(s float64) time.Time { return began.Add(time.Duration(s * float64(time.Second))) }
	w := &watched{}
	say := func(from, to float64, took time.Duration) {
		for s := from; s < to; s += 0.01 {
			w.add(true, at(s), took/2)
			w.add(false, at(s), took)
		}
	}
	var periods []period
	for n := range 6 {
		from, took := float64(2*n), 2*time.Millisecond
		if n%2 == 1 {
			took = 3 * time.Millisecond
		}
		if n == 3 {
			took = time.Second // something else happened: one round decides nothing
		}
		say(from-0.5, from, time.Minute)
		say(from, from+1, took)
		periods = append(periods, period{loud: n%2 == 1, from: at(from), to: at(from + 1), cpu: time.Second / 2})
	}
	var r BesideReport
	r.sum(w, periods)
	if r.P50 != 1.5 || r.P99 != 1.5 || r.Noise != 1 || r.P99All != 500 { // a second in a third of those beside the room
		t.Errorf("p50 × %v, p99 × %v, noise × %v, of all × %v", r.P50, r.P99, r.Noise, r.P99All)
	}
	if r.Alone.Delivery.P99 != 2 || r.Alone.Tick.P99 != 1 || r.Beside.Delivery.P50 != 3 || r.Beside.Delivery.Max != 1000 || r.Alone.Cores != 0.5 {
		t.Errorf("%+v %+v", r.Alone, r.Beside)
	}
	if n := r.Alone.Delivery.Count; n < 300 || n > 303 || r.Rate < 100 || r.Rate > 102 {
		t.Errorf("%d, %v/s", n, r.Rate)
	}
	r = BesideReport{}
	r.sum(&watched{}, nil)
	if r.P99 != 0 || r.Rate != 0 {
		t.Errorf("of nothing: %+v", r)
	}
}

// The bounds are those that tables have for the median's 95 %.
func TestConfidence(t *testing.T) {
	for n, want := range map[int][2]float64{0: {0, 0}, 1: {1, 1}, 5: {1, 5}, 6: {1, 6}, 8: {1, 8}, 9: {2, 8}, 20: {6, 15}, 40: {14, 27}, 100: {40, 61}} {
		var all []float64
		for i := n; i > 0; i-- {
			all = append(all, float64(i))
		}
		if low, high := confidence(all); low != want[0] || high != want[1] {
			t.Errorf("of %d: %v to %v, want %v", n, low, high, want)
		}
	}
}

func TestCrowdThatDoesNotGetReady(t *testing.T) {
	for _, command := range []string{"echo no such room >&2; exit 3", "echo no such room >&2; echo what"} {
		c, err := startCrowd([]string{"sh", "-c", command}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.ready(t.Context()); err == nil || !strings.Contains(err.Error(), "no such room") {
			t.Error(err)
		}
		c.kill()
	}
	if _, err := startCrowd([]string{"/nowhere/at/all"}, nil); err == nil {
		t.Error("a program that is not there")
	}
}
