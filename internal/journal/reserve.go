// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"go.etcd.io/etcd/client/pkg/v3/fileutil"
)

const (
	// reserveFile takes up room on the disk that can be given up.
	reserveFile = "reserve"
	// lastReserveFile is given up at a start that finds the other one gone: whoever
	// fills the disk may have taken what a running server gave up.
	lastReserveFile = "reserve-start"
	// reserveBytes is the size of each, less if a quarter of Options.MinFree is less:
	// an etcd and a view need some tens of MiB to be opened.
	reserveBytes = 48 << 20
)

// reserve is room on the disk that others cannot take: a file that is given up
// when the disk is full all the same, so that etcd and the view can be opened,
// or what they have under way be written. It comes back when there is room.
type reserve struct {
	path string
	size int64

	mu   sync.Mutex
	held bool
}

func newReserve(dir, file string, minFree uint64) *reserve {
	r := &reserve{path: filepath.Join(dir, file), size: min(reserveBytes, int64(min(minFree, 1<<40)/4))}
	info, err := os.Lstat(r.path)
	r.held = err == nil && info.Size() > 0
	return r
}

// giveUp reports whether there was something to give up.
func (r *reserve) giveUp() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.held {
		return false
	}
	if err := os.Remove(r.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	r.held = false
	return true
}

// take makes the file anew when free bytes, those that must be left and a
// quarter of them more are there without it.
func (r *reserve) take(free, least uint64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held || r.size < 1<<20 || free < least+least/4+uint64(r.size) {
		return nil
	}
	f, err := os.OpenFile(r.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("journal: reserve: %w", err)
	}
	if err := errors.Join(fileutil.Preallocate(f, r.size, true), f.Close()); err != nil {
		return errors.Join(fmt.Errorf("journal: reserve: %w", err), os.Remove(r.path))
	}
	r.held = true
	return nil
}
