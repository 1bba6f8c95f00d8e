// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// The runtime keeps what a storm of logins has made it take, as long as no
// collection comes: up to twice of what is in use. When little is allocated any
// more, so that it would stay, it is given back to the system. With 10,000 idle
// sessions that is a third of the process's memory (docs/operations.md).
const (
	trimEvery = 15 * time.Second
	// trimLeast is worth a collection, in bytes.
	trimLeast = 16 << 20
)

// usage of memory, in bytes.
type usage struct {
	allocated uint64 // since the process began
	objects   uint64 // on the heap, garbage included
	live      uint64 // of these, at the last collection
	free      uint64 // of the heap, and not given back to the system
}

func readUsage() usage {
	s := []metrics.Sample{
		{Name: "/gc/heap/allocs:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
	}
	metrics.Read(s)
	return usage{s[0].Value.Uint64(), s[1].Value.Uint64(), s[2].Value.Uint64(), s[3].Value.Uint64()}
}

// idle is what could be given back.
func (u usage) idle() uint64 { return u.free + u.objects - min(u.live, u.objects) }

// trimDue tells whether it is worth to give back what is idle: it is much, next
// to what is in use, and at the pace of now it would not be used again soon.
func trimDue(before, now usage) bool {
	idle := now.idle()
	return idle >= max(trimLeast, now.live/8) && now.allocated-before.allocated <= idle/4
}

// trim gives memory back to the system while the server is quiet.
func (s *server) trim(ctx context.Context) {
	tick := time.NewTicker(trimEvery)
	defer tick.Stop()
	before := readUsage()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			now := readUsage()
			if trimDue(before, now) {
				debug.FreeOSMemory()
				s.log.Debug("gave memory back to the system", "idle_bytes", now.idle(), "live_bytes", now.live)
				now = readUsage()
			}
			before = now
		}
	}
}
