// SPDX-License-Identifier: Apache-2.0

package listen

import (
	"net/netip"
	"sync"
	"time"
)

// gate counts connections and refuses those over a limit, before anything of
// theirs is read.
type gate struct {
	limits Limits

	mu        sync.Mutex
	open      int
	strangers int                  // not authenticated yet
	blocks    map[netip.Prefix]int // strangers by address block; no zero entries
	stats     Stats                // counters only
	stuck     bool                 // waiting for a place was in vain, and none was left since

	left chan struct{} // has an entry when a stranger has left since
}

// pass is a connection's place in a gate.
type pass struct {
	gate     *gate
	block    netip.Prefix // invalid when it is not counted by block
	stranger bool
	left     bool
}

func newGate(limits Limits) *gate {
	return &gate{limits: limits, blocks: make(map[netip.Prefix]int), left: make(chan struct{}, 1)}
}

// block is the unit in which addresses are counted: what one subscriber
// usually has. Loopback is not counted by block, because a reverse proxy on
// this machine stands for many people; the other limits hold for it.
func block(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	if !a.IsValid() || a.IsLoopback() {
		return netip.Prefix{}
	}
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits) // cannot fail: bits fit the family
	return p
}

// placeWait is how long a connection that was accepted waits for a place among
// the strangers, while those behind it wait in the kernel.
const placeWait = 250 * time.Millisecond

// enterSoon is enter that waits a little for a place among the strangers: when
// thousands come back at once, places are left and taken all the time. When they
// are not, as with connections that say nothing, it does not wait.
func (g *gate) enterSoon(from netip.Addr, stopped <-chan struct{}) *pass {
	for g.soon() {
		timer := time.NewTimer(placeWait)
		select {
		case <-g.left:
		case <-stopped:
		case <-timer.C:
			g.mu.Lock()
			g.stuck = g.strangers >= g.limits.Strangers
			g.mu.Unlock()
		}
		timer.Stop()
		select {
		case <-stopped:
			return nil
		default:
		}
	}
	return g.enter(from)
}

// soon reports whether it is worth to wait for a place.
func (g *gate) soon() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.strangers >= g.limits.Strangers && g.open < g.limits.Connections && !g.stuck
}

// enter gives a place to a connection, nil when there is none.
func (g *gate) enter(from netip.Addr) *pass {
	b := block(from)
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.open >= g.limits.Connections:
		g.stats.RefusedFull++
		return nil
	case g.strangers >= g.limits.Strangers:
		g.stats.RefusedStrangers++
		return nil
	case b.IsValid() && g.blocks[b] >= g.limits.StrangersPerBlock:
		g.stats.RefusedBlock++
		return nil
	}
	g.stats.Accepted++
	g.open++
	g.strangers++
	if b.IsValid() {
		g.blocks[b]++
	}
	return &pass{gate: g, block: b, stranger: true}
}

// known says that the connection has authenticated.
func (p *pass) known() {
	p.gate.mu.Lock()
	defer p.gate.mu.Unlock()
	p.forget()
}

// leave gives the place back; it may be called more than once.
func (p *pass) leave() {
	p.gate.mu.Lock()
	defer p.gate.mu.Unlock()
	if p.left {
		return
	}
	p.left = true
	p.forget()
	p.gate.open--
}

func (p *pass) forget() {
	if !p.stranger {
		return
	}
	p.stranger = false
	p.gate.strangers--
	p.gate.stuck = false
	select {
	case p.gate.left <- struct{}{}:
	default:
	}
	if !p.block.IsValid() {
		return
	}
	if p.gate.blocks[p.block]--; p.gate.blocks[p.block] == 0 {
		delete(p.gate.blocks, p.block)
	}
}

func (p *pass) isStranger() bool {
	p.gate.mu.Lock()
	defer p.gate.mu.Unlock()
	return p.stranger && !p.left
}

func (g *gate) snapshot() Stats {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.stats
	s.Open, s.Strangers = g.open, g.strangers
	return s
}
