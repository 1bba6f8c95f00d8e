// SPDX-License-Identifier: Apache-2.0

package account

import (
	"net/netip"
	"sync"
	"time"
)

// Bounds of failed logins. Those from this machine are not counted: a proxy that
// does not say for whom it speaks would stand for everybody.
const (
	// blockFailures may come from one address block in an hour, whatever they show.
	blockFailures = 60
	// nameFailures may hold passwords against one account in an hour, from where it
	// is not known.
	nameFailures = 30
	// guardMost bounds each kind of what is remembered.
	guardMost = 1 << 14
)

// guard slows down who guesses. Nobody can lock an owner out by it: who comes from
// where the account was logged in to before, or with a client that it knows, is not
// held up by what strangers do; and what cannot be guessed, as tokens, links and
// recovery codes, is limited by where it comes from alone.
type guard struct {
	mu     sync.Mutex
	blocks map[netip.Prefix]*bucket
	rest   *bucket // of the blocks beyond guardMost
	names  map[string]*bucket
	known  map[knownAt]struct{}
}

// knownAt is an account and an address block that it was logged in to from.
type knownAt struct {
	name  string
	block netip.Prefix
}

// look says whether an attempt may go on; name is "" where only the block counts.
func (g *guard) look(block netip.Prefix, name string, now time.Time) error {
	if !block.IsValid() {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	b := g.blocks[block]
	if b == nil && len(g.blocks) >= guardMost {
		b = g.rest
	}
	if b != nil {
		if wait := b.wait(now); wait > 0 {
			return held("Too many logins from your network have failed", wait)
		}
	}
	if _, known := g.known[knownAt{name, block}]; known || name == "" {
		return nil
	}
	if b := g.names[name]; b != nil {
		if wait := b.wait(now); wait > 0 {
			return held("Too many logins to this account have failed; use a device or a network that it knows, or a link from one, or", wait)
		}
	}
	return nil
}

func held(why string, wait time.Duration) *Failure {
	return &Failure{Condition: TemporaryAuthFailure, Text: why + "; try again " + inWords(wait) + "."}
}

// failed counts a failure.
func (g *guard) failed(block netip.Prefix, name string, now time.Time) {
	if !block.IsValid() {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	b := bucketOf(&g.blocks, block, blockFailures, now)
	if b == nil {
		if g.rest == nil {
			rest := newBucket(blockFailures, time.Hour, now)
			g.rest = &rest
		}
		b = g.rest
	}
	b.spend(now)
	if name == "" {
		return
	}
	if b := bucketOf(&g.names, name, nameFailures, now); b != nil {
		b.spend(now) // of names beyond those, the blocks' limit remains
	}
}

// succeeded remembers where an account is logged in to from.
func (g *guard) succeeded(block netip.Prefix, name string) {
	if !block.IsValid() || name == "" {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.known == nil {
		g.known = map[knownAt]struct{}{}
	}
	if len(g.known) >= guardMost {
		for key := range g.known { // any
			delete(g.known, key)
			break
		}
	}
	g.known[knownAt{name, block}] = struct{}{}
}

// bucketOf finds or makes a bucket, nil when there are too many; those that are
// full go.
func bucketOf[K comparable](all *map[K]*bucket, key K, most int, now time.Time) *bucket {
	if b := (*all)[key]; b != nil {
		return b
	}
	if *all == nil {
		*all = map[K]*bucket{}
	}
	if len(*all) >= guardMost {
		for k, b := range *all {
			if b.fill(now); b.level >= b.most {
				delete(*all, k)
			}
		}
		if len(*all) >= guardMost {
			return nil
		}
	}
	b := newBucket(most, time.Hour, now)
	(*all)[key] = &b
	return &b
}

// spend takes a token, if there is one.
func (b *bucket) spend(now time.Time) {
	b.fill(now)
	b.level = max(0, b.level-1)
}
