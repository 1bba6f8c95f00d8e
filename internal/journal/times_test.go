// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"testing"
	"time"
)

func TestTimes(t *testing.T) {
	var all Times
	if got := all.Quantile(0.99); got != 0 {
		t.Errorf("of nothing: %v", got)
	}
	for range 100 {
		all.add(30 * time.Millisecond)
	}
	earlier := all
	for i := range 100 {
		all.add(time.Duration(i+1) * time.Millisecond)
	}
	late := all.Since(earlier)
	if late.Total() != 100 || late.Sum != 5050*time.Millisecond {
		t.Errorf("%d in %v", late.Total(), late.Sum)
	}
	for q, want := range map[float64]time.Duration{0.5: 50 * time.Millisecond, 0.99: 99 * time.Millisecond} {
		if got := late.Quantile(q); got < want*3/4 || got > want*4/3 {
			t.Errorf("quantile %v is %v, want about %v", q, got, want)
		}
	}
	all.add(time.Hour)
	if got := all.Quantile(1); got != all.Bound(timesCount-1) {
		t.Errorf("the longest: %v", got)
	}
}
