// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"bavard/drill/client"
)

func TestPairs(t *testing.T) {
	ctx, _, target, w := serve(t, 6, Plain)
	for range 2 { // the second run must not take the first one's messages for its own
		r, err := Pairs(ctx, target, PairsConfig{Pairs: 3, Window: 4, Body: 50, Warmup: 50 * time.Millisecond, Duration: 300 * time.Millisecond}, w)
		if err != nil {
			t.Fatal(err)
		}
		sane(t, r, "pairs")
		if r.Sent == 0 || r.Ticked != r.Sent || !r.Correct() || r.Refused+r.Unticked+r.Foreign != 0 || r.Interrupted {
			t.Errorf("%+v", r.Verdict)
		}
		if r.Tick.Count == 0 || r.Tick.Count > r.Sent || r.Delivery.Count == 0 || r.Tick.P50 <= 0 || r.Tick.P99 < r.Tick.P50 || r.Tick.Max < r.Tick.P99 {
			t.Errorf("%+v", r)
		}
		if r.Silence <= 0 {
			t.Errorf("silence of %v s", r.Silence)
		}
		if want := float64(min(r.Tick.Count, r.Delivery.Count)) / r.Seconds; r.Rate != want {
			t.Errorf("%v messages/s instead of %v", r.Rate, want)
		}
	}
}

// What is interrupted tells what there is; what is sent is still waited for.
func TestPairsInterrupted(t *testing.T) {
	ctx, _, target, w := serve(t, 2, StartTLS)
	ctx, interrupt := context.WithCancel(ctx)
	w.Progress = func(text string) {
		if strings.HasPrefix(text, "measuring") {
			interrupt()
		}
	}
	r, err := Pairs(ctx, target, PairsConfig{Pairs: 1, Duration: time.Hour}, w)
	if err != nil {
		t.Fatal(err)
	}
	sane(t, r, "pairs")
	if !r.Interrupted || r.Rate == 0 || r.Ticked != r.Sent || !r.Correct() {
		t.Errorf("%+v", r)
	}
}

func TestWrongPassword(t *testing.T) {
	ctx, _, target, w := serve(t, 2, Plain)
	target.Accounts, _ = Numbered("nobody%d", "x")
	_, err := Pairs(ctx, target, PairsConfig{Pairs: 1}, w)
	if !errors.Is(err, client.ErrAuth) || !strings.Contains(err.Error(), "--register") {
		t.Error(err)
	}
}

// A server that is held up longer than is measured: the report says why it is
// empty.
func TestPairsOfASilentServer(t *testing.T) {
	ctx, s, target, w := serve(t, 2, Plain)
	w.Progress = func(text string) {
		switch {
		case strings.HasPrefix(text, "warm-up"):
			if err := s.nodes[0].node.Freeze(); err != nil {
				t.Error(err)
			}
		case strings.HasPrefix(text, "measuring"):
			if err := s.nodes[0].node.Thaw(); err != nil {
				t.Error(err)
			}
		}
	}
	r, err := Pairs(ctx, target, PairsConfig{Pairs: 1, Window: 4, Warmup: 1500 * time.Millisecond, Duration: 1010 * time.Millisecond}, w)
	if err != nil {
		t.Fatal(err)
	}
	sane(t, r, "pairs")
	notes := strings.Join(r.Notes, "\n")
	if r.Silence < 1 || !r.Correct() || r.Ticked != r.Sent || !strings.Contains(notes, "nothing at all arrived for ") {
		t.Errorf("%+v", r)
	}
}

// The judge finds what a server does wrong.
func TestVerdict(t *testing.T) {
	r := newPairs(1, 8, 10)
	p := r.pairs[0]
	p.to = "ann@localhost"
	r.measuring.Store(true)
	for n := range 8 {
		<-p.free
		p.open[n] = &flight{sent: time.Now()}
		p.verdict.Sent++
	}
	deliver := func(id string) { p.delivered(&client.Inbound{OriginID: id}) }
	of := func(n int) string { return r.name + itoa(n) }
	tick := func(n int) { p.ticked(&client.Outgoing{ID: of(n)}) }
	deliver(of(0))
	tick(0)
	deliver(of(0)) // again, after it was done
	tick(1)
	deliver(of(2))
	deliver(of(2)) // again, before its tick
	deliver(of(1)) // after a later one
	tick(2)
	p.refused(of(3), "forbidden")
	p.refused(of(3), "forbidden")
	tick(4) // and never arrives; 5 is neither ticked nor delivered
	deliver(of(6))
	deliver("somebody-else's")
	p.delivered(&client.Inbound{ID: of(7)}) // a server that takes origin-ids away
	p.delivered(&client.Inbound{OriginID: of(7), Carbon: client.CarbonSent})
	got := r.verdict()
	want := Verdict{Sent: 8, Ticked: 4, Lost: 1, Doubled: 2, Disordered: 1, Refused: 1, Unticked: 3, Foreign: 1}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if len(p.free) != 4 { // 0 to 3 are done
		t.Errorf("%d may be sent", len(p.free))
	}
	if got.Correct() || !strings.Contains(got.String(), "1 lost, 2 doubled, 1 out of order") {
		t.Error(got.String())
	}
}
