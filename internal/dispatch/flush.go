// SPDX-License-Identifier: Apache-2.0

package dispatch

import (
	"context"
	"time"

	"bavard/internal/command"
	"bavard/internal/roster"
	"bavard/internal/route"
	"bavard/internal/state"
	"bavard/internal/xmlstream"
)

const (
	// flushMost bounds how many waiting messages one flush hands over; the rest
	// is in the archive, and comes with the next flush.
	flushMost = 1000
	flushPage = 100
	// flushBytes bounds it as well, so that a device's queue has room for it.
	flushBytes = 2 << 20
	// flushTimeout bounds the reads of one flush.
	flushTimeout = 5 * time.Second
)

var zero time.Time // immutable

// Available makes a resource available. It is queued behind the events of its
// account, so that what waits offline and what comes live keep one order: the
// first time, what lies behind the offline cursor is handed over before any
// later message (XEP-0160 §flow @1.0.1), unless the session reads the archive
// by itself. It reports whether the resource was not available before.
func (h *Hub) Available(r *Resource, priority int8, presence *xmlstream.Element) (initial bool) {
	account := r.JID.Bare().String()
	s := h.shard(account)
	presence = presence.Clone() // what is read comes with more memory than it needs
	s.mu.Lock()
	initial = r.presence == nil
	if !r.gone {
		// Under the lock: a change of the picture that is not seen here comes as an
		// event that sees this presence.
		r.noPhoto = roster.SaysPhoto(presence)
		r.presence, r.priority = roster.WithPhoto(presence, h.o.View.AvatarHash(account)), priority
	}
	// Decided now: a query that comes right behind changes nothing any more.
	flush := priority >= 0 && !r.flushed && !r.queried
	if priority >= 0 {
		r.flushed = true
	}
	r.flushing = r.flushing || flush
	s.mu.Unlock()
	ok := h.post(account, func(s *shard) {
		s.mu.Lock()
		if r.gone || r.presence == nil {
			if flush { // it has left meanwhile; the next presence decides anew
				r.flushed, r.flushing = false, false
			}
			s.mu.Unlock()
			return
		}
		r.available = true
		h.watch(r, r.presence)
		h.tell(r, false)
		s.mu.Unlock()
		if flush {
			h.flush(s, r, account)
		}
	})
	if !ok {
		r.device.Behind()
	}
	return initial
}

// flush hands over the next part of what lies behind the offline cursor,
// oldest first. While more is left live messages are held back and the
// device's ack asks for the next part.
func (h *Hub) flush(s *shard, r *Resource, account string) {
	ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	from := r.flushedTo
	if from.IsZero() {
		var err error
		if from, err = h.o.View.OfflineCursor(account); err != nil {
			h.failed(r, err)
			return
		}
		// What another device has acked may not be saved yet.
		s.mu.Lock()
		if a := s.accounts[account]; a != nil && from.Before(a.acked) {
			from = a.acked
		}
		s.mu.Unlock()
	}
	floor := h.o.View.Applied()
	var last command.Position // handed over
	q := state.Query{Account: account, Since: from, OnlyIncoming: true, Max: flushPage}
	for sent, size := 0, 0; sent < flushMost && size < flushBytes; {
		page, err := h.o.View.Archive(ctx, q)
		if err != nil {
			h.failed(r, err)
			return
		}
		for i := range page.Entries {
			e := &page.Entries[i]
			// What was accepted before its sender was blocked stays in the archive.
			if h.barred(e.Message.From, account) != blockedByRecipient {
				out := h.delayed(account, e)
				r.device.Enqueue(out)
				sent, size, last = sent+1, size+len(out.Rest), e.Position
			}
			q.Since = e.Position
		}
		if page.Complete || len(page.Entries) == 0 {
			if floor.Before(q.Since) {
				floor = q.Since // applied while we read
			}
			s.mu.Lock()
			r.flushing, r.floor = false, floor
			s.mu.Unlock()
			return
		}
	}
	s.mu.Lock()
	r.flushedTo, r.awaited = q.Since, last
	s.mu.Unlock()
}

func (h *Hub) failed(r *Resource, err error) {
	h.o.Logger.Error("read what waits for an account", "err", err)
	r.device.Behind()
}

// Acked notes that a device of non-negative priority has got a message: the
// offline cursor moves, and a flush goes on. While a flush is due or under way
// the cursor moves no further than that has come: what the device has got beyond,
// by asking the archive, says nothing of what still waits.
func (h *Hub) Acked(r *Resource, p command.Position) {
	bare := r.JID.Bare().String()
	s := h.shard(bare)
	s.mu.Lock()
	a := s.accounts[bare]
	if a == nil || r.gone || r.priority < 0 {
		s.mu.Unlock()
		return
	}
	to := p
	if r.flushing && r.flushedTo.Before(to) {
		to = r.flushedTo
	}
	if a.acked.Before(to) {
		a.acked = to
	}
	more := r.flushing && !r.flushedTo.IsZero() && !p.Before(r.awaited)
	s.mu.Unlock()
	if more {
		ok := h.post(bare, func(s *shard) {
			s.mu.Lock()
			due := r.flushing && !r.gone && !p.Before(r.awaited)
			s.mu.Unlock()
			if due {
				h.flush(s, r, bare)
			}
		})
		if !ok {
			r.device.Behind()
		}
	}
}

// saveEvery is how long an acked position may wait to be written; until then a
// crash means that messages are handed over once more.
const saveEvery = 5 * time.Second

func (h *Hub) saver() {
	defer h.wg.Done()
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			h.saveAll()
		case <-h.stop:
			return
		}
	}
}

// unsaved is the position to save, zero when there is none.
func (a *account) unsaved() command.Position {
	if !a.saved.Before(a.acked) {
		return command.Position{}
	}
	a.saved = a.acked
	return a.acked
}

func (h *Hub) saveAll() {
	for i := range h.shards {
		s := &h.shards[i]
		dirty := map[string]command.Position{}
		s.mu.Lock()
		for bare, a := range s.accounts {
			if p := a.unsaved(); !p.IsZero() {
				dirty[bare] = p
			}
		}
		s.mu.Unlock()
		for bare, p := range dirty {
			h.save(bare, p, false)
		}
	}
}

func (h *Hub) save(bare string, p command.Position, wait bool) {
	if !p.IsZero() && h.o.Save != nil {
		h.o.Save(bare, p, wait)
	}
}

// delayed serialises a message that waited (XEP-0203 §protocol @2.0).
func (h *Hub) delayed(account string, e *state.Entry) route.Out {
	b := make([]byte, 0, 384+len(e.Message.Payload))
	b = route.AppendMessage(b, e.Message,
		route.AppendStanzaID(nil, account, h.o.IDs.ID(e.Position)),
		route.AppendDelay(nil, h.o.Domain, e.Time))
	return route.Out{Name: "message", Rest: b, Position: e.Position}
}
