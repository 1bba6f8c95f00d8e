// SPDX-License-Identifier: Apache-2.0

package listen

import (
	"net/netip"
	"sync"
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
}

// pass is a connection's place in a gate.
type pass struct {
	gate     *gate
	block    netip.Prefix // invalid when it is not counted by block
	stranger bool
	left     bool
}

func newGate(limits Limits) *gate {
	return &gate{limits: limits, blocks: make(map[netip.Prefix]int)}
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
