// SPDX-License-Identifier: Apache-2.0

package view

import (
	"bytes"

	"bavard/internal/state"
)

// What others' records say of a deleted account is under their keys, not under
// its own: nicks in rooms, what it is to nodes, invites, circles. It is looked for
// in all of these tables, a slice at a time: one when the account is deleted, which
// is all of a small cell, and one with each command.ArchiveSweep after that. Until all is
// looked at the name is not given again, so that nobody takes an account for the one
// before.

// traceSlice bounds the records that are looked at in one go: two milliseconds
// of rooms, each of which is read, and much less of others.
const traceSlice = 200

// traceTables in the order in which they are looked at. Their places are
// persisted: only add at the end.
func traceTables() []byte { return []byte{tableRoom, tableRelation, tableInvite, tableCircle} }

// traceRecord notes how far the traces of a deleted account are looked for.
type traceRecord struct {
	jid   string
	table byte   // place in traceTables
	after []byte // key, without its table, of the last record looked at; empty for none
}

func (s *traceRecord) append(dst []byte) []byte {
	dst = append(append(dst, recordVersion), s.table)
	return appendString(appendString(dst, s.jid), s.after)
}

func parseTrace(b []byte) (traceRecord, error) {
	r := read(b)
	s := traceRecord{table: r.byte(), jid: r.string(), after: bytes.Clone(r.bytes())}
	if int(s.table) >= len(traceTables()) {
		r.fail("table %d of traces", s.table)
	}
	return s, r.end()
}

// forgetTraces begins to remove what others' records say of a deleted account.
func (t *txn) forgetTraces(jid string, id uint64) error {
	return t.lookForTraces(idKey(tableTrace, id), &traceRecord{jid: jid})
}

// lookForTraces does one slice, and notes how far it came.
func (t *txn) lookForTraces(note []byte, s *traceRecord) error {
	tables := traceTables()
	for left := traceSlice; left > 0; {
		table := tables[s.table]
		start := append([]byte{table}, s.after...)
		if len(s.after) > 0 {
			start = append(start, 0)
		}
		keys, err := t.next(start, []byte{table + 1}, left)
		if err != nil {
			return err
		}
		for _, key := range keys {
			if err := t.forgetIn(key, s.jid); err != nil {
				return err
			}
		}
		if len(keys) == left {
			s.after = []byte(keys[left-1][1:])
			break
		}
		left -= len(keys)
		s.table, s.after = s.table+1, nil
		if int(s.table) == len(tables) {
			t.delete(note)
			return nil
		}
	}
	t.put(note, s.append(nil))
	return nil
}

// forgetIn removes what one record says of a deleted account.
func (t *txn) forgetIn(key, jid string) error {
	switch key[0] {
	case tableRoom:
		return t.forgetGuest(key, jid)
	case tableRelation:
		const head = 1 + idSize + 4
		if len(key) > head && bare(key[head:]) == jid {
			t.delete([]byte(key))
		}
		return nil
	case tableInvite:
		return t.forgetInvite(key, jid)
	default:
		return t.forgetCircle(key, jid)
	}
}

// traces does a slice of the first account whose traces are looked for, and
// reports whether there was one.
func (t *txn) traces() (bool, error) {
	notes, err := t.next([]byte{tableTrace}, []byte{tableTrace + 1}, 1)
	if err != nil || len(notes) == 0 {
		return false, err
	}
	s, err := record(t, notes[0], parseTrace)
	if err != nil {
		return false, err
	}
	return true, t.lookForTraces([]byte(notes[0]), &s)
}

// forgetGuest lets go of the nicks of a deleted account in a room that it has no
// affiliation with.
func (t *txn) forgetGuest(key, account string) error {
	b, err := t.get([]byte(key))
	if err != nil {
		return err
	}
	head := read(b)
	id := head.uint64()
	if head.err != nil {
		return t.a.v.damaged(head.err)
	}
	if b, err = t.get(guestKey(id, account)); err != nil || b == nil {
		return err
	}
	r, err := t.room(key[1:])
	if err != nil {
		return err
	}
	// From none to none: the nicks go with it.
	_, err = t.affiliate(r, &state.RoomChange{JID: account}, "")
	return err
}
