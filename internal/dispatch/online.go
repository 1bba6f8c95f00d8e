// SPDX-License-Identifier: Apache-2.0

package dispatch

import (
	"slices"
	"time"

	"bavard/internal/jid"
	"bavard/internal/xmlstream"
)

// Online lists the accounts with an available device, on any node, sorted, at
// most limit, and gives how many there are.
func (h *Hub) Online(limit int) (accounts []string, count int) {
	for i := range h.shards {
		s := &h.shards[i]
		s.mu.Lock()
		for bare, a := range s.accounts {
			if slices.ContainsFunc(a.resources, func(r *Resource) bool { return r.available }) {
				accounts = append(accounts, bare)
			}
		}
		s.mu.Unlock()
	}
	if h.o.Elsewhere != nil {
		h.o.Elsewhere.All(func(r Remote) {
			if r.Available {
				accounts = append(accounts, r.JID.Bare().String())
			}
		})
	}
	slices.Sort(accounts)
	accounts = slices.Compact(accounts)
	return accounts[:min(max(limit, 0), len(accounts))], len(accounts)
}

// Connected is a device that is connected, or waits to resume.
type Connected struct {
	JID    jid.JID
	Client string // names the program on it; "" when that is not known
	Since  time.Time
}

// Connected gives an account's devices, on all nodes.
func (h *Hub) Connected(account string) []Connected {
	s := h.shard(account)
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Connected
	for _, r := range s.resources(account) {
		all = append(all, Connected{r.JID, r.client, r.since})
	}
	for _, r := range h.others(account) {
		all = append(all, Connected{r.JID, r.Client, r.Since})
	}
	return all
}

// Presences of the available resources of an account, on all nodes.
func (h *Hub) Presences(account string) []*xmlstream.Element {
	s := h.shard(account)
	s.mu.Lock()
	var out []*xmlstream.Element
	for _, r := range s.resources(account) {
		if r.available && r.presence != nil {
			out = append(out, r.presence)
		}
	}
	s.mu.Unlock()
	there := h.others(account)
	for i := range there {
		r := &there[i]
		twice := func(p *xmlstream.Element) bool { return p.Get("from") == r.JID.String() }
		if r.Available && r.Presence != nil && !slices.ContainsFunc(out, twice) {
			out = append(out, r.Presence)
		}
	}
	return out
}
