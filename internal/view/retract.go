// SPDX-License-Identifier: Apache-2.0

package view

import (
	"bytes"
	"encoding/binary"
	"errors"

	"github.com/cockroachdb/pebble/v2"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"bavard/internal/command"
)

// What somebody takes back is named by the id that they gave it, and there is no
// index of those: it would be a write per message for what is rare. So the
// conversation is looked through, from the retraction backwards. What is not
// found in the first slice leaves a note, and each command.ArchiveBlank looks
// through another slice.

const (
	// retractSlice bounds the messages that one command looks at: a fraction of a
	// millisecond when the data is in memory.
	retractSlice = 256
	// retractDepth bounds how far back a message may be, in messages of the
	// conversation, for a tombstone to take its place.
	retractDepth = 16_384
	// retractNotes bounds what is looked for of one account at the same time. The
	// archive keeps what is taken back beyond that.
	retractNotes = 64
)

// lookRecord notes a message that is looked for to be taken back.
type lookRecord struct {
	peer   uint64           // id of the other account
	before command.Position // messages from here on were looked at
	left   uint64           // messages that may still be looked at
	id     string           // of the message
	by     string           // id of the message that takes it back
}

func (l *lookRecord) append(dst []byte) []byte {
	dst = binary.AppendUvarint(append(dst, recordVersion), l.peer)
	dst = binary.AppendUvarint(l.before.AppendTo(dst), l.left)
	return appendString(appendString(dst, l.id), l.by)
}

func parseLook(b []byte) (lookRecord, error) {
	r := read(b)
	l := lookRecord{peer: r.uvarint(), before: r.position(), left: r.uvarint(), id: r.string(), by: r.string()}
	return l, r.end()
}

// lookKey is that of a note; at is the retraction's position.
func lookKey(author uint64, at command.Position) []byte {
	return at.AppendTo(idKey(tableLook, author))
}

// takeBackFrom leaves a tombstone of a message that the author said to a peer
// (XEP-0424 §tombstones @0.4.2), and of its corrections. Of somebody else's
// message nothing changes: only its author can take it back (§rules).
func (t *txn) takeBackFrom(author, peer uint64, m *command.Message) error {
	l := &lookRecord{peer: peer, before: t.pos, left: retractDepth, id: m.Retracts, by: m.Id}
	return t.lookOn(author, t.pos, l, bare(m.From), nil)
}

// lookOn looks through the next slice for what a retraction at at is about. note
// is the key under which it is noted, nil when it is new.
func (t *txn) lookOn(author uint64, at command.Position, l *lookRecord, from string, note []byte) error {
	found, err := t.lookThrough(author, l, from)
	if err != nil {
		return err
	}
	switch {
	case (found || l.left == 0) && note != nil:
		t.delete(note)
	case found || l.left == 0:
	case note != nil:
		t.put(note, l.append(nil))
	default:
		waiting, err := t.under(idKey(tableLook, author))
		if err != nil {
			return err
		}
		if len(waiting) < retractNotes {
			t.put(lookKey(author, at), l.append(nil))
		}
	}
	return nil
}

// lookThrough looks at a slice of a conversation, newest first, and buries what
// matches. It reports whether the message was found; left is 0 when there is
// nothing more to look at.
func (t *txn) lookThrough(author uint64, l *lookRecord, from string) (found bool, err error) {
	end, err := t.back(author, l.peer, l.before, min(retractSlice, int(l.left)), func(key, value []byte, g *glance) (bool, error) {
		l.left--
		if l.before, err = positionOf(key); err != nil {
			return false, err
		}
		if string(bareOf(g.from)) != from || g.retracts {
			return false, nil
		}
		found = string(g.id) == l.id || string(g.origin) == l.id
		if (found || string(g.replaces) == l.id) && !g.gone {
			return found, t.buryTalk(key, value, &command.MessageTombstone{TimeMs: t.meta.time, Id: l.by})
		}
		return found, nil
	})
	if end && !found {
		l.left = 0
	}
	return found, err
}

// back visits up to most messages of a conversation before a position, newest
// first, as the batch has left them, until visit has had enough. It reports
// whether there are no more.
func (t *txn) back(a, b uint64, before command.Position, most int, visit func(key, value []byte, g *glance) (bool, error)) (end bool, err error) {
	prefix, enough := appendTalkPrefix(nil, a, b), false
	look := func(key, value []byte) error {
		if now, changed := t.overlay[string(key)]; changed {
			if value = now; now == nil {
				return nil
			}
		}
		most--
		g, err := glanceAt(value)
		if err == nil {
			enough, err = visit(key, value, &g)
		}
		return t.a.v.damaged(err)
	}
	own := t.talksOf(prefix)
	for i := len(own) - 1; i >= 0 && most > 0 && !enough; i-- {
		p, err := positionOf(own[i].key)
		if err == nil && p.Before(before) {
			err = look(own[i].key, own[i].value)
		}
		if err != nil {
			return false, t.a.v.damaged(err)
		}
	}
	if most <= 0 || enough {
		return false, nil
	}
	it, err := t.a.v.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: before.AppendTo(bytes.Clone(prefix))})
	if err != nil {
		return false, t.a.v.damaged(err)
	}
	defer func() { err = errors.Join(err, t.a.v.damaged(it.Close())) }()
	ok := it.Last()
	for ; ok && most > 0 && !enough; ok = it.Prev() {
		value, err := it.ValueAndErr()
		if err != nil {
			return false, t.a.v.damaged(err)
		}
		if err := look(it.Key(), value); err != nil {
			return false, err
		}
	}
	return !ok, t.a.v.damaged(it.Error())
}

func bareOf(jid []byte) []byte {
	if i := bytes.IndexByte(jid, '/'); i >= 0 {
		return jid[:i]
	}
	return jid
}

// buryTalk replaces an archived message by its tombstone, for both sides. Its
// place, its time and who said it to whom stay (XEP-0313 §archive_order @1.1.3).
func (t *txn) buryTalk(key, old []byte, stone *command.MessageTombstone) error {
	return t.rewriteTalk(key, old, func(m *command.Message) { m.Tombstone, m.Payload = stone, nil })
}

// rewriteTalk archives what is left of a message in its place.
func (t *txn) rewriteTalk(key, old []byte, change func(*command.Message)) error {
	p, err := positionOf(key)
	if err != nil {
		return err
	}
	e, err := parseTalk(p, old)
	if err != nil {
		return err
	}
	m := e.Message
	left := &command.Message{From: m.From, To: m.To, Type: m.Type, Id: m.Id, Flags: m.Flags, Timer: m.Timer, Tombstone: m.Tombstone}
	change(left)
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(left)
	if err != nil {
		return err
	}
	key = bytes.Clone(key)
	value := append(appendTalkHead(nil, e.Time.UnixMilli()), b...)
	t.meta.sum -= recordHash(&t.digest, opSet, key, old)
	t.put(key, value)
	t.meta.sum += recordHash(&t.digest, opSet, key, value)
	t.removed = true // a scrub that is under way sees two states
	return nil
}

// lookSlice looks on for the first message that is noted; false when none is.
func (t *txn) lookSlice() (bool, error) {
	notes, err := t.next([]byte{tableLook}, []byte{tableLook + 1}, 1)
	if err != nil || len(notes) == 0 {
		return false, err
	}
	note := []byte(notes[0])
	b, err := t.get(note)
	if err != nil {
		return false, err
	}
	l, err := parseLook(b)
	if err != nil || len(note) != 1+idSize+command.PositionSize {
		return false, t.a.v.damaged(errors.Join(err, lookKeySize(note)))
	}
	author := binary.BigEndian.Uint64(note[1:])
	at, err := positionOf(note)
	if err != nil {
		return false, t.a.v.damaged(err)
	}
	// Whose it is, the retraction itself says.
	key := talkKey(author, l.peer, at)
	value, err := t.talkAt(key)
	if err != nil {
		return false, err
	}
	if value == nil { // both are gone
		t.delete(note)
		return true, nil
	}
	g, err := glanceAt(value)
	if err != nil {
		return false, t.a.v.damaged(err)
	}
	return true, t.lookOn(author, at, &l, string(bareOf(g.from)), note)
}

func lookKeySize(key []byte) error {
	if len(key) != 1+idSize+command.PositionSize {
		return corruptf("key of %d bytes", len(key))
	}
	return nil
}

// talkAt reads an archived message as the batch has left it, nil when there is
// none.
func (t *txn) talkAt(key []byte) ([]byte, error) {
	b, err := t.get(key)
	if b != nil || err != nil {
		return b, err
	}
	if _, deleted := t.overlay[string(key)]; deleted {
		return nil, nil
	}
	for _, own := range t.talksOf(key[:len(key)-command.PositionSize]) {
		if bytes.Equal(own.key, key) {
			return own.value, nil
		}
	}
	return nil, nil
}

// talkWrite is a message that the batch has archived.
type talkWrite struct{ key, value []byte }

// talks indexes what the batch has archived by conversation. It is made when
// the first command of a batch asks for it, and then goes on from where it was.
type talks struct {
	read int // bytes of the batch
	of   map[string][]talkWrite
}

// talksOf gives what the batch has archived of a conversation, oldest first, as
// it was first written.
func (t *txn) talksOf(prefix []byte) []talkWrite {
	if t.talks.of == nil {
		t.talks.of = make(map[string][]talkWrite)
	}
	r := t.b.Reader()
	size := len(r)
	for r = r[t.talks.read:]; len(r) > 0; {
		kind, key, value, ok, err := r.Next()
		if err != nil || !ok {
			break // our own batch is whole
		}
		if kind == pebble.InternalKeyKindSet && len(key) == talkKeySize && key[0] == tableTalk {
			of := string(key[:len(key)-command.PositionSize])
			t.talks.of[of] = append(t.talks.of[of], talkWrite{key, value})
		}
	}
	t.talks.read = size
	return t.talks.of[string(prefix)]
}

// glance is what is looked at of an archived message without decoding it.
type glance struct {
	from, id, origin, replaces []byte
	retracts                   bool // it takes another back
	gone                       bool // it is a tombstone
}

// Numbers of fields of command.Message.
const (
	fieldFrom      = 1
	fieldID        = 4
	fieldOrigin    = 7
	fieldRetracts  = 130
	fieldReplaces  = 131
	fieldTombstone = 133
)

func glanceAt(value []byte) (g glance, err error) {
	r := read(value)
	r.uvarint()
	if r.err != nil {
		return g, r.err
	}
	for b := r.b; len(b) > 0; {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return g, corruptf("message: %v", protowire.ParseError(n))
		}
		b = b[n:]
		if typ != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
				return g, corruptf("message: %v", protowire.ParseError(n))
			}
			b = b[n:]
			continue
		}
		field, n := protowire.ConsumeBytes(b)
		if n < 0 {
			return g, corruptf("message: %v", protowire.ParseError(n))
		}
		b = b[n:]
		switch num {
		case fieldFrom:
			g.from = field
		case fieldID:
			g.id = field
		case fieldOrigin:
			g.origin = field
		case fieldRetracts:
			g.retracts = len(field) > 0
		case fieldReplaces:
			g.replaces = field
		case fieldTombstone:
			g.gone = true
		}
	}
	return g, nil
}
