// SPDX-License-Identifier: Apache-2.0

package view

import (
	"errors"

	"github.com/cockroachdb/pebble/v2"

	"bavard/internal/command"
)

// Flush makes all that was applied durable.
func (v *View) Flush() error {
	if err := v.enter(); err != nil {
		return err
	}
	defer v.leave()
	if err := v.db.Flush(); err != nil {
		return v.damaged(err)
	}
	return nil
}

// Durable returns the position up to which everything would be found after a
// crash of the machine: the journal may drop it. Cheap unless a flush has
// ended since the last call.
func (v *View) Durable() (command.Position, error) {
	if err := v.enter(); err != nil {
		return command.Position{}, err
	}
	defer v.leave()
	v.flushed.Lock()
	defer v.flushed.Unlock()
	if !v.flushed.stale.Swap(false) {
		return v.flushed.position, nil
	}
	p, err := v.readDurable()
	if err != nil {
		v.flushed.stale.Store(true)
		return command.Position{}, v.damaged(err)
	}
	v.flushed.position = p
	return p, nil
}

// readDurable reads the meta record from flushed tables alone.
func (v *View) readDurable() (_ command.Position, err error) {
	it, err := v.db.NewIter(&pebble.IterOptions{
		LowerBound:                []byte{tableMeta},
		UpperBound:                []byte{tableMeta + 1},
		OnlyReadGuaranteedDurable: true,
	})
	if err != nil {
		return command.Position{}, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	if !it.First() {
		return command.Position{}, it.Error()
	}
	m, err := parseMeta(it.Value())
	return m.applied, err
}

// get reads one record; the value is a copy.
func (v *View) get(r pebble.Reader, key []byte) ([]byte, error) {
	b, closer, err := r.Get(key)
	if err != nil {
		return nil, err
	}
	b = append(make([]byte, 0, len(b)), b...)
	return b, closer.Close()
}
