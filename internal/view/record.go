// SPDX-License-Identifier: Apache-2.0

package view

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/cespare/xxhash/v2"
	"google.golang.org/protobuf/proto"

	"bavard/internal/command"
	"bavard/internal/state"
)

// Each record starts with the version of its encoding. Persisted: frozen once
// released. docs/formats/view.md describes them.
const recordVersion = 1

func corruptf(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrCorrupt, fmt.Sprintf(format, args...))
}

// reader consumes a record; the first error sticks.
type reader struct {
	b       []byte
	version byte
	err     error
}

func read(b []byte) *reader { return readSince(b, recordVersion) }

// readSince reads a record of a table whose records have versions up to newest.
func readSince(b []byte, newest byte) *reader {
	r := &reader{b: b}
	if r.version = r.byte(); r.err == nil && (r.version < recordVersion || r.version > newest) {
		r.fail("record of version %d", r.version)
	}
	return r
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = corruptf(format, args...)
	}
	r.b = nil
}

func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.fail("record cut short")
		return nil
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) byte() byte {
	if b := r.take(1); len(b) == 1 {
		return b[0]
	}
	return 0
}

func (r *reader) uvarint() uint64 {
	x, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail("bad number")
		return 0
	}
	r.b = r.b[n:]
	return x
}

func (r *reader) bytes() []byte {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.fail("record cut short")
		return nil
	}
	return r.take(int(n))
}

func (r *reader) string() string { return string(r.bytes()) }

func (r *reader) uint64() uint64 {
	if b := r.take(8); len(b) == 8 {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (r *reader) uint32() uint32 {
	if b := r.take(4); len(b) == 4 {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *reader) position() command.Position {
	b := r.take(command.PositionSize)
	if len(b) != command.PositionSize {
		return command.Position{}
	}
	p, err := command.ParsePosition(b)
	if err != nil {
		r.fail("%v", err)
	}
	return p
}

// end returns the error; bytes left over are one.
func (r *reader) end() error {
	if r.err == nil && len(r.b) != 0 {
		r.fail("%d bytes too many", len(r.b))
	}
	return r.err
}

func appendString[T string | []byte](dst []byte, s T) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// meta is what every batch writes: the applied position and what applying
// needs of the past.
type meta struct {
	applied command.Position
	time    int64  // of the last command, Unix milliseconds
	minute  int64  // last minute in the time table
	bucket  uint32 // newest bucket of dedupe keys and streams
	nextID  uint64 // next account id
	people  uint64 // accounts that there are
	chain   uint64 // hash chained over all writes
	// The archive's records are only added, so that their number and the sum
	// of their hashes tell whether any is missing or changed.
	records uint64
	sum     uint64
}

func (m *meta) append(dst []byte) []byte {
	dst = m.applied.AppendTo(append(dst, recordVersion))
	dst = binary.BigEndian.AppendUint64(dst, uint64(m.time))
	dst = binary.BigEndian.AppendUint64(dst, uint64(m.minute))
	dst = binary.BigEndian.AppendUint32(dst, m.bucket)
	dst = binary.BigEndian.AppendUint64(dst, m.nextID)
	dst = binary.BigEndian.AppendUint64(dst, m.people)
	dst = binary.BigEndian.AppendUint64(dst, m.chain)
	dst = binary.BigEndian.AppendUint64(dst, m.records)
	return binary.BigEndian.AppendUint64(dst, m.sum)
}

func parseMeta(b []byte) (meta, error) {
	r := read(b)
	m := meta{
		applied: r.position(),
		time:    int64(r.uint64()),
		minute:  int64(r.uint64()),
		bucket:  r.uint32(),
		nextID:  r.uint64(),
		people:  r.uint64(),
		chain:   r.uint64(),
		records: r.uint64(),
		sum:     r.uint64(),
	}
	return m, r.end()
}

// cellRecord is what CellInit said.
type cellRecord struct {
	position   command.Position
	domain     string
	archiveKey []byte
}

func (c *cellRecord) append(dst []byte) []byte {
	dst = c.position.AppendTo(append(dst, recordVersion))
	return appendString(appendString(dst, c.domain), c.archiveKey)
}

func parseCell(b []byte) (cellRecord, error) {
	r := read(b)
	c := cellRecord{position: r.position(), domain: r.string(), archiveKey: append([]byte(nil), r.bytes()...)}
	return c, r.end()
}

// journalIDSize is the size of a journal's id in bytes.
const journalIDSize = 16

// journalRecord says which journal the view is folded from, since when.
type journalRecord struct {
	position command.Position
	id       []byte
}

func (j *journalRecord) append(dst []byte) []byte {
	return append(j.position.AppendTo(append(dst, recordVersion)), j.id...)
}

func parseJournal(b []byte) (journalRecord, error) {
	r := read(b)
	j := journalRecord{position: r.position(), id: append([]byte(nil), r.take(journalIDSize)...)}
	return j, r.end()
}

// accountRecord is an account; its JID is in the key.
type accountRecord struct {
	id          uint64
	created     int64
	name        string
	credentials []byte // command.Credentials
	flags       byte   // left out when 0
}

// accountDisabled is a bit of accountRecord.flags.
const accountDisabled = 1

func (a *accountRecord) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(append(dst, recordVersion), a.id)
	dst = binary.BigEndian.AppendUint64(dst, uint64(a.created))
	dst = appendString(appendString(dst, a.name), a.credentials)
	if a.flags != 0 {
		dst = append(dst, a.flags)
	}
	return dst
}

func parseAccount(b []byte) (accountRecord, error) {
	r := read(b)
	a := accountRecord{
		id:          r.uint64(),
		created:     int64(r.uint64()),
		name:        r.string(),
		credentials: append([]byte(nil), r.bytes()...),
	}
	if len(r.b) > 0 {
		a.flags = r.byte()
	}
	if a.flags&^accountDisabled != 0 {
		r.fail("account with flags %#x", a.flags)
	}
	return a, r.end()
}

func (a *accountRecord) account(jid string) (state.Account, error) {
	creds := &command.Credentials{}
	if err := proto.Unmarshal(a.credentials, creds); err != nil {
		return state.Account{}, corruptf("credentials: %v", err)
	}
	return state.Account{
		JID:         jid,
		ID:          a.id,
		Name:        a.name,
		Created:     time.UnixMilli(a.created).UTC(),
		Credentials: creds,
		Disabled:    a.flags&accountDisabled != 0,
		Keys:        xxhash.Sum64(a.credentials),
	}, nil
}

// Bits of the archive index's first byte; the high nibble is the version.
const (
	archiveVersion  = recordVersion << 4
	archiveIncoming = 1 // the account is the recipient
)

func appendArchiveRecord(dst []byte, peer uint64, incoming bool) []byte {
	head := byte(archiveVersion)
	if incoming {
		head |= archiveIncoming
	}
	return binary.AppendUvarint(append(dst, head), peer)
}

func parseArchiveRecord(b []byte) (peer uint64, incoming bool, err error) {
	r := &reader{b: b}
	head := r.byte()
	if head&0xf0 != archiveVersion {
		r.fail("archive record %#x", head)
	}
	peer = r.uvarint()
	return peer, head&archiveIncoming != 0, r.end()
}

// appendTalkHead starts a message record; the encoded command.Message follows.
func appendTalkHead(dst []byte, ms int64) []byte {
	return binary.AppendUvarint(append(dst, recordVersion), uint64(ms))
}

func parseTalk(p command.Position, b []byte) (state.Entry, error) {
	r := read(b)
	ms := r.uvarint()
	if r.err != nil {
		return state.Entry{}, r.err
	}
	m := &command.Message{}
	if err := proto.Unmarshal(r.b, m); err != nil {
		return state.Entry{}, corruptf("message at %v: %v", p, err)
	}
	return state.Entry{Position: p, Time: time.UnixMilli(int64(ms)).UTC(), Message: m}, nil
}

// appendPosition is the record of tables that hold one position.
func appendPosition(dst []byte, p command.Position) []byte {
	return p.AppendTo(append(dst, recordVersion))
}

func parsePosition(b []byte) (command.Position, error) {
	r := read(b)
	p := r.position()
	return p, r.end()
}

func appendStreamRecord(dst []byte, s *streamState) []byte {
	dst = binary.BigEndian.AppendUint32(append(dst, recordVersion), s.h)
	dst = binary.BigEndian.AppendUint32(dst, s.bound)
	switch {
	case s.boundless:
		return append(dst, 2)
	case s.refused:
		return append(dst, 1)
	}
	return append(dst, 0)
}

func parseStreamRecord(b []byte) (streamState, error) {
	r := read(b)
	s := streamState{h: r.uint32(), bound: r.uint32()}
	switch flag := r.byte(); flag {
	case 0:
	case 1:
		s.refused = true
	case 2:
		s.refused, s.boundless = true, true
	default:
		r.fail("stream record with flag %d", flag)
	}
	return s, r.end()
}
