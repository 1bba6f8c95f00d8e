// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"testing"
	"time"
)

func TestHistogram(t *testing.T) {
	var h, other histogram
	if h.at(0.5) != 0 {
		t.Error("nothing was added")
	}
	for n := 1; n <= 1000; n++ {
		if n%2 == 0 {
			h.add(time.Duration(n) * time.Microsecond)
		} else {
			other.add(time.Duration(n) * time.Microsecond)
		}
	}
	h.merge(&other)
	for p, want := range map[float64]time.Duration{0: time.Microsecond, 0.5: 500 * time.Microsecond, 0.99: 990 * time.Microsecond, 0.9999: time.Millisecond} {
		if got := h.at(p); got < want || got > want+want/8+1 {
			t.Errorf("p%v is %v instead of %v", p, got, want)
		}
	}
	if h.total != 1000 || h.max != time.Millisecond {
		t.Error(h.total, h.max)
	}
	if l := h.latency(); l.Count != 1000 || l.Max != 1 || l.P99 < 0.99 || l.P99 > 1 {
		t.Error(l)
	}
}

func TestBucketsHoldTheirDurations(t *testing.T) {
	for _, d := range []time.Duration{-1, 0, 1, 7, 8, 9, 15, 16, 17, 1000, 1 << 20, 1<<62 + 12345, 1<<63 - 1} {
		i := bucket(d)
		if d > upper(i) || i > 0 && d >= 0 && d <= upper(i-1) {
			t.Errorf("%d is in bucket %d, which ends at %d", d, i, upper(i))
		}
	}
}
