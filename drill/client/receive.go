// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

func itoa(n int) string { return strconv.Itoa(n) }

// read is the reader: it runs until the stream ends.
func (s *Session) read() {
	defer close(s.done)
	for {
		e, err := s.wire.read()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = fmt.Errorf("%w: the server closed the stream", ErrClosed)
			}
			s.fail(err)
			return
		}
		s.heard.Store(time.Now().UnixNano())
		if err := s.handle(e); err != nil {
			s.fail(err)
			return
		}
	}
}

// watches is how often in the time of its patience a session looks whether the server is heard.
const watches = 16

// watch ends a session whose server leaves it waiting for too long.
func (s *Session) watch() {
	defer close(s.unwatched)
	ticker := time.NewTicker(s.cfg.Patience / watches)
	defer ticker.Stop()
	asked := false
	for {
		select {
		case <-s.quit:
			return
		case now := <-ticker.C:
			s.mu.Lock()
			if !s.waits() {
				s.idleAt = now
			}
			silent := s.silence(now)
			asked = asked && silent > s.cfg.Patience/2
			if !asked && silent > s.cfg.Patience/2 && s.sm != nil && !s.ended && s.err == nil {
				asked = true
				s.request()
				s.poke()
			}
			s.mu.Unlock()
			if silent > s.cfg.Patience {
				s.fail(ErrSilent)
				return
			}
		}
	}
}

// waits, under mu: something waits for an answer, be it the end of the stream.
func (s *Session) waits() bool {
	return s.ended || len(s.waiting) > 0 || s.sm != nil && len(s.sm.queue) > 0
}

// silence, under mu, is for how long nothing was heard while something waited for an answer.
func (s *Session) silence(now time.Time) time.Duration {
	since := s.idleAt
	if heard := time.Unix(0, s.heard.Load()); heard.After(since) {
		since = heard
	}
	return now.Sub(since)
}

// Silent is for how long nothing was heard while something waited for an answer, of a session with Patience; up to
// Patience/watches too much, as nobody looks in between. 0 while nothing waits.
func (s *Session) Silent() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.waits() {
		return 0
	}
	return s.silence(time.Now())
}

func (s *Session) handle(e *xmlstream.Element) error {
	switch e.Name.Space {
	case stanza.NSClient:
		switch e.Name.Local {
		case "message":
			s.message(e)
		case "presence":
			if f := s.cfg.Handler.Presence; f != nil {
				f(e)
			}
		case "iq":
			if err := s.iq(e); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%w: <%s/>", ErrProtocol, e.Name.Local)
		}
		s.mu.Lock()
		if s.sm != nil {
			s.sm.in++
		}
		s.mu.Unlock()
		return nil
	case stanza.NSSM:
		return s.manage(e)
	case stanza.NSStream:
		if e.Name.Local == "error" {
			return streamError(e)
		}
	}
	return fmt.Errorf("%w: <%s xmlns=%q/>", ErrProtocol, e.Name.Local, e.Name.Space)
}

// streamError makes the error that ended the stream (RFC 6120 §4.9).
func streamError(e *xmlstream.Element) error {
	condition := e.Child(stanza.NSStreamError, "")
	if condition == nil {
		return fmt.Errorf("%w: stream error without condition", ErrProtocol)
	}
	return stanza.StreamErr(stanza.StreamCondition(condition.Name.Local), e.Child(stanza.NSStreamError, "text").Text())
}

// manage handles <r/> and <a/> (XEP-0198 §acking @1.6.3).
func (s *Session) manage(e *xmlstream.Element) error {
	s.mu.Lock()
	if s.sm == nil {
		s.mu.Unlock()
		return fmt.Errorf("%w: <%s/> without stream management", ErrProtocol, e.Name.Local)
	}
	switch e.Name.Local {
	case "r":
		s.ackDue = true
		s.poke()
		s.mu.Unlock()
		return nil
	case "a":
		handled, err := s.sm.acknowledge(e.Get("h"))
		s.mu.Unlock()
		s.tick(handled)
		return err
	}
	s.mu.Unlock()
	return fmt.Errorf("%w: <%s/> within the stream", ErrProtocol, e.Name.Local)
}

// tick tells the handler of the messages that the server's h has passed.
func (s *Session) tick(handled []pending) {
	for _, p := range handled {
		if p.out != nil && p.out.settle(Ticked) && s.cfg.Handler.Ticked != nil {
			s.cfg.Handler.Ticked(p.out)
		}
	}
}

func (s *Session) message(e *xmlstream.Element) {
	account := s.cfg.JID
	if e.Get("type") == "error" {
		s.refuse(e)
		return
	}
	// Only the account itself may wrap messages (XEP-0280 §security @1.0.1,
	// XEP-0313 §security @1.1.3).
	own := e.Get("from") == "" || e.Get("from") == account
	var in *Inbound
	if result := e.Child(stanza.NSMAM, "result"); result != nil && own {
		s.collect(result)
		return
	}
	if carbon := e.Child(stanza.NSCarbons, ""); carbon != nil && own {
		in = unwrap(carbon, account)
		if in == nil {
			return
		}
		in.Carbon = CarbonReceived
		if carbon.Name.Local == "sent" {
			in.Carbon = CarbonSent
		}
	} else {
		in = parseMessage(e, account)
	}
	if s.cfg.Handler.Message != nil {
		in.Stream = s.stream
		s.cfg.Handler.Message(in)
	}
}

// refuse settles the message that an error answers.
func (s *Session) refuse(e *xmlstream.Element) {
	s.mu.Lock()
	var o *Outgoing
	if s.sm != nil {
		o = s.sm.find(e.Get("id"))
	}
	s.mu.Unlock()
	if o != nil {
		o.settle(Refused)
	}
	if s.cfg.Handler.Refused != nil {
		s.cfg.Handler.Refused(e.Get("id"), errorOf(e).Condition)
	}
}

// errorOf reads the error of a stanza (RFC 6120 §8.3).
func errorOf(e *xmlstream.Element) *stanza.Error {
	el := e.Child(stanza.NSClient, "error")
	out := &stanza.Error{Condition: stanza.UndefinedCondition}
	if el == nil {
		return out
	}
	out.Type = stanza.ErrorType(el.Get("type"))
	for _, c := range el.Elements() {
		switch {
		case c.Name.Space != stanza.NSStanzaError:
			out.App = c
		case c.Name.Local == "text":
			out.Text = c.Text()
		default:
			out.Condition = stanza.Condition(c.Name.Local)
		}
	}
	return out
}

// iq answers requests and wakes who waits for a response.
func (s *Session) iq(e *xmlstream.Element) error {
	switch e.Get("type") {
	case "result", "error":
		s.mu.Lock()
		wait := s.waiting[e.Get("id")]
		delete(s.waiting, e.Get("id"))
		s.mu.Unlock()
		if wait != nil {
			wait <- e
		}
		return nil
	}
	answer := stanza.Err(stanza.Cancel, stanza.ServiceUnavailable, "").Reply(e)
	payload := e.First()
	switch {
	case payload.Is(stanza.NSPing, "ping"):
		answer = stanza.Result(e)
	case payload.Is(stanza.NSRoster, "query") && e.Get("type") == "set" &&
		(e.Get("from") == "" || e.Get("from") == s.cfg.JID):
		answer = stanza.Result(e)
		if f := s.cfg.Handler.RosterPush; f != nil {
			for _, item := range payload.Elements() {
				f(rosterItem(item))
			}
		}
	}
	answer.Set("from", "")
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.out.data) > maxOwed {
		return fmt.Errorf("%w: it asks without reading the answers", ErrProtocol)
	}
	if s.err == nil && !s.ended {
		s.add(answer)
	}
	return nil
}

// IQ sends a request and waits for its response. Its id is set. An error
// response is returned as *stanza.Error.
func (s *Session) IQ(ctx context.Context, request *xmlstream.Element) (*xmlstream.Element, error) {
	if err := s.room(ctx); err != nil {
		return nil, err
	}
	id := s.nextID()
	wait := make(chan *xmlstream.Element, 1)
	s.waiting[id] = wait
	s.add(request.Set("id", id))
	s.mu.Unlock()
	select {
	case response := <-wait:
		if response.Get("type") == "error" {
			return nil, errorOf(response)
		}
		return response, nil
	case <-s.done:
		return nil, s.Err()
	case <-ctx.Done():
		s.mu.Lock()
		delete(s.waiting, id)
		s.mu.Unlock()
		return nil, ctx.Err()
	}
}

// Ping asks the server for a sign of life (XEP-0199). Stanzas being handled in
// order, it has by then read everything sent before.
func (s *Session) Ping(ctx context.Context) error {
	_, err := s.IQ(ctx, xmlstream.New(stanza.NSClient, "iq", "type", "get").Add(xmlstream.New(stanza.NSPing, "ping")))
	return err
}
