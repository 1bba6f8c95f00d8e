// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"testing"
	"time"
)

func TestRoom(t *testing.T) {
	ctx, _, target, w := serve(t, 6, Plain)
	r, err := Room(ctx, target, RoomConfig{Occupants: 6, Speakers: 2, Window: 2, Body: 50, Warmup: 50 * time.Millisecond, Duration: 300 * time.Millisecond}, w)
	if err != nil {
		t.Fatal(err)
	}
	sane(t, r, "room")
	if r.Sent == 0 || r.Ticked != r.Sent || !r.Correct() || r.Orders != 1 || r.Refused+r.Unticked != 0 || r.Interrupted {
		t.Errorf("%+v, %d orders", r.Verdict, r.Orders)
	}
	if r.Rate <= 0 || r.Delivery.Count == 0 || r.Tick.Count == 0 || r.Delivery.P50 <= 0 {
		t.Errorf("%+v", r)
	}
}
