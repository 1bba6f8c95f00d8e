// SPDX-License-Identifier: Apache-2.0

package drill

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"bavard/drill/node"
)

// TestJournalElsewhere: an etcd of the operator's own that is killed, alone or
// with the server, costs nothing that was ticked; clients are told to go away
// when it stays away, and come back with it.
func TestJournalElsewhere(t *testing.T) {
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Minute)
	defer cancel()
	member, err := node.BuildMember(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	kills := 3
	switch {
	case *killsFlag > 0:
		kills = *killsFlag
	case os.Getenv("BAVARD_LONG") != "":
		kills = 10
	}
	cfg := KillConfig{
		Binary: bin, Dir: t.TempDir(), Seed: *seedFlag, Kills: kills,
		CutMean: 20 * time.Second, // else few are left to be told to go
		Logger:  slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	if cfg.Seed == 0 {
		cfg.Seed = rand.Uint64()
	}
	t.Logf("seed %d: repeat with -drill.seed %[1]d", cfg.Seed)
	r, err := Elsewhere(ctx, cfg, member)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(r)
	if !r.Verdict.Clean() {
		t.Error("the oracle found what must never happen")
	}
	if r.JournalKills != kills+1 || r.Kills == 0 || r.Verdict.Ticked < 500*kills || r.Repeated == 0 {
		t.Error("too little happened")
	}
	if r.Stalls > 0 {
		t.Errorf("%d requests were left unanswered by a living server", r.Stalls)
	}
	for _, line := range r.Trouble {
		t.Errorf("the server logged: %s", line)
	}
}
