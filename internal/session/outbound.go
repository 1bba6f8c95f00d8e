// SPDX-License-Identifier: Apache-2.0

package session

import (
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"bavard/internal/command"
	"bavard/internal/route"
	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// outbound is what goes to the device. A goroutine writes while there is
// anything to write and ends when there is not, so that an idle session costs
// none.
type outbound struct {
	mu      sync.Mutex
	stream  Stream // nil while detached
	queue   []item
	bytes   int
	writing bool
	ended   bool
	overrun bool          // more was queued than may wait
	last    uint32        // handled when either began: errors of what came later are dropped, so no ack covers it
	done    chan struct{} // closed when the writer of the last words has ended

	ackDue bool // an <a/> is to be written

	// Stream management towards the device (XEP-0198 §acking @1.6.3).
	managed   bool // <enabled/> was written: stanzas count
	resumable bool
	sent      uint32 // stanzas written since
	acked     uint32 // of these
	unacked   []item
	weight    int  // bytes of these
	requested bool // an <r/> is unanswered
	// A request that can wait: asking is its timer, askDue that it is to be written.
	asking *time.Timer
	askDue bool
	// requestedAt is since when; stalled: for so long that nobody may be there.
	requestedAt time.Time
	stalled     bool

	// Without it a ping stands in for the ack (design: the offline cursor).
	lastPosition command.Position // of the newest archived message written
	pinged       command.Position // covered by the unanswered ping; zero when none
	pings        uint64

	expiry *time.Timer // of a detached session

	// What an inactive device need not have yet; in the order in which it is to go.
	inactive  bool
	indicates bool // it has said whether it is
	held      []holding
	heldBytes int
}

// item is a stanza, or a nonza when raw is set.
type item struct {
	route.Out
	raw     *xmlstream.Element
	enables bool // it is the <enabled/>: what follows counts
	// refuses: it is the error that answers a message, before which so many stanzas
	// had been handled.
	refuses bool
	before  uint32
	putOff  bool // and it counts in Session.putOff
	told    bool // that it was missed, or it was queued while nobody was there
}

func (i *item) size() int { return len(i.Name) + len(i.To) + len(i.Rest) }

// Enqueue implements dispatch.Device: it queues a stanza and never blocks. A
// device that lets its queue fill up is cut off; what it misses is archived.
func (s *Session) Enqueue(o route.Out) {
	s.out.put(s, item{Out: o})
}

func (o *outbound) put(s *Session, i item) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended || o.overrun || o.hold(s, &i) {
		return
	}
	if i.raw == nil {
		o.release()
		i.told = !o.here()
	}
	o.queue = append(o.queue, i)
	o.bytes += i.size()
	most := queueMost
	if o.stream == nil {
		most = detachedMost
	}
	if len(o.queue) > most || o.bytes > queueBytes {
		o.overrun, o.last = true, s.in.handled.Load() // it ends: nothing more is kept for it meanwhile
		go s.Behind()
		return
	}
	o.kick(s)
}

// ack has an <a/> written with what is handled by then, after the <enabled/> if
// that is still queued.
func (o *outbound) ack(s *Session) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ackDue = true
	o.kick(s)
}

// due: there is something to write; mu is held.
func (o *outbound) due() bool { return len(o.queue) > 0 || o.ackDue || o.askDue || o.pingDue() }

// kick starts the writer if there is a stream and none runs; mu is held.
func (o *outbound) kick(s *Session) {
	if o.writing || o.stream == nil || !o.due() {
		return
	}
	o.writing = true
	s.m.crew.do(job{session: s})
}

// Bounds of one write.
const (
	writeMost  = 128
	writeBytes = 64 << 10
)

// write writes until nothing is left, by way of p.
func (o *outbound) write(s *Session, p *page) {
	for {
		o.mu.Lock()
		stream := o.stream
		if stream == nil || !o.due() {
			o.writing = false
			if o.done != nil {
				close(o.done)
				o.done = nil
			}
			o.mu.Unlock()
			return
		}
		// With mu held: a refused stanza's error is queued before it counts as
		// handled, so the ack never overtakes the error; and a stanza counts before
		// its ack is due, so the ack that is written covers it.
		handled := s.in.handled.Load()
		if o.ended || o.overrun {
			handled = o.last
		}
		o.take(s, p, stream.WebSocket(), handled)
		overdue := len(o.unacked) > unackedMost || o.weight > unackedBytes
		o.mu.Unlock()
		if err := stream.Write(p.all()...); err != nil {
			// What was counted is sent again when the device resumes, which it
			// may have done meanwhile: then the loop goes on with its new stream.
			if !s.detach(stream, nil) {
				o.mu.Lock()
				if o.stream == stream { // it ends: nothing more can be written
					o.stream = nil
					go stream.Close(nil)
				}
				o.mu.Unlock()
			}
		}
		if overdue {
			go s.end(stanza.StreamErr(stanza.StreamPolicyViolation, "too many stanzas are not acked"))
		}
	}
}

// take serialises the next part of the queue for the framing; mu is held.
func (o *outbound) take(s *Session, p *page, webSocket bool, handled uint32) {
	n, size := 0, 0
	p.begin()
	flush := func() {
		if webSocket {
			p.end()
		}
	}
	counted, moves := false, false
	for n < len(o.queue) && n < writeMost && size < writeBytes {
		i := &o.queue[n]
		n++
		size += i.size()
		p.buf = appendItem(p.buf, i, webSocket)
		flush()
		switch {
		case i.enables:
			o.managed = true
		case i.raw != nil:
		case o.managed:
			o.sent++
			o.unacked = append(o.unacked, *i)
			o.weight += i.size()
			counted, moves = true, moves || i.refuses || !i.Position.IsZero()
		case i.putOff:
			s.putOff.Add(-1) // nothing will acknowledge it
		case o.lastPosition.Before(i.Position):
			o.lastPosition = i.Position
		}
	}
	rest := copy(o.queue, o.queue[n:])
	clear(o.queue[rest:])
	o.queue = o.queue[:rest]
	o.bytes -= size
	if rest == 0 {
		o.queue = nil // an idle session keeps none
	}
	if o.asksNow(s, counted, moves) {
		p.buf = append(p.buf, "<r xmlns='"+stanza.NSSM+"'/>"...)
		flush()
	}
	if o.ackDue && rest == 0 {
		o.ackDue = false
		p.buf = append(p.buf, "<a xmlns='"+stanza.NSSM+"' h='"...)
		p.buf = strconv.AppendUint(p.buf, uint64(handled), 10)
		p.buf = append(p.buf, "'/>"...)
		flush()
	}
	if rest == 0 && o.pingDue() {
		p.buf = o.ping(s, p.buf, webSocket)
		flush()
	}
	p.end()
}

// How long the request of an ack waits that moves no offline cursor, for how many stanzas at
// most, and how lately the device has to have been heard: what is said in a room goes to a thousand
// devices at once, and their acks would all arrive at once, too, before what others have to say.
// Those that are to be written at about the same time are at the same time, which costs less.
const (
	askLeast   = time.Second
	askMost    = 3 * time.Second
	askStep    = 100 * time.Millisecond
	askAfter   = 32
	heardSince = 15 * time.Second
)

// asksNow tells whether an <r/> is to be written after stanzas that count, of which some move the
// offline cursor; if it can wait, it is put off. mu is held.
func (o *outbound) asksNow(s *Session, counted, moves bool) bool {
	if o.requested || !counted && !o.askDue {
		return false
	}
	if !moves && !o.askDue && len(o.unacked) < askAfter && o.weight < unackedBytes/2 && s.m.now().Sub(time.Unix(0, s.seen.Load())) < heardSince {
		o.askLater(s)
		return false
	}
	o.asked(s)
	return true
}

// asked: an <r/> is on its way; mu is held.
func (o *outbound) asked(s *Session) {
	o.requested, o.requestedAt = true, s.m.now()
	o.askedEnough()
}

// askedEnough takes back what was put off; mu is held.
func (o *outbound) askedEnough() {
	if o.asking != nil {
		o.asking.Stop()
	}
	o.asking, o.askDue = nil, false
}

// askLater has an <r/> written soon, each device's at a time of its own; mu is held.
func (o *outbound) askLater(s *Session) {
	if o.asking != nil {
		return
	}
	var t *time.Timer
	now := s.m.now()
	at := now.Add(askLeast + rand.N(askMost-askLeast)).Truncate(askStep) //nolint:gosec // no secret
	t = time.AfterFunc(at.Sub(now), func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.asking == t && o.stream != nil && !o.ended {
			o.asking, o.askDue = nil, true
			o.kick(s)
		}
	})
	o.asking = t
}

// appendItem serialises for the framing: on TCP the stream header has declared
// jabber:client, a WebSocket frame stands alone (RFC 7395 §3.3.3).
func appendItem(buf []byte, i *item, webSocket bool) []byte {
	if i.raw != nil {
		if webSocket {
			return xmlstream.AppendElement(buf, i.raw, "")
		}
		return xmlstream.AppendElement(buf, i.raw, stanza.NSClient)
	}
	buf = append(buf, '<')
	buf = append(buf, i.Name...)
	if webSocket {
		buf = append(buf, " xmlns='"+stanza.NSClient+"'"...)
	}
	if i.To != "" {
		buf = xmlstream.AppendAttr(buf, "to", i.To)
	}
	return append(buf, i.Rest...)
}

// truthful bounds what a device that has counted up to h may be told to be handled when it resumes:
// the count is told before what is sent again, so it may not pass a message whose
// error the device may not have got. cut is false when there is none; known is
// false when the session has ended, and what was left for the device is gone.
func (o *outbound) truthful(h uint32) (bound uint32, cut, known bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended {
		return 0, true, false
	}
	unacked := o.unacked
	if n := h - o.acked; n <= uint32(len(unacked)) {
		unacked = unacked[n:]
	}
	for _, part := range [][]item{unacked, o.queue} {
		for i := range part {
			if part[i].refuses {
				return part[i].before, true, true // they are in order
			}
		}
	}
	return o.last, o.overrun, true
}

// pingDue: a device without stream management has been sent archived messages
// and is to be asked for a sign that it got them.
func (o *outbound) pingDue() bool {
	return !o.managed && o.pinged.IsZero() && !o.lastPosition.IsZero()
}

// ping asks for that sign.
func (o *outbound) ping(s *Session, buf []byte, webSocket bool) []byte {
	o.pinged = o.lastPosition
	o.pings++
	return appendItem(buf, &item{raw: s.question(pingID(o.pings))}, webSocket)
}

// question is what a device without stream management is asked when all that
// matters is that it answers, if only by an error. It is not a ping (XEP-0199)
// because go-sendxmpp 0.5 crashes on each request that is not a <query/>, and
// not another query because the answer to this one is short, and clients do not
// tell people of it.
func (s *Session) question(id string) *xmlstream.Element {
	return xmlstream.New(stanza.NSClient, "iq", "type", "get", "id", id, "from", s.m.o.Table.Domain(), "to", s.jid.String()).
		Add(xmlstream.New(stanza.NSDiscoItems, "query"))
}

func pingID(n uint64) string { return "got-" + strconv.FormatUint(n, 10) }

// answered takes the device's answer to a ping, result or error.
func (s *Session) answered(id string) {
	o := &s.out
	o.mu.Lock()
	if o.pinged.IsZero() || id != pingID(o.pings) {
		o.mu.Unlock()
		return
	}
	got := o.pinged
	o.pinged = command.Position{} // in.mu is held: nothing here may block
	if got == o.lastPosition {
		o.lastPosition = command.Position{}
	}
	o.kick(s)
	o.mu.Unlock()
	s.m.o.Hub.Acked(s.res, got)
}

// finish queues the last words, waits a little until they are written and
// closes the stream.
func (o *outbound) finish(s *Session, err *stanza.StreamError) {
	o.mu.Lock()
	if !o.overrun {
		o.last = s.in.handled.Load()
	}
	o.ended = true
	o.askedEnough()
	if o.expiry != nil {
		o.expiry.Stop()
	}
	stream := o.stream
	var done chan struct{}
	o.kick(s)
	if o.writing {
		done = make(chan struct{})
		o.done = done
	}
	o.mu.Unlock()
	if done != nil {
		t := time.NewTimer(settleWithin)
		select {
		case <-done:
		case <-t.C:
		}
		t.Stop()
	}
	o.mu.Lock()
	o.stream = nil
	o.queue, o.unacked, o.held = nil, nil, nil
	o.mu.Unlock()
	if stream != nil {
		stream.Close(err) // the peer may be gone already
	}
}
