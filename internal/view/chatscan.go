// SPDX-License-Identifier: Apache-2.0

package view

import (
	"bytes"

	"google.golang.org/protobuf/encoding/protowire"

	"bavard/internal/command"
	"bavard/internal/stanza"
	"bavard/internal/state"
)

// brief is what lists of chats need of a stored message, found without decoding
// all of it. The slices are the record's.
type brief struct {
	position          command.Position
	number, sender    uint64 // of a room's message: see state.Entry
	from, to, id      []byte
	payload           []byte
	flags             uint64
	tombstone, notice bool // of a room: taken back; says that something was
}

// Field numbers of command.Message and command.RoomMessage.
const (
	messageFrom, messageTo, messageID, messagePayload, messageFlags = 1, 2, 4, 6, 9

	saidFrom, saidID, saidPayload, saidFlags, saidTombstone, saidModerates = 2, 5, 7, 10, 12, 13
)

func briefTalk(p command.Position, value []byte) (brief, error) {
	r := read(value)
	r.uvarint()
	if r.err != nil {
		return brief{}, r.err
	}
	m := brief{position: p}
	err := fields(r.b, messageFlags, &m.flags, func(num protowire.Number, b []byte) {
		switch num {
		case messageFrom:
			m.from = b
		case messageTo:
			m.to = b
		case messageID:
			m.id = b
		case messagePayload:
			m.payload = b
		}
	})
	return m, err
}

func briefSaid(p command.Position, value []byte) (brief, error) {
	r, _, number, sender := readSaidHead(value)
	m := brief{position: p, number: number, sender: sender}
	if r.err != nil {
		return brief{}, r.err
	}
	err := fields(r.b, saidFlags, &m.flags, func(num protowire.Number, b []byte) {
		switch num {
		case saidFrom:
			m.from = b
		case saidID:
			m.id = b
		case saidPayload:
			m.payload = b
		case saidTombstone:
			m.tombstone = true
		case saidModerates:
			m.notice = true
		}
	})
	return m, err
}

// fields visits the texts of an encoded message, and reads its flags.
func fields(b []byte, flagsField protowire.Number, flags *uint64, visit func(num protowire.Number, b []byte)) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return corruptf("message: %v", protowire.ParseError(n))
		}
		b = b[n:]
		switch typ {
		case protowire.BytesType:
			value, n := protowire.ConsumeBytes(b)
			if n < 0 {
				return corruptf("message: %v", protowire.ParseError(n))
			}
			visit(num, value)
			b = b[n:]
		case protowire.VarintType:
			x, n := protowire.ConsumeVarint(b)
			if n < 0 {
				return corruptf("message: %v", protowire.ParseError(n))
			}
			if num == flagsField {
				*flags = x
			}
			b = b[n:]
		default:
			n := protowire.ConsumeFieldValue(num, typ, b)
			if n < 0 {
				return corruptf("message: %v", protowire.ParseError(n))
			}
			b = b[n:]
		}
	}
	return nil
}

// by reports whether an account (a bare JID) wrote it.
func (m *brief) by(account string) bool {
	return len(m.from) >= len(account) && string(m.from[:len(account)]) == account && (len(m.from) == len(account) || m.from[len(account)] == '/')
}

// elsewhere reports whether the peer is of another domain than the account: an
// occupant of a room.
func (m *brief) elsewhere(account string) bool {
	_, own := split(account)
	_, domain := split(m.peer(account))
	return domain != own
}

// with is the address that an account exchanged it with, as it stands in the message.
func (m *brief) with(account string) []byte {
	if m.by(account) {
		return m.to
	}
	return m.from
}

// peer is the bare JID of whom an account exchanged it with.
func (m *brief) peer(account string) string {
	return string(bareOf(m.with(account)))
}

// Payloads are serialised by this server: an element begins with its name and
// its namespace, and "<" stands for nothing else.
var (
	asides = [][]byte{
		[]byte("<replace xmlns='" + stanza.NSCorrect + "'"), []byte("<reactions xmlns='" + stanza.NSReactions + "'"),
		[]byte("<retract xmlns='" + stanza.NSRetract + "'"),
	} // immutable
	sealedStarts = [][]byte{
		[]byte("<encrypted xmlns='" + stanza.NSOmemoLegacy + "'"), []byte("<encrypted xmlns='" + stanza.NSOmemo + "'"),
	} // immutable
	displayedStart = []byte("<displayed xmlns='" + stanza.NSMarkers + "'") // immutable
	payloadStart   = []byte("<payload")                                    // immutable
	mentionStarts  = [][]byte{
		[]byte("<reference xmlns='" + stanza.NSReference + "'"), []byte("<mention xmlns='" + stanza.NSMentions + "'"), []byte("<reply xmlns='" + stanza.NSReply + "'"),
	} // immutable
)

func containsAny(b []byte, parts [][]byte) bool {
	for _, p := range parts {
		if bytes.Contains(b, p) {
			return true
		}
	}
	return false
}

// counts reports whether it is a message that people are told of: it says
// something, and does not only change or comment on another one.
func (m *brief) counts() bool {
	if m.tombstone || m.notice {
		return false
	}
	return (m.flags&uint64(command.FlagBody) != 0 || m.sealed() && bytes.Contains(m.payload, payloadStart)) && !containsAny(m.payload, asides)
}

func (m *brief) sealed() bool { return containsAny(m.payload, sealedStarts) }

// displayed is the id of the message that it says was displayed (XEP-0333
// §sending @1.0.0), "" when it says nothing of the kind.
func (m *brief) displayed() string {
	if !bytes.Contains(m.payload, displayedStart) {
		return ""
	}
	return stanza.Message(m.payload).Child(stanza.NSMarkers, "displayed").Get("id")
}

// mentions reports whether a message of a room is meant for somebody: a child says so,
// or it names their nick in a body that is not encrypted.
func (m *brief) mentions(who *state.Somebody) bool {
	if containsAny(m.payload, mentionStarts) {
		for _, e := range stanza.Message(m.payload).Elements() {
			if who.Meant(e) {
				return true
			}
		}
	}
	if m.sealed() || !m.mayName(who) {
		return false
	}
	return who.Named(stanza.Message(m.payload).Child(stanza.NSClient, "body").Text())
}

// mayName is what is looked at before a message is parsed.
func (m *brief) mayName(who *state.Somebody) bool {
	lower := bytes.ToLower(m.payload)
	for _, nick := range who.Nicks {
		if bytes.Contains(lower, bytes.ToLower([]byte(nick))) {
			return true
		}
	}
	return false
}
