// SPDX-License-Identifier: Apache-2.0

package mesh

import (
	"context"
	"testing"
	"time"
)

// TestClocks: a node knows that its clock is not that of most, and one whose clock is does not follow the
// other.
func TestClocks(t *testing.T) {
	wrong := map[string]time.Duration{"b": time.Hour}
	w := newWorld(t, func(o *Options) {
		patient(o)
		by := wrong[o.Node]
		o.Clock = func() time.Time { return time.Now().Add(by) }
	})
	w.start("a", "b", "c")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, m := range w.meshes {
		m.AwaitClock(ctx)
	}
	if ctx.Err() != nil {
		t.Fatal("nobody says what time it is")
	}
	near := func(node string, want time.Duration) func() bool {
		return func() bool { return (w.meshes[node].Apart() - want).Abs() < 10*time.Second }
	}
	w.until("b knows that it is ahead", near("b", -time.Hour))
	w.until("a is right", near("a", 0))
	w.until("c is right", near("c", 0))

	// Of two nobody knows which is right: the slower one is.
	w.meshes["c"].Close()
	w.until("b goes by a", near("b", -time.Hour))
	w.until("a stays", near("a", 0))
	w.meshes["a"].Close()
	w.until("b is alone", near("b", 0))
}

// TestLateClocks: what is late on its way does not make a clock slow.
func TestLateClocks(t *testing.T) {
	now := time.UnixMilli(1e12)
	m := &Mesh{o: Options{Clock: func() time.Time { return now }}, clocked: make(chan struct{}), peers: map[string]*peer{
		"b": {in: &incoming{}}, "c": {in: &incoming{}},
	}}
	said := func(node string, apart time.Duration) { m.noteClock(m.peers[node], now.Add(apart).UnixMilli()) }
	said("b", 0)
	said("b", -4*time.Second) // held up
	said("c", -time.Second)
	if got := m.Apart(); got != 0 {
		t.Errorf("apart by %v", got)
	}
	for range clocksKept { // it is slow, or set back
		said("b", -4*time.Second)
	}
	if got := m.Apart(); got != -time.Second {
		t.Errorf("apart by %v", got)
	}
	m.noteClock(m.peers["b"], 0)
	if n := len(m.peers["b"].clocks); n != clocksKept {
		t.Errorf("%d kept", n)
	}
}
