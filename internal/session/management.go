// SPDX-License-Identifier: Apache-2.0

package session

import (
	"strconv"
	"time"

	"bavard/internal/command"
	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// management handles the elements of stream management (XEP-0198 @1.6.3). An
// error ends the stream.
func (s *Session) management(el *xmlstream.Element) *stanza.StreamError {
	switch el.Name.Local {
	case "enable":
		return s.enable(el)
	case "r":
		s.in.request(s)
		return nil
	case "a":
		h, err := strconv.ParseUint(el.Get("h"), 10, 32)
		if err != nil {
			return stanza.StreamErr(stanza.StreamPolicyViolation, "h is not a number")
		}
		return s.out.acknowledged(s, uint32(h))
	case "resume":
		// Only possible instead of binding a resource (XEP-0198 §resumption @1.6.3).
		s.out.put(s, item{raw: failed("unexpected-request", "")})
		return nil
	}
	return stanza.StreamErr(stanza.StreamUnsupportedStanza, "unknown element of stream management")
}

func failed(condition stanza.Condition, h string) *xmlstream.Element {
	return xmlstream.New(stanza.NSSM, "failed", "h", h).Add(xmlstream.New(stanza.NSStanzaError, string(condition)))
}

// enable switches stream management on, once (XEP-0198 §enable @1.6.3).
func (s *Session) enable(el *xmlstream.Element) *stanza.StreamError {
	s.in.mu.Lock()
	defer s.in.mu.Unlock()
	if s.in.managed {
		s.out.put(s, item{raw: failed(stanza.UnexpectedRequest, "")})
		return nil
	}
	s.in.managed = true
	answer, resumable := s.enabled(el)
	if resumable {
		s.out.mu.Lock()
		s.out.resumable = true
		s.out.mu.Unlock()
	}
	s.out.put(s, item{raw: answer, enables: true})
	return nil
}

// enabled answers <enable/>, and tells whether the session can be resumed.
func (s *Session) enabled(el *xmlstream.Element) (answer *xmlstream.Element, resumable bool) {
	answer = xmlstream.New(stanza.NSSM, "enabled")
	if r := el.Get("resume"); r == "true" || r == "1" {
		resumable = true
		answer.Set("id", s.ID()).Set("resume", "true").Set("max", strconv.Itoa(int(s.m.o.ResumeTime/time.Second)))
	}
	return answer, resumable
}

// handledTooHigh is the error for an ack of what was never sent (XEP-0198
// §errors @1.6.3).
func handledTooHigh(h, sent uint32) *stanza.StreamError {
	e := stanza.StreamErr(stanza.StreamUndefinedCondition, "you acknowledged more stanzas than were sent")
	e.App = xmlstream.New(stanza.NSSM, "handled-count-too-high",
		"h", strconv.FormatUint(uint64(h), 10), "send-count", strconv.FormatUint(uint64(sent), 10))
	return e
}

// acknowledged takes the device's count: what it covers is forgotten, and the
// account's offline cursor moves.
func (o *outbound) acknowledged(s *Session, h uint32) *stanza.StreamError {
	o.mu.Lock()
	if o.ended {
		o.mu.Unlock()
		return nil
	}
	before := o.acked
	bad, newest := o.trim(s, h)
	if bad == nil {
		o.requested, o.stalled = false, false
		switch {
		case len(o.unacked) == 0:
			o.askedEnough()
		case len(o.queue) > 0 || o.stream == nil || h == before: // what is written next asks, or it does not answer
		case newest.IsZero():
			o.askLater(s)
		default: // more was written meanwhile
			o.asked(s)
			o.queue = append(o.queue, item{raw: xmlstream.New(stanza.NSSM, "r")})
			o.kick(s)
		}
	}
	o.mu.Unlock()
	if !newest.IsZero() {
		s.m.o.Hub.Acked(s.res, newest)
	}
	return bad
}

// trim forgets what h covers and gives the newest archived position in it; mu
// is held. Counts are modulo 2^32.
func (o *outbound) trim(s *Session, h uint32) (*stanza.StreamError, command.Position) {
	var newest command.Position
	n := h - o.acked
	if n > o.sent-o.acked {
		return handledTooHigh(h, o.sent), newest
	}
	for _, u := range o.unacked[:n] {
		if newest.Before(u.Position) {
			newest = u.Position
		}
		if u.putOff {
			s.putOff.Add(-1)
		}
		o.weight -= u.size()
	}
	o.unacked = append(o.unacked[:0], o.unacked[n:]...)
	clear(o.unacked[len(o.unacked):cap(o.unacked)])
	if len(o.unacked) == 0 {
		o.unacked = nil
	}
	o.acked = h
	return nil, newest
}

// detach ends the session's use of a stream that is broken, or that err says
// why to close. If the device may resume it, the session waits for it; else it
// ends. It reports whether the session goes on.
func (s *Session) detach(stream Stream, err *stanza.StreamError) bool {
	return s.detachWithin(settleWithin, stream, err)
}

// detachWithin is detach for which what was received has so long to be settled, if the session ends.
func (s *Session) detachWithin(settle time.Duration, stream Stream, err *stanza.StreamError) bool {
	s.out.mu.Lock()
	if s.out.stream != stream {
		s.out.mu.Unlock()
		return true // it has another one already, or has ended
	}
	if !s.out.resumable || !s.out.managed || s.out.ended {
		s.out.mu.Unlock()
		go s.endWithin(settle, err)
		return false
	}
	s.out.stream = nil
	s.out.requested, s.out.stalled = false, false
	s.out.askedEnough()
	missed := s.out.missed()
	s.out.expiry = time.AfterFunc(s.m.o.ResumeTime, func() { s.end(nil) })
	s.out.mu.Unlock()
	s.m.o.Hub.Noticed(s.res)
	go stream.Close(err) // it may be broken, and take its time
	s.tellMissed(missed)
	return true
}

// Resumed is a session that a new stream takes over.
type Resumed struct {
	s *Session
	h uint32 // the client's count
}

// attach puts the session on its new stream: tells what was handled, and sends
// again what the device has not got (XEP-0198 §resumption @1.6.3). It reports
// whether the session still lives.
func (r *Resumed) attach(stream Stream, answer func(...*xmlstream.Element) *xmlstream.Element) bool {
	s, o := r.s, &r.s.out
	o.mu.Lock()
	if o.ended || o.stream != nil {
		o.mu.Unlock()
		return false
	}
	bad, newest := o.trim(s, r.h)
	if bad != nil {
		o.mu.Unlock()
		go stream.Close(bad) // it waits for the peer; meanwhile nobody resumes what ends
		s.end(nil)
		return false
	}
	if o.expiry != nil {
		o.expiry.Stop()
	}
	again := o.unacked
	o.unacked, o.weight = nil, 0
	o.sent = o.acked
	resumed := xmlstream.New(stanza.NSSM, "resumed", "previd", s.ID(), "h", strconv.FormatUint(uint64(s.in.handled.Load()), 10))
	if answer != nil {
		resumed = answer(resumed)
	}
	queue := make([]item, 0, 1+len(again)+len(o.queue))
	queue = append(queue, item{raw: resumed})
	for _, u := range again {
		queue = append(queue, u)
		o.bytes += len(u.Name) + len(u.Rest)
	}
	for _, i := range o.queue {
		if i.raw == nil || i.enables {
			queue = append(queue, i)
		}
	}
	o.queue = queue
	o.inactive = false // XEP-0352 §stream-resumption @1.0.0
	o.release()
	o.stream = stream
	s.running = make(chan struct{})
	o.requested, o.ackDue = false, false
	o.askedEnough()
	o.kick(s)
	o.mu.Unlock()
	s.m.o.Hub.Noticed(s.res)
	s.seen.Store(s.m.now().UnixNano())
	if !newest.IsZero() {
		s.m.o.Hub.Acked(s.res, newest)
	}
	return true
}
