// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"bavard/drill/node"
)

func TestHistogram(t *testing.T) {
	var h, other histogram
	if h.at(0.5) != 0 {
		t.Error("nothing was added")
	}
	for n := 1; n <= 1000; n++ {
		if n%2 == 0 {
			h.add(time.Duration(n) * time.Microsecond)
		} else {
			other.add(time.Duration(n) * time.Microsecond)
		}
	}
	h.merge(&other)
	for p, want := range map[float64]time.Duration{0: time.Microsecond, 0.5: 500 * time.Microsecond, 0.99: 990 * time.Microsecond, 0.9999: time.Millisecond} {
		if got := h.at(p); got < want || got > want+want/8+1 {
			t.Errorf("p%v is %v instead of %v", p, got, want)
		}
	}
	if h.total != 1000 {
		t.Error(h.total)
	}
}

func TestBucketsHoldTheirDurations(t *testing.T) {
	for _, d := range []time.Duration{-1, 0, 1, 7, 8, 9, 15, 16, 17, 1000, 1 << 20, 1<<62 + 12345, 1<<63 - 1} {
		i := bucket(d)
		if d > upper(i) || i > 0 && d >= 0 && d <= upper(i-1) {
			t.Errorf("%d is in bucket %d, which ends at %d", d, i, upper(i))
		}
	}
}

// TestPairs: the scenario runs against our server and counts what is there to
// count.
func TestPairs(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	binary := os.Getenv("BAVARD")
	if binary == "" {
		var err error
		if binary, err = node.Build(ctx, t.TempDir()); err != nil {
			t.Fatal(err)
		}
	}
	data := filepath.Join(t.TempDir(), "data")
	user := func(n int) (string, string) { return fmt.Sprint("bench", n), "correct horse" }
	var users []node.User
	for n := range 8 {
		local, password := user(n)
		users = append(users, node.User{Local: local, Password: password})
	}
	if err := node.Import(ctx, binary, data, users); err != nil {
		t.Fatal(err)
	}
	var log node.Tail
	server, err := node.Start(node.Options{Binary: binary, Data: data, Plain: true, Log: &log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Kill)
	addresses, err := server.Ready(ctx)
	if err != nil {
		t.Fatal(err)
	}
	cost := func() Cost { return Cost{CPU: time.Since(epoch) / 2, Memory: 1 << 20} }
	for range 2 { // the second run must not take the first one's messages for its own
		report, err := Pairs(ctx, PairsConfig{
			Addr: addresses.C2S, Domain: "localhost", User: user, Pairs: 4, Window: 4,
			Warmup: 100 * time.Millisecond, Duration: 500 * time.Millisecond, Cost: cost,
		})
		if err != nil {
			t.Fatalf("%v\n%s", err, &log)
		}
		t.Log(report)
		if report.Ticked == 0 || report.Delivered == 0 || report.Refused != 0 || report.TickP50 <= 0 || report.DeliveryP99 < report.DeliveryP50 {
			t.Errorf("%+v", report)
		}
	}
	_, err = Pairs(ctx, PairsConfig{Addr: addresses.C2S, Domain: "localhost", User: func(n int) (string, string) { return "nobody", "x" }, Pairs: 1})
	if err == nil {
		t.Error("nobody logged in")
	}
}
