// SPDX-License-Identifier: Apache-2.0

package dispatch

import (
	"slices"

	"bavard/internal/roster"
	"bavard/internal/stanza"
	"bavard/internal/state"
	"bavard/internal/xmlstream"
)

// avatar sends the presence of an account's devices again when the account has
// another picture: who knows pictures by presence alone (XEP-0153) learns of it
// now, and not when somebody changes their status.
func (h *Hub) avatar(s *shard, e *state.Event, targets []target) {
	hash := h.o.View.AvatarHash(e.Account).Hash
	var changed []*xmlstream.Element
	s.mu.Lock()
	for i := range targets {
		r := targets[i].Resource
		if r.gone || r.presence == nil || r.noPhoto {
			continue
		}
		if photo := r.presence.Child(stanza.NSVCardUpdate, "x").Child(stanza.NSVCardUpdate, "photo"); photo != nil && photo.Text() == hash {
			continue
		}
		r.presence = roster.Photographed(r.presence, hash)
		if r.available {
			h.tell(r, false)
			changed = append(changed, r.presence)
		}
	}
	s.mu.Unlock()
	if len(changed) == 0 {
		return
	}
	to := []string{e.Account}
	if !h.o.View.Hidden(e.Account) {
		to = append(to, h.watchers(e.Account)...)
	}
	h.again(changed, to, h.passHere) // other nodes know it from the device's state
}

// watchers are the accounts that are subscribed to the presence of one. None when
// they cannot be read: presence is soft.
func (h *Hub) watchers(account string) (to []string) {
	items, _, err := h.o.View.Roster(account)
	if err != nil {
		h.o.Logger.Error("read a roster", "err", err)
	}
	for i := range items {
		if roster.From(&items[i]) {
			to = append(to, items[i].JID)
		}
	}
	return to
}

// again sends presence to those that no blocklist keeps it from; pass does.
func (h *Hub) again(presences []*xmlstream.Element, to []string, pass func(*xmlstream.Element)) {
	for _, p := range presences {
		for _, contact := range to {
			h.passTo(p, contact, pass)
		}
	}
}

// passTo sends presence to one whom no blocklist keeps it from, and reports whether it did.
func (h *Hub) passTo(p *xmlstream.Element, contact string, pass func(*xmlstream.Element)) bool {
	if h.barred(p.Get("from"), contact) != passes {
		return false
	}
	c := *p
	c.Attr = slices.Clone(p.Attr)
	pass(c.Set("to", contact))
	return true
}
