// SPDX-License-Identifier: Apache-2.0

package view

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"bavard/internal/command"
	"bavard/internal/state"
)

const (
	// tailMost bounds the messages that reading a list of chats looks through
	// because they are not noted: tens of milliseconds.
	tailMost = 50_000
	// newestLooks bounds the records, newest first, among which a chat's last
	// message is looked for: what is not a message, such as markers, comes behind it.
	newestLooks = 512
	// unreadLooks bounds the records that are looked at to count what is unread of
	// one chat, allLooks those of all chats of a list.
	unreadLooks = 4000
	allLooks    = 20_000
	// mentionLooks bounds the newest records of a room that are looked at for
	// mentions. It is also what every chat of a page is counted in, even when
	// allLooks are spent.
	mentionLooks = 256
	// answerLooks bounds the first records with a stranger in which an answer is
	// looked for.
	answerLooks = 512
	chatsMost   = 250
)

// chat is one while its list is read.
type chat struct {
	state.Chat
	floor command.Position // nothing up to here is shown
	raw   []byte           // the record of Last
	last  command.Position // its position
	// talks are with whom: one, or several when an account was deleted and made
	// anew.
	talks []exchange
	// of a room
	id     uint64
	number uint64 // of its last message
	nicks  []string
	counts bool // something is unread
	done   bool // Unread is counted
}

// exchange is the messages with one account.
type exchange struct {
	peer uint64
	last command.Position // message; zero: there is none to show
	own  bool             // that is the account's own
}

// unread reports whether the last message is.
func (e *exchange) unread(read command.Position) bool { return !e.own && read.Before(e.last) }

// chatList is a list being read.
type chatList struct {
	v        *View
	ctx      context.Context
	snap     *pebble.Snapshot
	q        *state.ChatsQuery
	me       uint64
	it       *pebble.Iterator // over messages
	looks    int              // at messages, to count
	floors   map[string]command.Position
	displays map[string]command.Position
	settings map[string]state.ChatSettings
	contacts map[string]bool
	chats    map[string]*chat
	tail     int
	key      []byte
}

// Chats gives a page of an account's list of chats. state.ErrBehind: the
// account's chats have to be noted first (command.ChatsNote).
// state.ErrNotFound: there is no such account.
func (v *View) Chats(ctx context.Context, q state.ChatsQuery) (_ state.ChatsPage, err error) {
	if err := v.enter(); err != nil {
		return state.ChatsPage{}, err
	}
	defer v.leave()
	applied := v.published.Load().applied // not after what the snapshot has
	l := &chatList{
		v: v, ctx: ctx, snap: v.db.NewSnapshot(), q: &q,
		displays: map[string]command.Position{}, settings: map[string]state.ChatSettings{}, contacts: map[string]bool{}, chats: map[string]*chat{},
	}
	page, err := l.run()
	if err = errors.Join(err, l.snap.Close()); err != nil {
		if errors.Is(err, state.ErrBehind) {
			return state.ChatsPage{Applied: applied, Tail: l.tail}, err
		}
		return state.ChatsPage{}, v.readError(err)
	}
	page.Applied = applied
	return page, nil
}

func (l *chatList) run() (_ state.ChatsPage, err error) {
	if l.me, err = l.v.accountID(l.snap, l.q.Account); err != nil {
		return state.ChatsPage{}, err
	}
	if l.floors, err = l.v.floors(l.snap, l.me); err != nil {
		return state.ChatsPage{}, err
	}
	peers, err := l.peers()
	if err != nil {
		return state.ChatsPage{}, err
	}
	if err := errors.Join(l.readDisplays(), l.readSettings(), l.readContacts()); err != nil {
		return state.ChatsPage{}, err
	}
	if l.it, err = l.snap.NewIterWithContext(l.ctx, nil); err != nil {
		return state.ChatsPage{}, err
	}
	defer func() { err = errors.Join(err, l.it.Close()) }()
	for _, peer := range peers {
		if err := l.newest(peer); err != nil {
			return state.ChatsPage{}, err
		}
	}
	if err := l.rooms(); err != nil {
		return state.ChatsPage{}, err
	}
	return l.page()
}

// peers gives the ids of all with whom the account has exchanged messages:
// those that are noted, and those of what came since.
func (l *chatList) peers() (_ []uint64, err error) {
	found := map[uint64]bool{}
	prefix := appendPeersPrefix(nil, l.me)
	var noted command.Position
	if err := l.v.prefixOver(l.snap, prefix, func(key, value []byte) error {
		if len(key) == len(prefix) {
			noted, err = parsePosition(value)
			return err
		}
		if len(key) != len(prefix)+idSize {
			return corruptf("key of %d bytes", len(key))
		}
		found[binary.BigEndian.Uint64(key[len(prefix):])] = true
		return nil
	}); err != nil {
		return nil, err
	}
	it, err := l.snap.NewIterWithContext(l.ctx, &pebble.IterOptions{
		LowerBound: append(archiveKey(l.me, noted), 0), UpperBound: prefixEnd(appendArchivePrefix(nil, l.me)),
	})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		if l.tail++; l.tail > tailMost {
			return nil, state.ErrBehind
		}
		peer, err := indexed(it)
		if err != nil {
			return nil, err
		}
		found[peer] = true
	}
	out := make([]uint64, 0, len(found))
	for peer := range found {
		out = append(out, peer)
	}
	slices.Sort(out)
	return out, it.Error()
}

// prefixOver visits the records under a prefix.
func (v *View) prefixOver(r pebble.Reader, prefix []byte, visit func(key, value []byte) error) (err error) {
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: prefixEnd(prefix)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		if err := visit(it.Key(), value); err != nil {
			return err
		}
	}
	return it.Error()
}

// talked gives the chat that a message belongs to.
func (l *chatList) talked(m *brief) *chat {
	jid := m.peer(l.q.Account)
	c := l.chats[jid]
	if c == nil {
		c = &chat{floor: l.floors[jid]}
		c.JID, c.Read, c.Settings = jid, later(l.displays[jid], c.floor), l.settings[jid]
		l.chats[jid] = c
	}
	return c
}

func later(a, b command.Position) command.Position {
	if a.Before(b) {
		return b
	}
	return a
}

// newest finds the last message that was exchanged with an account, and
// whether it is read: its author's own, or followed by a marker of the account's.
// With a room those are private messages, in several chats.
func (l *chatList) newest(peer uint64) error {
	var c *chat
	looks, marker, room, end := 0, "", "", exchange{peer: peer}
	err := l.backwards(appendTalkPrefix(l.key[:0], l.me, peer), func(p command.Position, value []byte) (bool, error) {
		m, err := briefTalk(p, value)
		if err != nil {
			return false, err
		}
		if c == nil && m.elsewhere(l.q.Account) {
			room = m.peer(l.q.Account)
			return false, nil
		}
		if c == nil {
			c = l.talked(&m)
		}
		if p.Compare(c.floor) <= 0 {
			return false, nil
		}
		c.Newest = later(c.Newest, p)
		own := m.by(l.q.Account)
		if !m.counts() {
			if looks++; looks > newestLooks {
				c.At = later(c.At, c.Newest)
				return false, nil
			}
			if own && marker == "" {
				marker = m.displayed()
			}
			return true, nil
		}
		if c.At.Before(p) {
			c.At, c.last, c.raw = p, p, bytes.Clone(value)
		}
		if own || marker != "" && marker == string(m.id) {
			c.Read = later(c.Read, p)
		}
		end.own, end.last = own, p
		return false, nil
	})
	if c != nil {
		c.talks = append(c.talks, end)
	}
	if err != nil || room == "" {
		return err
	}
	return l.whispered(peer, room)
}

// backwards visits the records under a prefix, the newest first, until visit has
// had enough.
func (l *chatList) backwards(prefix []byte, visit func(p command.Position, value []byte) (bool, error)) error {
	if err := l.ctx.Err(); err != nil {
		return err
	}
	l.key = prefix
	for ok := l.it.SeekLT(prefixEnd(prefix)); ok && bytes.HasPrefix(l.it.Key(), prefix); ok = l.it.Prev() {
		p, err := positionOf(l.it.Key())
		if err != nil {
			return err
		}
		value, err := l.it.ValueAndErr()
		if err != nil {
			return err
		}
		if more, err := visit(p, value); err != nil || !more {
			return err
		}
	}
	return l.it.Error()
}

// unread counts what is unread of a chat, at most looks records of it.
func (l *chatList) unread(c *chat, looks int) error {
	if c.done || !c.counts {
		return nil
	}
	c.done = true
	if c.Room {
		return l.unreadSaid(c, looks)
	}
	for i := len(c.talks) - 1; i >= 0; i-- { // later accounts first: what follows is read with what precedes
		if e := &c.talks[i]; e.unread(c.Read) {
			if err := l.unreadTalk(c, e.peer, looks); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *chatList) unreadTalk(c *chat, peer uint64, looks int) error {
	marker := ""
	return l.backwards(appendTalkPrefix(l.key[:0], l.me, peer), func(p command.Position, value []byte) (bool, error) {
		if p.Compare(c.Read) <= 0 || looks <= 0 || c.Unread >= state.ChatUnread {
			return false, nil
		}
		looks--
		l.looks++
		m, err := briefTalk(p, value)
		if err != nil {
			return false, err
		}
		switch {
		case !m.by(l.q.Account):
			if marker != "" && marker == string(m.id) {
				c.Read = later(c.Read, p)
				return false, nil
			}
			if m.counts() {
				c.Unread++
			}
		case m.counts(): // who answers has read
			c.Read = later(c.Read, p)
			return false, nil
		case marker == "":
			marker = m.displayed()
		}
		return true, nil
	})
}

// request reports whether a chat waits to be accepted: somebody who is no contact
// began it, and the account has never answered.
func (l *chatList) request(c *chat) (bool, error) {
	if c.Room || c.JID == l.q.Account || l.contacts[c.JID] || c.Settings.Accepted {
		return false, nil
	}
	if len(c.talks) == 0 {
		return false, nil
	}
	now := c.talks[len(c.talks)-1] // who has the name now may be somebody else than before
	if now.own {
		return false, nil
	}
	answered, err := l.answered(now.peer)
	return !answered, err
}

// answered looks for a message of the account's own among the first ones with
// another.
func (l *chatList) answered(peer uint64) (bool, error) {
	prefix := appendTalkPrefix(nil, l.me, peer)
	looks := 0
	for ok := l.it.SeekGE(prefix); ok && bytes.HasPrefix(l.it.Key(), prefix) && looks < answerLooks; ok = l.it.Next() {
		looks++
		l.looks++
		value, err := l.it.ValueAndErr()
		if err != nil {
			return false, err
		}
		m, err := briefTalk(command.Position{}, value)
		if err != nil {
			return false, err
		}
		if m.by(l.q.Account) && m.counts() {
			return true, nil
		}
	}
	return false, l.it.Error()
}
