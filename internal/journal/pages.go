// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
)

// Layout of a bbolt file, in bytes and the machine's own order of them; it is the memory
// layout of the structures in bbolt's internal/common.
const (
	pageHead    = 16 // id 8, flags 2, count 2, overflow 4
	pageElement = 16 // leaf: flags 4, position 4, key 4, value 4; branch: position 4, key 4, page 8
	pageMeta    = 64 // magic 4, version 4, page size 4, flags 4, root 8, sequence 8, free list 8, end 8, transaction 8, checksum 8
	pageBucket  = 16 // root 8, sequence 8

	pageIsBranch = 1
	pageIsLeaf   = 2
	leafIsBucket = 1

	metaMagic   = 0xED0CDAED
	metaVersion = 2

	maxPageSize  = 64 << 10
	maxPageDepth = 32
	// maxPageRun bounds a page with what overflows from it: an entry of etcd has far less.
	maxPageRun = 32 << 20
)

var errPage = errors.New("damaged page")

func pagef(id uint64, format string, args ...any) error {
	return fmt.Errorf("%w %d: %s", errPage, id, fmt.Sprintf(format, args...))
}

// pageFile reads a bbolt file as bbolt would, and trusts nothing in it: bbolt itself maps the file
// and panics, faults or goes round in circles on damaged pages, on goroutines of its own. What
// it accepts bbolt can open and walk through.
type pageFile struct {
	r     io.ReaderAt
	size  int64    // of the file
	page  int64    // size of a page
	end   uint64   // first page that is not used
	seen  []uint64 // a bit for each page
	visit func(bucket string, key, value []byte) error
}

// readPages calls visit for each key of each bucket of the bbolt file r of size bytes, in order; key and
// value are valid during the call. It errs where bbolt could not go on, with errPage, or
// with the error of visit.
func readPages(r io.ReaderAt, size int64, visit func(bucket string, key, value []byte) error) error {
	f := &pageFile{r: r, size: size, visit: visit}
	root, err := f.readMeta()
	if err != nil {
		return err
	}
	f.seen = make([]uint64, f.end/64+1)
	return f.tree("", root, nil, nil, 0)
}

// readMeta gives the root page of the newest state in the file.
func (f *pageFile) readMeta() (root uint64, err error) {
	first, errFirst := f.metaAt(0)
	// The other one is a page further on, whose size the first says if it is whole.
	size := int64(os.Getpagesize())
	if errFirst == nil {
		size = int64(first.pageSize)
	}
	second, errSecond := f.metaAt(size)
	m := first
	switch {
	case errFirst != nil && errSecond != nil:
		return 0, errFirst
	case errFirst != nil, errSecond == nil && second.transaction > first.transaction:
		m = second
	}
	f.page, f.end = int64(m.pageSize), m.end
	if f.end < 4 || f.end > uint64(f.size/f.page) {
		return 0, pagef(0, "the file of %d bytes does not hold %d pages", f.size, f.end)
	}
	return m.root, nil
}

type metaPage struct {
	pageSize               uint32
	root, end, transaction uint64
}

// metaAt reads the meta page at an offset.
func (f *pageFile) metaAt(offset int64) (metaPage, error) {
	b := make([]byte, pageHead+pageMeta)
	if _, err := f.r.ReadAt(b, offset); err != nil {
		return metaPage{}, f.readError(err)
	}
	b = b[pageHead:]
	sum := fnv.New64a()
	_, _ = sum.Write(b[:pageMeta-8]) // never fails
	order := binary.NativeEndian
	m := metaPage{order.Uint32(b[8:]), order.Uint64(b[16:]), order.Uint64(b[40:]), order.Uint64(b[48:])}
	switch {
	case order.Uint32(b) != metaMagic || order.Uint32(b[4:]) != metaVersion || order.Uint64(b[pageMeta-8:]) != sum.Sum64():
		return metaPage{}, pagef(0, "no meta page at offset %d, or its checksum does not match", offset)
	case m.pageSize < 512 || m.pageSize > maxPageSize:
		return metaPage{}, pagef(0, "pages of %d bytes", m.pageSize)
	}
	return m, nil
}

// readError tells the end of the file, which is damage, from a disk that cannot be read.
func (f *pageFile) readError(err error) error {
	if errors.Is(err, io.EOF) {
		return pagef(0, "the file ends after %d bytes", f.size)
	}
	return err
}

// tree walks through the page id and all under it. Keys are from low on and below high; nil: no bound.
// bucket is "" for the root, whose values are buckets.
func (f *pageFile) tree(bucket string, id uint64, low, high []byte, depth int) error {
	if depth > maxPageDepth {
		return pagef(id, "%d levels", depth)
	}
	b, err := f.read(id)
	if err != nil {
		return err
	}
	switch flags := binary.NativeEndian.Uint16(b[8:]); flags {
	case pageIsLeaf:
		return f.leaf(bucket, id, b, low, high, depth)
	case pageIsBranch:
		return f.branch(bucket, id, b, low, high, depth)
	default:
		return pagef(id, "flags %#x", flags)
	}
}

// read gives a page, with what overflows from it; each can be read once.
func (f *pageFile) read(id uint64) ([]byte, error) {
	if id < 2 || id >= f.end {
		return nil, pagef(id, "there is no such page")
	}
	head := make([]byte, pageHead)
	if _, err := f.r.ReadAt(head, int64(id)*f.page); err != nil {
		return nil, f.readError(err)
	}
	run := uint64(binary.NativeEndian.Uint32(head[12:])) + 1
	if got := binary.NativeEndian.Uint64(head); got != id {
		return nil, pagef(id, "it says that it is %d", got)
	}
	if run > f.end-id || int64(run)*f.page > maxPageRun {
		return nil, pagef(id, "%d pages", run)
	}
	for n := id; n < id+run; n++ {
		if f.seen[n/64]&(1<<(n%64)) != 0 {
			return nil, pagef(n, "it is used twice")
		}
		f.seen[n/64] |= 1 << (n % 64)
	}
	b := make([]byte, int64(run)*f.page)
	if _, err := f.r.ReadAt(b, int64(id)*f.page); err != nil {
		return nil, f.readError(err)
	}
	return b, nil
}

// elements gives how many a page has, if they are in it.
func elements(id uint64, b []byte) (int, error) {
	n := int(binary.NativeEndian.Uint16(b[10:]))
	if pageHead+n*pageElement > len(b) {
		return 0, pagef(id, "%d elements", n)
	}
	return n, nil
}

// cut gives n bytes of a page that come position bytes after an element.
func cut(id uint64, b []byte, element int, position, n uint32) ([]byte, error) {
	from := int64(element) + int64(position)
	if from+int64(n) > int64(len(b)) {
		return nil, pagef(id, "an element ends behind it")
	}
	return b[from : from+int64(n)], nil
}

// inOrder errs unless key is in its place after last, from low on and below high.
func inOrder(id uint64, first bool, key, last, low, high []byte) error {
	switch {
	case !first && bytes.Compare(last, key) >= 0, first && low != nil && bytes.Compare(low, key) > 0, high != nil && bytes.Compare(key, high) >= 0:
		return pagef(id, "key %x is not in its place", key)
	}
	return nil
}

func (f *pageFile) branch(bucket string, id uint64, b, low, high []byte, depth int) error {
	n, err := elements(id, b)
	if err != nil {
		return err
	}
	if n == 0 {
		return pagef(id, "a branch without pages")
	}
	keys, pages := make([][]byte, n), make([]uint64, n)
	var last []byte
	for i := range n {
		at := pageHead + i*pageElement
		if keys[i], err = cut(id, b, at, binary.NativeEndian.Uint32(b[at:]), binary.NativeEndian.Uint32(b[at+4:])); err != nil {
			return err
		}
		if err := inOrder(id, i == 0, keys[i], last, low, high); err != nil {
			return err
		}
		pages[i], last = binary.NativeEndian.Uint64(b[at+8:]), keys[i]
	}
	for i := range n {
		until := high
		if i+1 < n {
			until = keys[i+1]
		}
		if err := f.tree(bucket, pages[i], keys[i], until, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (f *pageFile) leaf(bucket string, id uint64, b, low, high []byte, depth int) error {
	n, err := elements(id, b)
	if err != nil {
		return err
	}
	var last []byte
	for i := range n {
		at := pageHead + i*pageElement
		flags, position := binary.NativeEndian.Uint32(b[at:]), binary.NativeEndian.Uint32(b[at+4:])
		keyBytes, valueBytes := binary.NativeEndian.Uint32(b[at+8:]), binary.NativeEndian.Uint32(b[at+12:])
		key, err := cut(id, b, at, position, keyBytes)
		if err != nil {
			return err
		}
		value, err := cut(id, b, at+len(key), position, valueBytes)
		if err != nil {
			return err
		}
		if err := inOrder(id, i == 0, key, last, low, high); err != nil {
			return err
		}
		last = key
		switch {
		case len(key) == 0 || flags&^leafIsBucket != 0 || (flags == leafIsBucket) != (bucket == ""):
			return pagef(id, "element %d has flags %#x and a key of %d bytes", i, flags, len(key))
		case bucket != "":
			err = f.visit(bucket, key, value)
		default:
			err = f.bucket(string(key), id, value, depth)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// bucket walks through a bucket, whose pages are in its value when they are few.
func (f *pageFile) bucket(name string, id uint64, value []byte, depth int) error {
	if len(value) < pageBucket {
		return pagef(id, "bucket %q has %d bytes", name, len(value))
	}
	if root := binary.NativeEndian.Uint64(value); root != 0 {
		return f.tree(name, root, nil, nil, depth+1)
	}
	inline := value[pageBucket:]
	if len(inline) < pageHead || binary.NativeEndian.Uint16(inline[8:]) != pageIsLeaf {
		return pagef(id, "bucket %q has no page", name)
	}
	return f.leaf(name, id, inline, nil, nil, depth+1)
}
