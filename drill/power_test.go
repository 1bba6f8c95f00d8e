// SPDX-License-Identifier: Apache-2.0

package drill

import (
	"strings"
	"testing"
	"time"
)

// powerDrill cuts the power about once a second. Its error is that of Power.
func powerDrill(t *testing.T, cfg CellConfig) (*Report, error) {
	t.Helper()
	cfg.KillConfig = ready(t, cfg.KillConfig)
	cfg.Think, cfg.UpMin, cfg.UpMax = 10*time.Millisecond, 300*time.Millisecond, 1500*time.Millisecond
	r, err := carriedOut(t, Power, cfg)
	if r == nil {
		t.Fatal(err)
	}
	t.Log(r)
	t.Log(r.Files)
	return r, err
}

// TestPower: a server whose power is cut has what was ticked, and the files that it has taken.
func TestPower(t *testing.T) {
	t.Parallel()
	unharmedByPower(t, 1, 2)
}

// TestCellPower: so have the nodes of a cell whose power is cut at once.
func TestCellPower(t *testing.T) {
	t.Parallel()
	unharmedByPower(t, 3, 4)
}

func unharmedByPower(t *testing.T, nodes, cuts int) {
	t.Helper()
	if *killsFlag > 0 {
		cuts = *killsFlag
	}
	r, err := powerDrill(t, CellConfig{Nodes: nodes, KillConfig: KillConfig{Kills: cuts}})
	if err != nil {
		t.Fatal(err)
	}
	if !r.Clean() {
		t.Error("the oracle found what must never happen")
	}
	if r.PowerCuts <= cuts || r.Verdict.Ticked < 50*cuts || r.Files.Stored < cuts {
		t.Error("too little happened")
	}
	for _, line := range r.Trouble {
		t.Errorf("a node logged: %s", line)
	}
}

// TestCellPowerWithoutFsync is the negative control: nodes whose etcd does not sync must lose
// what they have ticked, and files that they have taken, or the drill proves nothing. All of them may find
// that they have forgotten more than their views, which are synced: then none takes people any more, as it should.
func TestCellPowerWithoutFsync(t *testing.T) {
	t.Parallel()
	var messages, files bool
	for range 4 {
		r, err := powerDrill(t, CellConfig{Nodes: 3, KillConfig: KillConfig{Kills: 1, NoFsync: true, Group: -1}})
		noticed := strings.Count(r.Server, "forgotten what it had acknowledged")
		messages, files = messages || r.Verdict.Lost > 0, files || r.Files.Lost > 0
		if messages && files || err != nil && noticed > 1 {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Errorf("messages were lost: %v, files: %v; nothing is synced", messages, files)
}
