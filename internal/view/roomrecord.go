// SPDX-License-Identifier: Apache-2.0

package view

import (
	"encoding/binary"
	"time"

	"google.golang.org/protobuf/proto"

	"bavard/internal/command"
	"bavard/internal/state"
)

// room is a room as apply works on it. It is never changed in place: see
// txn.change.
type room struct {
	id      uint64
	jid     string
	created int64
	locked  bool
	config  *command.RoomConfig // complete
	subject subjectRecord
	// affiliations counts records of table A with an affiliation, owners those
	// of owners, guests the remembered ones without.
	affiliations, owners, guests uint32
	// number of messages with a body. It is not in the record: the last message
	// of the archive has it.
	number uint64
}

// subjectRecord is the subject of a room; none when its position is zero.
type subjectRecord struct {
	position command.Position
	time     int64
	from     string
	sender   uint64 // account; 0 where it is not known
	nick     string
	id       string
	payload  []byte
}

const roomLocked = 1

func (r *room) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(append(dst, recordVersion), r.id)
	dst = binary.BigEndian.AppendUint64(dst, uint64(r.created))
	var flags byte
	if r.locked {
		flags |= roomLocked
	}
	dst = append(dst, flags)
	dst = binary.BigEndian.AppendUint32(dst, r.affiliations)
	dst = binary.BigEndian.AppendUint32(dst, r.owners)
	dst = binary.BigEndian.AppendUint32(dst, r.guests)
	config, err := proto.MarshalOptions{Deterministic: true}.Marshal(r.config)
	if err != nil {
		config = nil // strings of a decoded command are valid
	}
	dst = appendString(dst, config)
	dst = r.subject.position.AppendTo(dst)
	dst = binary.BigEndian.AppendUint64(dst, uint64(r.subject.time))
	dst = appendString(appendString(appendString(dst, r.subject.from), r.subject.nick), r.subject.id)
	dst = appendString(dst, r.subject.payload)
	if r.subject.sender != 0 {
		dst = binary.BigEndian.AppendUint64(dst, r.subject.sender)
	}
	return dst
}

func parseRoom(jid string, b []byte) (*room, error) {
	r := read(b)
	out := &room{jid: jid, id: r.uint64(), created: int64(r.uint64()), locked: r.byte()&roomLocked != 0}
	out.affiliations, out.owners, out.guests = r.uint32(), r.uint32(), r.uint32()
	config := r.bytes()
	s := &out.subject
	s.position, s.time = r.position(), int64(r.uint64())
	s.from, s.nick, s.id, s.payload = r.string(), r.string(), r.string(), r.bytes()
	if r.err == nil && len(r.b) > 0 {
		if s.sender = r.uint64(); s.sender == 0 {
			r.fail("subject of no account")
		}
	}
	if err := r.end(); err != nil {
		return nil, err
	}
	stored := &command.RoomConfig{}
	if err := proto.Unmarshal(config, stored); err != nil {
		return nil, corruptf("configuration of a room: %v", err)
	}
	out.config = command.DefaultRoom()
	proto.Merge(out.config, stored)
	return out, nil
}

func (r *room) state() state.Room {
	out := state.Room{
		JID: r.jid, ID: r.id, Created: time.UnixMilli(r.created).UTC(), Locked: r.locked, Config: r.config, Affiliations: int(r.affiliations),
	}
	if s := &r.subject; !s.position.IsZero() {
		out.Subject = state.RoomSubject{
			Position: s.position, Time: time.UnixMilli(s.time).UTC(), From: s.from, Sender: s.sender, Nick: s.nick, ID: s.id, Payload: s.payload,
		}
	}
	return out
}

// member is a record of table A, or of table H when it has no affiliation.
type member struct {
	affiliation command.Affiliation
	nicks       []string // newest first
	reason      string
	since       command.Position
}

func (m *member) append(dst []byte) []byte {
	dst = append(dst, recordVersion, byte(m.affiliation))
	dst = m.since.AppendTo(dst)
	dst = appendString(dst, m.reason)
	dst = binary.AppendUvarint(dst, uint64(len(m.nicks)))
	for _, n := range m.nicks {
		dst = appendString(dst, n)
	}
	return dst
}

func parseMember(b []byte) (member, error) {
	r := read(b)
	m := member{affiliation: command.Affiliation(r.byte()), since: r.position(), reason: r.string()}
	n := r.uvarint()
	if n > command.RoomNicks {
		r.fail("%d nicks", n)
		n = 0
	}
	for range n {
		m.nicks = append(m.nicks, r.string())
	}
	if _, ok := command.Affiliation_name[int32(m.affiliation)]; !ok {
		r.fail("affiliation %d", m.affiliation)
	}
	return m, r.end()
}

// saidVersion is that of a record that says whose account the sender is.
const saidVersion = 2

// appendSaidHead begins a record of a room's archive; the message follows.
func appendSaidHead(dst []byte, ms int64, number, sender uint64) []byte {
	dst = binary.AppendUvarint(append(dst, saidVersion), uint64(ms))
	return binary.AppendUvarint(binary.AppendUvarint(dst, number), sender)
}

// readSaidHead reads what appendSaidHead wrote, in any version; the message is
// left in r.
func readSaidHead(b []byte) (r *reader, ms, number, sender uint64) {
	r = readSince(b, saidVersion)
	ms, number = r.uvarint(), r.uvarint()
	if r.version >= saidVersion {
		sender = r.uvarint()
	}
	return r, ms, number, sender
}

func parseSaid(p command.Position, b []byte) (state.Entry, error) {
	r, ms, number, sender := readSaidHead(b)
	if r.err != nil {
		return state.Entry{}, r.err
	}
	m := &command.RoomMessage{}
	if err := proto.Unmarshal(r.b, m); err != nil {
		return state.Entry{}, corruptf("message at %v: %v", p, err)
	}
	return state.Entry{Position: p, Time: time.UnixMilli(int64(ms)).UTC(), Room: m, Number: number, Sender: sender}, nil
}

func roomKey(jid string) []byte { return append([]byte{tableRoom}, jid...) }

func memberKey(id uint64, jid string) []byte { return append(idKey(tableMember, id), jid...) }

func guestKey(id uint64, jid string) []byte { return append(idKey(tableGuest, id), jid...) }

// nickKey is who has a nick: a person with an affiliation, or a guest.
func nickKey(id uint64, guest bool, nick string) []byte {
	if guest {
		return append(idKey(tableGuestNick, id), nick...)
	}
	return append(idKey(tableNick, id), nick...)
}

func saidPrefix(id uint64) []byte { return idKey(tableSaid, id) }

func saidKey(id uint64, p command.Position) []byte { return p.AppendTo(saidPrefix(id)) }

// joinedKey is a room that an account is a member of.
func joinedKey(account uint64, room string) []byte {
	return append(idKey(tableJoined, account), room...)
}

func parseHolder(b []byte) (string, error) {
	r := read(b)
	s := r.string()
	return s, r.end()
}
