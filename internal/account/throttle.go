// SPDX-License-Identifier: Apache-2.0

package account

import (
	"context"
	"fmt"
	"math"
	"net/netip"
	"sync"
	"time"

	"bavard/internal/stanza"
)

// Limits on the accounts that strangers make while registration is open. Each
// is at least 1.
type Limits struct {
	AddressHourly int // from one address block, in an hour
	AddressDaily  int // … in a day
	Hourly        int // in all, in an hour
	Daily         int // … in a day
}

const (
	// triesPer is how many requests there may be for each account that may be
	// made in an hour: names that are taken are found out by trying.
	triesPer = 10
	// blocksMost bounds the address blocks that are remembered; those beyond
	// share one.
	blocksMost = 1 << 14
	// waitingMost bounds the strangers' passwords that wait to be hashed: each
	// takes some milliseconds of a processor, which logins want too.
	waitingMost = 8
)

// bucket is a token bucket: it holds at most most tokens and fills up in per.
type bucket struct {
	most  float64
	per   time.Duration
	level float64
	at    time.Time // of the level
}

func newBucket(most int, per time.Duration, now time.Time) bucket {
	return bucket{most: float64(most), per: per, level: float64(most), at: now}
}

func (b *bucket) fill(now time.Time) {
	if d := now.Sub(b.at); d > 0 {
		b.level = min(b.most, b.level+b.most*d.Seconds()/b.per.Seconds())
		b.at = now
	}
}

// wait is how long it takes until there is a token, 0 when there is one.
func (b *bucket) wait(now time.Time) time.Duration {
	b.fill(now)
	if b.level >= 1 {
		return 0
	}
	return time.Duration((1 - b.level) / b.most * float64(b.per))
}

// buckets of one address block, or of all together.
type buckets struct{ hour, day, tries bucket }

func newBuckets(hourly, daily int, now time.Time) *buckets {
	return &buckets{
		hour:  newBucket(hourly, time.Hour, now),
		day:   newBucket(daily, 24*time.Hour, now),
		tries: newBucket(triesPer*hourly, time.Hour, now),
	}
}

func (b *buckets) wait(now time.Time) time.Duration {
	return max(b.hour.wait(now), b.day.wait(now), b.tries.wait(now))
}

// full reports whether nothing is lost by forgetting it.
func (b *buckets) full(now time.Time) bool {
	for _, one := range []*bucket{&b.hour, &b.day, &b.tries} {
		one.fill(now)
		if one.level < one.most {
			return false
		}
	}
	return true
}

func (b *buckets) add(accounts, tries float64) {
	b.hour.level = min(b.hour.most, b.hour.level+accounts)
	b.day.level = min(b.day.most, b.day.level+accounts)
	b.tries.level = min(b.tries.most, b.tries.level+tries)
}

// throttle bounds what strangers do while registration is open.
type throttle struct {
	limits  Limits
	waiting chan struct{} // strangers whose passwords wait
	turn    chan struct{} // one of them is hashed at a time

	mu     sync.Mutex
	all    *buckets
	rest   *buckets // shared by the blocks beyond blocksMost
	blocks map[netip.Prefix]*buckets
}

func newThrottle(l Limits, now time.Time) *throttle {
	return &throttle{
		limits: l, waiting: make(chan struct{}, waitingMost), turn: make(chan struct{}, 1),
		all:    newBuckets(l.Hourly, l.Daily, now),
		rest:   newBuckets(l.AddressHourly, l.AddressDaily, now),
		blocks: map[netip.Prefix]*buckets{},
	}
}

// of gives the buckets that count for a block, an invalid one only those of
// all; mu is held.
func (t *throttle) of(block netip.Prefix, now time.Time) []*buckets {
	if !block.IsValid() {
		return []*buckets{t.all}
	}
	b := t.blocks[block]
	if b == nil && len(t.blocks) >= blocksMost {
		for key, other := range t.blocks {
			if other.full(now) {
				delete(t.blocks, key)
			}
		}
		if len(t.blocks) >= blocksMost {
			b = t.rest
		}
	}
	if b == nil {
		b = newBuckets(t.limits.AddressHourly, t.limits.AddressDaily, now)
		t.blocks[block] = b
	}
	return []*buckets{b, t.all}
}

// look says whether a stranger from block may make an account now. The error
// is a *stanza.Error that says when.
func (t *throttle) look(block netip.Prefix, now time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, known := t.blocks[block]; !known {
		return t.refusal([]*buckets{t.all}, now) // nothing is remembered of who only looks
	}
	return t.refusal(t.of(block, now), now)
}

// enter counts a try and an account. failed gives the account back.
func (t *throttle) enter(block netip.Prefix, now time.Time) (failed func(), err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	count := t.of(block, now)
	if err := t.refusal(count, now); err != nil {
		return nil, err
	}
	for _, b := range count {
		b.add(-1, -1)
	}
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		for _, b := range count {
			b.add(1, 0)
		}
	}, nil
}

// refusal by the buckets that count; mu is held.
func (t *throttle) refusal(count []*buckets, now time.Time) error {
	for _, b := range count {
		wait := b.wait(now)
		if wait == 0 {
			continue
		}
		text := "Too many accounts have been made from your network"
		if b == t.all {
			text = "Too many accounts have been made here"
		}
		return stanza.Err(stanza.Wait, stanza.ResourceConstraint, text+"; try again "+inWords(wait)+".")
	}
	return nil
}

// inWords says in how long, rounded up to what people count in.
func inWords(d time.Duration) string {
	n, unit := int(math.Ceil(d.Minutes())), "minute"
	if n > 90 {
		n, unit = int(math.Ceil(d.Hours())), "hour"
	}
	if n <= 1 {
		return "in a " + unit
	}
	return fmt.Sprintf("in %d %ss", n, unit)
}

// admit has a stranger's account made, within the limits: one at a time, so
// that logins have the other processors, and with few waiting.
func (t *throttle) admit(ctx context.Context, block netip.Prefix, create func() error) error {
	failed, err := t.enter(block, time.Now())
	if err != nil {
		return err
	}
	if err = t.inTurn(ctx, create); err != nil {
		failed()
	}
	return err
}

func (t *throttle) inTurn(ctx context.Context, create func() error) error {
	busy := stanza.Err(stanza.Wait, stanza.ResourceConstraint, "Too many accounts are being made at the moment; try again in a minute.")
	select {
	case t.waiting <- struct{}{}:
		defer func() { <-t.waiting }()
	default:
		return busy
	}
	select {
	case t.turn <- struct{}{}:
		defer func() { <-t.turn }()
		return create()
	case <-ctx.Done():
		return busy
	}
}
