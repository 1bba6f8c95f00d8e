// SPDX-License-Identifier: Apache-2.0

package view

import (
	"context"
	"errors"
	"math/bits"

	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/pebble/v2"
)

const (
	// sieveSmall and sieveLarge bound the keys of one part, at 2 bytes a key.
	sieveSmall = 32 << 10
	sieveLarge = 8 << 20

	sieveBlock  = 8 // words: one cache line
	sieveProbes = 7
)

// sieve is a Bloom filter that grows by parts of doubling size up to a budget;
// beyond it, it only grows worse. It says for certain that a key is new.
type sieve struct {
	parts  []sievePart
	budget int64 // bytes left
}

type sievePart struct {
	words    []uint64
	keys     int
	capacity int
}

// probe hashes a key: the block it falls in, and the bits within.
func probe(key *[dedupeSize]byte) (block, bit uint64) {
	h := xxhash.Sum64(key[:])
	return h, (h ^ h>>29) * 0x9e3779b97f4a7c15
}

func (p *sievePart) block(h uint64) []uint64 {
	i, _ := bits.Mul64(h, uint64(len(p.words)/sieveBlock))
	return p.words[i*sieveBlock:][:sieveBlock]
}

func (s *sieve) has(key *[dedupeSize]byte) bool {
	h, bit := probe(key)
next:
	for i := range s.parts {
		b, x := s.parts[i].block(h), bit
		for range sieveProbes {
			if b[x>>6&7]>>(x&63)&1 == 0 {
				continue next
			}
			x >>= 9
		}
		return true
	}
	return false
}

func (s *sieve) add(key *[dedupeSize]byte) {
	p := s.room()
	if p == nil {
		return
	}
	h, x := probe(key)
	b := p.block(h)
	for range sieveProbes {
		b[x>>6&7] |= 1 << (x & 63)
		x >>= 9
	}
	p.keys++
}

// room returns the part to add to. There is always one.
func (s *sieve) room() *sievePart {
	n := len(s.parts)
	if n > 0 && s.parts[n-1].keys < s.parts[n-1].capacity {
		return &s.parts[n-1]
	}
	capacity := sieveSmall
	if n > 0 {
		capacity = min(2*s.parts[n-1].capacity, sieveLarge)
	}
	if n == 0 || int64(2*capacity) <= s.budget {
		s.budget -= int64(2 * capacity)
		s.parts = append(s.parts, sievePart{words: make([]uint64, capacity/4), capacity: capacity})
		n++
	}
	return &s.parts[n-1]
}

// sieves tell, without a read, that a dedupe key is not in the view. What was
// there at the start is sifted in the background; until that is done every key
// is looked up.
type sieves struct {
	budget int64
	aged   []agedSieve // newest last; one per bucket
	loaded chan *sieve // of the keys found at the start; nil once taken
	stop   context.CancelFunc
	done   chan struct{}
}

type agedSieve struct {
	bucket uint32
	sieve
}

// load starts sifting the keys of the buckets from oldest on.
func (s *sieves) load(v *View, oldest uint32) error {
	it, err := v.db.NewIter(&pebble.IterOptions{
		LowerBound: appendBucketPrefix(nil, tableDedupe, oldest),
		UpperBound: []byte{tableDedupe + 1},
	})
	if err != nil {
		return v.damaged(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	s.stop, s.done, s.loaded = stop, make(chan struct{}), make(chan *sieve, 1)
	go func() {
		defer close(s.done)
		found := &sieve{budget: s.budget / 2}
		err := sift(ctx, it, found)
		if err = errors.Join(err, it.Close()); err != nil {
			if ctx.Err() == nil {
				_ = v.damaged(err)
			}
			return // lookups go on reading
		}
		s.loaded <- found
	}()
	return nil
}

func sift(ctx context.Context, it *pebble.Iterator, into *sieve) error {
	n := 0
	for ok := it.First(); ok; ok = it.Next() {
		if key := it.Key(); len(key) == dedupeKeySize {
			into.add((*[dedupeSize]byte)(key[dedupeKeySize-dedupeSize:]))
		}
		if n++; n%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return it.Error()
}

// close ends the loading.
func (s *sieves) close() {
	if s.stop != nil {
		s.stop()
		<-s.done
	}
}

// ready takes over what was loaded, as keys of this bucket and those before.
func (s *sieves) ready(bucket uint32) bool {
	if s.loaded == nil {
		return true
	}
	select {
	case found := <-s.loaded:
		s.loaded = nil
		s.aged = append([]agedSieve{{bucket: bucket, sieve: *found}}, s.aged...)
		return true
	default:
		return false
	}
}

// fresh reports whether the key is certainly in no bucket kept at this time.
func (s *sieves) fresh(bucket uint32, key *[dedupeSize]byte) bool {
	if !s.ready(bucket) {
		return false
	}
	for i := range s.aged {
		if s.aged[i].has(key) {
			return false
		}
	}
	return true
}

// add notes a key that was written in this bucket.
func (s *sieves) add(bucket uint32, key *[dedupeSize]byte) {
	if n := len(s.aged); n == 0 || s.aged[n-1].bucket != bucket {
		for len(s.aged) > 0 && bucket-s.aged[0].bucket >= liveBuckets {
			s.aged = s.aged[1:]
		}
		s.aged = append(s.aged, agedSieve{bucket: bucket, sieve: sieve{budget: s.budget / 2 / liveBuckets}})
	}
	s.aged[len(s.aged)-1].add(key)
}
