// SPDX-License-Identifier: Apache-2.0

package dispatch

import (
	"bavard/internal/state"
	"bavard/internal/xmlstream"
)

// hidden tells who may see an account's presence that its devices have gone,
// because nobody is to see them any more; or shows them, because they may be seen
// again. What is broadcast meanwhile is held back as it is delivered: whatever
// left before was put into the same queues before this.
func (h *Hub) hidden(e *state.Event, targets []target) {
	hides := h.o.View.Hidden(e.Account)
	var presences []*xmlstream.Element
	for i := range targets {
		switch {
		case !targets[i].available || targets[i].presence == nil:
		case hides:
			presences = append(presences, gone(targets[i].JID.String(), ""))
		default:
			presences = append(presences, targets[i].presence)
		}
	}
	h.again(presences, h.watchers(e.Account), h.pass)
}
