// SPDX-License-Identifier: Apache-2.0

package powerfs

import (
	"maps"
	"math/rand/v2"
	"slices"
)

// cut makes of the disk what a power cut leaves: what is safe, and of the rest, in no order
// but that of the names of a directory, a part that is drawn: none of it if survive
// is 0, all if it is 1.
func (s *store) cut(survive float64, random *rand.Rand) {
	for _, n := range s.all() {
		s.tear(n, survive, random)
	}
	seen := map[*inode]bool{}
	s.reset(s.root, seen)
	s.pages = 0
	for n := range seen {
		s.pages += len(n.safe.pages)
	}
	s.forgetAll()
}

// writeBack makes all of the disk safe at one moment, as a system does now and then.
func (s *store) writeBack() {
	for _, n := range s.all() {
		if n.isDir() {
			s.commitAll(n)
		} else if n.isFile() {
			s.sync(n)
		}
	}
}

// all inodes that have a name, seen or safe, by number.
func (s *store) all() []*inode {
	found := map[uint64]*inode{}
	var visit func(*inode)
	visit = func(n *inode) {
		if found[n.number] != nil {
			return
		}
		found[n.number] = n
		for _, names := range []map[string]*inode{n.names, n.safeNames} {
			for _, child := range names {
				visit(child)
			}
		}
		for _, c := range n.pending {
			for _, e := range c.sets {
				if e.inode != nil {
					visit(e.inode)
				}
			}
		}
	}
	visit(s.root)
	var all []*inode
	for _, number := range slices.Sorted(maps.Keys(found)) {
		all = append(all, found[number])
	}
	return all
}

// tear makes a part of what is not safe so.
func (s *store) tear(n *inode, survive float64, random *rand.Rand) {
	survives := func() bool { return survive > 0 && random.Float64() < survive }
	if n.isDir() {
		for len(n.pending) > 0 && survives() {
			s.commit(n.pending[0])
		}
	}
	if !n.isFile() {
		return
	}
	if n.shortest < n.safe.size {
		// What was written since has no place in what was there before.
		if !survives() {
			return
		}
		n.safe.size = n.shortest
		n.clip(n.shortest)
	}
	for _, at := range slices.Sorted(maps.Keys(n.dirty)) {
		if survives() {
			s.keep(n, at)
		}
	}
	if n.size == n.safe.size || !survives() {
		// What was written behind the end is not there.
		n.clip(n.safe.size)
		return
	}
	n.safe.size = n.size
	n.clip(n.size)
}

// clip makes zeros of what is safe behind the end.
func (n *inode) clip(size int64) {
	for at, p := range n.safe.pages {
		switch begin := at * pageBytes; {
		case begin >= size:
			delete(n.safe.pages, at)
		case begin+pageBytes > size:
			whole := *p
			clear(whole[size-begin:])
			n.safe.pages[at] = &whole
		}
	}
}

// reset makes what is safe all that there is, under a directory.
func (s *store) reset(n *inode, seen map[*inode]bool) {
	if n.links++; seen[n] {
		return
	}
	seen[n] = true
	n.links, n.lookups, n.born, n.pending = 1, 0, nil, nil
	switch {
	case n.isDir():
		n.names = maps.Clone(n.safeNames)
		for _, child := range n.names {
			s.reset(child, seen)
		}
	case n.isFile():
		s.restore(n)
	}
}
