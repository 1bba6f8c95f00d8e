// SPDX-License-Identifier: Apache-2.0

package drill

import (
	"context"
	"testing"
	"time"

	"bavard/drill/node"
)

// TestJournalElsewhere: an etcd of the operator's own that is killed, alone or
// with the server, costs nothing that was ticked; clients are told to go away
// when it stays away, and come back with it.
func TestJournalElsewhere(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Minute)
	defer cancel()
	member, err := node.BuildMember(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	kills := fewKills()
	cfg := ready(t, KillConfig{Kills: kills, CutMean: 20 * time.Second}) // else few are left to be told to go
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

// TestCellElsewhere: nodes of a cell whose journal is an etcd of the operator's own are killed, or lose what they have, and
// that etcd is killed; all come back by themselves, and nothing that was ticked is lost by it.
func TestCellElsewhere(t *testing.T) {
	t.Parallel()
	member, err := node.BuildMember(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	run := func(ctx context.Context, cfg CellConfig) (*Report, error) { return CellElsewhere(ctx, cfg, member) }
	const each = 3
	r := healed(t, run, CellConfig{KillConfig: KillConfig{Kills: 3 * each}})
	if r.Kills < each || r.JournalKills != each || r.Wipes != each || r.Verdict.Ticked < 100*each || r.Repeated == 0 {
		t.Error("too little happened")
	}
}
