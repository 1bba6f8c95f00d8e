// SPDX-License-Identifier: Apache-2.0

package room

import "bavard/internal/jid"

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
