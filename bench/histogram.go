// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"math/bits"
	"time"
)

// histogram counts durations in buckets that are at most an eighth of their
// value wide, in constant memory.
type histogram struct {
	counts [64 * 8]uint64
	total  uint64
	max    time.Duration
}

// bucket of a duration: its power of two and the three bits behind the first.
func bucket(d time.Duration) int {
	n := uint64(max(d, 0))
	if n < 8 {
		return int(n)
	}
	power := bits.Len64(n) - 1
	return (power-2)*8 + int(n>>(power-3))&7
}

// upper is the largest duration of a bucket.
func upper(i int) time.Duration {
	if i < 8 {
		return time.Duration(i)
	}
	power := i/8 + 2
	return time.Duration((uint64(8+i%8)+1)<<(power-3) - 1)
}

func (h *histogram) add(d time.Duration) {
	h.counts[bucket(d)]++
	h.total++
	h.max = max(h.max, d)
}

func (h *histogram) merge(o *histogram) {
	for i, n := range o.counts {
		h.counts[i] += n
	}
	h.total += o.total
	h.max = max(h.max, o.max)
}

// at gives the duration below which p of 1 of what was added lies, 0 when
// nothing was.
func (h *histogram) at(p float64) time.Duration {
	rank := uint64(p * float64(h.total))
	var seen uint64
	for i, n := range h.counts {
		if seen += n; seen > rank {
			return upper(i)
		}
	}
	return 0
}
