// SPDX-License-Identifier: Apache-2.0

package push

import "time"

const (
	// ringsMost bounds the calls that are remembered until they end; of what comes above it
	// the end is not told. ringsFor is how long a phone rings at most.
	ringsMost = 1 << 12
	ringsFor  = 2 * time.Minute
)

// ring is a call, rung how an account was told of it.
type (
	ring struct{ account, id string }
	rung struct {
		with string // bare JID of who calls
		at   time.Time
	}
)

// rang remembers a call that was told of.
func (p *Pusher) rang(r ring, with string) {
	now := time.Now()
	if len(p.rings) >= ringsMost {
		for other, was := range p.rings {
			if now.Sub(was.at) >= ringsFor {
				delete(p.rings, other)
			}
		}
	}
	if len(p.rings) < ringsMost {
		p.rings[r] = rung{with, now}
	}
}

// ended tells of the end of a call where its beginning was told, whatever the account
// wants to be told and whoever looks by now: a phone must not go on ringing. The caller
// has ended it, or the account itself on another device, by telling the caller or its own.
func (p *Pusher) ended(it *something, r ring) {
	was, rang := p.rings[r]
	if !rang || it.with != was.with && it.with != it.account {
		return
	}
	delete(p.rings, r)
	if time.Since(was.at) >= ringsFor {
		return
	}
	it.with = was.with
	all, err := p.o.View.Pushes(it.account)
	if err != nil {
		return
	}
	here := map[string]bool{}
	for _, d := range p.o.Devices(it.account) {
		here[d.JID.Resource()] = here[d.JID.Resource()] || d.Here && d.Messages
	}
	p.send(it, all, here)
}
