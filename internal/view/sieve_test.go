// SPDX-License-Identifier: Apache-2.0

package view

import (
	"encoding/binary"
	"testing"
)

func sieveKey(n int) *[dedupeSize]byte {
	var k [dedupeSize]byte
	binary.BigEndian.PutUint64(k[8:], uint64(n))
	return &k
}

// What was added is found, always; what was not is rarely taken for it, until
// the budget is spent.
func TestSieve(t *testing.T) {
	for _, row := range []struct {
		keys   int
		budget int64
		wrong  float64
	}{
		{sieveSmall, 1 << 20, 0.002},
		{8 * sieveSmall, 1 << 20, 0.006},
		{8 * sieveSmall, 300 << 10, 0.2}, // beyond its budget it grows worse
		{100, 0, 0.002},
	} {
		s := sieve{budget: row.budget}
		for n := range row.keys {
			s.add(sieveKey(n))
		}
		for n := range row.keys {
			if !s.has(sieveKey(n)) {
				t.Fatalf("key %d of %d is lost", n, row.keys)
			}
		}
		wrong := 0
		const tries = 20_000
		for n := range tries {
			if s.has(sieveKey(1<<40 + n)) {
				wrong++
			}
		}
		if rate := float64(wrong) / tries; rate > row.wrong {
			t.Errorf("%d keys in %d bytes: %.4f wrong", row.keys, row.budget, rate)
		}
	}
}

// What was there at the start is sifted in the background; from then on a new
// message needs no read.
func TestSieveIsLoaded(t *testing.T) {
	c := newCell(t, "ann", "bob")
	old := message("ann/x", "bob", "old")
	c.accept(old)
	c.reopen()
	a := &c.v.apply
	<-a.sieves.done
	key := [dedupeSize]byte(old.GetMessage().Dedupe)
	bucket := c.v.published.Load().bucket
	if a.sieves.fresh(bucket, &key) || !a.sieves.fresh(bucket, sieveKey(7)) {
		t.Fatal("the sieve does not tell old from new")
	}
	c.wantDuplicate(old, c.positionOf("old"))
}
