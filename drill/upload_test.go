// SPDX-License-Identifier: Apache-2.0

package drill

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"
)

// TestUploadKill: whatever the moment at which the server is killed, each file that was told
// 201 is there, whole, and no other takes up room.
func TestUploadKill(t *testing.T) {
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	cfg := KillConfig{
		Binary: bin, Dir: t.TempDir(), Seed: *seedFlag, Kills: max(6, killCount(t)/5), UpMin: 200 * time.Millisecond, UpMax: 1200 * time.Millisecond,
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	if cfg.Seed == 0 {
		cfg.Seed = rand.Uint64()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	r, err := UploadKill(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(r)
	if r.Lost+r.Changed+r.Left > 0 {
		t.Error("what must never happen has happened")
	}
	if r.Stored < 5*r.Kills || r.Unknown == 0 || r.Again == 0 {
		t.Error("too little happened")
	}
	if r.Refused > 0 {
		t.Errorf("%d files were refused", r.Refused)
	}
	for _, line := range r.Trouble {
		t.Errorf("the server logged: %s", line)
	}
}
