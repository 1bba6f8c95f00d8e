// SPDX-License-Identifier: Apache-2.0

package powerfs

import (
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// kernel answers the kernel's requests (fuse(4)). All changes come from it, so that it may
// remember what it was told for as long as the disk is mounted.
type kernel struct {
	fuse.RawFileSystem // says of all else that it is not there
	*store
}

const remembered = 24 * time.Hour

func (k *kernel) String() string { return "powerfs" }

// at gives the inode that a request is about.
func (k *kernel) at(h *fuse.InHeader) *inode { return k.nodes[h.NodeId] }

// attributes of an inode.
func (n *inode) attributes(out *fuse.Attr) {
	out.Ino, out.Mode, out.Nlink, out.Blksize = n.number, n.mode, n.links, pageBytes
	out.Owner = fuse.Owner{Uid: n.owner, Gid: n.group}
	out.Size, out.Blocks = uint64(n.size), uint64(len(n.pages)*pageBytes/512)
	out.SetTimes(&n.modified, &n.modified, &n.modified)
}

// known tells the kernel of an inode.
func (k *kernel) known(n *inode, out *fuse.EntryOut) {
	n.lookups++
	k.nodes[n.number] = n
	out.NodeId = n.number
	out.SetEntryTimeout(remembered)
	out.SetAttrTimeout(remembered)
	n.attributes(&out.Attr)
}

// Lookup implements fuse.RawFileSystem, as do all below.
func (k *kernel) Lookup(_ <-chan struct{}, h *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	k.mu.Lock()
	defer k.mu.Unlock()
	d := k.at(h)
	if d == nil || d.names[name] == nil {
		return fuse.ENOENT
	}
	k.known(d.names[name], out)
	return fuse.OK
}

func (k *kernel) Forget(number, lookups uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	n := k.nodes[number]
	if n == nil || n == k.root {
		return
	}
	if n.lookups -= min(lookups, n.lookups); n.lookups == 0 {
		delete(k.nodes, number)
		k.free(n)
	}
}

func (k *kernel) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	k.mu.Lock()
	defer k.mu.Unlock()
	n := k.at(&in.InHeader)
	if n == nil {
		return fuse.ENOENT
	}
	out.SetTimeout(remembered)
	n.attributes(&out.Attr)
	return fuse.OK
}

func (k *kernel) SetAttr(_ <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	if err := k.fails(removes); err != 0 {
		return fuse.Status(err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	n := k.at(&in.InHeader)
	if n == nil {
		return fuse.ENOENT
	}
	if mode, ok := in.GetMode(); ok {
		n.mode = n.mode&^0o7777 | mode
	}
	if owner, ok := in.GetUID(); ok {
		n.owner = owner
	}
	if group, ok := in.GetGID(); ok {
		n.group = group
	}
	if size, ok := in.GetSize(); ok && n.isFile() {
		if err := k.truncate(n, int64(size)); err != 0 {
			return fuse.Status(err)
		}
	}
	if modified, ok := in.GetMTime(); ok {
		n.modified = modified
	}
	out.SetTimeout(remembered)
	n.attributes(&out.Attr)
	return fuse.OK
}

// make makes an inode under a name.
func (k *kernel) make(h *fuse.InHeader, name string, mode uint32, out *fuse.EntryOut) fuse.Status {
	d := k.at(h)
	if d == nil {
		return fuse.ENOENT
	}
	n, err := k.add(d, name, mode)
	if err != 0 {
		return fuse.Status(err)
	}
	n.owner, n.group = h.Uid, h.Gid
	k.known(n, out)
	return fuse.OK
}

func (k *kernel) Mknod(_ <-chan struct{}, in *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	if err := k.fails(writes); err != 0 {
		return fuse.Status(err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.make(&in.InHeader, name, in.Mode, out)
}

func (k *kernel) Mkdir(_ <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	if err := k.fails(writes); err != 0 {
		return fuse.Status(err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.make(&in.InHeader, name, unix.S_IFDIR|in.Mode, out)
}

func (k *kernel) Create(_ <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	if err := k.fails(writes); err != 0 {
		return fuse.Status(err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	out.OpenFlags = fuse.FOPEN_KEEP_CACHE
	return k.make(&in.InHeader, name, unix.S_IFREG|in.Mode&0o7777, &out.EntryOut)
}

func (k *kernel) Unlink(_ <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	if err := k.fails(removes); err != 0 {
		return fuse.Status(err)
	}
	return k.removed(h, name, false)
}

func (k *kernel) Rmdir(_ <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	if err := k.fails(removes); err != 0 {
		return fuse.Status(err)
	}
	return k.removed(h, name, true)
}

func (k *kernel) removed(h *fuse.InHeader, name string, dir bool) fuse.Status {
	k.mu.Lock()
	defer k.mu.Unlock()
	d := k.at(h)
	if d == nil {
		return fuse.ENOENT
	}
	return fuse.Status(k.remove(d, name, dir))
}

func (k *kernel) Rename(_ <-chan struct{}, in *fuse.RenameIn, name, newName string) fuse.Status {
	if err := k.fails(writes); err != 0 {
		return fuse.Status(err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	from, to := k.at(&in.InHeader), k.nodes[in.Newdir]
	switch {
	case from == nil || to == nil:
		return fuse.ENOENT
	case in.Flags&^unix.RENAME_NOREPLACE != 0:
		return fuse.EINVAL
	}
	return fuse.Status(k.rename(from, name, to, newName, in.Flags&unix.RENAME_NOREPLACE == 0))
}

func (k *kernel) Link(_ <-chan struct{}, in *fuse.LinkIn, name string, out *fuse.EntryOut) fuse.Status {
	if err := k.fails(writes); err != 0 {
		return fuse.Status(err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	d, n := k.at(&in.InHeader), k.nodes[in.Oldnodeid]
	if d == nil || n == nil {
		return fuse.ENOENT
	}
	if err := k.link(n, d, name); err != 0 {
		return fuse.Status(err)
	}
	k.known(n, out)
	return fuse.OK
}

// Access lets everybody who can see the disk do everything.
func (k *kernel) Access(<-chan struct{}, *fuse.AccessIn) fuse.Status { return fuse.OK }

func (k *kernel) Open(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	if err := k.fails(reads); err != 0 {
		return fuse.Status(err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	n := k.at(&in.InHeader)
	if n == nil || !n.isFile() {
		return fuse.ENOENT
	}
	out.OpenFlags = fuse.FOPEN_KEEP_CACHE
	if in.Flags&unix.O_TRUNC != 0 {
		return fuse.Status(k.truncate(n, 0))
	}
	return fuse.OK
}

func (k *kernel) Read(_ <-chan struct{}, in *fuse.ReadIn, to []byte) (fuse.ReadResult, fuse.Status) {
	if err := k.fails(reads); err != 0 {
		return nil, fuse.Status(err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	n := k.at(&in.InHeader)
	if n == nil || !n.isFile() {
		return nil, fuse.ENOENT
	}
	return fuse.ReadResultData(to[:n.read(int64(in.Offset), to)]), fuse.OK
}

func (k *kernel) Write(_ <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	if err := k.fails(writes); err != 0 {
		return 0, fuse.Status(err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	n := k.at(&in.InHeader)
	if n == nil || !n.isFile() {
		return 0, fuse.ENOENT
	}
	written := k.write(n, int64(in.Offset), data)
	if written == 0 && len(data) > 0 {
		return 0, fuse.Status(unix.ENOSPC)
	}
	if in.Flags&unix.O_DSYNC != 0 {
		k.sync(n)
	}
	return uint32(written), fuse.OK
}

func (k *kernel) Fsync(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	if err := k.fails(syncs); err != 0 {
		return fuse.Status(err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	n := k.at(&in.InHeader)
	if n == nil || !n.isFile() {
		return fuse.ENOENT
	}
	k.sync(n)
	return fuse.OK
}

func (k *kernel) Fallocate(_ <-chan struct{}, in *fuse.FallocateIn) fuse.Status {
	if err := k.fails(writes); err != 0 {
		return fuse.Status(err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	n := k.at(&in.InHeader)
	if n == nil || !n.isFile() {
		return fuse.ENOENT
	}
	end := int64(in.Offset + in.Length)
	switch in.Mode {
	case 0:
		n.size = max(n.size, end)
		return fuse.OK
	case unix.FALLOC_FL_KEEP_SIZE:
		return fuse.OK
	case unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE:
		return fuse.Status(k.zero(n, int64(in.Offset), end))
	}
	return fuse.ENOTSUP
}

func (k *kernel) OpenDir(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	if err := k.fails(reads); err != 0 {
		return fuse.Status(err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	d := k.at(&in.InHeader)
	if d == nil || !d.isDir() {
		return fuse.ENOENT
	}
	k.opened++
	out.Fh = k.opened
	k.lists[out.Fh] = d.list()
	return fuse.OK
}

func (k *kernel) ReadDir(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	k.mu.Lock()
	defer k.mu.Unlock()
	if in.Offset == 0 { // rewound
		if d := k.at(&in.InHeader); d != nil {
			k.lists[in.Fh] = d.list()
		}
	}
	list := k.lists[in.Fh]
	for i := in.Offset; i < uint64(len(list)); i++ {
		e := list[i]
		if !out.AddDirEntry(fuse.DirEntry{Name: e.name, Ino: e.inode.number, Mode: e.inode.mode, Off: i + 1}) {
			break
		}
	}
	return fuse.OK
}

func (k *kernel) ReleaseDir(in *fuse.ReleaseIn) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.lists, in.Fh)
}

func (k *kernel) FsyncDir(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	if err := k.fails(syncs); err != 0 {
		return fuse.Status(err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	d := k.at(&in.InHeader)
	if d == nil || !d.isDir() {
		return fuse.ENOENT
	}
	k.syncDir(d)
	return fuse.OK
}

func (k *kernel) StatFs(_ <-chan struct{}, _ *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	k.mu.Lock()
	defer k.mu.Unlock()
	const names = 1 << 20
	free := uint64(max(0, k.most-k.pages))
	if k.full() {
		free = 0
	}
	*out = fuse.StatfsOut{
		Blocks: uint64(k.most), Bfree: free, Bavail: free, Bsize: pageBytes, Frsize: pageBytes,
		Files: names, Ffree: names, NameLen: 255,
	}
	return fuse.OK
}
