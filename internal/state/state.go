// SPDX-License-Identifier: Apache-2.0

// Package state holds the values that a view folds from the journal and hands
// out: accounts, roster items, archive entries, events. It is a package of
// words: the view makes them, features and sessions read them.
package state

import (
	"errors"
	"time"

	"bavard/internal/command"
)

// EventKind tells events apart.
type EventKind uint8

// Event kinds.
const (
	// EventMessage: Message was archived for Account.
	EventMessage EventKind = iota + 1
	// EventRoster: Item of Account's roster changed; push it (version Position).
	// A removed item has Subscription "remove".
	EventRoster
	// EventSubscription: Account is to be shown the presence stanza Presence.
	EventSubscription
	// EventCredentials: Account's keys changed; By is the device that asked for
	// it, if one did.
	EventCredentials
	// EventDuplicate: the message at Position was submitted once more by
	// Account; nothing was stored.
	EventDuplicate
	// EventBlocks: Account's blocklist changed as Blocks says.
	EventBlocks
	// EventDisabled: Account may no longer be logged in to.
	EventDisabled
	// EventDeleted: Account is no more.
	EventDeleted
	// EventRoom: Room says what happened in the room whose bare JID is Account.
	EventRoom
	// EventRevoked: Client may no longer be logged in to Account.
	EventRevoked
)

// Event is something that the sessions of Account must learn; made by Apply,
// handed on by dispatch. Position orders it.
type Event struct {
	Kind     EventKind
	Account  string // bare JID
	Position command.Position
	Time     time.Time
	Message  *command.Message // EventMessage; shared, read-only
	Incoming bool             // EventMessage: Account is the recipient (false: the sender)
	Whisper  string           // EventMessage: bare JID of the room in which it is a private message, "" for none
	Item     RosterItem       // EventRoster
	Appears  bool             // EventRoster: from now on the account sees the item's presence
	Presence Subscription     // EventSubscription
	Pubsub   *PubsubEvent     // EventPubsub
	Blocks   *Blocks          // EventBlocks
	By       string           // EventCredentials
	Room     *RoomEvent       // EventRoom
	Client   string           // EventRevoked
	Upload   UploadID         // EventUploadRemoved, EventUploadStored
}

// Blocks is a change of a blocklist (XEP-0191): addresses that were added, or
// taken off.
type Blocks struct {
	JIDs  []string
	Added bool
	All   bool // taken off: JIDs are all that there were
}

// Subscription is a presence stanza of a subscription to show or route.
type Subscription struct {
	From, To string // bare JIDs
	Type     command.SubscriptionType
	ID       string
	Payload  []byte
}

// RosterItem as RFC 6121 §2.1.2 has it.
type RosterItem struct {
	JID          string
	Name         string
	Groups       []string
	Subscription string // none, to, from, both; in events also remove
	Ask          bool   // pending out
	Approved     bool   // pre-approved
	// Listed: it is an item of the roster that clients see. Not listed is what
	// only waits for an answer ("None + Pending In").
	Listed    bool
	PendingIn bool         // a subscribe waits for the account's answer
	Pending   Subscription // the stanza that waits, when PendingIn
}

// Account as stored.
type Account struct {
	JID         string
	ID          uint64 // internal, unique per incarnation of the account
	Name        string
	Created     time.Time
	Credentials *command.Credentials
	Disabled    bool   // nobody may log in
	Keys        uint64 // differs when the credentials do
}

// Invite as stored.
type Invite struct {
	Expires time.Time // zero: never
	Uses    uint32    // left
	Inviter string
	// InviterID is the inviter's account; 0 for none, and where it is not known.
	InviterID uint64
	Circle    string
	// Room is the bare JID of the room that it makes members of, "" for none;
	// RoomID is which room of that address. RoomName is not stored with it.
	Room     string
	RoomID   uint64
	RoomName string
	Created  time.Time // of one to a room
}

// Entry of an archive.
type Entry struct {
	Position command.Position
	Time     time.Time
	Message  *command.Message
	// Room is the message of a room's archive, in place of Message.
	Room *command.RoomMessage
	// Sender is the account that said it in the room; 0 where it is not known.
	Sender uint64
	// Number of the messages with a body that the room had when it was said,
	// this one included.
	Number uint64
}

// Query of an account's or a room's archive (XEP-0313 §query @1.1.3).
type Query struct {
	Account string
	// Room is the bare JID of the room whose archive is meant, "" for the
	// account's. With is then the address of an occupant, or a real bare JID, and
	// Account who reads it: what they have deleted for themselves is left out.
	Room string
	// With restricts to messages from or to this JID; a bare one matches all
	// its resources. "" for all.
	With       string
	Start, End time.Time // zero: open; both inclusive
	// AfterID and BeforeID are XEP-0313's form fields; both exclusive.
	AfterID, BeforeID command.Position
	IDs               []command.Position
	// Paging (XEP-0059): the page starts after After, or ends before Before
	// (Backward), or is the last page (Backward without Before).
	After, Before command.Position
	Backward      bool
	Max           int // ≤ 0 means the default of 50; capped at 250, and at 1 MiB
	// Since is an exclusive lower bound like AfterID that need not be in the
	// archive.
	Since command.Position
	// OnlyIncoming keeps messages addressed to the account (offline flush).
	OnlyIncoming bool
}

// Page of an archive, oldest first.
type Page struct {
	Entries  []Entry
	Complete bool
	// Count of the whole result and Index of the first entry, -1 when they are
	// not known cheaply.
	Count, Index int
}

// ErrNotFound: no such account, message or invite.
var ErrNotFound = errors.New("not found")

// ErrTooBroad: a query would have to look at too many messages to find one;
// narrow it.
var ErrTooBroad = errors.New("query too broad")

// Incoming reports whether the message is addressed to the account (a bare JID).
func (e *Entry) Incoming(account string) bool {
	to := e.Message.To
	return len(to) >= len(account) && to[:len(account)] == account && (len(to) == len(account) || to[len(account)] == '/')
}
