// SPDX-License-Identifier: Apache-2.0

package client

import (
	"crypto/rand"
	"sync/atomic"
	"time"

	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// State of a message that was sent.
type State uint32

// States. A message leaves Waiting once.
const (
	Waiting State = iota // not acknowledged, its fate is unknown
	Ticked               // the server's h passed it and no error came before
	Refused              // an error answered it
)

// Outgoing is a message of ours. ID, To, Type, Body and Payload must not change
// once it was sent: a repetition carries the same.
type Outgoing struct {
	// ID is the origin-id (XEP-0359 §origin-id @0.7.0) and the id attribute.
	ID   string
	To   string
	Type string // "chat" unless set
	Body string
	// Payload is added behind body and origin-id.
	Payload []*xmlstream.Element

	// SentAt is when the message was last handed to a session, SettledAt when it
	// was ticked or refused. Attempts counts the sessions that sent it anew; a
	// resumption is not counted. They are read once the message is settled or
	// by who sends it.
	SentAt, SettledAt time.Time
	Attempts          int

	state   atomic.Uint32
	settled chan struct{}
}

// NewMessage makes a chat message with a random origin-id.
func NewMessage(to, body string) *Outgoing {
	return &Outgoing{ID: rand.Text(), To: to, Type: "chat", Body: body, settled: make(chan struct{})}
}

// NewMessageID is NewMessage with an origin-id of the caller's choice.
func NewMessageID(id, to, body string) *Outgoing {
	return &Outgoing{ID: id, To: to, Type: "chat", Body: body, settled: make(chan struct{})}
}

// State tells what became of the message.
func (o *Outgoing) State() State { return State(o.state.Load()) }

// Settled is closed when the message was ticked or refused.
func (o *Outgoing) Settled() <-chan struct{} { return o.settled }

// settle leaves Waiting; it reports false when that had happened before.
func (o *Outgoing) settle(to State) bool {
	if o.State() != Waiting {
		return false
	}
	o.SettledAt = time.Now()
	if !o.state.CompareAndSwap(uint32(Waiting), uint32(to)) {
		return false
	}
	if o.settled != nil {
		close(o.settled)
	}
	return true
}

func (o *Outgoing) element() *xmlstream.Element {
	e := xmlstream.New(stanza.NSClient, "message", "type", o.Type, "to", o.To, "id", o.ID)
	if o.Body != "" {
		e.Add(xmlstream.NewText(stanza.NSClient, "body", o.Body))
	}
	e.Add(xmlstream.New(stanza.NSSID, "origin-id", "id", o.ID))
	return e.Add(o.Payload...)
}

// Carbon tells how a message came to this device.
type Carbon uint8

// Carbons.
const (
	Direct         Carbon = iota // addressed to this device or account
	CarbonReceived               // copy of what another device received
	CarbonSent                   // copy of what another device sent
)

// Inbound is a message as a device received it, out of its carbon or archive
// envelope.
type Inbound struct {
	// Stanza is the message itself.
	Stanza *xmlstream.Element
	// From and To as they stand in the stanza; From may be "" for the account
	// itself.
	From, To, Type, ID string
	Body, OriginID     string
	// ArchiveID is the stanza-id that the account's own server gave it, "" when
	// it has none; from a page of the archive it is the id of the result.
	ArchiveID string
	Carbon    Carbon
	// Delay is XEP-0203's stamp, zero when there is none.
	Delay time.Time
	// Stream is Session.Stream of the stream that it came on.
	Stream string
}

// parseMessage reads a message for the account.
func parseMessage(e *xmlstream.Element, account string) *Inbound {
	in := &Inbound{Stanza: e, From: e.Get("from"), To: e.Get("to"), Type: e.Get("type"), ID: e.Get("id")}
	for i := range e.Children {
		c := e.Children[i].Element
		switch {
		case c == nil:
		case c.Is(stanza.NSClient, "body"):
			in.Body = c.Text()
		case c.Is(stanza.NSSID, "origin-id"):
			in.OriginID = c.Get("id")
		case c.Is(stanza.NSSID, "stanza-id") && c.Get("by") == account:
			in.ArchiveID = c.Get("id")
		case c.Is(stanza.NSDelay, "delay"):
			in.Delay = stamp(c)
		}
	}
	return in
}

// stamp reads XEP-0203's stamp, zero when it is malformed.
func stamp(delay *xmlstream.Element) time.Time {
	t, err := time.Parse(time.RFC3339Nano, delay.Get("stamp"))
	if err != nil {
		return time.Time{}
	}
	return t
}

// unwrap returns the message inside <forwarded/> (XEP-0297) and its delay.
func unwrap(envelope *xmlstream.Element, account string) *Inbound {
	forwarded := envelope.Child(stanza.NSForward, "forwarded")
	message := forwarded.Child(stanza.NSClient, "message")
	if message == nil {
		return nil
	}
	in := parseMessage(message, account)
	if delay := forwarded.Child(stanza.NSDelay, "delay"); delay != nil {
		in.Delay = stamp(delay)
	}
	return in
}
