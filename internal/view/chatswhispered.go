// SPDX-License-Identifier: Apache-2.0

package view

import (
	"bytes"
	"errors"

	"bavard/internal/command"
	"bavard/internal/state"
)

// whisperLooks bounds the private messages of a room, newest first, out of which its
// chats are made: one with each nick.
const whisperLooks = 1000

// whispered adds what the account exchanged privately with people in a room, one
// chat for each nick. All are in one range of the archive, so that one pass finds
// their last messages and counts what is unread. What a removed room leaves in the
// archive is no chat: nobody can be written to there.
func (l *chatList) whispered(peer uint64, room string) error {
	r, err := l.v.readRoom(l.snap, room)
	if errors.Is(err, state.ErrNotFound) || err == nil && r.id != peer {
		return nil
	}
	if err != nil {
		return err
	}
	chats, markers, looks := map[string]*chat{}, map[string]string{}, 0
	return l.backwards(appendTalkPrefix(l.key[:0], l.me, peer), func(p command.Position, value []byte) (bool, error) {
		if p.Compare(l.floors[room]) <= 0 {
			return false, nil // deleted with the room's chat, like all before
		}
		if looks++; looks > whisperLooks {
			return false, nil
		}
		m, err := briefTalk(p, value)
		if err != nil {
			return false, err
		}
		with := string(m.with(l.q.Account))
		c := chats[with]
		if c == nil {
			c = &chat{done: true}
			c.JID, c.Newest, c.Settings = with, p, l.settings[with]
			c.Read = later(l.displays[with], l.floors[room])
			chats[with], l.chats[with] = c, c
		}
		own := m.by(l.q.Account)
		if !m.counts() {
			if own && markers[with] == "" {
				markers[with] = m.displayed()
			}
			return true, nil
		}
		if c.raw == nil {
			c.At, c.last, c.raw = p, p, bytes.Clone(value)
		}
		switch {
		case own, markers[with] != "" && markers[with] == string(m.id):
			c.Read = later(c.Read, p)
		case c.Read.Before(p) && c.Unread < state.ChatUnread:
			c.Unread, c.counts = c.Unread+1, true
		}
		return true, nil
	})
}
