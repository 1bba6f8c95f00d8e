// SPDX-License-Identifier: Apache-2.0

package view

import (
	"bytes"
	"errors"

	"github.com/cockroachdb/pebble/v2"

	"bavard/internal/command"
)

// An archive, of an account or of a room, is removed in slices: one of years has
// millions of entries, and whoever waits for the applier would wait for all of
// them. Deleting the account, or removing the room, leaves a note; each
// command.ArchiveSweep removes a slice of one noted archive, until none is left. It belongs to applying, so that nodes do the
// same at the same position, and count and sum of the archive stay exact. Nobody
// can tell the difference: the id is never given again.

const (
	// sweepWork bounds a slice: an entry of the index costs 1, a message that goes
	// with it, which is read and deleted by itself, sweepMessage. A slice takes
	// well below 1 ms when the data is in memory.
	sweepWork    = 500
	sweepMessage = 20
	// sweepSaid is the cost of a message of a room: it is read in one go with
	// its neighbours.
	sweepSaid = 2
)

// sweepRecord notes an archive that is being removed, of an account or a room.
type sweepRecord struct {
	after command.Position // entries up to here are removed
}

func (s *sweepRecord) append(dst []byte) []byte {
	return s.after.AppendTo(append(dst, recordVersion))
}

func parseSweep(b []byte) (sweepRecord, error) {
	r := read(b)
	s := sweepRecord{after: r.position()}
	return s, r.end()
}

// removeArchive notes that the archive of an account, or, with tableRoomSweep, of
// a room is to be removed.
func (t *txn) removeArchive(table byte, id uint64) {
	t.put(idKey(table, id), (&sweepRecord{}).append(nil))
	t.noted[id] = true
}

// Sweeping reports whether there are archives to remove: then somebody has to
// submit command.ArchiveSweep.
func (v *View) Sweeping() (sweeping bool, err error) {
	if err := v.enter(); err != nil {
		return false, err
	}
	defer v.leave()
	for _, table := range []byte{tableTrace, tableSweep, tableRoomSweep} {
		err = v.rangeOver([]byte{table}, nil, func(_, _ []byte) (bool, error) {
			sweeping = true
			return false, nil
		})
		if sweeping || err != nil {
			break
		}
	}
	return sweeping, err
}

// archiveSweep looks at a slice of what others' records say of deleted accounts; when
// all of them are, it removes a slice of the archive of the first noted account, or,
// when there is none, of the first noted room.
func (t *txn) archiveSweep() (command.Outcome, error) {
	if some, err := t.traces(); some || err != nil {
		return accept(), err
	}
	notes, err := t.under([]byte{tableSweep})
	if err != nil {
		return command.Outcome{}, err
	}
	rooms, err := t.under([]byte{tableRoomSweep})
	if err != nil {
		return command.Outcome{}, err
	}
	for _, key := range append(notes, rooms...) {
		id, err := idOf([]byte(key))
		if err != nil {
			return command.Outcome{}, t.a.v.damaged(err)
		}
		if t.noted[id] { // what this batch has archived is seen by the next one
			continue
		}
		b, err := t.get([]byte(key))
		if err != nil {
			return command.Outcome{}, err
		}
		s, err := parseSweep(b)
		if err != nil {
			return command.Outcome{}, t.a.v.damaged(err)
		}
		if key[0] == tableRoomSweep {
			return accept(), t.slice([]byte(key), saidPrefix(id), &s, t.sweepSaid)
		}
		return accept(), t.slice([]byte(key), appendArchivePrefix(nil, id), &s, func(key, value []byte) (int, error) { return t.sweepEntry(id, key, value) })
	}
	return accept(), nil
}

// slice removes the next entries of one archive, whose keys begin with prefix
// and end with a position; remove takes one away and says what that cost.
func (t *txn) slice(note, prefix []byte, s *sweepRecord, remove func(key, value []byte) (int, error)) (err error) {
	start := prefix
	if !s.after.IsZero() {
		start = append(s.after.AppendTo(bytes.Clone(prefix)), 0)
	}
	it, err := t.a.v.db.NewIter(&pebble.IterOptions{LowerBound: start, UpperBound: prefixEnd(prefix)})
	if err != nil {
		return t.a.v.damaged(err)
	}
	defer func() { err = errors.Join(err, t.a.v.damaged(it.Close())) }()
	t.removed = true
	work := 0
	ok := it.First()
	for ; ok && work < sweepWork; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return t.a.v.damaged(err)
		}
		cost, err := remove(it.Key(), value)
		if err != nil {
			return err
		}
		work += cost
		if s.after, err = positionOf(it.Key()); err != nil {
			return t.a.v.damaged(err)
		}
	}
	if err := it.Error(); err != nil {
		return t.a.v.damaged(err)
	}
	if !ok {
		t.delete(note)
		return nil
	}
	t.put(note, s.append(nil))
	return nil
}

// sweepEntry removes an entry of the index, and its message as well when nobody
// else has it: those to itself and those of deleted peers. Entries are deleted one by one: thousands of deleted ranges in
// memory would make each look-up slow.
func (t *txn) sweepEntry(id uint64, key, value []byte) (cost int, err error) {
	peer, _, err := parseArchiveRecord(value)
	if err != nil {
		return 0, t.a.v.damaged(err)
	}
	p, err := positionOf(key)
	if err != nil {
		return 0, t.a.v.damaged(err)
	}
	t.forget(key, value)
	_ = t.b.Delete(key, nil) // errs on an indexed batch only
	t.chainWrite(opDelete, key, nil)
	if peer != id && t.alive(peer) {
		return 1, nil
	}
	talk := talkKey(id, peer, p)
	message, err := t.get(talk)
	if err != nil || message == nil { // its peer's sweep was first
		return sweepMessage, err
	}
	t.forget(talk, message)
	t.delete(talk)
	return sweepMessage, nil
}

// sweepSaid removes a message of a room that is no more.
func (t *txn) sweepSaid(key, value []byte) (cost int, err error) {
	t.forget(key, value)
	_ = t.b.Delete(key, nil) // errs on an indexed batch only
	t.chainWrite(opDelete, key, nil)
	return sweepSaid, nil
}

func (t *txn) forget(key, value []byte) { t.unarchived(recordHash(&t.digest, opSet, key, value)) }

// alive reports whether there is an account with this id.
func (t *txn) alive(id uint64) bool {
	for jid, changed := range t.accounts {
		switch id {
		case changed:
			return true
		case t.a.accounts[jid]:
			return false
		}
	}
	return t.a.ids[id]
}
