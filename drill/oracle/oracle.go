// SPDX-License-Identifier: Apache-2.0

// Package oracle judges a drill: it is given what clients invoked, what the
// server told them, what their devices saw and what every archive holds once
// everything has healed, and counts what must never happen. It is pure: no
// clock, no I/O, no goroutine. Log collects the evidence concurrently.
package oracle

import (
	"fmt"
	"strings"
)

// Outcome is what a sender knows of a message.
type Outcome uint8

// Outcomes. Unknown may go either way: the message may have been archived or
// not. Refused is treated the same, for an error may answer a repetition of a
// message whose first copy had been accepted.
const (
	Unknown Outcome = iota
	Ticked
	Refused
)

// Message is one message that a client invoked. Its position in
// History.Messages is the order of invocation.
type Message struct {
	// ID is the origin-id (XEP-0359 §origin-id @0.7.0), unique in the drill and
	// equal in every repetition.
	ID string
	// Sender names the device that sent it. Order is promised per device and
	// conversation, not between two devices of one account.
	Sender string
	// From and To are bare JIDs.
	From, To string
	// Body is the payload; repetitions carry the same.
	Body    string
	Outcome Outcome
}

// Entry is one message of an archive, in the archive's order.
type Entry struct {
	ArchiveID, OriginID string
	// From and To are bare JIDs.
	From, To, Body string
}

// Archive is what one account's archive held when it was read through one
// node, whole and oldest first.
type Archive struct {
	Node, Account string
	Entries       []Entry
}

// Sighting is a message that a device was handed, live, from a carbon, from
// the offline flush or from a page of the archive.
type Sighting struct {
	// Device names who saw it, Account its bare JID.
	Device, Account string
	// Stream tells the device's streams apart; a resumed stream is the same
	// stream. "" for messages read from the archive: order is not judged there.
	Stream string
	Entry
}

// Device is a device whose sightings are complete: it was handed everything
// that its account was sent, so a ticked message that it never saw was hidden
// from its user.
type Device struct{ Name, Account string }

// FalseTick is a tick that the server itself contradicted.
type FalseTick struct{ ID, Reason string }

// History is all evidence of a drill.
type History struct {
	Messages   []Message
	Archives   []Archive
	Sightings  []Sighting
	Complete   []Device
	FalseTicks []FalseTick
}

// Verdict counts messages, each at most once per kind of violation.
type Verdict struct {
	Invoked, Ticked, Refused, Unknown int

	// Lost: ticked, read nowhere.
	Lost int
	// Hidden: ticked and read somewhere, but missing from an archive of its
	// sender or recipient through some node, or never shown to a device that
	// had caught up.
	Hidden int
	// Duplicated to a user: twice in an archive, or shown to a device under two
	// archive ids.
	Duplicated int
	// Reordered: ticked, and behind a ticked message of the same device and
	// conversation that was invoked later.
	Reordered int
	// Phantom: read, but never sent like that or not to this account.
	Phantom int
	// FalseTicks: ticked although the server contradicted it: an error after
	// the tick, an h beyond what was sent, a ticked message that a read right
	// after the tick did not find.
	FalseTicks int
	// Unread: ticked, but an archive that should hold it was not read. A drill
	// that leaves archives unread proves nothing.
	Unread int
	// Diverged: accounts whose archive differs from one node to another.
	Diverged int

	// Repeated counts sightings of an archive id that the device had seen
	// before. They are permitted: the offline flush is at-least-once and users
	// are shown one message per archive id.
	Repeated int

	// Findings describes the violations, at most MaxFindings of each kind.
	Findings []string
}

// MaxFindings bounds the findings of each kind that a verdict describes.
const MaxFindings = 10

// Clean reports whether nothing happened that must never happen.
func (v Verdict) Clean() bool {
	return v.Lost+v.Hidden+v.Duplicated+v.Reordered+v.Phantom+v.FalseTicks+v.Unread+v.Diverged == 0
}

func (v Verdict) String() string {
	s := fmt.Sprintf("invoked %d, ticked %d, refused %d, unknown %d; lost %d, hidden %d, duplicated %d, reordered %d, phantom %d, false ticks %d, unread %d, diverged %d; repeated %d",
		v.Invoked, v.Ticked, v.Refused, v.Unknown, v.Lost, v.Hidden, v.Duplicated, v.Reordered, v.Phantom, v.FalseTicks, v.Unread, v.Diverged, v.Repeated)
	if len(v.Findings) > 0 {
		s += "\n  " + strings.Join(v.Findings, "\n  ")
	}
	return s
}

// Judge weighs a history. Its cost is linear in the size of the history.
func Judge(h History) Verdict {
	c := newCourt(h)
	c.countOutcomes()
	for i := range h.Archives {
		c.readArchive(&h.Archives[i])
	}
	c.compareNodes()
	c.readSightings()
	c.searchTicked()
	c.checkComplete()
	for _, f := range h.FalseTicks {
		c.accuse(falseTick, f.ID, "%s: %s", f.ID, f.Reason)
	}
	return c.verdict()
}
