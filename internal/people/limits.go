// SPDX-License-Identifier: Apache-2.0

package people

import (
	"sync"
	"time"
)

const (
	// burst searches of an account at once, and one more each interval.
	burst    = 20
	interval = 3 * time.Second
	// limited bounds the accounts that are remembered.
	limited = 10_000
)

// limits keep the directory from being read out.
type limits struct {
	mu sync.Mutex // a leaf
	// full is when an account may search burst times again, by its bare JID.
	full map[string]time.Time
}

// allow takes one search of an account, unless it has none left.
func (l *limits) allow(account string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.full[account]
	if at.Before(now) {
		at = now
	}
	if at = at.Add(interval); at.Sub(now) > burst*interval {
		return false
	}
	if l.full == nil || len(l.full) >= limited && l.full[account].IsZero() {
		l.forget(now)
	}
	l.full[account] = at
	return true
}

// forget drops those that are not limited now, or all when that leaves no room.
func (l *limits) forget(now time.Time) {
	kept := map[string]time.Time{}
	for account, at := range l.full {
		if at.After(now) {
			kept[account] = at
		}
	}
	if len(kept) >= limited {
		kept = map[string]time.Time{}
	}
	l.full = kept
}
