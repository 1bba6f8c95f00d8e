// SPDX-License-Identifier: Apache-2.0

package session

import (
	"slices"

	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// Bounds of what is held back from an inactive device: when they are reached it
// gets all of it.
const (
	heldMost  = 512
	heldBytes = 1 << 20
)

// holding is a stanza that is held back. One with a topic gives way to the next
// one on the same topic.
type holding struct {
	item
	topic string
}

// Indicate takes what a device says of whether somebody looks at it: <active/>
// or <inactive/> (XEP-0352 §indication @1.0.0). It is done when it returns, so
// that what is sent behind it finds it so (§in-order-processing). The error, which
// ends the stream, is about any other element.
func (s *Session) Indicate(el *xmlstream.Element) *stanza.StreamError {
	switch el.Name.Local {
	case "inactive", "active":
	default:
		return stanza.StreamErr(stanza.StreamUnsupportedStanza, "a client is active or inactive")
	}
	s.indicated(el.Name.Local == "inactive")
	s.m.o.Hub.Noticed(s.res)
	return nil
}

func (s *Session) indicated(inactive bool) {
	o := &s.out
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended {
		return
	}
	o.inactive, o.indicates = inactive, true
	if !o.inactive && len(o.held) > 0 {
		o.release()
		o.kick(s)
	}
}

// hold keeps a stanza back if it can wait until the device is active or gets
// something that cannot; mu is held.
func (o *outbound) hold(s *Session, i *item) bool {
	if !o.inactive || i.raw != nil {
		return false
	}
	waits, topic := weigh(&i.Out)
	if !waits {
		return false
	}
	if topic != "" {
		at := slices.IndexFunc(o.held, func(h holding) bool { return h.topic == topic })
		if at >= 0 {
			o.heldBytes -= o.held[at].size()
			o.held = slices.Delete(o.held, at, at+1)
			s.m.spared.Add(1)
		}
	}
	if len(o.held) >= heldMost || o.heldBytes+i.size() > heldBytes {
		return false
	}
	o.held = append(o.held, holding{*i, topic})
	o.heldBytes += i.size()
	return true
}

// release queues what is held back; mu is held.
func (o *outbound) release() {
	for i := range o.held {
		o.queue = append(o.queue, o.held[i].item)
	}
	o.bytes += o.heldBytes
	o.held, o.heldBytes = nil, 0
}
