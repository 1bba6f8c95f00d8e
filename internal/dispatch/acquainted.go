// SPDX-License-Identifier: Apache-2.0

package dispatch

import (
	"bavard/internal/jid"
	"bavard/internal/roster"
	"bavard/internal/xmlstream"
)

// asks reports whether a stanza is an IQ that is to be answered.
func asks(st *xmlstream.Element) bool {
	if st.Name.Local != "iq" {
		return false
	}
	typ := st.Get("type")
	return typ == "get" || typ == "set"
}

// acquainted reports whether a device shares its presence with who asks it: by
// a subscription, or directly. Others learn nothing, not even that it is there
// (RFC 6121 §8.5.3.1).
func (h *Hub) acquainted(s *shard, asker, device jid.JID) bool {
	if asker.Local() == "" || asker.Bare() == device.Bare() {
		return true // the server, or the account's own devices
	}
	s.mu.Lock()
	for _, r := range s.resources(device.Bare().String()) {
		if r.JID != device {
			continue
		}
		_, full := r.directed[asker]
		_, bare := r.directed[asker.Bare()]
		if full || bare {
			s.mu.Unlock()
			return true
		}
	}
	s.mu.Unlock()
	if h.o.View.Hidden(device.Bare().String()) {
		return false
	}
	item, err := h.o.View.RosterItem(device.Bare().String(), asker.Bare().String())
	return err == nil && roster.From(&item)
}
