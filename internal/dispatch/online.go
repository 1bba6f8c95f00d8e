// SPDX-License-Identifier: Apache-2.0

package dispatch

import "slices"

// Online lists the accounts with an available device on this node, sorted, at
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
	slices.Sort(accounts)
	return accounts[:min(max(limit, 0), len(accounts))], len(accounts)
}
