// SPDX-License-Identifier: Apache-2.0

package view

import (
	"errors"
	"math"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2"
)

// clearing is a range of keys that the batch has deleted: from start up to end.
type clearing struct{ start, end string }

// clearings are sorted and do not overlap.
type clearings []clearing

// add takes a range in; those that it meets become one with it.
func (s clearings) add(start, end string) clearings {
	from, _ := slices.BinarySearchFunc(s, start, func(have clearing, start string) int {
		if have.end < start {
			return -1
		}
		return 1
	})
	to := from
	for ; to < len(s) && s[to].start <= end; to++ {
		start, end = min(start, s[to].start), max(end, s[to].end)
	}
	return slices.Replace(s, from, to, clearing{start, end})
}

// has reports whether a key is in one of the ranges.
func (s clearings) has(key string) bool {
	i, found := slices.BinarySearchFunc(s, key, func(have clearing, key string) int { return strings.Compare(have.start, key) })
	return found || i > 0 && key < s[i-1].end
}

// deleteRange deletes all keys from start up to end, those that the batch
// wrote included.
func (t *txn) deleteRange(start, end []byte) {
	_ = t.b.DeleteRange(start, end, nil) // errs on an indexed batch only
	t.chainWrite(opDeleteRange, start, end)
	t.cleared = t.cleared.add(string(start), string(end))
	for key := range t.overlay {
		if key >= string(start) && key < string(end) {
			t.overlay[key] = nil
		}
	}
}

// get reads a record through the overlay; nil means that there is none.
func (t *txn) get(key []byte) ([]byte, error) {
	if b, ok := t.overlay[string(key)]; ok {
		return b, nil
	}
	if len(t.cleared) > 0 && t.cleared.has(string(key)) {
		return nil, nil
	}
	b, err := t.a.v.get(t.a.v.db, key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	return b, t.a.v.damaged(err)
}

// record reads what is under a key that under or next gave.
func record[T any](t *txn, key string, parse func([]byte) (T, error)) (T, error) {
	b, err := t.get([]byte(key))
	if err != nil {
		var none T
		return none, err
	}
	v, err := parse(b)
	return v, t.a.v.damaged(err)
}

// touched reports whether what the database has under a key is out of date: the
// batch has written or deleted it.
func (t *txn) touched(key []byte) bool {
	_, written := t.overlay[string(key)]
	return written || len(t.cleared) > 0 && t.cleared.has(string(key))
}

// under gives the keys under a prefix as the batch has left them, sorted; of
// tables whose records go through the overlay.
func (t *txn) under(prefix []byte) ([]string, error) {
	return t.next(prefix, prefixEnd(prefix), math.MaxInt)
}

// next gives the first n keys from start up to end as the batch has left them,
// sorted; of tables whose records go through the overlay. It gives the same
// wherever batches begin and end.
func (t *txn) next(start, end []byte, n int) (keys []string, err error) {
	it, err := t.a.v.db.NewIter(&pebble.IterOptions{LowerBound: start, UpperBound: end})
	if err != nil {
		return nil, t.a.v.damaged(err)
	}
	defer func() { err = errors.Join(err, t.a.v.damaged(it.Close())) }()
	for ok := it.First(); ok && len(keys) < n; ok = it.Next() {
		if t.touched(it.Key()) {
			continue
		}
		keys = append(keys, string(it.Key()))
	}
	for key, value := range t.overlay {
		if value != nil && key >= string(start) && key < string(end) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys[:min(n, len(keys))], t.a.v.damaged(it.Error())
}
