// SPDX-License-Identifier: Apache-2.0

package mesh

import (
	"context"
	"slices"
	"time"
)

// clocksKept is how many of the times that a node has said last count: what is late on its way
// makes a clock look slow, so the fastest of them is nearest.
const clocksKept = 8

// noteClock notes what a node says that it is; Mesh.mu is held.
func (m *Mesh) noteClock(p *peer, ms int64) {
	if ms == 0 {
		return // a node of a version that does not say
	}
	p.clocks = append(p.clocks, time.UnixMilli(ms).Sub(m.o.Clock()))
	p.clocks = p.clocks[max(0, len(p.clocks)-clocksKept):]
	m.judgeClocks()
}

// greetedAt is noteClock of a node that has answered with a hello.
func (m *Mesh) greetedAt(p *peer, ms int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.noteClock(p, ms)
}

// judgeClocks finds out by how much the clock of the cell is before this node's: that in the middle, and
// of two in the middle the slower one, because what is stamped too late holds all later stamps up. mu is held.
func (m *Mesh) judgeClocks() {
	apart := []time.Duration{0}
	for _, p := range m.peers {
		if p.in == nil && p.out == nil {
			p.clocks = nil
		}
		if len(p.clocks) > 0 {
			apart = append(apart, slices.Max(p.clocks))
		}
	}
	slices.Sort(apart)
	m.apart.Store(int64(apart[(len(apart)-1)/2]))
	if len(apart) > 1 {
		m.clockOnce.Do(func() { close(m.clocked) })
	}
}

// Apart is by how much the clock of most nodes is before this one's, as far as they are heard; 0 when none
// is.
func (m *Mesh) Apart() time.Duration { return time.Duration(m.apart.Load()) }

// AwaitClock waits until another node has said what time it is, or ctx ends.
func (m *Mesh) AwaitClock(ctx context.Context) {
	select {
	case <-m.clocked:
	case <-ctx.Done():
	}
}
