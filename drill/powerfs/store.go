// SPDX-License-Identifier: Apache-2.0

// Package powerfs is a disk of a drill's own whose power can be cut: what programs wrote
// to it and did not sync is gone then, as it is not after SIGKILL, which the page
// cache of the machine survives.
//
// It promises what ext4, XFS and btrfs have in common, and no more. A file's content and
// size are safe once the file was synced. A name is safe once its directory was
// synced; the first name of a file is with the file, too. A rename within a directory
// happens or does not; one to another directory may leave both names.
package powerfs

import (
	"errors"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// ErrCannotMount: this process may not mount anything.
var ErrCannotMount = errors.New("drill: a disk whose power can be cut needs Linux, root (CAP_SYS_ADMIN) and /dev/fuse")

// pageBytes is what a disk writes as a whole, or not.
const pageBytes = 4096

type page [pageBytes]byte

// store is what is on the disk, and what programs see. It is safe for concurrent use.
type store struct {
	mu     sync.Mutex
	root   *inode
	made   uint64             // inodes so far
	pages  int                // in use, by what is seen and by what is safe
	most   int                // bounds pages
	nodes  map[uint64]*inode  // that the kernel knows
	lists  map[uint64][]entry // directories that are being read, by handle
	opened uint64             // handles so far
	fault  atomic.Pointer[fault]
}

// inode is a file, a directory, or a socket's name.
type inode struct {
	number       uint64
	mode         uint32 // with the type
	owner, group uint32
	modified     time.Time
	links        uint32  // names that are seen
	safeLinks    int     // names that are safe
	lookups      uint64  // how often the kernel was told of it and has not forgotten it
	born         *change // what gave it its first name

	// Of a file: what is seen, which pages of it are not safe, and what is safe.
	size     int64
	shortest int64           // that it was since it was synced
	pages    map[int64]*page // those that are missing are zeros
	dirty    map[int64]bool
	safe     struct {
		size  int64
		pages map[int64]*page
	}

	// Of a directory.
	names     map[string]*inode
	safeNames map[string]*inode
	pending   []*change // to safeNames, in order
}

func newStore(bytes int64) *store {
	s := &store{most: int(bytes / pageBytes)}
	s.root = s.newInode(unix.S_IFDIR | 0o700)
	s.forgetAll()
	return s
}

func (s *store) newInode(mode uint32) *inode {
	s.made++
	n := &inode{number: s.made, mode: mode, modified: time.Now()}
	switch {
	case n.isDir():
		n.names, n.safeNames = map[string]*inode{}, map[string]*inode{}
	case n.isFile():
		n.pages, n.dirty, n.safe.pages = map[int64]*page{}, map[int64]bool{}, map[int64]*page{}
	}
	return n
}

func (n *inode) isDir() bool  { return n.mode&unix.S_IFMT == unix.S_IFDIR }
func (n *inode) isFile() bool { return n.mode&unix.S_IFMT == unix.S_IFREG }

// forgetAll is for a kernel that knows nothing yet.
func (s *store) forgetAll() {
	s.nodes = map[uint64]*inode{s.root.number: s.root}
	s.lists = map[uint64][]entry{}
}

// own gives a page to write to: one that the safe content does not share. It is nil when
// the disk is full.
func (s *store) own(n *inode, at int64) *page {
	if n.dirty[at] && n.pages[at] != nil {
		return n.pages[at]
	}
	if s.pages >= s.most {
		return nil
	}
	s.pages++
	p := new(page)
	if old := n.pages[at]; old != nil {
		*p = *old
	}
	n.pages[at], n.dirty[at] = p, true
	return p
}

// write reports how much was written before the disk was full.
func (s *store) write(n *inode, offset int64, data []byte) (written int) {
	for len(data) > 0 {
		p := s.own(n, offset/pageBytes)
		if p == nil {
			break
		}
		k := copy(p[offset%pageBytes:], data)
		data, offset, written = data[k:], offset+int64(k), written+k
	}
	if written > 0 {
		n.size, n.modified = max(n.size, offset), time.Now()
	}
	return written
}

func (n *inode) read(offset int64, to []byte) (read int) {
	to = to[:max(0, min(int64(len(to)), n.size-offset))]
	for read < len(to) {
		at := offset + int64(read)
		part := to[read:min(len(to), read+int(pageBytes-at%pageBytes))]
		if p := n.pages[at/pageBytes]; p != nil {
			copy(part, p[at%pageBytes:])
		} else {
			clear(part)
		}
		read += len(part)
	}
	return read
}

// zero makes zeros of a part, as fallocate(2) does with FALLOC_FL_PUNCH_HOLE. It errs
// when the disk is full.
func (s *store) zero(n *inode, from, to int64) unix.Errno {
	for at := range n.pages {
		begin, end := max(from, at*pageBytes), min(to, (at+1)*pageBytes)
		switch {
		case begin >= end:
		case end-begin == pageBytes:
			s.drop(n, at)
		default:
			p := s.own(n, at)
			if p == nil {
				return unix.ENOSPC
			}
			clear(p[begin-at*pageBytes : end-at*pageBytes])
		}
	}
	return 0
}

// drop makes zeros of a page.
func (s *store) drop(n *inode, at int64) {
	if n.pages[at] == nil {
		return
	}
	if n.dirty[at] {
		s.pages--
	}
	delete(n.pages, at)
	n.dirty[at] = true
}

func (s *store) truncate(n *inode, size int64) unix.Errno {
	if size < n.size {
		if err := s.zero(n, size, (n.size/pageBytes+1)*pageBytes); err != 0 {
			return err
		}
	}
	n.size, n.shortest, n.modified = size, min(n.shortest, size), time.Now()
	return 0
}

// sync makes content and first name of a file safe.
func (s *store) sync(n *inode) {
	for at := range n.dirty {
		s.keep(n, at)
	}
	n.safe.size, n.shortest = n.size, n.size
	s.commit(n.born)
}

// keep makes one page safe as it is.
func (s *store) keep(n *inode, at int64) {
	if n.safe.pages[at] != nil {
		s.pages--
	}
	if p := n.pages[at]; p != nil {
		n.safe.pages[at] = p
	} else {
		delete(n.safe.pages, at)
	}
	delete(n.dirty, at)
}

// syncDir makes the names in a directory safe, and its own.
func (s *store) syncDir(d *inode) {
	s.commitAll(d)
	s.commit(d.born)
}

// restore makes what is safe all that there is, for a file.
func (s *store) restore(n *inode) {
	for at := range n.dirty {
		if n.pages[at] != nil {
			s.pages--
		}
	}
	clear(n.dirty)
	n.size, n.shortest, n.pages = n.safe.size, n.safe.size, maps.Clone(n.safe.pages)
}
