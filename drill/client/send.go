// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"time"

	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

const (
	// maxBuffered bounds what waits for the writer before Send blocks.
	maxBuffered = 256 << 10
	// maxOwed bounds it for the answers that the reader adds without waiting; a
	// server that asks for more without reading is cut off.
	maxOwed = 1 << 20
)

// frames is a run of serialised elements; ends are where each one ends, which
// only WebSocket needs.
type frames struct {
	data []byte
	ends []int
}

func (f *frames) add(w wire, e *xmlstream.Element) {
	f.data = w.frame(f.data, e)
	f.ends = append(f.ends, len(f.data))
}

func (f *frames) raw(b []byte) {
	f.data = append(f.data, b...)
	f.ends = append(f.ends, len(f.data))
}

// Send hands a message to the stream. It waits while too much is buffered, and
// fails with ErrBacklog when MaxUnacked stanzas wait for the server. A message
// may be sent again, unchanged, by a later session.
func (s *Session) Send(ctx context.Context, o *Outgoing) error {
	if err := s.room(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	o.SentAt = time.Now()
	o.Attempts++
	s.out.add(s.wire, o.element())
	if s.sm != nil {
		s.sm.sent(pending{out: o})
		if s.since++; s.cfg.AckEvery > 0 && s.since >= s.cfg.AckEvery {
			s.request()
		}
	}
	s.poke()
	return nil
}

// SendStanza hands any stanza to the stream.
func (s *Session) SendStanza(ctx context.Context, e *xmlstream.Element) error {
	if err := s.room(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	s.add(e)
	return nil
}

// RequestAck asks the server for its count (XEP-0198 §acking @1.6.3).
func (s *Session) RequestAck(ctx context.Context) error {
	if err := s.room(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	if s.sm != nil {
		s.request()
		s.poke()
	}
	return nil
}

// Available sends initial presence of a priority, so that messages to the
// account reach this device.
func (s *Session) Available(ctx context.Context, priority int) error {
	e := xmlstream.New(stanza.NSClient, "presence")
	if priority != 0 {
		e.Add(xmlstream.NewText(stanza.NSClient, "priority", itoa(priority)))
	}
	return s.SendStanza(ctx, e)
}

// room waits for room in the buffers and returns with s.mu held, or with an
// error and without it.
func (s *Session) room(ctx context.Context) error {
	for {
		s.mu.Lock()
		if s.err != nil || s.ended {
			err := s.err
			s.mu.Unlock()
			if err == nil {
				err = ErrClosed
			}
			return err
		}
		if s.sm != nil && len(s.sm.queue) >= s.cfg.MaxUnacked {
			s.mu.Unlock()
			return ErrBacklog
		}
		if len(s.out.data) < maxBuffered {
			return nil
		}
		drained := s.drained
		s.blocked = true
		s.mu.Unlock()
		select {
		case <-drained:
		case <-s.quit:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// add queues a stanza that is not one of our messages; s.mu is held. Half as many of them as may wait are
// asked about, so that whoever reads a long archive does not run out of room.
func (s *Session) add(e *xmlstream.Element) {
	s.out.add(s.wire, e)
	if s.sm != nil {
		s.sm.sent(pending{stanza: e})
		if s.cfg.AckEvery > 0 && len(s.sm.queue)%max(s.cfg.MaxUnacked/2, 1) == 0 {
			s.request()
		}
	}
	s.poke()
}

// request queues <r/>; s.mu is held.
func (s *Session) request() {
	s.since = 0
	s.out.add(s.wire, xmlstream.New(stanza.NSSM, "r"))
}

// resend sends again what the resumed stream had not acknowledged (XEP-0198
// §resumption @1.6.3).
func (s *Session) resend() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.sm.queue {
		e := p.stanza
		if p.out != nil {
			e = p.out.element()
		}
		s.out.add(s.wire, e)
	}
	s.request()
	s.poke()
}

// Flush waits until everything sent so far was handed to the network.
func (s *Session) Flush(ctx context.Context) error {
	for {
		s.mu.Lock()
		if s.err != nil {
			defer s.mu.Unlock()
			return s.err
		}
		if !s.writing && len(s.out.ends) == 0 {
			s.mu.Unlock()
			return nil
		}
		drained := s.drained
		s.blocked = true
		s.mu.Unlock()
		select {
		case <-drained:
		case <-s.quit:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// progress wakes who waits for the writer; s.mu is held.
func (s *Session) progress() {
	if s.blocked {
		s.blocked = false
		close(s.drained)
		s.drained = make(chan struct{})
	}
}

// write is the writer: it takes all that is queued and writes it at once.
func (s *Session) write() {
	defer close(s.idle)
	var spare frames
	for {
		select {
		case <-s.wake:
		case <-s.quit:
			return
		}
		s.mu.Lock()
		if s.ackDue {
			s.ackDue = false
			if s.sm != nil && !s.ended {
				s.out.add(s.wire, s.sm.answer())
			}
		}
		batch := s.out
		s.out = frames{spare.data[:0], spare.ends[:0]}
		if len(batch.ends) == 0 {
			s.mu.Unlock()
			spare = batch
			continue
		}
		s.writing = true
		s.progress()
		s.mu.Unlock()
		if err := s.wire.write(batch, time.Now().Add(s.cfg.WriteTimeout)); err != nil {
			s.fail(err)
			return
		}
		s.mu.Lock()
		s.writing = false
		s.progress()
		s.mu.Unlock()
		spare = batch
		if cap(spare.data) > maxBuffered/4 {
			spare = frames{} // an idle session keeps little
		}
	}
}
