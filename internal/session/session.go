// SPDX-License-Identifier: Apache-2.0

// Package session serves one bound device: it reads stanzas, has them decided,
// performs the effects in order, counts what is handled (XEP-0198), and owns
// the bounded queue of what goes out.
package session

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"bavard/internal/command"
	"bavard/internal/dispatch"
	"bavard/internal/jid"
	"bavard/internal/route"
	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// Stream is the framed XML stream under a session.
type Stream interface {
	// Receive has take called with each element, one after the other, until it
	// reports false; or, the last time, with the error that ended the stream:
	// io.EOF when the peer closed it in good order. It may return before that.
	Receive(take func(*xmlstream.Element, error) bool)
	// Write sends complete elements, serialised for the stream's framing.
	Write(elements ...[]byte) error
	// WebSocket: one element a frame, each with its own namespaces.
	WebSocket() bool
	// Close ends the stream, with an error when it is not nil.
	Close(*stanza.StreamError)
}

// Bounds of one session.
const (
	// pendingMost bounds stanzas received and not yet handled; the reader waits.
	pendingMost = 256
	// queueMost and queueBytes bound what waits to be written.
	queueMost  = 4096
	queueBytes = 8 << 20
	// detachedMost bounds the queue of a device that is away.
	detachedMost = 1000
	// unackedMost and unackedBytes bound what a device with stream management
	// leaves unacked.
	unackedMost  = 4096
	unackedBytes = 16 << 20
	// ackWithin is how long a request for an ack may wait for a commit.
	ackWithin = 250 * time.Millisecond
	// settleWithin bounds the wait for commits when a stream is resumed or ends.
	settleWithin = 2 * time.Second
)

// Session is one device's session. It outlives its stream when the device can
// resume it.
//
// Lock order: in.mu, then a dispatch shard's, then out.mu.
type Session struct {
	m   *Manager
	jid jid.JID
	res *dispatch.Resource
	id  [16]byte // names the stream in the journal and is the resumption id
	in  inbound
	out outbound
	// pace and account measure what the device and its account send; account is
	// nil before the session has begun.
	pace    meter
	account *shared
	// refused: the node refused a stanza without the journal knowing.
	refused atomic.Bool
	// putOff counts the messages that the node itself refused, as with a full
	// disk, and whose errors are not acknowledged. Until they are, messages behind
	// them are refused as well: the device has sent them before it could know, and
	// sends all of them again in its order.
	putOff atomic.Int32
	seen   atomic.Int64  // when something was last read, Unix nanoseconds
	wrote  atomic.Int64  // when a message of it was
	over   chan struct{} // closed when the session has ended
	ends   atomic.Bool   // it is ending
	moves  atomic.Bool   // because its device is sent to another node
	// running is closed when nothing more is received from the current stream;
	// guarded by out.mu.
	running chan struct{}
}

// ID of the session as clients see it (the SM-ID of XEP-0198 §enable @1.6.3).
func (s *Session) ID() string { return base64.RawURLEncoding.EncodeToString(s.id[:]) }

// run has the stream received until the session has ended or is detached from
// it.
func (s *Session) run(stream Stream) {
	s.out.mu.Lock()
	running := s.running
	s.out.mu.Unlock()
	stream.Receive(func(el *xmlstream.Element, err error) bool {
		more := s.receive(stream, el, err)
		if !more {
			close(running)
		}
		return more
	})
}

// receive takes what the stream gives. It reports whether to go on.
func (s *Session) receive(stream Stream, el *xmlstream.Element, err error) bool {
	if err != nil {
		s.lost(stream, err)
		return false
	}
	s.seen.Store(s.m.now().UnixNano())
	size := weight(el) // before it is handled: it may be changed then
	if !s.take(el) {
		return false
	}
	s.hold(stream, s.charge(1, s.crowd(el), size))
	return true
}

// crowd is how many devices are in the room, if any, that a stanza is for.
func (s *Session) crowd(el *xmlstream.Element) int {
	if s.m.o.Crowd == nil || el.Name.Local == "iq" {
		return 0
	}
	return s.m.o.Crowd(el.Get("to"))
}

// take does what an element asks for. It reports whether to go on.
func (s *Session) take(el *xmlstream.Element) bool {
	switch el.Name.Space {
	case stanza.NSSM:
		bad := s.management(el)
		if bad != nil {
			s.end(bad)
		}
		return bad == nil
	case stanza.NSCSI:
		if bad := s.Indicate(el); bad != nil {
			s.end(bad)
			return false
		}
		return true
	case stanza.NSClient:
		return s.stanza(el)
	}
	s.end(stanza.StreamErr(stanza.StreamUnsupportedStanza, "stanzas are in the namespace jabber:client"))
	return false
}

// lost decides what the end of a stream means: the end of the session when it
// was closed in good order or cannot be resumed, else a wait for the device.
func (s *Session) lost(stream Stream, err error) {
	var syntax *xmlstream.SyntaxError
	var ours *stanza.StreamError
	switch {
	case errors.As(err, &ours):
		s.end(ours)
	case errors.As(err, &syntax):
		s.end(stanza.StreamErr(stanza.StreamCondition(syntax.Condition), syntax.Reason))
	case errors.Is(err, io.EOF):
		s.end(nil)
	default:
		s.detach(stream, nil)
	}
}

// stanza has one stanza decided and its effects performed in order. It reports
// whether the session goes on.
func (s *Session) stanza(el *xmlstream.Element) bool {
	effects := s.m.o.Table.Decide(s.jid, el)
	e := &entry{stanza: el}
	if e.message() {
		s.wrote.Store(s.seen.Load())
	}
	var appends []route.Append
	for _, f := range effects {
		switch f := f.(type) {
		case route.Append:
			appends = append(appends, f)
		case route.Close:
			s.end(f.Err)
			return false
		default:
			if r, ok := f.(route.Reply); ok && refuses(r.Stanza) {
				s.refused.Store(true)
			}
			e.effects = append(e.effects, f)
		}
	}
	e.waits = len(appends)
	h, ok := s.in.push(s, e)
	if !ok {
		return false
	}
	for i, a := range appends {
		// The last command of a stanza brings the stream's count forward: what it is
		// cut off from is sent again, and only then known not to be a repeat.
		if h.counted && !s.m.o.NoDedupe && i == len(appends)-1 {
			a.Command.Stream = &command.Stream{Id: s.id[:], H: h.h, Refused: s.refused.Load()}
		}
		err := errPutOff
		if !e.message() || s.putOff.Load() == 0 {
			err = s.m.o.Cell.Submit(s.m.ctx, a.Command, func(out command.Outcome, err error) { s.outcome(e, a, out, err) })
		}
		if err != nil {
			s.outcome(e, a, command.Outcome{}, err)
		}
	}
	return true
}

// outcome takes what became of a command. It is called by the applier and must
// not block.
func (s *Session) outcome(e *entry, a route.Append, out command.Outcome, err error) {
	if err != nil {
		refusal := s.m.refusal(err)
		if refusal == nil {
			// Unknown or lost: the stanza is not handled and never counted, so
			// that the client sends it again elsewhere.
			go s.abort(stanza.StreamErr(stanza.StreamInternalServerError, "the message could not be stored; please reconnect"))
			return
		}
		s.refused.Store(true)
		if e.message() && !e.putOff {
			e.putOff = true
			s.putOff.Add(1)
		}
		out = command.Outcome{Verdict: command.Refused, Err: refusal}
	}
	var then []route.Effect
	if a.Then != nil {
		then = a.Then(out)
	} else if out.Err != nil {
		then = []route.Effect{route.Reply{Stanza: out.Err.Reply(e.stanza)}}
	}
	s.in.settle(s, e, then)
}

// abort ends the session without waiting for what can no longer be settled.
func (s *Session) abort(err *stanza.StreamError) {
	s.in.close()
	s.end(err)
}

// perform does the effects of one stanza; in.mu is held.
func (s *Session) perform(effects []route.Effect) {
	for _, f := range effects {
		switch f := f.(type) {
		case route.Reply:
			s.reply(f.Stanza)
		case route.Send:
			s.Enqueue(f.Out)
		case route.Deliver:
			s.deliver(f)
		case route.Read:
			s.in.read(s, f)
		case route.Append:
			s.submit(f)
		case route.Answered:
			s.answered(f.ID)
			if s.m.o.Answered != nil && f.Stanza != nil {
				s.m.o.Answered(s.jid, f.Stanza)
			}
		case route.Visit:
			f.Do(s)
		case route.Available:
			initial := s.m.o.Hub.Available(s.res, f.Priority, f.Stanza)
			s.in.read(s, route.Read{Do: func(context.Context) []route.Effect { return f.Then(initial) }})
		case route.Unavailable:
			s.unavailable(f.Stanza)
		case route.Leave:
			if s.m.o.Gone != nil {
				s.m.o.Gone(s)
			}
		case route.Close:
			go s.end(f.Err)
		default:
			s.update(f)
		}
	}
}

// update changes what dispatch knows of the resource.
func (s *Session) update(f route.Effect) {
	s.m.o.Hub.Update(s.res, func(r *dispatch.Resource) {
		switch f := f.(type) {
		case route.Carbons:
			r.SetCarbons(f.On)
		case route.Interested:
			r.SetInterested()
		case route.Blocklisted:
			r.SetBlocklisted()
		case route.Queried:
			r.SetQueried()
		case route.Directed:
			r.SetDirected(f.To, f.Available)
		}
	})
}

// unavailable ends the device's presence, and tells those that only its directed
// presence went to; the roster's broadcast tells the others.
func (s *Session) unavailable(presence *xmlstream.Element) {
	var directed []jid.JID
	s.m.o.Hub.Update(s.res, func(r *dispatch.Resource) { directed = r.SetUnavailable(presence) })
	for _, to := range directed {
		s.m.o.Hub.Deliver(s.jid, route.Deliver{To: to, Stanza: presence.Clone().Set("to", to.String()), Quiet: true}, nil)
	}
}

// reply queues an answer to the stanza that is being handled; in.mu is held.
func (s *Session) reply(answer *xmlstream.Element) {
	s.out.put(s, s.answer(answer, s.in.handled.Load()))
}

// answer marks an error that refuses a message; in.mu is held; before are the stanzas handled
// before that one.
func (s *Session) answer(e *xmlstream.Element, before uint32) item {
	i := item{Out: route.Serialise(e), refuses: refuses(e), before: before}
	if i.refuses && s.in.puttingOff {
		i.putOff, s.in.puttingOff = true, false
	}
	return i
}

// refuses reports whether an answer says that a message was not taken.
func refuses(answer *xmlstream.Element) bool {
	return answer.Name.Local == "message" && answer.Get("type") == "error"
}

func (s *Session) deliver(d route.Deliver) {
	before := s.in.handled.Load()
	s.m.o.Hub.Deliver(s.jid, d, func(err *stanza.Error) {
		s.out.put(s, item{Out: route.Serialise(err.Reply(d.Stanza)), refuses: d.Stanza.Name.Local == "message", before: before})
	})
}

// submit appends a command that a later effect asked for; the stanza that
// caused it is handled already. It may block, so it has its own goroutine.
func (s *Session) submit(a route.Append) {
	go func() {
		out, err := s.m.o.Cell.Do(s.m.ctx, a.Command)
		if err != nil {
			if out.Err = s.m.refusal(err); out.Err == nil {
				out.Err = stanza.Err(stanza.Wait, stanza.InternalServerError, "")
			}
		}
		if a.Then != nil {
			s.in.mu.Lock()
			defer s.in.mu.Unlock()
			s.perform(a.Then(out))
		}
	}()
}

// Behind implements dispatch.Device.
func (s *Session) Behind() {
	go s.end(stanza.StreamErr(stanza.StreamResourceConstraint, "this device was too slow; what it missed is in the archive"))
}

// Replaced implements dispatch.Device (RFC 6120 §7.7.2.2).
func (s *Session) Replaced() {
	go s.end(stanza.StreamErr(stanza.StreamConflict, "another session has taken this resource"))
}

// Away implements dispatch.Device.
func (s *Session) Away() bool {
	s.out.mu.Lock()
	defer s.out.mu.Unlock()
	return s.out.stream == nil
}

// Dismissed implements dispatch.Device (RFC 6120 §4.9.3.12).
func (s *Session) Dismissed(text string) {
	go s.end(stanza.StreamErr(stanza.StreamNotAuthorized, text))
}

// end ends the session for good: what was received is settled, the stream
// closed, and everybody told that the device is gone. It returns when that is
// done, whoever does it.
func (s *Session) end(err *stanza.StreamError) { s.endWithin(settleWithin, err) }

// endWithin is end for which what was received has so long to be settled.
func (s *Session) endWithin(settle time.Duration, err *stanza.StreamError) {
	if !s.ends.CompareAndSwap(false, true) {
		<-s.over
		return
	}
	defer close(s.over)
	s.m.forget(s)
	s.in.settled(settle, true)
	tell := s.leave()
	if s.m.o.Gone != nil {
		s.m.o.Gone(s)
	}
	tell()
	s.out.finish(s, err)
	s.in.close()
}

// leave takes the device out of dispatch, and gives what is to be told of that.
func (s *Session) leave() (tell func()) {
	missed := func() { s.tellMissed(s.out.takeMissed()) }
	if s.moves.Load() && !s.m.stopping() {
		s.m.expect(s)
		return missed
	}
	wasAvailable, directed := s.m.o.Hub.Unregister(s.res)
	return func() {
		// Of one that was replaced it has been told already: it is not available.
		// When the node stops, all that are here end, and come back in a moment.
		if !s.m.stopping() {
			s.m.farewell(s.jid, wasAvailable, directed)
			missed()
		}
	}
}
