// SPDX-License-Identifier: Apache-2.0

package datadir

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Starting is what a server that has the data directory does before it is ready: a node may
// wait for others, or fetch a view. It stands in starting.json for that time.
type Starting struct {
	PID   int       `json:"pid"`
	Since time.Time `json:"since"`
	// Said is what it has logged last, and At when; "" while that is nothing.
	Said string    `json:"said,omitempty"`
	At   time.Time `json:"at,omitzero"`
}

// SetStarting replaces starting.json, whole or not at all. A power cut may take it.
func (d *Dir) SetStarting(s Starting) error {
	text, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("starting: %w", err)
	}
	name := d.join(startingName)
	if err := os.WriteFile(name+".new", append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("starting: %w", err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		return fmt.Errorf("starting: %w", err)
	}
	return nil
}

// Started says that the server is ready.
func (d *Dir) Started() error { return d.remove(startingName) }

// ReadStarting reads what a server does that is starting in the data directory at path. The
// error is fs.ErrNotExist when none is.
func ReadStarting(path string) (Starting, error) {
	var s Starting
	text, err := os.ReadFile(filepath.Join(path, startingName))
	if err != nil {
		return s, fmt.Errorf("starting: %w", err)
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return s, fmt.Errorf("starting: %w", err)
	}
	if !held(filepath.Join(path, lockName)) {
		return s, fmt.Errorf("starting: what process %d has left: %w", s.PID, fs.ErrNotExist)
	}
	return s, nil
}

// held reports whether a process has the lock.
func held(name string) bool {
	f, err := os.Open(name)
	if err != nil {
		return false
	}
	defer f.Close() // gives the lock back, too
	return syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB) != nil
}
