// SPDX-License-Identifier: Apache-2.0

package room

import "bavard/internal/jid"

// Crowd is how many devices are in a room, 0 when nobody is: each gets what is
// said there.
func (h *Hub) Crowd(room string) int {
	s := h.shard(room)
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.rooms[room]; l != nil {
		return len(l.visits)
	}
	return 0
}

// OccupantID is what a person's messages in a room are marked with, whoever
// is in it (XEP-0421 §id-generation @1.0.1).
func (h *Hub) OccupantID(room, who string, account uint64) string {
	return h.occupantID(room, who, account)
}

// Inside reports whether a device, given by its full JID, is in a room.
func (h *Hub) Inside(room, device jid.JID) bool {
	_, inside := h.Find(room, device)
	return inside
}

// InsideOn is Inside for a device that is bound on a node; "" is this one.
func (h *Hub) InsideOn(node string, room, device jid.JID) bool {
	if node == "" || h.o.Elsewhere == nil {
		return h.Inside(room, device)
	}
	return h.o.Elsewhere.Visit(node, Place{room.String(), device}) != nil
}
