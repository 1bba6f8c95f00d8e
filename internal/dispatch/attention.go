// SPDX-License-Identifier: Apache-2.0

package dispatch

import "bavard/internal/jid"

// Attending is a device of an account that is bound, on any node.
type Attending struct {
	JID jid.JID
	Attention
	// Messages: those to the account reach it, or copies of them.
	Messages bool
	// Node on which it is bound; "" is this one.
	Node string
}

// Attending gives the devices of an account, those that wait to resume included.
func (h *Hub) Attending(account string) []Attending {
	s := h.shard(account)
	s.mu.Lock()
	list := s.resources(account)
	out := make([]Attending, len(list))
	for i, r := range list {
		out[i] = Attending{JID: r.JID, Messages: r.available && r.priority >= 0 || r.carbons}
	}
	s.mu.Unlock()
	for i, r := range list {
		out[i].Attention = r.device.Attention()
	}
	there := h.others(account)
	for i := range there {
		out = append(out, Attending{JID: there[i].JID, Attention: there[i].Attention, Messages: there[i].Messages(), Node: there[i].Node})
	}
	return out
}

// Client names what a connected device has logged in as, "" when that is not
// known.
func (h *Hub) Client(full jid.JID) string {
	bare := full.Bare().String()
	s := h.shard(bare)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.resources(bare) {
		if r.JID == full {
			return r.client
		}
	}
	return ""
}
