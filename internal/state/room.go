// SPDX-License-Identifier: Apache-2.0

package state

import (
	"encoding/hex"
	"time"

	"bavard/internal/command"
)

// Room as stored (XEP-0045 §terms-rooms @1.35.5).
type Room struct {
	JID     string // bare
	ID      uint64 // unique per incarnation of the room
	Created time.Time
	Locked  bool                // nobody but its owner may enter before it is configured
	Config  *command.RoomConfig // complete; read-only
	Subject RoomSubject
	// Affiliations counts all but none, outcasts included.
	Affiliations int
}

// RoomSubject is the subject of a room, and who set it when.
type RoomSubject struct {
	Position command.Position // zero: there is none
	Time     time.Time
	From     string // full JID
	Sender   uint64 // as in Entry
	Nick     string
	ID       string // of the message
	Payload  []byte // its children
}

// RoomMember is what a room keeps of a person.
type RoomMember struct {
	JID         string // bare, or a domain
	Affiliation command.Affiliation
	Nicks       []string // claimed, newest first
	Reason      string   // of the affiliation
	Since       command.Position
}

// Nick that the person was last known under, "" for none.
func (m *RoomMember) Nick() string {
	if len(m.Nicks) == 0 {
		return ""
	}
	return m.Nicks[0]
}

// ListedInvite is an invite as lists have it, who do not know its token.
type ListedInvite struct {
	Hash []byte // SHA-256 of its token
	Invite
}

// ID names an invite without giving it away: 16 hexadecimal digits.
func (i *ListedInvite) ID() string { return InviteID(i.Hash) }

// InviteID gives the ID of the invite whose token has the SHA-256.
func InviteID(hash []byte) string { return hex.EncodeToString(hash[:min(len(hash), 8)]) }

// RoomEvent is something that happened in a room. Exactly one of its parts is
// set, or Created, Configured or Destroyed.
type RoomEvent struct {
	Message *command.RoomMessage // said; shared, read-only
	// Duplicate: Message, of that position, was submitted once more and stored
	// nowhere: its sender alone is to see it.
	Duplicate command.Position
	Number    uint64 // as in Entry
	Sender    uint64 // as in Entry
	Created   bool
	// Configured: the room was configured, or unlocked.
	Configured bool
	Old        *command.RoomConfig // before Configured
	Destroyed  *command.RoomDestroy
	Changes    []RoomChange
	By         string // full JID of who caused the changes, "" for the server
	Nick       *command.RoomNick
}

// RoomChange is one change of an affiliation.
type RoomChange struct {
	JID      string
	Old, New command.Affiliation
	Nick     string // claimed, "" for none
	Reason   string
}
