// SPDX-License-Identifier: Apache-2.0

package view

import (
	"encoding/binary"
	"errors"

	"github.com/cockroachdb/pebble/v2"

	"bavard/internal/command"
	"bavard/internal/stanza"
	"bavard/internal/state"
)

// With whom an account has exchanged messages is not written as messages are
// applied, which would cost a look-up for each. The list is read from the index
// of the account's archive, and command.ChatsNote writes down how far that has
// been done and whom it found, so that the next reader begins there. It also
// serves archives that are older than these notes.

// noteSlice bounds the entries of the index that one command.ChatsNote looks at:
// well below 1 ms.
const noteSlice = 4000

func appendPeersPrefix(dst []byte, account uint64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, tablePeers), account)
}

func peerKey(account, peer uint64) []byte {
	return binary.BigEndian.AppendUint64(idKey(tablePeers, account), peer)
}

// chatsNote notes the peers of up to noteSlice messages more.
func (t *txn) chatsNote(c *command.ChatsNote) (_ command.Outcome, err error) {
	id := t.account(c.Account)
	if id == 0 {
		return refuse(stanza.Cancel, stanza.ItemNotFound, "there is no such account"), nil
	}
	until, err := command.ParsePosition(c.Until)
	// What this batch has archived is not seen: it is noted by a later one,
	// wherever batches begin and end.
	if err != nil || until.Compare(command.Position{Epoch: t.pos.Epoch, Revision: t.pos.Revision}) >= 0 {
		return refuse(stanza.Modify, stanza.BadRequest, "chats are noted up to an earlier batch"), nil
	}
	noted, err := t.notedUntil(id)
	if err != nil || !noted.Before(until) {
		return accept(), err
	}
	it, err := t.a.v.db.NewIter(&pebble.IterOptions{
		LowerBound: append(archiveKey(id, noted), 0), UpperBound: append(archiveKey(id, until), 0),
	})
	if err != nil {
		return command.Outcome{}, t.a.v.damaged(err)
	}
	defer func() { err = errors.Join(err, t.a.v.damaged(it.Close())) }()
	seen, looks := map[uint64]bool{}, 0
	ok := it.First()
	for ; ok && looks < noteSlice; ok = it.Next() {
		looks++
		peer, err := indexed(it)
		if err != nil {
			return command.Outcome{}, t.a.v.damaged(err)
		}
		if noted, err = positionOf(it.Key()); err != nil {
			return command.Outcome{}, t.a.v.damaged(err)
		}
		if seen[peer] {
			continue
		}
		seen[peer] = true
		if err := t.notePeer(id, peer); err != nil {
			return command.Outcome{}, err
		}
	}
	if err := it.Error(); err != nil {
		return command.Outcome{}, t.a.v.damaged(err)
	}
	if !ok {
		noted = until
	}
	t.put(idKey(tablePeers, id), appendPosition(nil, noted))
	return accept(), nil
}

// indexed gives the peer of an entry of an archive's index.
func indexed(it *pebble.Iterator) (uint64, error) {
	value, err := it.ValueAndErr()
	if err != nil {
		return 0, err
	}
	peer, _, err := parseArchiveRecord(value)
	return peer, err
}

func (t *txn) notedUntil(id uint64) (command.Position, error) {
	b, err := t.get(idKey(tablePeers, id))
	if err != nil || b == nil {
		return command.Position{}, err
	}
	p, err := parsePosition(b)
	return p, t.a.v.damaged(err)
}

func (t *txn) notePeer(id, peer uint64) error {
	key := peerKey(id, peer)
	if b, err := t.get(key); err != nil || b != nil {
		return err
	}
	t.put(key, []byte{recordVersion})
	return nil
}

func floorKey(account uint64, peer string) []byte { return append(idKey(tableFloor, account), peer...) }

// chatDelete hides a chat of an account up to a position. Others keep what they
// have.
func (t *txn) chatDelete(c *command.ChatDelete) (command.Outcome, error) {
	of, n, refused, err := t.pubsub(c.Account, stanza.NSChats)
	if err != nil || refused != nil {
		return outcomeOr(refused), err
	}
	until, err := command.ParsePosition(c.Until)
	if err != nil || t.pos.Before(until) || c.Peer == "" || bare(c.Peer) != c.Peer || len(c.Peer) > maxJID || len(c.By) > maxJID || len(c.Notice) > state.PubsubPayload {
		return refuse(stanza.Modify, stanza.BadRequest, "a chat is deleted by the address of whom it is with, up to now"), nil
	}
	if refused, err := t.raiseFloor(of.account, c.Peer, until); err != nil || refused != nil {
		return outcomeOr(refused), err
	}
	if n == nil {
		if n, refused = t.newNode(&of, stanza.NSChats, bookmarksConfig()); refused != nil {
			return accept(), nil // it is deleted; there is nobody to notify
		}
	}
	// What was set for the chat goes with it.
	i, err := t.item(n, c.Peer)
	if err != nil {
		return command.Outcome{}, err
	}
	if i != nil {
		of.bytes -= min(of.bytes, i.size(c.Peer))
		t.dropItem(n, &stored{c.Peer, *i})
	}
	t.putNode(&of, n)
	if len(c.Notice) > 0 {
		t.tell(c.Account, n, state.PubsubEvent{Kind: state.PubsubPublished, Item: state.PubsubItem{
			ID: c.Peer, Publisher: c.By, Payload: c.Notice, Time: t.time(),
		}})
	}
	return accept(), nil
}

// raiseFloor notes up to where a chat is hidden; it never goes back.
func (t *txn) raiseFloor(id uint64, peer string, until command.Position) (*command.Outcome, error) {
	key := floorKey(id, peer)
	b, err := t.get(key)
	if err != nil {
		return nil, err
	}
	if b == nil {
		prefix := idKey(tableFloor, id)
		all, err := t.next(prefix, prefixEnd(prefix), state.ChatsDeleted)
		if err != nil {
			return nil, err
		}
		if len(all) >= state.ChatsDeleted {
			o := refuse(stanza.Wait, stanza.ResourceConstraint, "too many chats have been deleted")
			return &o, nil
		}
	} else {
		old, err := parsePosition(b)
		if err != nil {
			return nil, t.a.v.damaged(err)
		}
		if !old.Before(until) {
			return nil, nil
		}
	}
	t.put(key, appendPosition(nil, until))
	return nil, nil
}

// floors reads up to where chats of an account are hidden, by the bare JIDs of
// whom they are with.
func (v *View) floors(r pebble.Reader, account uint64) (out map[string]command.Position, err error) {
	prefix := idKey(tableFloor, account)
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: prefixEnd(prefix)})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		p, err := parsePosition(it.Value())
		if err != nil {
			return nil, err
		}
		if out == nil {
			out = map[string]command.Position{}
		}
		out[string(it.Key()[len(prefix):])] = p
	}
	return out, it.Error()
}

// ChatsDeleted gives up to where the chats are hidden that an account has deleted,
// by the bare JIDs of whom they are with: at most state.ChatsDeleted.
// state.ErrNotFound when there is no such account.
func (v *View) ChatsDeleted(account string) (_ map[string]command.Position, err error) {
	if err := v.enter(); err != nil {
		return nil, err
	}
	defer v.leave()
	snap := v.db.NewSnapshot()
	defer func() { err = errors.Join(err, v.damaged(snap.Close())) }()
	id, err := v.accountID(snap, account)
	if err != nil {
		return nil, v.readError(err)
	}
	floors, err := v.floors(snap, id)
	if err != nil {
		return nil, v.readError(err)
	}
	return floors, nil
}

// hide finds what of the archive the account has deleted. What it names of that
// in a query is found, and not shown.
func (s *search) hide() error {
	reader := s.me
	if s.q.Room != "" {
		if s.q.Account == "" {
			return nil
		}
		var err error
		if reader, err = s.v.accountID(s.snap, s.q.Account); err != nil {
			return err
		}
	}
	floors, err := s.v.floors(s.snap, reader)
	if err != nil || len(floors) == 0 {
		return err
	}
	if s.q.Room != "" {
		s.raise(floors[s.q.Room], false)
		return nil
	}
	s.hidden = map[uint64]command.Position{}
	for peer, p := range floors { // in any order: each id is one peer's
		id, err := s.v.peerID(s.snap, peer)
		if err != nil && !errors.Is(err, state.ErrNotFound) {
			return err
		}
		if err == nil {
			s.hidden[id] = p
		}
		b, err := s.v.get(s.snap, formerKey(peer))
		if errors.Is(err, pebble.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		former, err := parseFormer(b)
		if err != nil {
			return err
		}
		for _, id := range former {
			s.hidden[id] = p
		}
	}
	return nil
}

func (s *search) isHidden(peer uint64, p command.Position) bool {
	floor, ok := s.hidden[peer]
	return ok && p.Compare(floor) <= 0
}
