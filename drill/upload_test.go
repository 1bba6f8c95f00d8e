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
	t.Parallel()
	r := uploadKill(t, KillConfig{Kills: max(6, killCount(t)/5)})
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

// TestUploadKillWithEarlyAnswers is the negative control: of a server that answers before
// a file and its record are safe, the same drill must show losses, or it proves nothing.
func TestUploadKillWithEarlyAnswers(t *testing.T) {
	t.Parallel()
	// A kill meets a file between its answer and its record now and then only.
	const rounds = 12
	for range rounds {
		r := uploadKill(t, KillConfig{Kills: 4, EarlyUploads: true})
		if r.Changed+r.Left > 0 {
			t.Error("files that are told of too early are lost, not changed or left over")
		}
		if r.Lost > 0 {
			return
		}
	}
	t.Error("the drill found no loss although files were told of before they were safe")
}

func uploadKill(t *testing.T, cfg KillConfig) *UploadReport {
	t.Helper()
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	cfg.Binary, cfg.Dir, cfg.Seed, cfg.UpMin, cfg.UpMax = bin, t.TempDir(), *seedFlag, 200*time.Millisecond, 1200*time.Millisecond
	cfg.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
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
	return r
}
