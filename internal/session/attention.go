// SPDX-License-Identifier: Apache-2.0

package session

import (
	"time"

	"bavard/internal/dispatch"
	"bavard/internal/route"
)

const (
	// stallAfter is how long a request for an ack may be open before nobody is thought
	// to be there; the device may be, on a slow network, and nothing else follows from it.
	stallAfter = 30 * time.Second
	// looksFor is how long after a message of its own somebody is thought to look at
	// a device that does not say so.
	looksFor = 10 * time.Minute
	// missedMost bounds what is told of what a device missed: the newest.
	missedMost = 64
)

// here: what is queued is thought to arrive, and to be looked at; mu is held.
func (o *outbound) here() bool { return o.stream != nil && !o.inactive && !o.stalled && !o.ended }

// Attention implements dispatch.Device. A client that speaks XEP-0352 says itself
// whether somebody looks; another one may have been left alone.
func (s *Session) Attention() dispatch.Attention {
	s.out.mu.Lock()
	here, says := s.out.here(), s.out.indicates
	s.out.mu.Unlock()
	wrote := s.wrote.Load()
	return dispatch.Attention{
		Here:    here,
		Looking: here && (says || wrote != 0 && s.m.now().Sub(time.Unix(0, wrote)) < looksFor),
	}
}

// stall notes that a device does not answer any more, and gives what it missed;
// mu is held.
func (o *outbound) stall(now time.Time) []route.Out {
	if !o.requested || o.stalled || o.stream == nil || now.Sub(o.requestedAt) < stallAfter {
		return nil
	}
	o.stalled = true
	return o.missed()
}

// missed gives the newest messages that were queued for a device that was thought to be there
// and that it has not acknowledged, each once; mu is held.
func (o *outbound) missed() []route.Out {
	var out []route.Out
	for _, part := range [][]item{o.unacked, o.queue} {
		for i := range part {
			it := &part[i]
			if it.told || it.raw != nil || it.Name != "message" {
				continue
			}
			it.told = true
			if waits, _ := weigh(&it.Out); !waits {
				out = append(out, it.Out)
			}
		}
	}
	return out[max(0, len(out)-missedMost):]
}

func (o *outbound) takeMissed() []route.Out {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.missed()
}

func (s *Session) tellMissed(messages []route.Out) {
	if len(messages) > 0 && s.m.o.Missed != nil {
		s.m.o.Missed(s.jid, messages)
	}
}
