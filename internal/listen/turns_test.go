// SPDX-License-Identifier: Apache-2.0

package listen

import (
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"bavard/internal/xmlstream"
)

// TestTurns: who has come furthest is next; among equals, who came first.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := &turns{free: 1}
		turns.take(ahead, 0)
		var mu sync.Mutex
		var order []int
		var wg sync.WaitGroup
		for i, stage := range []int{0, 3, 0, stages + 5, 1} {
			wg.Go(func() {
				turns.take(ahead, stage)
				mu.Lock()
				order = append(order, i)
				mu.Unlock()
				turns.give()
			})
			synctest.Wait()
		}
		turns.give()
		wg.Wait()
		if want := []int{3, 1, 4, 0, 2}; !slices.Equal(order, want) {
			t.Errorf("order %v, want %v", order, want)
		}
		if turns.free != 1 {
			t.Errorf("%d turns are free", turns.free)
		}
	})
}

// TestTurnsAreNotWaitedForLong: whoever keeps a turn does not stop the others.
func TestTurnsAreNotWaitedForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := &turns{free: 1}
		turns.take(ahead, 0)
		began := time.Now()
		for range 3 {
			turns.take(ahead, 0)
		}
		if took := time.Since(began); took != 3*turnWait {
			t.Errorf("waited for %v", took)
		}
		for range 4 {
			turns.give()
		}
		if turns.free != 1 {
			t.Errorf("%d turns are free", turns.free)
		}
	})
}

// TestGivingWay: who gives way is behind all others, whoever came first and has come
// furthest; but one turn in so many is theirs.
func TestGivingWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := newTurns(1)
		turns.take(ahead, 0)
		var mu sync.Mutex
		var order []string
		var wg sync.WaitGroup
		enter := func(name string, take func() bool) {
			wg.Go(func() {
				if !take() {
					t.Error(name, "had no turn")
				}
				mu.Lock()
				order = append(order, name)
				mu.Unlock()
				turns.give()
			})
			synctest.Wait()
		}
		for range 2 {
			enter("password", func() bool { return turns.takeBehind(stages, time.Minute) })
		}
		enter("goes on", func() bool { turns.take(behind, stages); return true })
		for range 2*behindShare + 3 {
			enter("token", func() bool { turns.take(ahead, 1); return true })
		}
		var stats Stats
		if turns.tell(&stats); stats.Waiting != 2*behindShare+3 || stats.WaitingBehind != 3 {
			t.Errorf("%+v", stats)
		}
		turns.give()
		wg.Wait()
		var at []int
		for i, name := range order {
			if name != "token" {
				at = append(at, i)
			}
		}
		if want := []int{behindShare - 1, 2*behindShare - 1, 2*behindShare + 5}; !slices.Equal(at, want) {
			t.Errorf("at %v, want %v", at, want)
		}
		if turns.tell(&stats); stats.Waiting != 0 || stats.WaitingBehind != 0 || stats.RefusedBehind != 0 || turns.free != 1 {
			t.Errorf("%+v, %d turns are free", stats, turns.free)
		}
	})
}

// TestGivingWayEnds: after the time that was said, or at once when too many wait;
// and nobody who waits longer takes a turn by force, as others do.
func TestGivingWayEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := newTurns(1)
		turns.take(ahead, 0)
		began := time.Now()
		for range behindMost {
			go func() {
				if turns.takeBehind(1, 3*turnWait) || time.Since(began) != 3*turnWait {
					t.Errorf("after %v", time.Since(began))
				}
			}()
		}
		synctest.Wait()
		if turns.takeBehind(1, 3*turnWait) || time.Since(began) != 0 {
			t.Errorf("one too many, after %v", time.Since(began))
		}
		time.Sleep(3 * turnWait)
		synctest.Wait()
		var stats Stats
		if turns.tell(&stats); stats.WaitingBehind != 0 || stats.RefusedBehind != behindMost+1 || turns.free != 0 {
			t.Errorf("%+v, %d turns are free", stats, turns.free)
		}
		if turns.give(); !turns.takeBehind(1, 0) {
			t.Error("no turn, although one is free")
		}
	})
}

// TestSilentClientsTakeNoTurn: with one turn for all, the others negotiate while
// many say nothing, and while one that was refused takes its time to go.
func TestSilentClientsTakeNoTurn(t *testing.T) {
	for _, framing := range []Framing{TCP, WebSocket} {
		t.Run(framing.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, Config{Handle: func(s *Stream) {
					if _, err := s.ReadOpen(); err != nil {
						return
					}
					_ = s.WriteOpen(Header{From: "localhost"})
					for {
						e, err := s.Read()
						if err != nil || e.Get("to") == "refuse" {
							s.Close(StreamError(err))
							return
						}
						_ = s.WriteElement(e)
					}
				}})
				w.server.pools.turns = &turns{free: 1}
				var peers []*peer
				for i := range 20 {
					p := w.dial(framing)
					peers = append(peers, p)
					if i%2 == 0 {
						continue // silent
					}
					go func() { _ = p.open() }()
					if got := p.read(); got != "open" {
						t.Fatal(got)
					}
				}
				refused := xmlstream.New("jabber:client", "message", "to", "refuse")
				go func() { _ = peers[1].send(string(framing.Append(nil, refused))) }()
				began := time.Now()
				for _, p := range []*peer{peers[3], peers[5], peers[19]} {
					go func() { _ = p.send(string(framing.Append(nil, message("here")))) }()
					if got := p.read(); got == "close" || got == "gone" {
						t.Error(got)
					}
				}
				if took := time.Since(began); took > 0 {
					t.Errorf("it took %v", took)
				}
				for _, p := range peers {
					p.cut()
				}
				synctest.Wait()
				w.end()
				if free := w.server.pools.turns.free; free != 1 {
					t.Errorf("%d turns are free", free)
				}
			})
		})
	}
}

// TestPlacesAmongStrangersAreWaitedFor: as long as they are left, and no longer.
func TestPlacesAmongStrangersAreWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(Limits{Connections: 10, Strangers: 1, StrangersPerBlock: 9})
		from, stopped := netip.MustParseAddr("192.0.2.1"), make(chan struct{})
		first := g.enterSoon(from, stopped)
		if first == nil {
			t.Fatal("the first was refused")
		}
		time.AfterFunc(placeWait/2, first.known)
		began := time.Now()
		second := g.enterSoon(from, stopped)
		if second == nil || time.Since(began) != placeWait/2 {
			t.Fatalf("the second: %v after %v", second, time.Since(began))
		}
		for i, want := range []time.Duration{placeWait, 0, 0} {
			began = time.Now()
			if p := g.enterSoon(from, stopped); p != nil || time.Since(began) != want {
				t.Errorf("%d: %v after %v", i, p, time.Since(began))
			}
		}
		second.leave()
		if g.enterSoon(from, stopped) == nil {
			t.Error("refused although there is a place")
		}
		close(stopped)
		if g.enterSoon(from, stopped) != nil {
			t.Error("admitted after the end")
		}
	})
}
