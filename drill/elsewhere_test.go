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
