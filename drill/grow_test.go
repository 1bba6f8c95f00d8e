// SPDX-License-Identifier: Apache-2.0

package drill

import (
	"testing"
	"time"
)

// TestGrow: a backup is restored into one server, which becomes a cell of three by the documented commands while
// people chat, and then one again, which is another machine than before. What was in the backup, and ticked by any
// of them, is there. The majority cannot be taken out, and a node that was taken out says so and ends.
func TestGrow(t *testing.T) {
	t.Parallel()
	cfg := CellConfig{KillConfig: ready(t, KillConfig{Accounts: 6, Think: 50 * time.Millisecond})}
	r, err := Grow(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(r)
	if !r.Verdict.Clean() || !r.Group.Clean() || r.Misdated > 0 {
		t.Errorf("the oracle found what must never happen: %v\n%v", r.Verdict, &r.Group)
	}
	if r.Verdict.Ticked < 200 || r.Group.Ticked < 5 || r.Verdict.Refused > 0 {
		t.Error("too little happened, or messages were refused")
	}
	for _, line := range r.Trouble {
		t.Errorf("a node logged: %s", line)
	}
}
