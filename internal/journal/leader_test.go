// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"fmt"
	"testing"
)

// TestMoveLeadership: who leads hands it over, and all that is appended meanwhile is
// settled.
func TestMoveLeadership(t *testing.T) {
	t.Parallel()
	c := newTestCell(t)
	nodes := c.open(t, Options{UnsafeNoFsync: true}, "a", "b", "c")
	commit(t, nodes["a"], "first")
	leads := func() string {
		for name, j := range nodes {
			if j.(*etcdJournal).host.leads() {
				return name
			}
		}
		return ""
	}
	r := newRecorder(t)
	const each = 50
	for i := range each {
		for _, name := range []string{"a", "b", "c"} {
			r.submit(nodes[name], fmt.Sprintf("%s %d", name, i))
		}
	}
	for range 3 {
		was := leads()
		to, err := nodes[was].(Leader).MoveLeadership(testContext(t))
		if err != nil || to == was || to == "" {
			t.Fatalf("%s hands over to %q: %v", was, to, err)
		}
		if got, err := nodes[was].(Leader).MoveLeadership(testContext(t)); got != "" || err != nil {
			t.Errorf("once more: %q, %v", got, err)
		}
		until(t, to+" leads", func() bool { return leads() == to })
	}
	for _, s := range r.wait(3 * each) {
		if s.err != nil {
			t.Fatal(s.err)
		}
	}
}
