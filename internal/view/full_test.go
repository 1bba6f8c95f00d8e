// SPDX-License-Identifier: Apache-2.0

package view

import (
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// fullFS is a disk that a test fills to the last byte.
type fullFS struct {
	vfs.FS
	full *atomic.Bool
}

func (f fullFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if f.full.Load() {
		return nil, syscall.ENOSPC
	}
	file, err := f.FS.Create(name, c)
	return fullFile{file, f.full}, err
}

func (f fullFS) GetDiskUsage(string) (vfs.DiskUsage, error) {
	if f.full.Load() {
		return vfs.DiskUsage{}, nil
	}
	return vfs.DiskUsage{AvailBytes: 1 << 40}, nil
}

type fullFile struct {
	vfs.File
	full *atomic.Bool
}

func (f fullFile) Write(p []byte) (int, error) {
	if f.full.Load() {
		return 0, syscall.ENOSPC
	}
	return f.File.Write(p)
}

// TestFullDisk: what is given up may be taken by others at once; then writes wait
// until there is room, nothing ends, and reading goes on.
func TestFullDisk(t *testing.T) {
	var full atomic.Bool
	asked := make(chan struct{}, 64)
	c := &cellOf{t: t, now: start, v: openView(t, fullFS{vfs.NewMem(), &full}, Options{OnDiskFull: func() bool {
		asked <- struct{}{}
		return true
	}})}
	c.accept(cellInit())
	c.accept(create("ann"))
	full.Store(true)
	flushed := make(chan error, 1)
	go func() { flushed <- c.v.Flush() }()
	<-asked
	if _, err := c.v.Account("ann@" + domain); err != nil {
		t.Error(err)
	}
	select {
	case err := <-flushed:
		t.Errorf("flushed on a full disk: %v", err)
	default:
	}
	full.Store(false)
	if err := <-flushed; err != nil {
		t.Error(err)
	}
	if d, err := c.v.Durable(); err != nil || d != c.v.Applied() {
		t.Errorf("durable %v, applied %v: %v", d, c.v.Applied(), err)
	}
}
