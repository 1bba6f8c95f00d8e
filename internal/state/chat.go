// SPDX-License-Identifier: Apache-2.0

package state

import (
	"errors"
	"strconv"
	"time"

	"bavard/internal/command"
	"bavard/internal/jid"
	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// Limits of the list of chats.
const (
	// ChatUnread bounds a chat's count of unread messages: there may be more.
	ChatUnread = 999
	// ChatsDeleted bounds the chats that an account has deleted and that are
	// remembered.
	ChatsDeleted = 2000
	// DirectoryName bounds the name in the directory, in bytes.
	DirectoryName = 255
)

// ErrBehind: so much has been archived since an account's chats were last
// noted (command.ChatsNote) that it has to be done first.
var ErrBehind = errors.New("the list of chats is behind")

// Chat is a conversation as an account's list of chats shows it: with a person,
// with oneself, or in a room.
type Chat struct {
	JID  string // bare, of the person or the room
	Room bool
	Name string // of the room, "" for none
	// Guest: the room is bookmarked and the account no member of it.
	Guest bool
	// At orders the list: the position of Last, or where the account came to the
	// room.
	At command.Position
	// Newest is the position of what was archived last of the chat, of any kind;
	// zero: nothing.
	Newest command.Position
	Last   *Entry // the last message, nil for none
	// Unread messages; ChatUnread stands for that many or more.
	Unread int
	// Mentioned: one of the newest unread messages of the room is meant for the account.
	Mentioned bool
	// Read is the position up to which the account has read; zero: nothing yet.
	Read command.Position
	// Request: somebody who is no contact has written and was never answered.
	Request  bool
	Archived bool // out of sight until somebody writes
	Marked   bool // as unread, by hand
	Settings ChatSettings
}

// ChatsQuery asks for a page of an account's list of chats: those that are
// pinned first, then the newest.
type ChatsQuery struct {
	Account string // bare
	// Now is the time that silence ends by.
	Now time.Time
	// Position gives the position of an archive id; false for one that is none.
	Position func(id string) (command.Position, bool)
	// OccupantID gives the occupant-id in a room of a person, by their bare JID and
	// their account's id (XEP-0421); nil: they have none.
	OccupantID func(room, jid string, account uint64) string
	OnlyUnread bool
	// Paging (XEP-0059) by At: the page starts after After, or ends before Before
	// (Backward), or is the last page (Backward without Before).
	After, Before command.Position
	Backward      bool
	Max           int // 0: none, only the counts
}

// ChatsPage answers a query.
type ChatsPage struct {
	Chats []Chat
	// Index of the first of them; Count of all that the query is about.
	Index, Count int
	// Total chats; UnreadChats of them have unread messages, Unread altogether
	// (a lower bound when there are very many).
	Total, UnreadChats, Unread int
	// Tail is how many messages had to be looked at that are not noted yet.
	Tail int
	// Applied is the position that the page is of.
	Applied command.Position
}

// ChatSettings are what a person has set for a chat, on any device: an item of
// the node stanza.NSChats, whose id is the chat's JID; for a room also the
// notification settings in its bookmark (XEP-0492).
type ChatSettings struct {
	// Pinned: its place among those that stay on top, from 1; 0: it does not.
	Pinned int
	// Archived and Unread are archive ids, "" for none: the last message when it was
	// put out of sight, or marked as unread.
	Archived, Unread string
	// Accepted: what its author writes is welcome, although they are no contact.
	Accepted bool
	Notify   Notify
}

// Notify is when a person is notified of messages: "" by default, "always",
// "on-mention" or "never" (XEP-0492 §notify @0.2.0).
type Notify struct {
	When  string
	Until time.Time // zero: for good
}

// Silent reports whether nobody is notified of messages at a time.
func (n Notify) Silent(now time.Time) bool { return n.When == "never" && !n.Over(now) }

// Over reports whether the setting was for a while that has passed.
func (n Notify) Over(now time.Time) bool { return !n.Until.IsZero() && !now.Before(n.Until) }

// pinnedMost bounds the places of pinned chats.
const pinnedMost = 10_000

// ParseChatSettings reads an item of the node of settings; false when it is
// none. What it does not know is passed over.
func ParseChatSettings(payload []byte) (ChatSettings, bool) {
	e, err := xmlstream.ParseElement(payload, xmlstream.AfterAuth)
	if err != nil || !e.Is(stanza.NSChats, "chat") {
		return ChatSettings{}, false
	}
	s := ChatSettings{
		Archived: e.Child(stanza.NSChats, "archived").Get("id"),
		Unread:   e.Child(stanza.NSChats, "unread").Get("id"),
		Accepted: e.Child(stanza.NSChats, "accepted") != nil,
		Notify:   notify(e),
	}
	if pinned := e.Child(stanza.NSChats, "pinned"); pinned != nil {
		n, err := strconv.Atoi(pinned.Get("order"))
		if err != nil {
			n = 1
		}
		s.Pinned = min(max(n, 1), pinnedMost)
	}
	return s, true
}

// BookmarkNotify reads the notification settings of a bookmark.
func BookmarkNotify(payload []byte) Notify {
	e, err := xmlstream.ParseElement(payload, xmlstream.AfterAuth)
	if err != nil || !e.Is(stanza.NSBookmarks, "conference") {
		return Notify{}
	}
	return notify(e.Child(stanza.NSBookmarks, "extensions"))
}

// notify reads the setting that is for no kind of client in particular
// (XEP-0492 §identities @0.2.0).
func notify(parent *xmlstream.Element) Notify {
	for _, c := range parent.Child(stanza.NSNotify, "notify").Elements() {
		if c.Name.Space != stanza.NSNotify || c.Get("identity-category") != "" {
			continue
		}
		switch c.Name.Local {
		case "always", "on-mention", "never":
		default:
			continue
		}
		n := Notify{When: c.Name.Local}
		until := c.Child(stanza.NSNotify, "advanced").Child(stanza.NSChats, "until")
		if at, err := time.Parse(time.RFC3339Nano, until.Get("stamp")); err == nil {
			n.Until = at
		}
		return n
	}
	return Notify{}
}

// ParseDisplayed reads an item of the node of what has been displayed: the id of
// a message (XEP-0490 §pep-node @1.0.1); "" when it has none.
func ParseDisplayed(payload []byte) string {
	e, err := xmlstream.ParseElement(payload, xmlstream.AfterAuth)
	if err != nil || !e.Is(stanza.NSDisplayed, "displayed") {
		return ""
	}
	return e.Child(stanza.NSSID, "stanza-id").Get("id")
}

// ChatOf gives the chat that an item of a node is about: its id is the bare JID
// of a person or a room, or the full one of an occupant with whom there are private
// messages (XEP-0490 §pep-node @1.0.1), as it was written by a client; false for others.
func ChatOf(item string) (string, bool) {
	j, err := jid.Parse(item)
	if err != nil || j.Local() == "" {
		return "", false
	}
	return j.String(), true
}

// Person is an account in the directory.
type Person struct {
	JID  string // bare
	Name string
}
