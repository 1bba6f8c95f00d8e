// SPDX-License-Identifier: Apache-2.0

package oracle

import "testing"

// What must never happen in a room is found.
func TestJudgeGroup(t *testing.T) {
	set := func(ids ...string) map[string]bool {
		m := map[string]bool{}
		for _, id := range ids {
			m[id] = true
		}
		return m
	}
	list := func(ids ...string) []string { return ids }
	said := set("a-1", "a-2", "b-1")
	for name, tc := range map[string]struct {
		archives, heard [][]string
		ticked          map[string]bool
		want            Group
	}{
		"clean":      {[][]string{list("a-1", "b-1", "a-2"), list("a-1", "b-1", "a-2")}, [][]string{list("a-1", "a-2")}, said, Group{Ticked: 3}},
		"lost":       {[][]string{list("a-1", "b-1")}, nil, said, Group{Ticked: 3, Lost: 1}},
		"duplicated": {[][]string{list("a-1", "b-1", "a-1")}, nil, set("a-1"), Group{Ticked: 1, Duplicated: 1}},
		"phantom":    {[][]string{list("a-1", "x-1")}, nil, nil, Group{Phantom: 1}},
		"reordered":  {[][]string{list("a-2", "a-1")}, nil, nil, Group{Reordered: 1}},
		"diverged":   {[][]string{list("a-1"), list("a-1", "b-1")}, nil, nil, Group{Diverged: 1}},
		"misheard":   {[][]string{list("a-1", "b-1")}, [][]string{list("b-1", "a-1"), list("a-1", "a-1"), list("a-2")}, nil, Group{Misheard: 3}},
	} {
		var got Group
		if JudgeGroup(&got, tc.archives, tc.heard, said, tc.ticked); got != tc.want || got.Clean() != (name == "clean") {
			t.Errorf("%s: %v, want %v", name, &got, &tc.want)
		}
	}
}
