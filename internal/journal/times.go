// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"math"
	"time"
)

const (
	timesFirst = 250 * time.Microsecond // upper bound of the first bucket
	timesCount = 33                     // the last bound is 16.4 s; one more bucket has what took longer
)

// Times counts how long batches took from their first attempt until they were committed: on
// the disks of a majority. The buckets are half an octave wide. It is copied as a value.
type Times struct {
	Counts [timesCount + 1]uint64
	Sum    time.Duration
}

// Bound is the upper one of bucket i; there is none for the last.
func (Times) Bound(i int) time.Duration {
	return time.Duration(float64(timesFirst) * math.Pow(math.Sqrt2, float64(i)))
}

func (t *Times) add(d time.Duration) {
	i := 0
	for i < timesCount && d > t.Bound(i) {
		i++
	}
	t.Counts[i]++
	t.Sum += d
}

// Total is how many were counted.
func (t Times) Total() uint64 {
	var n uint64
	for _, c := range t.Counts {
		n += c
	}
	return n
}

// Since gives what was counted after earlier, a value of the same counter.
func (t Times) Since(earlier Times) Times {
	for i := range t.Counts {
		t.Counts[i] -= earlier.Counts[i]
	}
	t.Sum -= earlier.Sum
	return t
}

// Quantile gives a time that a share q of all, from 0 to 1, did not exceed, to within the
// width of a bucket; 0 when nothing was counted. What took longest of all counts as the last bound.
func (t Times) Quantile(q float64) time.Duration {
	wanted := q * float64(t.Total())
	if wanted == 0 {
		return 0
	}
	var below float64
	for i, c := range t.Counts[:timesCount] {
		if n := float64(c); below+n >= wanted && n > 0 {
			var from time.Duration
			if i > 0 {
				from = t.Bound(i - 1)
			}
			return from + time.Duration((wanted-below)/n*float64(t.Bound(i)-from))
		}
		below += float64(c)
	}
	return t.Bound(timesCount - 1)
}
