// SPDX-License-Identifier: Apache-2.0

package view

import (
	"bytes"
	"cmp"
	"errors"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"bavard/internal/command"
	"bavard/internal/stanza"
	"bavard/internal/state"
)

// items visits the items of a node of the account, in the order of their ids; none
// when there is no such node.
func (l *chatList) items(name string, visit func(id string, i *itemRecord)) error {
	n, err := l.v.node(l.snap, l.me, name)
	if errors.Is(err, state.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	prefix := itemKey(l.me, n.number, "")
	return l.v.prefixOver(l.snap, prefix, func(key, value []byte) error {
		i, err := parseItem(value)
		if err == nil {
			visit(string(key[len(prefix):]), &i)
		}
		return err
	})
}

// readDisplays reads what the account's devices said they have shown
// (XEP-0490 §pep-node @1.0.1).
func (l *chatList) readDisplays() error {
	return l.items(stanza.NSDisplayed, func(id string, i *itemRecord) {
		if of, ok := state.ChatOf(id); ok {
			if p, ok := l.q.Position(state.ParseDisplayed(i.payload)); ok {
				l.displays[of] = later(l.displays[of], p)
			}
		}
	})
}

func (l *chatList) readSettings() error {
	return l.items(stanza.NSChats, func(id string, i *itemRecord) {
		if of, ok := state.ChatOf(id); ok {
			if s, ok := state.ParseChatSettings(i.payload); ok {
				l.settings[of] = s
			}
		}
	})
}

// readContacts reads whose messages need no acceptance: those in the roster,
// those with a subscription either way, and those that were asked for one.
func (l *chatList) readContacts() error {
	prefix := idKey(tableRoster, l.me)
	return l.v.prefixOver(l.snap, prefix, func(key, value []byte) error {
		c, err := parseContact(value)
		if err != nil {
			return err
		}
		peer := string(key[len(prefix):])
		i := c.rosterItem(l.q.Account, peer)
		if i.Listed || i.Ask || i.Subscription != "" && i.Subscription != "none" {
			l.contacts[peer] = true
		}
		return nil
	})
}

// rooms adds those that the account is a member of, and those that it has
// bookmarked and may enter.
func (l *chatList) rooms() error {
	prefix := idKey(tableJoined, l.me)
	if err := l.v.prefixOver(l.snap, prefix, func(key, _ []byte) error {
		return l.room(string(key[len(prefix):]), nil)
	}); err != nil {
		return err
	}
	var bookmarks []string
	marks := map[string]*itemRecord{}
	if err := l.items(stanza.NSBookmarks, func(id string, i *itemRecord) {
		if of, ok := state.ChatOf(id); ok {
			bookmarks, marks[of] = append(bookmarks, of), &itemRecord{position: i.position, payload: bytes.Clone(i.payload)}
		}
	}); err != nil {
		return err
	}
	for _, of := range bookmarks {
		c := l.chats[of]
		if c == nil {
			if err := l.room(of, marks[of]); err != nil {
				return err
			}
			c = l.chats[of]
		}
		if c != nil && c.Room {
			c.Settings.Notify = state.BookmarkNotify(marks[of].payload)
		}
	}
	return nil
}

// room adds a room; mark is its bookmark when the account is no member.
func (l *chatList) room(jid string, mark *itemRecord) error {
	r, err := l.v.readRoom(l.snap, jid)
	if errors.Is(err, state.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	me, err := l.member(r.id)
	if err != nil {
		return err
	}
	config := r.config
	if mark != nil && (me.affiliation == command.Affiliation_AFFILIATION_OUTCAST || r.locked || config.GetMembersOnly() || config.GetPassword() != "") {
		return nil
	}
	since := me.since
	if mark != nil {
		since = mark.position
	}
	c := &chat{floor: l.floors[jid], id: r.id, nicks: me.nicks}
	c.JID, c.Room, c.Guest, c.Name, c.Settings = jid, true, mark != nil, config.GetName(), l.settings[jid]
	c.Read = later(later(l.displays[jid], since), c.floor)
	if c.floor.Before(since) {
		c.At = since
	}
	l.chats[jid] = c
	return l.newestSaid(c)
}

// member reads what a room keeps of the account.
func (l *chatList) member(room uint64) (member, error) {
	for _, key := range [][]byte{memberKey(room, l.q.Account), guestKey(room, l.q.Account)} {
		b, err := l.v.get(l.snap, key)
		if err == nil {
			return parseMember(b)
		}
		if !errors.Is(err, pebble.ErrNotFound) {
			return member{}, err
		}
	}
	return member{}, nil
}

// said reports whether the account said it in a room: not one that had its name
// before.
func (l *chatList) said(m *brief) bool {
	return m.by(l.q.Account) && (m.sender == 0 || m.sender == l.me)
}

// newestSaid finds the last message of a room.
func (l *chatList) newestSaid(c *chat) error {
	looks := 0
	return l.backwards(append(append(l.key[:0], tableSaid), saidPrefix(c.id)[1:]...), func(p command.Position, value []byte) (bool, error) {
		m, err := briefSaid(p, value)
		if err != nil {
			return false, err
		}
		c.number = max(c.number, m.number)
		if p.Compare(c.floor) <= 0 {
			return false, nil
		}
		c.Newest = later(c.Newest, p)
		own := l.said(&m)
		if own {
			if shown, ok := l.q.Position(m.displayed()); ok {
				c.Read = later(c.Read, shown)
			}
		}
		counts := m.counts()
		if c.raw == nil && (counts || m.tombstone) {
			c.At, c.last, c.raw = later(c.At, p), p, bytes.Clone(value)
		}
		if !counts {
			looks++
			return looks <= newestLooks, nil
		}
		if own {
			c.Read = later(c.Read, p)
		}
		c.counts = c.Read.Before(p)
		return false, nil
	})
}

// unreadSaid counts what is unread of a room: one by one as far as it looks;
// when there are more, by the number that each message has.
func (l *chatList) unreadSaid(c *chat, looks int) error {
	who := &state.Somebody{Room: c.JID, JID: l.q.Account, Nicks: c.nicks}
	if l.q.OccupantID != nil {
		who.Occupant = l.q.OccupantID(c.JID, l.q.Account, l.me)
	}
	prefix, all, looked := saidPrefix(c.id), true, 0
	if err := l.backwards(prefix, func(p command.Position, value []byte) (bool, error) {
		if p.Compare(c.Read) <= 0 {
			return false, nil
		}
		if looked >= looks {
			all = false
			return false, nil
		}
		looked++
		l.looks++
		m, err := briefSaid(p, value)
		if err != nil {
			return false, err
		}
		switch own := l.said(&m); {
		case own && m.counts():
			c.Read = later(c.Read, p)
			return false, nil
		case own:
			if shown, ok := l.q.Position(m.displayed()); ok {
				c.Read = later(c.Read, shown)
			}
		case m.counts():
			c.Unread++
			c.Mentioned = c.Mentioned || looked <= mentionLooks && m.mentions(who)
		}
		return c.Unread < state.ChatUnread, nil
	}); err != nil || all {
		return err
	}
	var before uint64
	if l.it.SeekLT(append(saidKey(c.id, c.Read), 0)) && bytes.HasPrefix(l.it.Key(), prefix) {
		m, err := briefSaid(command.Position{}, l.it.Value())
		if err != nil {
			return err
		}
		before = m.number
	}
	c.Unread = int(min(max(c.number, before)-before, state.ChatUnread))
	return l.it.Error()
}

// page puts the list in order and cuts a page out of it.
func (l *chatList) page() (state.ChatsPage, error) {
	all := make([]*chat, 0, len(l.chats))
	var page state.ChatsPage
	page.Tail = l.tail
	for _, c := range l.chats {
		if c.At.IsZero() {
			continue
		}
		for i := range c.talks {
			c.counts = c.counts || c.talks[i].unread(c.Read)
		}
		l.judge(c)
		page.Total++
		if c.counts {
			page.UnreadChats++
		}
		if !l.q.OnlyUnread || c.counts || c.Marked {
			all = append(all, c)
		}
	}
	slices.SortFunc(all, inOrder)
	page.Count = len(all)
	from, to := l.cut(all)
	page.Index = from
	for _, c := range all[from:to] {
		if err := l.complete(c); err != nil {
			return page, err
		}
		page.Chats = append(page.Chats, c.Chat)
	}
	for _, c := range all {
		switch {
		case c.done || !c.counts:
		case l.looks >= allLooks: // one at least, without looking
			c.Unread = 1
		default:
			if err := l.unread(c, min(unreadLooks, allLooks-l.looks)); err != nil {
				return page, err
			}
		}
		page.Unread += c.Unread
	}
	return page, nil
}

// complete finds out what is shown of a chat on a page.
func (l *chatList) complete(c *chat) (err error) {
	if err := l.unread(c, max(mentionLooks, min(unreadLooks, allLooks-l.looks))); err != nil {
		return err
	}
	l.judge(c)
	if c.Request, err = l.request(c); err != nil || c.raw == nil {
		return err
	}
	parse := parseTalk
	if c.Room {
		parse = parseSaid
	}
	e, err := parse(c.last, c.raw)
	c.Last = &e
	return err
}

// judge decides what follows from what the account has read.
func (l *chatList) judge(c *chat) {
	if p, ok := l.q.Position(c.Settings.Unread); ok {
		c.Marked = c.Read.Compare(p) <= 0
	}
	if p, ok := l.q.Position(c.Settings.Archived); ok {
		c.Archived = c.At.Compare(p) <= 0 || c.Settings.Notify.Silent(l.q.Now)
	}
}

// inOrder puts pinned chats first, by their places, and newer ones before older.
func inOrder(a, b *chat) int {
	if (a.Settings.Pinned > 0) != (b.Settings.Pinned > 0) {
		if a.Settings.Pinned > 0 {
			return -1
		}
		return 1
	}
	return cmp.Or(cmp.Compare(a.Settings.Pinned, b.Settings.Pinned), b.At.Compare(a.At), cmp.Compare(a.JID, b.JID))
}

// cut finds the page in the list. A chat that a page is to begin or end at may
// have moved up since: then it is where it was.
func (l *chatList) cut(all []*chat) (from, to int) {
	at := func(p command.Position) (place int, there bool) {
		if i := slices.IndexFunc(all, func(c *chat) bool { return c.At == p }); i >= 0 {
			return i, true
		}
		if i := slices.IndexFunc(all, func(c *chat) bool { return c.Settings.Pinned == 0 && c.At.Before(p) }); i >= 0 {
			return i, false
		}
		return len(all), false
	}
	most, size := min(l.q.Max, chatsMost), 0
	if l.q.Backward {
		to = len(all)
		if !l.q.Before.IsZero() {
			to, _ = at(l.q.Before)
		}
		for from = to; from > 0 && to-from < most && size < maxPageBytes; from-- {
			size += len(all[from-1].raw)
		}
		return from, to
	}
	if !l.q.After.IsZero() {
		place, there := at(l.q.After)
		if from = place; there {
			from++
		}
	}
	for to = from; to < len(all) && to-from < most && size < maxPageBytes; to++ {
		size += len(all[to].raw)
	}
	return from, to
}
