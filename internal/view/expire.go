// SPDX-License-Identifier: Apache-2.0

package view

import (
	"encoding/binary"
	"errors"
	"strconv"

	"github.com/cockroachdb/pebble/v2"

	"bavard/internal/command"
	"bavard/internal/stanza"
	"bavard/internal/state"
)

// Messages whose content is to be gone after a time (XEP-0466) are indexed by
// when that is. Between two people the time runs from when the recipient has
// read the message (§rules), which a marker tells (XEP-0333); until then the
// message waits. All others run from when they are archived: those of rooms,
// which are read by many, and those to oneself. Others than such messages are in no
// index, and cost nothing.
//
// When the time has come, command.ArchiveBlank leaves of the message what it
// says of its timer: place, time, sender and recipient stay.

// unreadMs is how long a message waits at most before its time runs all the
// same: clients need not tell what was read.
const unreadMs = 30 * 24 * 60 * minuteMs

// Parts of the table, the byte after its letter. Frozen.
const (
	expiryDue     = 0 // time, two ids, position → nothing: it is to be blanked then
	expiryWaiting = 1 // author's id, reader's id, position → waitRecord
	expiryRead    = 2 // author's id, reader's id → readRecord: waiting ones are read
)

// pair is who has written and who has not read.
type pair struct{ author, reader uint64 }

func (p pair) key(part byte) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64([]byte{tableExpiry, part}, p.author), p.reader)
}

func (p pair) waitKey(at command.Position) []byte { return at.AppendTo(p.key(expiryWaiting)) }

// dueKey is that of a message between two accounts, or, with lower 0, of the
// room whose id is higher.
func dueKey(due int64, lower, higher uint64, at command.Position) []byte {
	k := binary.BigEndian.AppendUint64([]byte{tableExpiry, expiryDue}, uint64(due))
	k = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(k, lower), higher)
	return at.AppendTo(k)
}

const dueKeySize = 2 + 3*8 + command.PositionSize

// waitRecord is a message that is not known to be read.
type waitRecord struct {
	due   int64 // when it is blanked all the same
	timer uint32
}

func (w *waitRecord) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(append(dst, recordVersion), uint64(w.due))
	return binary.BigEndian.AppendUint32(dst, w.timer)
}

func parseWait(b []byte) (waitRecord, error) {
	r := read(b)
	w := waitRecord{due: int64(r.uint64()), timer: r.uint32()}
	return w, r.end()
}

// readRecord says up to where waiting messages were read, and when.
type readRecord struct {
	upTo command.Position
	time int64
}

func (m *readRecord) append(dst []byte) []byte {
	return binary.BigEndian.AppendUint64(m.upTo.AppendTo(append(dst, recordVersion)), uint64(m.time))
}

func parseRead(b []byte) (readRecord, error) {
	r := read(b)
	m := readRecord{upTo: r.position(), time: int64(r.uint64())}
	return m, r.end()
}

func checkExpiry(key, value []byte) (err error) {
	switch {
	case len(key) == dueKeySize && key[1] == expiryDue:
		err = read(value).end()
	case len(key) == 2+2*idSize+command.PositionSize && key[1] == expiryWaiting:
		_, err = parseWait(value)
	case len(key) == 2+2*idSize && key[1] == expiryRead:
		_, err = parseRead(value)
	default:
		err = corruptf("key of %d bytes", len(key))
	}
	return err
}

// fades follows a message that is more than others: that takes one back, whose
// content is to be gone, or that says what was read.
func (t *txn) fades(sender, recipient uint64, m *command.Message) error {
	if m.Retracts != "" {
		if err := t.takeBackFrom(sender, recipient, m); err != nil {
			return err
		}
	}
	switch {
	case m.Timer == 0:
	case sender == recipient:
		t.expires(sender, recipient, t.pos, m.Timer)
	default:
		t.waits(pair{sender, recipient}, m.Timer)
	}
	if m.Flags&command.FlagDisplayed != 0 {
		return t.hasRead(pair{recipient, sender}, m)
	}
	return nil
}

// expires indexes a message whose time runs from now.
func (t *txn) expires(lower, higher uint64, at command.Position, timer uint32) {
	t.put(dueKey(dueAt(t.meta.time, timer), lower, higher, at), []byte{recordVersion})
}

func dueAt(from int64, timer uint32) int64 { return min(from+int64(timer)*1000, maxTime) }

// waits indexes a message whose time runs from when it is read.
func (t *txn) waits(p pair, timer uint32) {
	w := waitRecord{due: dueAt(t.meta.time+unreadMs, timer), timer: timer}
	t.put(p.waitKey(t.pos), w.append(nil))
	t.put(dueKey(w.due, min(p.author, p.reader), max(p.author, p.reader), t.pos), []byte{recordVersion})
	t.expiring[p]++
}

// hasRead notes up to where the reader has read, if anything waits for that.
func (t *txn) hasRead(p pair, m *command.Message) error {
	if t.a.expiring[p]+t.expiring[p] == 0 {
		return nil
	}
	id := markedID(m.Payload)
	if id == "" {
		return nil
	}
	peer := bare(m.To)
	_, err := t.back(p.author, p.reader, t.pos, retractSlice, func(key, _ []byte, g *glance) (bool, error) {
		if string(bareOf(g.from)) != peer || string(g.id) != id && string(g.origin) != id {
			return false, nil
		}
		at, err := positionOf(key)
		if err == nil {
			err = t.readUpTo(p, at)
		}
		return true, err
	})
	return err
}

// hasDisplayed is hasRead for what the reader told its own devices alone.
func (t *txn) hasDisplayed(of *owned, c *command.PubsubPublish) error {
	if c.Node != stanza.NSDisplayed || len(c.Read) == 0 {
		return nil
	}
	at, err := command.ParsePosition(c.Read)
	peer, ok := state.ChatOf(c.Item)
	if err != nil || !ok || t.pos.Before(at) {
		return nil //nolint:nilerr // what is not there has not been read
	}
	p := pair{t.account(peer), of.account}
	if p.author == 0 || p.author == p.reader || t.a.expiring[p]+t.expiring[p] == 0 {
		return nil
	}
	return t.readUpTo(p, at)
}

// readUpTo notes that messages were read, now, unless later ones are noted.
func (t *txn) readUpTo(p pair, at command.Position) error {
	key := p.key(expiryRead)
	b, err := t.get(key)
	if err != nil {
		return err
	}
	if b != nil {
		earlier, err := parseRead(b)
		if err != nil {
			return t.a.v.damaged(err)
		}
		if !earlier.upTo.Before(at) {
			return nil
		}
	}
	t.put(key, (&readRecord{upTo: at, time: t.meta.time}).append(nil))
	return nil
}

// markedID is the id that a marker names, "" for none.
func markedID(payload []byte) string {
	e := stanza.Message(payload)
	for _, name := range []string{"displayed", "acknowledged"} {
		if id := e.Child(stanza.NSMarkers, name).Get("id"); id != "" {
			return id
		}
	}
	return ""
}

// loadExpiring counts what waits to be read.
func (a *applier) loadExpiring() (err error) {
	prefix := []byte{tableExpiry, expiryWaiting}
	it, err := a.v.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: prefixEnd(prefix)})
	if err != nil {
		return a.v.damaged(err)
	}
	defer func() { err = errors.Join(err, a.v.damaged(it.Close())) }()
	for ok := it.First(); ok; ok = it.Next() {
		if err := checkExpiry(it.Key(), it.Value()); err != nil {
			return a.v.damaged(err)
		}
		a.expiring[pairOf(it.Key())]++
	}
	return a.v.damaged(it.Error())
}

// pairOf reads the pair of a key that was checked.
func pairOf(key []byte) pair {
	return pair{binary.BigEndian.Uint64(key[2:]), binary.BigEndian.Uint64(key[2+idSize:])}
}

// keepExpiring takes over what a batch has changed.
func (a *applier) keepExpiring(changed map[pair]int) {
	for p, n := range changed {
		if a.expiring[p] += n; a.expiring[p] == 0 {
			delete(a.expiring, p)
		}
	}
}

// Blanking reports whether there is something to blank by now, in Unix
// milliseconds, or to look for: then somebody has to submit
// command.ArchiveBlank.
func (v *View) Blanking(now int64) (blanking bool, err error) {
	if err := v.enter(); err != nil {
		return false, err
	}
	defer v.leave()
	for _, r := range [][2][]byte{
		{{tableExpiry, expiryDue}, dueKey(now+1, 0, 0, command.Position{})},
		{{tableExpiry, expiryRead}, {tableExpiry, expiryRead + 1}},
		{{tableLook}, {tableLook + 1}},
	} {
		it, err := v.db.NewIter(&pebble.IterOptions{LowerBound: r[0], UpperBound: r[1]})
		if err != nil {
			return false, v.damaged(err)
		}
		some := it.First()
		if err := errors.Join(it.Error(), it.Close()); err != nil || some {
			return some, v.damaged(err)
		}
	}
	return false, nil
}

// archiveBlank does one slice of each thing that there is to do.
func (t *txn) archiveBlank() (command.Outcome, error) {
	if err := t.startSlice(); err != nil {
		return command.Outcome{}, err
	}
	if err := t.blankSlice(); err != nil {
		return command.Outcome{}, err
	}
	_, err := t.lookSlice()
	return accept(), err
}

// startSlice has the time run of messages that were read.
func (t *txn) startSlice() error {
	marks, err := t.next([]byte{tableExpiry, expiryRead}, []byte{tableExpiry, expiryRead + 1}, 1)
	if err != nil || len(marks) == 0 {
		return err
	}
	mark := []byte(marks[0])
	b, err := t.get(mark)
	if err != nil {
		return err
	}
	m, err := parseRead(b)
	if err != nil {
		return t.a.v.damaged(err)
	}
	p := pairOf(mark)
	const most = sweepWork / sweepMessage
	waiting, err := t.next(p.key(expiryWaiting), append(p.waitKey(m.upTo), 0), most)
	if err != nil {
		return err
	}
	for _, key := range waiting {
		if err := t.start(p, []byte(key), m.time); err != nil {
			return err
		}
	}
	if len(waiting) < most {
		t.delete(mark)
	}
	return nil
}

// start has the time of a waiting message run from when it was read.
func (t *txn) start(p pair, key []byte, since int64) error {
	w, at, err := t.waiting(key)
	if err != nil {
		return err
	}
	lower, higher := min(p.author, p.reader), max(p.author, p.reader)
	t.delete(dueKey(w.due, lower, higher, at))
	t.put(dueKey(min(w.due, dueAt(since, w.timer)), lower, higher, at), []byte{recordVersion})
	t.delete(key)
	t.expiring[p]--
	return nil
}

func (t *txn) waiting(key []byte) (waitRecord, command.Position, error) {
	b, err := t.get(key)
	if err != nil {
		return waitRecord{}, command.Position{}, err
	}
	w, err := parseWait(b)
	at, perr := positionOf(key)
	return w, at, t.a.v.damaged(errors.Join(err, perr))
}

// blankSlice blanks messages whose time has come.
func (t *txn) blankSlice() error {
	due, err := t.next([]byte{tableExpiry, expiryDue}, dueKey(t.meta.time+1, 0, 0, command.Position{}), sweepWork/sweepMessage)
	if err != nil {
		return err
	}
	for _, k := range due {
		key := []byte(k)
		if err := checkExpiry(key, []byte{recordVersion}); err != nil {
			return t.a.v.damaged(err)
		}
		lower, higher := binary.BigEndian.Uint64(key[10:]), binary.BigEndian.Uint64(key[18:])
		at, err := positionOf(key)
		if err == nil && lower == 0 {
			err = t.blankSaid(higher, at)
		} else if err == nil {
			err = t.blankTalk(lower, higher, at)
		}
		if err != nil {
			return t.a.v.damaged(err)
		}
		t.delete(key)
	}
	return nil
}

// faded is the content of a message whose time has come: its timer, which
// clients go on with (XEP-0466 §negotiation @0.1.0).
func faded(timer uint32) []byte {
	return []byte("<ephemeral xmlns='" + stanza.NSEphemeral + "' timer='" + strconv.FormatUint(uint64(timer), 10) + "'/>")
}

// blankTalk blanks a message between two people, if it is there still.
func (t *txn) blankTalk(lower, higher uint64, at command.Position) error {
	for _, p := range []pair{{lower, higher}, {higher, lower}} {
		b, err := t.get(p.waitKey(at))
		if err != nil {
			return err
		}
		if b != nil {
			t.delete(p.waitKey(at))
			t.expiring[p]--
		}
	}
	key := talkKey(lower, higher, at)
	old, err := t.talkAt(key)
	if err != nil || old == nil {
		return err
	}
	return t.rewriteTalk(key, old, func(m *command.Message) {
		if m.Tombstone == nil {
			m.Payload = faded(m.Timer)
		}
	})
}

// blankSaid blanks a message of a room, if it is there still.
func (t *txn) blankSaid(id uint64, at command.Position) error {
	e, old, err := t.saidAt(&room{id: id}, at)
	if err != nil || e == nil || e.Room.Tombstone != nil {
		return err
	}
	m := e.Room
	left := &command.RoomMessage{Room: m.Room, From: m.From, Nick: m.Nick, Role: m.Role, Id: m.Id, Timer: m.Timer, Payload: faded(m.Timer)}
	t.rewriteSaid(saidKey(id, at), e, old, left)
	return nil
}
