// SPDX-License-Identifier: Apache-2.0

package powerfs

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Fault is what is the matter with a disk.
type Fault struct {
	// Delay of each write and each sync; one that is longer than the fault ends with it.
	Delay time.Duration
	// Full: there is no room for anything. Broken: everything fails that it is asked for, with EIO. What
	// was written and not synced is still there afterwards.
	Full, Broken bool
}

// request is what a disk is asked for.
type request uint8

const (
	reads   request = iota
	removes         // needs no room
	writes          // content, and names
	syncs
)

// fault is a Fault until it is healed.
type fault struct {
	Fault
	healed  chan struct{}
	waiting atomic.Int32 // requests that it has wait
}

// setFault puts a fault in the place of the one that there is; nil heals.
func (s *store) setFault(f *Fault) {
	var next *fault
	if f != nil {
		next = &fault{Fault: *f, healed: make(chan struct{})}
	}
	if was := s.fault.Swap(next); was != nil {
		close(was.healed)
	}
}

// fails waits as long as a fault has a request wait, and says how it fails; 0: it does not. The store
// must not be locked.
func (s *store) fails(r request) unix.Errno {
	f := s.fault.Load()
	if f == nil {
		return 0
	}
	if f.Delay > 0 && (r == writes || r == syncs) {
		f.waiting.Add(1)
		defer f.waiting.Add(-1)
		timer := time.NewTimer(f.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-f.healed:
			return 0
		}
	}
	switch {
	case f.Broken:
		return unix.EIO
	case f.Full && r == writes:
		return unix.ENOSPC
	}
	return 0
}

// full reports whether a fault leaves no room.
func (s *store) full() bool {
	f := s.fault.Load()
	return f != nil && f.Full
}
