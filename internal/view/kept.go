// SPDX-License-Identifier: Apache-2.0

package view

import (
	"encoding/binary"
	"errors"
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// kept is what the view keeps in memory of accounts, of those alone of which
// there is something to keep: so that what is asked all the time needs no read. The
// zero value of V stands for nothing.
type kept[V comparable] struct {
	sync.RWMutex
	of map[string]V // by bare JID
}

// get gives what there is of an account.
func (k *kept[V]) get(jid string) V {
	k.RLock()
	defer k.RUnlock()
	return k.of[jid]
}

// publish shows what a batch has changed.
func (k *kept[V]) publish(changed map[string]V) {
	if len(changed) == 0 {
		return
	}
	k.Lock()
	defer k.Unlock()
	var nothing V
	for jid, v := range changed {
		if v == nothing {
			delete(k.of, jid)
		} else {
			k.of[jid] = v
		}
	}
}

// load fills it from a table whose keys are ids of accounts.
func (k *kept[V]) load(a *applier, table byte, parse func(id uint64, value []byte) (V, error)) (err error) {
	it, err := a.v.db.NewIter(&pebble.IterOptions{LowerBound: []byte{table}, UpperBound: []byte{table + 1}})
	if err != nil {
		return a.v.damaged(err)
	}
	defer func() { err = errors.Join(err, a.v.damaged(it.Close())) }()
	found := map[uint64]V{}
	for ok := it.First(); ok; ok = it.Next() {
		if len(it.Key()) != 1+idSize {
			return a.v.damaged(corruptf("key %x", it.Key()))
		}
		id := binary.BigEndian.Uint64(it.Key()[1:])
		if found[id], err = parse(id, it.Value()); err != nil {
			return a.v.damaged(err)
		}
	}
	k.Lock()
	defer k.Unlock()
	k.of = make(map[string]V, len(found))
	for jid, id := range a.accounts {
		if v, ok := found[id]; ok {
			k.of[jid] = v
		}
	}
	return a.v.damaged(it.Error())
}

// loadKept fills them all.
func (a *applier) loadKept() error {
	return errors.Join(
		a.v.blockers.load(a, tableBlocksOf, func(id uint64, _ []byte) (uint64, error) { return id, nil }),
		a.v.avatars.load(a, tableAvatar, avatarHash),
		a.v.hidden.load(a, tableHidden, func(uint64, []byte) (bool, error) { return true, nil }),
	)
}
