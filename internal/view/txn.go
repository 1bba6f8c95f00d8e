// SPDX-License-Identifier: Apache-2.0

package view

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/pebble/v2"

	"bavard/internal/command"
	"bavard/internal/state"
)

// sighting is where the batch adds a dedupe key, and in which bucket.
type sighting struct {
	at     command.Position
	bucket uint32
}

// txn is one batch being applied: its writes, the overlay that later commands
// of the batch read through, and what is published once it is committed.
type txn struct {
	a    *applier
	b    *pebble.Batch
	meta meta
	cell *cellRecord
	// level of the cell, which decides how commands are applied.
	level levelRecord

	digest xxhash.Digest

	overlay  map[string][]byte           // written and read again; nil is deleted
	cleared  clearings                   // deleted as ranges, before what is in overlay
	accounts map[string]uint64           // created; 0 for deleted
	noted    map[uint64]bool             // deleted accounts and rooms whose archive is to be removed
	removed  bool                        // records of the archive are taken away
	blockers map[string]uint64           // changed: the account's id, 0 when it blocks nobody any more
	avatars  map[string]state.AvatarHash // changed; zero when the account is gone
	hidden   map[string]bool             // changed: whether the account's presence is hidden
	seen     map[[dedupeSize]byte]sighting
	rooms    map[string]*room // looked at, changed, or nil: removed
	streams  streamWrites
	talks    talks
	expiring map[pair]int // changes of applier.expiring
	events   []state.Event
	pos      command.Position
	commands int
}

func (t *txn) init(a *applier) {
	t.a = a
	t.overlay = make(map[string][]byte)
	t.accounts = make(map[string]uint64)
	t.noted = make(map[uint64]bool)
	t.blockers = make(map[string]uint64)
	t.avatars = make(map[string]state.AvatarHash)
	t.hidden = make(map[string]bool)
	t.seen = make(map[[dedupeSize]byte]sighting)
	t.rooms = make(map[string]*room)
	t.expiring = make(map[pair]int)
	t.streams.init()
}

func (t *txn) begin(revision uint64, commands int) {
	v := t.a.v
	t.meta = *v.published.Load()
	t.cell, t.level = v.cell.Load(), *v.level.Load()
	t.b = v.db.NewBatch()
	t.pos = command.Position{Epoch: v.opts.Epoch, Revision: revision}
	t.commands = commands
	t.events = make([]state.Event, 0, 2*commands)
}

// end drops what was not committed.
func (t *txn) end() {
	if t.b != nil {
		_ = t.b.Close()
		t.b = nil
	}
	clear(t.overlay)
	t.cleared = t.cleared[:0]
	clear(t.accounts)
	clear(t.blockers)
	clear(t.avatars)
	clear(t.hidden)
	t.removed = false
	clear(t.noted)
	clear(t.seen)
	clear(t.rooms)
	clear(t.expiring)
	t.talks = talks{}
	t.streams.reset()
	t.events = nil
}

// at moves on to the next command. Time never goes back.
func (t *txn) at(index uint32, ms int64) {
	t.pos.Index = index
	t.meta.time = max(t.meta.time, min(ms, maxTime))
	if minute := t.meta.time / minuteMs; minute > t.meta.minute || t.meta.applied.IsZero() && index == 0 {
		t.meta.minute = minute
		t.set(timeKey(minute), appendPosition(nil, t.pos))
	}
	if bucket := bucketOf(t.meta.time); bucket > t.meta.bucket {
		t.meta.bucket = bucket
		t.dropBuckets()
	}
}

func (t *txn) time() time.Time { return time.UnixMilli(t.meta.time).UTC() }

// set writes a record that no later command of the batch reads; it returns the
// hash of the write.
func (t *txn) set(key, value []byte) uint64 {
	_ = t.b.Set(key, value, nil) // errs on an indexed batch only
	return t.chainWrite(opSet, key, value)
}

// put writes a record that later commands of the batch may read.
func (t *txn) put(key, value []byte) {
	t.set(key, value)
	t.overlay[string(key)] = value
}

func (t *txn) delete(key []byte) {
	_ = t.b.Delete(key, nil)
	t.chainWrite(opDelete, key, nil)
	t.overlay[string(key)] = nil
}

// Kinds of writes in the chain hash. Frozen: nodes of different versions
// compare it.
const (
	opSet byte = iota + 1
	opDelete
	opDeleteRange
)

// chainWrite takes a write into the chain hash and returns its own.
func (t *txn) chainWrite(op byte, key, value []byte) uint64 {
	h := recordHash(&t.digest, op, key, value)
	t.meta.chain = (bits.RotateLeft64(t.meta.chain, 29) ^ h) * 0x9e3779b97f4a7c15
	return h
}

// recordHash is the xxHash64 of the kind of write, the lengths, the key and
// the value.
func recordHash(d *xxhash.Digest, op byte, key, value []byte) uint64 {
	d.Reset()
	var head [7]byte
	head[0] = op
	binary.BigEndian.PutUint16(head[1:], uint16(len(key)))
	binary.BigEndian.PutUint32(head[3:], uint32(len(value)))
	_, _ = d.Write(head[:])
	_, _ = d.Write(key)
	_, _ = d.Write(value)
	return d.Sum64()
}

// account returns the id of an account, 0 when there is none.
func (t *txn) account(bare string) uint64 {
	if len(t.accounts) > 0 {
		if id, ok := t.accounts[bare]; ok {
			return id
		}
	}
	return t.a.accounts[bare]
}

func (t *txn) event(e state.Event) {
	e.Time = t.time()
	t.events = append(t.events, e)
}

// commit writes the batch with the position it brings the view to, then shows
// it.
func (t *txn) commit() error {
	t.writeStreams()
	t.meta.applied = t.pos
	if err := t.b.Set([]byte{tableMeta}, t.meta.append(nil), nil); err != nil {
		return fmt.Errorf("view: %w", err)
	}
	v := t.a.v
	if t.removed {
		v.removed.Add(1) // before a scrub can see the first record gone
	}
	if err := v.db.Apply(t.b, pebble.NoSync); err != nil {
		return v.damaged(err)
	}
	for jid, id := range t.accounts {
		delete(t.a.ids, t.a.accounts[jid])
		if id == 0 {
			delete(t.a.accounts, jid)
		} else {
			t.a.accounts[jid] = id
			t.a.ids[id] = true
		}
	}
	for key := range t.seen { // the newest bucket holds a key for longest
		t.a.sieves.add(t.meta.bucket, &key)
	}
	v.blockers.publish(t.blockers)
	v.avatars.publish(t.avatars)
	v.hidden.publish(t.hidden)
	t.a.keepRooms(t.rooms)
	t.a.keepExpiring(t.expiring)
	t.streams.remember(&t.a.recent)
	v.counters.accounts.Store(int64(len(t.a.accounts)))
	v.counters.batches.Add(1)
	v.counters.commands.Add(uint64(t.commands))
	v.cell.Store(t.cell)
	t.publishLevel()
	m := t.meta
	v.points.note(v.published.Load(), &m)
	v.published.Store(&m)
	return nil
}
