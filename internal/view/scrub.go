// SPDX-License-Identifier: Apache-2.0

package view

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/pebble/v2"
	"google.golang.org/protobuf/proto"

	"bavard/internal/command"
)

// Checksum reads every record and returns a hash over all of them except the
// applied position and what goes with it, and their number. Views that applied
// the same batches have equal ones.
func (v *View) Checksum() (sum uint64, records int, err error) {
	if err := v.enter(); err != nil {
		return 0, 0, err
	}
	defer v.leave()
	h := xxhash.New()
	err = v.each(func(key, value []byte) error {
		if key[0] == tableMeta || key[0] == tableFormat {
			return nil
		}
		var head [8]byte
		binary.BigEndian.PutUint32(head[:4], uint32(len(key)))
		binary.BigEndian.PutUint32(head[4:], uint32(len(value)))
		for _, b := range [][]byte{head[:], key, value} {
			_, _ = h.Write(b)
		}
		records++
		return nil
	})
	return h.Sum64(), records, err
}

// each visits every record of one state of the view.
func (v *View) each(visit func(key, value []byte) error) (err error) {
	it, err := v.db.NewIter(nil)
	if err != nil {
		return v.damaged(err)
	}
	defer func() { err = errors.Join(err, v.damaged(it.Close())) }()
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return v.damaged(err)
		}
		if err := visit(it.Key(), value); err != nil {
			return err
		}
	}
	return v.damaged(it.Error())
}

// scrubChunk is how many records Scrub reads before it lets go of the tables
// and asks whether to go on.
const scrubChunk = 4096

// Scrub compares each block of the tables with its checksum, then reads and decodes every record
// and compares the archive with the count and the sum that are kept of it, which finds what a checksum of a block
// cannot: records that are gone. between is called after each table and each few thousand
// records with the bytes read, to slow it down; nil does not. Damage is an
// error that wraps ErrCorrupt; the health hook is told as well. It may run
// while batches are applied.
func (v *View) Scrub(ctx context.Context, between func(bytes int) error) error {
	if err := v.scrubTables(ctx, between); err != nil {
		return err
	}
	return v.scrubRecords(ctx, between)
}

func (v *View) scrubRecords(ctx context.Context, between func(bytes int) error) error {
	if err := v.enter(); err != nil {
		return err
	}
	m := *v.published.Load()
	v.leave()
	removed := v.removed.Load()
	s := scrub{v: v, until: m.applied}
	for next := []byte{0}; next != nil; {
		if err := ctx.Err(); err != nil {
			return err
		}
		var err error
		if next, err = s.chunk(next); err != nil {
			return err
		}
		if between != nil {
			if err := between(s.bytes); err != nil {
				return err
			}
		}
	}
	if v.removed.Load() != removed {
		return nil // an account was deleted meanwhile: the sums are of two states
	}
	if s.records != m.records || s.sum != m.sum {
		return v.damaged(corruptf("archive up to %v has %d records of sum %x, not %d of %x",
			m.applied, s.records, s.sum, m.records, m.sum))
	}
	return nil
}

// scrub sums up the archive as it was at one position: later records are of
// higher positions and left out.
type scrub struct {
	v            *View
	until        command.Position
	records, sum uint64
	bytes        int // of the last chunk
	digest       xxhash.Digest
}

// chunk reads records from a key on; it returns where to go on, nil at the
// end.
func (s *scrub) chunk(from []byte) (next []byte, err error) {
	if err := s.v.enter(); err != nil {
		return nil, err
	}
	defer s.v.leave()
	it, err := s.v.db.NewIter(&pebble.IterOptions{LowerBound: from})
	if err != nil {
		return nil, s.v.damaged(err)
	}
	defer func() { err = errors.Join(err, s.v.damaged(it.Close())) }()
	s.bytes = 0
	n := 0
	for ok := it.First(); ok; ok = it.Next() {
		if n++; n > scrubChunk {
			return bytes.Clone(it.Key()), nil
		}
		value, err := it.ValueAndErr()
		if err == nil {
			err = s.record(it.Key(), value)
		}
		if err != nil {
			return nil, s.v.damaged(fmt.Errorf("record %x: %w", it.Key(), err))
		}
		s.bytes += len(it.Key()) + len(value)
	}
	return nil, s.v.damaged(it.Error())
}

func (s *scrub) record(key, value []byte) error {
	if key[0] == tableArchive || key[0] == tableTalk || key[0] == tableSaid {
		p, err := positionOf(key)
		if err != nil {
			return err
		}
		if p.Compare(s.until) <= 0 {
			s.records++
			s.sum += recordHash(&s.digest, opSet, key, value)
		}
	}
	return checkRecord(key, value)
}

// checkRecord decodes a record of any table.
func checkRecord(key, value []byte) error {
	if len(key) == 0 {
		return corruptf("empty key")
	}
	var err error
	switch key[0] {
	case tableArchive:
		_, _, err = parseArchiveRecord(value)
	case tableTalk:
		var p command.Position
		if p, err = positionOf(key); err == nil {
			_, err = parseTalk(p, value)
		}
	case tableSaid:
		var p command.Position
		if p, err = positionOf(key); err == nil {
			_, err = parseSaid(p, value)
		}
	case tableDedupe, tableCursor, tableTime:
		_, err = parsePosition(value)
	case tableBlock, tableJoined, tableRoomLink, tableHidden:
		err = read(value).end()
	case tableBlocksOf, tableLeft:
		_, err = parseCount(value)
	case tableFormer:
		_, err = parseFormer(value)
	case tablePrivate:
		if len(key) == 1+idSize {
			_, err = parsePrivateOf(value)
		} else {
			err = checkText(value)
		}
	case tableVCard:
		err = checkText(value)
	case tableAvatar:
		_, err = parseAvatar(value)
	case tableFormat:
		if _, n := binary.Uvarint(value); n <= 0 {
			err = corruptf("format record")
		}
	case tableCircle:
		_, err = parseCircle(value)
	case tableMeta:
		_, err = parseMeta(value)
	case tableInvite:
		_, err = parseInvite(value)
	case tableRoster:
		_, err = parseContact(value)
	case tableStream:
		_, err = parseStreamRecord(value)
	case tableAccount:
		err = checkAccount(value)
	case tableRosterOf:
		_, err = parseRosterOf(value)
	case tableCell:
		_, err = parseCell(value)
	case tableLevel:
		_, err = parseLevel(value)
	case tableJournal:
		_, err = parseJournal(value)
	case tableTrace:
		_, err = parseTrace(value)
	case tableSweep, tableRoomSweep:
		_, err = parseSweep(value)
	case tableLook:
		_, err = parseLook(value)
	case tableExpiry:
		err = checkExpiry(key, value)
	default:
		return checkNodeOrRoom(key, value)
	}
	return err
}

// checkAccount checks an account's record, with the credentials in it.
func checkAccount(value []byte) error {
	a, err := parseAccount(value)
	if err != nil {
		return err
	}
	if err := proto.Unmarshal(a.credentials, &command.Credentials{}); err != nil {
		return corruptf("credentials: %v", err)
	}
	return nil
}

// checkText checks a record that is a version and text of a client's.
func checkText(value []byte) error {
	r := read(value)
	r.take(len(r.b))
	return r.end()
}

// checkNodeOrRoom does that for the tables of nodes and of rooms.
func checkNodeOrRoom(key, value []byte) (err error) {
	switch key[0] {
	case tablePubsubOf:
		_, err = parseOwned(value)
	case tableNode:
		_, err = parseNode(value)
	case tableItem:
		_, err = parseItem(value)
	case tableRelation:
		_, err = parseRelation(value)
	case tableOrder:
		_, err = parseOrder(value)
	case tableRoom:
		_, err = parseRoom(string(key[1:]), value)
	case tableMember, tableGuest:
		_, err = parseMember(value)
	case tableClient:
		_, err = parseClient(value)
	case tableRecovery, tableLink:
		_, err = parseSecret(value)
	case tableNick, tableGuestNick:
		_, err = parseHolder(value)
	case tableUpload, tableUploadOf, tableRetention:
		err = checkUpload(key, value)
	case tablePush:
		_, err = parsePush(value)
	case tablePushService:
		_, err = parsePushService(value)
	case tablePeers:
		if len(key) > 1+idSize {
			err = read(value).end()
		} else {
			_, err = parsePosition(value)
		}
	case tableFloor:
		_, err = parsePosition(value)
	case tableDirectory:
		_, err = parseListed(value)
	case tableReport:
		err = checkReport(key, value)
	default:
		err = corruptf("table %q", key[0])
	}
	return err
}
