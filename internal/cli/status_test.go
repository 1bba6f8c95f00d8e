// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"strings"
	"testing"
	"time"

	"bavard/internal/admin"
)

// TestDescribeNodes: it is said who leads, where that is one of the nodes, and of each other one what is not as it should be.
func TestDescribeNodes(t *testing.T) {
	t.Parallel()
	b := admin.OtherNode{Node: "b", Reached: true, Version: "1.2.3", Level: 2}
	others := func(change func(b *admin.OtherNode)) []admin.OtherNode {
		with := b
		change(&with)
		return []admin.OtherNode{with}
	}
	same := others(func(*admin.OtherNode) {})
	for want, j := range map[string]admin.JournalStatus{
		"a": {Node: "a", HasLeader: true},
		"a, leads; b reached (bavard 1.2.3, level 2)":     {Node: "a", HasLeader: true, Others: same},
		"a; b reached (bavard 1.2.3, level 2)":            {Node: "a", Others: same},
		"a; b reached (bavard 1.2.3, level 2), leads":     {Node: "a", HasLeader: true, Others: others(func(b *admin.OtherNode) { b.Leads = true })},
		"a, leads; b NOT REACHED (bavard 1.2.3, level 2)": {Node: "a", HasLeader: true, Others: others(func(b *admin.OtherNode) { b.Reached = false })},
		"a, leads; b not in the cell":                     {Node: "a", HasLeader: true, Others: []admin.OtherNode{{Node: "b", Absent: true}}},
		"a, leads; b reached, learner: it joins":          {Node: "a", HasLeader: true, Others: []admin.OtherNode{{Node: "b", Reached: true, Learner: true}}},
		"a, leads; b reached (bavard 1.2.3, level 2), drained, DIVERGED: it takes nobody": {
			Node: "a", HasLeader: true, Others: others(func(b *admin.OtherNode) { b.Drained, b.Diverged = true, true }),
		},
		"a, leads; b reached (bavard 1.2.3, level 2), slow": {Node: "a", HasLeader: true, Others: others(func(b *admin.OtherNode) { b.Slow = true })},
		// The leader is a member of the etcd that they have in common, which is no node.
		"a; b reached (bavard 1.2.3, level 2) ": {Node: "a", HasLeader: true, Others: same, Endpoints: []string{"https://etcd:2379"}},
	} {
		if got := describeNodes(j); got != strings.TrimSpace(want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
	elsewhere := admin.Status{Journal: admin.JournalStatus{HasLeader: true, Endpoints: []string{"https://e1:2379", "https://e2:2379"}, Version: "3.6.4"}}
	if got := describeStatus(elsewhere, time.Now()); !strings.Contains(got, "has a leader") || !strings.Contains(got, "3.6.4 at https://e1:2379, https://e2:2379") {
		t.Errorf("%s", got)
	}
}
