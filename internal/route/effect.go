// SPDX-License-Identifier: Apache-2.0

package route

import (
	"context"

	"bavard/internal/command"
	"bavard/internal/jid"
	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// Effect is one thing that a session is to do. Deciding is pure; effects are
// performed by the session, in order, and never before the durable effects of
// earlier stanzas of the same sender are settled.
type Effect interface{ effect() }

// Append submits a command to the journal; those of one stanza in their order,
// a message last. The stanza counts as handled once the outcome is known
// and the effects of Then, if any, are performed. Then may be
// nil when a refusal is to be answered with its error and nothing else is to
// be done.
type Append struct {
	Command *command.Command
	Then    func(command.Outcome) []Effect
}

// Displayed publishes how far the sender of a message has read (XEP-0490
// §rules-server @1.0.1). Deciding joins it to the command of the message, so that what
// is sent again is not published again: a session never sees it.
type Displayed struct{ Publish *command.PubsubPublish }

// Reply queues a stanza for the sender.
type Reply struct{ Stanza *xmlstream.Element }

// Send queues an already serialised stanza for the sender.
type Send struct{ Out Out }

// Deliver hands a soft stanza, one that is not archived, to connected
// resources: a full JID to that resource, a bare JID to all available ones of
// non-negative priority.
type Deliver struct {
	To     jid.JID
	Stanza *xmlstream.Element
	// Carbons: copy to the other devices of both sides (XEP-0280).
	Carbons bool
	// Bounce: when nobody is there, answer the sender service-unavailable.
	Bounce bool
	// Quiet: the sender learns nothing of what became of it, not even that it
	// was held back by a blocklist. For what the server sends on its behalf.
	Quiet bool
	// Broadcast: it is presence for who may see that of the sender's account. It is
	// held back while the account hides it.
	Broadcast bool
	// Told: presence that other nodes tell by themselves, because they know the state
	// of the sender's device. It is for the devices of this node.
	Told bool
}

// Read performs I/O outside the session's hot path. Reads of one session run
// one after the other. Current: wait first until the view has reached all that
// was committed before; when that takes too long, Else is performed instead.
type Read struct {
	Current bool
	Do      func(context.Context) []Effect
	Else    []Effect
}

// Carbons switches XEP-0280 for the session.
type Carbons struct{ On bool }

// Available makes the resource available with this presence and priority
// (RFC 6121 §4.2); at the first time what waits for the account is flushed.
type Available struct {
	Priority int8
	Stanza   *xmlstream.Element
	// Then gives what follows, as a Read does; initial: it was not available
	// before.
	Then func(initial bool) []Effect
}

// Unavailable makes the resource unavailable (RFC 6121 §4.5); who got its
// directed presence is told by this stanza (§4.6.3).
type Unavailable struct{ Stanza *xmlstream.Element }

// Leave has the device leave the rooms that it is in.
type Leave struct{}

// Interested: the resource has asked for the roster and gets pushes
// (RFC 6121 §2.1.6).
type Interested struct{}

// Blocklisted: the resource has asked for the blocklist and gets pushes
// (XEP-0191 §block @1.3).
type Blocklisted struct{}

// Queried: the session has queried its archive, so it needs no flush.
type Queried struct{}

// Answered: the client has answered the server's request of this id.
type Answered struct {
	ID     string
	Stanza *xmlstream.Element
}

// Directed: presence was sent to an address that is not served by the roster
// (RFC 6121 §4.6); it gets unavailable at the end.
type Directed struct {
	To        jid.JID
	Available bool
}

// Visitor is the session of a device that enters rooms. Two are the same
// device exactly if they are equal.
type Visitor interface {
	// Enqueue queues a stanza; it does not block.
	Enqueue(Out)
	// Behind: stanzas for it were dropped; it must end, so that its client
	// reads the archive.
	Behind()
}

// Visit lets a room know the sender's session. Do must not block and must not
// call the session but for Enqueue.
type Visit struct{ Do func(Visitor) }

// Close ends the stream with an error.
type Close struct{ Err *stanza.StreamError }

func (Append) effect()      {}
func (Displayed) effect()   {}
func (Reply) effect()       {}
func (Send) effect()        {}
func (Deliver) effect()     {}
func (Read) effect()        {}
func (Carbons) effect()     {}
func (Available) effect()   {}
func (Unavailable) effect() {}
func (Leave) effect()       {}
func (Interested) effect()  {}
func (Blocklisted) effect() {}
func (Queried) effect()     {}
func (Answered) effect()    {}
func (Directed) effect()    {}
func (Visit) effect()       {}
func (Close) effect()       {}

// Out is a serialised stanza on its way to one or many devices. It is split
// after the name of its tag, because a WebSocket frame declares the namespace
// jabber:client there (RFC 7395 §3.3.3) and TCP, whose stream header did, does
// not. The bytes are shared between sessions: read-only.
type Out struct {
	Name string // message, presence or iq
	// To is written as the first attribute; "" when Rest has what there is, or
	// nothing. It lets many devices share Rest, each with its own address.
	To   string
	Rest []byte // from the first attribute (with its leading blank) to the end tag
	// Position of the archived message that it carries to its recipient; zero
	// for everything else. The device's ack moves the offline cursor to it.
	Position command.Position
}

// Serialise makes an Out of a stanza.
func Serialise(e *xmlstream.Element) Out {
	b := xmlstream.AppendElement(nil, e, stanza.NSClient)
	return Out{Name: e.Name.Local, Rest: b[1+len(e.Name.Local):]}
}
