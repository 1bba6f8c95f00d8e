// SPDX-License-Identifier: Apache-2.0

package drill

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"bavard/drill/node"
)

// alone is a server of ours as if it were another one's cluster, of one node.
type alone struct{ binary string }

func (a alone) Found(_ context.Context, seats []PeerSeat) ([]node.Options, error) {
	s := seats[0]
	config := s.Dir + ".toml"
	text := fmt.Sprintf("data = %q\ninsecure_loopback = true\n[listen]\nc2s = %q\nc2s_tls = \"\"\nhttp = %q\n[registration]\nopen = true\n",
		filepath.Join(s.Dir, "data"), s.C2S, s.HTTP)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	return []node.Options{{Line: []string{a.binary, "serve", "--config", config}}}, nil
}

func (alone) Join(context.Context) error { return nil }

// Another server goes through the drill of a cell.
func TestPeered(t *testing.T) {
	t.Parallel()
	kill := ready(t, KillConfig{Kills: 1, Accounts: 2, Think: 20 * time.Millisecond, Group: -1})
	cfg := CellConfig{KillConfig: kill, Nodes: 1}
	r, err := Peered(t.Context(), cfg, alone{kill.Binary})
	if err != nil {
		t.Fatal(err)
	}
	t.Log(r)
	if !r.Verdict.Clean() || r.Kills != 2 {
		t.Error("the oracle found what must never happen, or it was not killed")
	}
	cfg.Group = 4
	if _, err := Peered(t.Context(), cfg, alone{}); err == nil {
		t.Error("another server has a group")
	}
}
