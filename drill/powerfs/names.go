// SPDX-License-Identifier: Apache-2.0

package powerfs

import (
	"maps"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// change of the names in a directory that happens on the disk as a whole, or not, and
// after those before it.
type change struct {
	dir  *inode
	sets []entry
	// needs has to be on the disk first: a file that moves to another directory is in
	// that before it leaves its own.
	needs *change
	done  bool
}

// entry is what a name stands for from now on; a nil inode is for none.
type entry struct {
	name  string
	inode *inode
}

// commit makes a change safe, with what comes before it. A nil change is that of the root.
func (s *store) commit(c *change) {
	if c == nil || c.done {
		return
	}
	for len(c.dir.pending) > 0 {
		next := c.dir.pending[0]
		c.dir.pending = c.dir.pending[1:]
		s.commit(next.needs)
		next.done = true
		for _, e := range next.sets {
			s.put(c.dir, e)
		}
		if next == c {
			break
		}
	}
	s.commit(c.dir.born) // or nobody would find it
}

// put makes a name safe.
func (s *store) put(d *inode, e entry) {
	old := d.safeNames[e.name]
	if e.inode == nil {
		delete(d.safeNames, e.name)
	} else {
		d.safeNames[e.name] = e.inode
		e.inode.safeLinks++
	}
	if old != nil {
		old.safeLinks--
		s.free(old)
	}
}

// free gives back the room of a file that nobody can find or has open any more.
func (s *store) free(n *inode) {
	if n.links > 0 || n.safeLinks > 0 || n.lookups > 0 || !n.isFile() {
		return
	}
	for at, p := range n.pages {
		if n.safe.pages[at] != p {
			s.pages--
		}
	}
	s.pages -= len(n.safe.pages)
	clear(n.pages)
	clear(n.dirty)
	clear(n.safe.pages)
	n.size, n.shortest, n.safe.size = 0, 0, 0
}

// commitAll makes all changes of a directory safe.
func (s *store) commitAll(d *inode) {
	if len(d.pending) > 0 {
		s.commit(d.pending[len(d.pending)-1])
	}
}

// pendingMost bounds the changes of a directory that is never synced: those beyond are safe, as a
// system writes back some day.
const pendingMost = 1 << 14

// change makes one, which is seen at once.
func (s *store) change(d *inode, needs *change, sets ...entry) *change {
	c := &change{dir: d, sets: sets, needs: needs}
	for _, e := range sets {
		if e.inode == nil {
			delete(d.names, e.name)
		} else {
			d.names[e.name] = e.inode
		}
	}
	d.modified = time.Now()
	d.pending = append(d.pending, c)
	if len(d.pending) > pendingMost {
		s.commit(d.pending[0])
	}
	return c
}

// add makes a new inode under a name.
func (s *store) add(d *inode, name string, mode uint32) (*inode, unix.Errno) {
	if d.names[name] != nil {
		return nil, unix.EEXIST
	}
	n := s.newInode(mode)
	n.links = 1
	n.born = s.change(d, nil, entry{name, n})
	return n, 0
}

func (s *store) link(n, d *inode, name string) unix.Errno {
	switch {
	case d.names[name] != nil:
		return unix.EEXIST
	case n.isDir():
		return unix.EPERM
	}
	n.links++
	s.change(d, nil, entry{name, n})
	return 0
}

// remove takes a name away; that of a directory, if dir.
func (s *store) remove(d *inode, name string, dir bool) unix.Errno {
	n := d.names[name]
	switch {
	case n == nil:
		return unix.ENOENT
	case dir && !n.isDir():
		return unix.ENOTDIR
	case !dir && n.isDir():
		return unix.EISDIR
	case dir && len(n.names) > 0:
		return unix.ENOTEMPTY
	}
	n.links--
	s.change(d, nil, entry{name, nil})
	return 0
}

// rename moves a name, over another one unless it must not replace it.
func (s *store) rename(from *inode, name string, to *inode, newName string, replace bool) unix.Errno {
	n, old := from.names[name], to.names[newName]
	switch {
	case n == nil:
		return unix.ENOENT
	case n == old:
		return 0
	case old != nil && !replace:
		return unix.EEXIST
	case old != nil && old.isDir() && !n.isDir():
		return unix.EISDIR
	case old != nil && n.isDir() && !old.isDir():
		return unix.ENOTDIR
	case old != nil && len(old.names) > 0:
		return unix.ENOTEMPTY
	}
	if old != nil {
		old.links--
	}
	if from == to {
		s.change(from, nil, entry{name, nil}, entry{newName, n})
		return 0
	}
	there := s.change(to, nil, entry{newName, n})
	s.change(from, there, entry{name, nil})
	return 0
}

// list gives the names in a directory, sorted.
func (n *inode) list() []entry {
	var all []entry
	for _, name := range slices.Sorted(maps.Keys(n.names)) {
		all = append(all, entry{name, n.names[name]})
	}
	return all
}
