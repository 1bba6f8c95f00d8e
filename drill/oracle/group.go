// SPDX-License-Identifier: Apache-2.0

package oracle

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Group is the verdict about a room, whose archive is to be the same for
// everybody and to hold what was ticked once, and in the order in which each
// device said it; and about items that its members published.
type Group struct {
	Ticked, Refused int
	// Lost were ticked and are not in the archive, Duplicated are in it more than
	// once, Phantom were never said, Reordered come before what their sender had said
	// earlier.
	Lost, Duplicated, Phantom, Reordered int
	// Diverged counts archives that differ from the first member's, Misheard the
	// streams on which something that others said came twice, or in another order than the archive's.
	Diverged, Misheard int
	// Published counts items that were acknowledged, Unpublished the members whose
	// node has an older item than the last of those, or one that was never sent.
	Published, Unpublished int
	// Late counts members whose node has an older item of which they were not told what became of it: a node
	// that was cut off stored it when it was back. It may happen at any time after it was asked for.
	Late int
}

// Clean reports whether nothing has happened that must never happen.
func (g *Group) Clean() bool {
	return g.Lost+g.Duplicated+g.Phantom+g.Reordered+g.Diverged+g.Misheard+g.Unpublished == 0
}

func (g *Group) String() string {
	return fmt.Sprintf("group: %d ticked, %d lost, %d duplicated, %d phantom, %d reordered, %d archives differ, %d streams out of order, %d refused; %d items published, %d late, %d nodes wrong",
		g.Ticked, g.Lost, g.Duplicated, g.Phantom, g.Reordered, g.Diverged, g.Misheard, g.Refused, g.Published, g.Late, g.Unpublished)
}

// JudgeGroup compares the archives, one as each member reads it, with what was
// heard on each stream, said and ticked. Ids are the sender's name, a hyphen
// and a number that grows.
func JudgeGroup(g *Group, archives, heard [][]string, said, ticked map[string]bool) {
	g.Ticked += len(ticked)
	if len(archives) == 0 {
		return
	}
	archive := archives[0]
	for _, other := range archives[1:] {
		if !slices.Equal(archive, other) {
			g.Diverged++
		}
	}
	place, highest := map[string]int{}, map[string]int{}
	for i, id := range archive {
		switch _, again := place[id]; {
		case !said[id]:
			g.Phantom++
			continue
		case again:
			g.Duplicated++
			continue
		}
		place[id] = i
		sender, digits, _ := strings.Cut(id, "-")
		n, _ := strconv.Atoi(digits)
		if n < highest[sender] {
			g.Reordered++
		}
		highest[sender] = max(highest[sender], n)
	}
	for id := range ticked {
		if _, ok := place[id]; !ok {
			g.Lost++
		}
	}
	for _, ids := range heard {
		if !inOrder(ids, place) {
			g.Misheard++
		}
	}
}

// inOrder reports whether what a stream brought is in the archive, in its
// order, and came once.
func inOrder(ids []string, place map[string]int) bool {
	last := -1
	for _, id := range ids {
		at, ok := place[id]
		if !ok || at <= last {
			return false
		}
		last = at
	}
	return true
}
