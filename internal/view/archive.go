// SPDX-License-Identifier: Apache-2.0

package view

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"bavard/internal/command"
	"bavard/internal/state"
)

const (
	defaultPage = 50
	maxPage     = 250
	// maxPageBytes bounds a page of more than one message: it is held in memory,
	// and queued for a device that may be slow.
	maxPageBytes = 1 << 20
	// maxBodies bounds the messages that one call decodes, maxLooks the keys
	// that it passes: tens of milliseconds each.
	maxBodies = 20_000
	maxLooks  = 200_000
	// maxIDs bounds the ids that a query names.
	maxIDs = 1000
)

// span of positions; both ends exclusive, empty when set.
type span struct {
	from, to command.Position // exclusive; zero: open
	fromIncl bool             // from itself belongs to it
	empty    bool
}

// search is a query being answered.
type search struct {
	v    *View
	ctx  context.Context
	snap *pebble.Snapshot
	q    *state.Query
	me   uint64
	peer uint64 // 0: all
	// peers are the ids that the peer has had, when it was deleted at least once.
	peers []uint64
	// hidden is up to where the account has deleted chats, by the ids of its peers.
	hidden map[uint64]command.Position
	full   string // full JID to match, "" for none
	limit  int
	span   span
	out    []state.Entry
	bytes  int // of these
	looks  int
	bodies int
	cut    bool // a bound was reached
}

// Archive answers a query of an account's archive: a page, oldest first.
// state.ErrNotFound: there is no such account, or a position that the query
// names is not in its archive (XEP-0313 §query-limit-id @1.1.3).
// state.ErrTooBroad: it would have to look at too many messages to find one.
func (v *View) Archive(ctx context.Context, q state.Query) (state.Page, error) {
	if err := v.enter(); err != nil {
		return state.Page{}, err
	}
	defer v.leave()
	s := &search{v: v, ctx: ctx, snap: v.db.NewSnapshot(), q: &q}
	page, err := s.run()
	if err = errors.Join(err, s.snap.Close()); err != nil {
		return state.Page{}, v.readError(err)
	}
	return page, nil
}

// readError keeps what callers know and turns the rest into damage.
func (v *View) readError(err error) error {
	if errors.Is(err, state.ErrNotFound) || errors.Is(err, state.ErrTooBroad) ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return v.damaged(err)
}

func (s *search) run() (state.Page, error) {
	s.limit = s.q.Max
	if s.limit <= 0 {
		s.limit = defaultPage
	}
	s.limit = min(s.limit, maxPage)
	var err error
	if s.q.Room != "" {
		s.me, err = s.v.roomID(s.snap, s.q.Room)
	} else {
		s.me, err = s.v.accountID(s.snap, s.q.Account)
	}
	if err != nil {
		return state.Page{}, err
	}
	if err := errors.Join(s.checkPositions(), s.hide()); err != nil {
		return state.Page{}, err
	}
	if s.q.With != "" && s.q.Room == "" {
		peer := bare(s.q.With)
		if peer != s.q.With {
			s.full = s.q.With
		}
		known, err := s.with(peer)
		if err != nil {
			return state.Page{}, err
		}
		if !known {
			return s.page(true), nil
		}
		s.raise(s.hidden[s.peer], false)
	}
	if err := s.bound(); err != nil {
		return state.Page{}, err
	}
	switch {
	case s.span.empty:
		return s.page(true), nil
	case len(s.q.IDs) > 0:
		err = s.named()
	case s.q.Room != "":
		err = s.scanSaid()
	case s.peer != 0:
		err = s.scanTalk()
	default:
		err = s.scanArchive()
	}
	if err != nil {
		return state.Page{}, err
	}
	if s.cut && len(s.out) == 0 {
		return state.Page{}, fmt.Errorf("%w: %d looked at", state.ErrTooBroad, s.looks)
	}
	return s.page(!s.cut), nil
}

// with finds whose messages a peer's are; false when there never was such an
// account. Of one that was deleted, and perhaps made anew, they are those of
// several ids, and found by the index.
func (s *search) with(peer string) (bool, error) {
	id, err := s.v.peerID(s.snap, peer)
	if err != nil && !errors.Is(err, state.ErrNotFound) {
		return false, err
	}
	b, err := s.v.get(s.snap, formerKey(peer))
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		s.peer = id
		return id != 0, nil
	case err != nil:
		return false, err
	}
	if s.peers, err = parseFormer(b); err != nil {
		return false, err
	}
	if id != 0 {
		s.peers = append(s.peers, id)
	}
	return true, nil
}

// peerID is the id of an account, or of a room, whose private messages are
// archived with it as the peer.
func (v *View) peerID(db pebble.Reader, jid string) (uint64, error) {
	id, err := v.accountID(db, jid)
	if errors.Is(err, state.ErrNotFound) {
		return v.roomID(db, jid)
	}
	return id, err
}

// isWith reports whether an entry of the index is with the wanted peer.
func (s *search) isWith(peer uint64) bool {
	return (s.peer == 0 || s.peer == peer) && (s.peers == nil || slices.Contains(s.peers, peer))
}

// page closes the search; one entry above the limit says that there is more.
func (s *search) page(complete bool) state.Page {
	if len(s.out) > s.limit {
		s.out, complete = s.out[:s.limit], false
	}
	if s.q.Backward {
		slices.Reverse(s.out)
	}
	return state.Page{Entries: s.out, Complete: complete, Count: -1, Index: -1}
}

// checkPositions: each position that the query names must be in the archive.
func (s *search) checkPositions() error {
	if len(s.q.IDs) > maxIDs {
		return fmt.Errorf("%w: %d ids", state.ErrTooBroad, len(s.q.IDs))
	}
	named := append([]command.Position{s.q.AfterID, s.q.BeforeID, s.q.After, s.q.Before}, s.q.IDs...)
	for i, p := range named {
		if p.IsZero() && i < 4 {
			continue
		}
		key := archiveKey(s.me, p)
		if s.q.Room != "" {
			key = saidKey(s.me, p)
		}
		_, closer, err := s.snap.Get(key)
		if errors.Is(err, pebble.ErrNotFound) {
			return fmt.Errorf("message %v: %w", p, state.ErrNotFound)
		}
		if err != nil {
			return err
		}
		if err := closer.Close(); err != nil {
			return err
		}
	}
	return nil
}

// bound finds the span of positions that the query is about.
func (s *search) bound() error {
	s.raise(s.q.AfterID, false)
	s.raise(s.q.After, false)
	s.raise(s.q.Since, false)
	s.lower(s.q.BeforeID)
	s.lower(s.q.Before)
	if !s.q.Start.IsZero() {
		p, ok, err := s.since(minuteOf(s.q.Start))
		if err != nil {
			return err
		}
		if !ok {
			s.span.empty = true
			return nil
		}
		s.raise(p, true)
	}
	if !s.q.End.IsZero() {
		if s.q.End.UnixMilli() < 0 {
			s.span.empty = true
			return nil
		}
		p, ok, err := s.since(minuteOf(s.q.End) + 1)
		if err != nil {
			return err
		}
		if ok {
			s.lower(p)
		}
	}
	return nil
}

func minuteOf(t time.Time) int64 { return max(t.UnixMilli(), 0) / minuteMs }

func (s *search) raise(p command.Position, inclusive bool) {
	if c := p.Compare(s.span.from); c > 0 {
		s.span.from, s.span.fromIncl = p, inclusive
	}
}

func (s *search) lower(p command.Position) {
	if !p.IsZero() && (s.span.to.IsZero() || p.Before(s.span.to)) {
		s.span.to = p
	}
}

// since finds the first position of this minute or a later one.
func (s *search) since(minute int64) (_ command.Position, _ bool, err error) {
	it, err := s.snap.NewIter(&pebble.IterOptions{LowerBound: timeKey(minute), UpperBound: []byte{tableTime + 1}})
	if err != nil {
		return command.Position{}, false, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	if !it.First() {
		return command.Position{}, false, it.Error()
	}
	p, err := parsePosition(it.Value())
	return p, true, err
}

// bounds gives the keys of the span under a prefix.
func (s *search) bounds(prefix []byte) *pebble.IterOptions {
	o := &pebble.IterOptions{LowerBound: prefix, UpperBound: prefixEnd(prefix)}
	if !s.span.from.IsZero() {
		o.LowerBound = s.span.from.AppendTo(slices.Clone(prefix))
		if !s.span.fromIncl {
			o.LowerBound = append(o.LowerBound, 0)
		}
	}
	if !s.span.to.IsZero() {
		o.UpperBound = s.span.to.AppendTo(slices.Clone(prefix))
	}
	return o
}

// scan walks the span under a prefix in the query's direction until visit has
// had enough.
func (s *search) scan(prefix []byte, visit func(it *pebble.Iterator) (bool, error)) (err error) {
	it, err := s.snap.NewIterWithContext(s.ctx, s.bounds(prefix))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	step, ok := it.Next, false
	if s.q.Backward {
		step, ok = it.Prev, it.Last()
	} else {
		ok = it.First()
	}
	for ; ok; ok = step() {
		if s.looks++; s.looks > maxLooks || s.bodies > maxBodies {
			s.cut = true
			return nil
		}
		if s.looks%256 == 0 && s.ctx.Err() != nil {
			return s.ctx.Err()
		}
		more, err := visit(it)
		if err != nil || !more {
			return err
		}
	}
	return it.Error()
}

// scanTalk reads the conversation with one peer: one range, bodies included.
func (s *search) scanTalk() error {
	return s.scan(appendTalkPrefix(nil, s.me, s.peer), func(it *pebble.Iterator) (bool, error) {
		p, err := positionOf(it.Key())
		if err != nil {
			return false, err
		}
		value, err := it.ValueAndErr()
		if err != nil {
			return false, err
		}
		return s.take(p, value)
	})
}

// scanArchive reads the account's index and, for what it wants, the bodies.
func (s *search) scanArchive() error {
	key := make([]byte, 0, talkKeySize)
	return s.scan(appendArchivePrefix(nil, s.me), func(it *pebble.Iterator) (bool, error) {
		p, err := positionOf(it.Key())
		if err != nil {
			return false, err
		}
		value, err := it.ValueAndErr()
		if err != nil {
			return false, err
		}
		peer, incoming, err := parseArchiveRecord(value)
		if err != nil {
			return false, err
		}
		if s.q.OnlyIncoming && !incoming || !s.isWith(peer) || s.isHidden(peer, p) {
			return true, nil
		}
		return s.fetch(p.AppendTo(appendTalkPrefix(key[:0], s.me, peer)), p)
	})
}

// fetch takes one message by its key.
func (s *search) fetch(key []byte, p command.Position) (bool, error) {
	value, closer, err := s.snap.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return false, corruptf("message %v is indexed and missing", p)
	}
	if err != nil {
		return false, err
	}
	more, err := s.take(p, value)
	return more, errors.Join(err, closer.Close())
}

// named takes the messages that the query names.
func (s *search) named() error {
	ids := slices.Clone(s.q.IDs)
	slices.SortFunc(ids, command.Position.Compare)
	ids = slices.Compact(ids)
	if s.q.Backward {
		slices.Reverse(ids)
	}
	for _, p := range ids {
		if !s.within(p) {
			continue
		}
		if s.q.Room != "" {
			if more, err := s.fetch(saidKey(s.me, p), p); err != nil || !more {
				return err
			}
			continue
		}
		b, err := s.v.get(s.snap, archiveKey(s.me, p))
		if err != nil {
			return err
		}
		peer, _, err := parseArchiveRecord(b)
		if err != nil {
			return err
		}
		if !s.isWith(peer) || s.isHidden(peer, p) {
			continue
		}
		if more, err := s.fetch(talkKey(s.me, peer, p), p); err != nil || !more {
			return err
		}
	}
	return nil
}

func (s *search) within(p command.Position) bool {
	if c := p.Compare(s.span.from); !s.span.from.IsZero() && (c < 0 || c == 0 && !s.span.fromIncl) {
		return false
	}
	return s.span.to.IsZero() || p.Before(s.span.to)
}

// take adds a message if the filters let it pass; false says that the page is
// full.
func (s *search) take(p command.Position, value []byte) (bool, error) {
	s.bodies++
	parse := parseTalk
	if s.q.Room != "" {
		parse = parseSaid
	}
	e, err := parse(p, value)
	if err != nil {
		return false, err
	}
	if !s.matches(&e) {
		return true, nil
	}
	s.out = append(s.out, e)
	if s.bytes += len(value); s.bytes > maxPageBytes && len(s.out) > 1 {
		s.limit = min(s.limit, len(s.out)-1)
	}
	return len(s.out) <= s.limit, nil
}

func (s *search) matches(e *state.Entry) bool {
	q, m := s.q, e.Message
	if q.Room != "" {
		return s.matchesSaid(e)
	}
	switch {
	case !q.Start.IsZero() && e.Time.Before(q.Start),
		!q.End.IsZero() && e.Time.After(q.End),
		s.full != "" && m.From != s.full && m.To != s.full,
		q.OnlyIncoming && bare(m.To) != q.Account:
		return false
	}
	return true
}

// ArchiveEnds returns the oldest and the newest entry of an account's or a
// room's archive (XEP-0313 §archive-metadata @1.1.3), nil when it is empty. Of
// the query, only whose archive it is about counts.
func (v *View) ArchiveEnds(of state.Query) (oldest, newest *state.Entry, err error) {
	first, err := v.Archive(context.Background(), state.Query{Account: of.Account, Room: of.Room, Max: 1})
	if err != nil || len(first.Entries) == 0 {
		return nil, nil, err
	}
	last, err := v.Archive(context.Background(), state.Query{Account: of.Account, Room: of.Room, Max: 1, Backward: true})
	if err != nil || len(last.Entries) == 0 {
		return nil, nil, err
	}
	return &first.Entries[0], &last.Entries[0], nil
}
