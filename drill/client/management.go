// SPDX-License-Identifier: Apache-2.0

package client

import (
	"fmt"
	"strconv"

	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// pending is a stanza that waits for acknowledgement. For a message of ours out
// is set and the stanza is made anew when it is sent again.
type pending struct {
	out    *Outgoing
	stanza *xmlstream.Element
}

// management is one side's counters and queue of a stream (XEP-0198 §acking
// @1.6.3), which outlive the connection when it is resumed. All counters are
// modulo 2^32. It is pure; the session's mutex guards it.
type management struct {
	id     string // SM-ID, "" when the stream cannot be resumed
	stream string
	jid    string
	in     uint32 // stanzas of the server that were handled
	acked  uint32 // stanzas of ours that the server has handled
	queue  []pending
	seq    uint64 // of the ids of requests
}

// sent counts a stanza of ours.
func (m *management) sent(p pending) { m.queue = append(m.queue, p) }

// answer makes <a/>.
func (m *management) answer() *xmlstream.Element {
	return xmlstream.New(stanza.NSSM, "a", "h", strconv.FormatUint(uint64(m.in), 10))
}

// acknowledge takes the server's h and returns the stanzas that it newly
// handled. An h beyond what was sent is the server's fault (XEP-0198 §errors
// @1.6.3) and changes nothing.
func (m *management) acknowledge(text string) ([]pending, error) {
	h, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("%w: h=%q", ErrProtocol, text)
	}
	n := uint32(h) - m.acked
	if uint64(n) > uint64(len(m.queue)) {
		return nil, fmt.Errorf("%w: h=%d, but only %d stanzas were sent", ErrProtocol, h, m.acked+uint32(len(m.queue)))
	}
	handled := m.queue[:n:n]
	m.queue = m.queue[n:]
	if len(m.queue) == 0 {
		m.queue = nil // let go of what was handled
	}
	m.acked = uint32(h)
	return handled, nil
}

// atLeast takes an h that is a lower bound, as after a failed resumption (XEP-0198
// §resumption @1.6.3): who tells it may know less than what was acknowledged before, as of
// what nobody stores.
func (m *management) atLeast(text string) ([]pending, error) {
	h, err := strconv.ParseUint(text, 10, 32)
	if err == nil && int32(uint32(h)-m.acked) < 0 {
		return nil, nil
	}
	return m.acknowledge(text)
}

// find returns the waiting message of this id.
func (m *management) find(id string) *Outgoing {
	for i := range m.queue {
		if o := m.queue[i].out; o != nil && o.ID == id {
			return o
		}
	}
	return nil
}

// Resumption is what a session leaves behind for Config.Resume. It may be used
// once, after the session has ended.
type Resumption struct{ sm *management }

// Resumption returns what is needed to resume the session, nil when the server
// did not offer it. It waits for the session to have ended.
func (s *Session) Resumption() *Resumption {
	s.wait()
	if s.sm == nil || s.sm.id == "" {
		return nil
	}
	return &Resumption{s.sm}
}

// Unsettled lists the messages that are neither ticked nor refused, in the
// order in which they were sent. It waits for the session to have ended. After
// a failed resumption it no longer has those that the server's <failed h=…/>
// ticked. Without stream management it is empty: the caller keeps count.
func (s *Session) Unsettled() []*Outgoing {
	s.wait()
	if s.sm == nil {
		return nil
	}
	var out []*Outgoing
	for _, p := range s.sm.queue {
		if p.out != nil && p.out.State() == Waiting {
			out = append(out, p.out)
		}
	}
	return out
}
