// SPDX-License-Identifier: Apache-2.0

package drill

import (
	"context"
	"flag"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"bavard/drill/node"
)

var (
	seedFlag  = flag.Uint64("drill.seed", 0, "seed of the drills; 0 takes a random one")
	killsFlag = flag.Int("drill.kills", 0, "kills; 0 means $BAVARD_KILLS, else 100, or 10 with -short")
)

// binary is the server, built once for all tests unless $BAVARD names one.
var binary = sync.OnceValues(func() (string, error) {
	if built := os.Getenv("BAVARD"); built != "" {
		return built, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	return node.Build(ctx, buildDir)
})

// buildDir is where TestMain lets the binary be built.
var buildDir string

// ready gives a drill what it needs of the test, and tells the seed.
func ready(t *testing.T, c KillConfig) KillConfig {
	t.Helper()
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	c.Binary, c.Dir, c.Seed = bin, t.TempDir(), *seedFlag
	if c.Seed == 0 {
		c.Seed = rand.Uint64()
	}
	c.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	t.Logf("seed %d: repeat with -drill.seed %[1]d", c.Seed)
	return c
}

func kill(t *testing.T, cfg KillConfig) *Report {
	t.Helper()
	cfg = ready(t, cfg)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Minute)
	defer cancel()
	r, err := Kill(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(r)
	t.Logf("\n%s\n%s", TableHead, r.Table())
	return r
}

// TestKill: whatever the moment at which the server is killed, nothing that
// must never happen has happened.
func TestKill(t *testing.T) {
	kills := killCount(t)
	r := kill(t, KillConfig{Kills: kills, Think: 10 * time.Millisecond, UpMax: time.Second})
	if !r.Verdict.Clean() {
		t.Error("the oracle found what must never happen")
	}
	if !r.Group.Clean() {
		t.Errorf("in the group, or to what was published, happened what must never happen: %v", &r.Group)
	}
	if r.Group.Ticked < 10*kills || r.Group.Published < 5*kills {
		t.Errorf("too little happened in the group: %v", &r.Group)
	}
	if r.Kills != kills {
		t.Errorf("%d kills instead of %d", r.Kills, kills)
	}
	// A drill in which little happened proves little.
	if r.Verdict.Ticked < 50*kills || r.Repeated == 0 || r.Resumed == 0 || r.ResumesRefused == 0 || r.Cuts == 0 || r.Verified == 0 {
		t.Error("too little happened")
	}
	if r.Verdict.Refused > 0 {
		t.Errorf("%d messages were refused", r.Verdict.Refused)
	}
	if r.Stalls > 0 {
		t.Errorf("%d requests were left unanswered by a living server", r.Stalls)
	}
	for _, line := range r.Trouble {
		t.Errorf("the server logged: %s", line)
	}
}

func killCount(t *testing.T) int {
	if *killsFlag > 0 {
		return *killsFlag
	}
	if s := os.Getenv("BAVARD_KILLS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			t.Fatalf("BAVARD_KILLS=%q is not a number of kills", s)
		}
		return n
	}
	if testing.Short() {
		return 10
	}
	return 100
}

// TestKillWithoutDedupe is the negative control: without dedupe the same drill
// must show duplicates, or it proves nothing.
func TestKillWithoutDedupe(t *testing.T) {
	t.Parallel()
	// A kill meets the group between a message's disk and its tick now and then only.
	const rounds = 12
	var duplicated, inGroup bool
	for n := 0; n < rounds && !(duplicated && inGroup); n++ {
		r := kill(t, KillConfig{Kills: 3, NoDedupe: true, CutMean: 300 * time.Millisecond})
		duplicated, inGroup = duplicated || r.Verdict.Duplicated > 0, inGroup || r.Group.Duplicated > 0
		if r.Group.Lost+r.Group.Phantom+r.Group.Diverged+r.Group.Unpublished > 0 {
			t.Errorf("without dedupe messages to the group are duplicated, not lost: %v", &r.Group)
		}
		if v := r.Verdict; v.Lost+v.Hidden+v.Phantom > 0 {
			t.Error("without dedupe messages are duplicated, not lost")
		}
	}
	if !duplicated {
		t.Error("the oracle found no duplicates although nothing removes them")
	}
	if !inGroup {
		t.Error("the oracle found no duplicates in the group although nothing removes them")
	}
}
