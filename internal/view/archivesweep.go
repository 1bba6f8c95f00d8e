// SPDX-License-Identifier: Apache-2.0

package view

import (
	"errors"

	"github.com/cockroachdb/pebble/v2"

	"bavard/internal/command"
)

// An account's archive is removed in slices: an archive of years has millions of
// entries, and whoever waits for the applier would wait for all of them. Deleting
// the account leaves a note; each command.ArchiveSweep removes a slice of one
// noted archive, until none is left. It belongs to applying, so that nodes do the
// same at the same position, and count and sum of the archive stay exact. Nobody
// can tell the difference: the id is never given again.

const (
	// sweepWork bounds a slice: an entry of the index costs 1, a message that goes
	// with it, which is read and deleted by itself, sweepMessage. A slice takes
	// well below 1 ms when the data is in memory.
	sweepWork    = 500
	sweepMessage = 20
)

// sweepRecord notes an archive that is being removed.
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

// removeArchive notes that the archive of an account is to be removed.
func (t *txn) removeArchive(id uint64) {
	t.put(idKey(tableSweep, id), (&sweepRecord{}).append(nil))
	t.noted[id] = true
}

// Sweeping reports whether there are archives to remove: then somebody has to
// submit command.ArchiveSweep.
func (v *View) Sweeping() (sweeping bool, err error) {
	if err := v.enter(); err != nil {
		return false, err
	}
	defer v.leave()
	it, err := v.db.NewIter(&pebble.IterOptions{LowerBound: []byte{tableSweep}, UpperBound: []byte{tableSweep + 1}})
	if err != nil {
		return false, v.damaged(err)
	}
	sweeping = it.First()
	return sweeping, v.damaged(errors.Join(it.Error(), it.Close()))
}

// archiveSweep removes a slice of the archive of the first noted account.
func (t *txn) archiveSweep() (command.Outcome, error) {
	notes, err := t.under([]byte{tableSweep})
	if err != nil {
		return command.Outcome{}, err
	}
	for _, key := range notes {
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
		return accept(), t.slice([]byte(key), id, &s)
	}
	return accept(), nil
}

// slice removes the next entries of one archive, and the messages that nobody
// else has: those to itself and those of deleted peers.
func (t *txn) slice(note []byte, id uint64, s *sweepRecord) (err error) {
	prefix := appendArchivePrefix(nil, id)
	start := prefix
	if !s.after.IsZero() {
		start = append(archiveKey(id, s.after), 0)
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
		cost, err := t.sweepEntry(id, it.Key(), value)
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
// else has it. Entries are deleted one by one: thousands of deleted ranges in
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
