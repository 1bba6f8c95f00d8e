// SPDX-License-Identifier: Apache-2.0

package dispatch

import (
	"slices"

	"bavard/internal/jid"
)

// Expect is Unregister of a device that is to come back in a moment, on another node. The
// others go on knowing it, but for anybody who looks at it, until lapse is called: unless it is
// back then, who saw it is told that it is gone. lapse must not be called after Close.
func (h *Hub) Expect(r *Resource) (lapse func()) {
	held, wasAvailable, directed := h.unregister(r, func() {
		if h.o.Elsewhere != nil {
			b := h.bound(r)
			b.Attention = Attention{}
			h.o.Elsewhere.Tell(b, false)
		}
	})
	return func() { h.lapse(r.JID, held, wasAvailable, directed) }
}

func (h *Hub) lapse(full jid.JID, held, wasAvailable bool, directed []jid.JID) {
	bare := full.Bare().String()
	s := h.shard(bare)
	s.mu.Lock()
	back := slices.ContainsFunc(s.resources(bare), func(r *Resource) bool { return r.JID == full })
	if held && !back && h.o.Elsewhere != nil {
		h.o.Elsewhere.Tell(Bound{JID: full}, true)
	}
	s.mu.Unlock()
	if wasAvailable {
		h.spread(gone(full.String(), ""), nil) // the other nodes tell theirs
	}
	for _, to := range directed {
		if !h.shown(full) {
			h.pass(gone(full.String(), to.String()))
		}
	}
}
