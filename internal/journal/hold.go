// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"syscall"
	"time"

	"go.uber.org/zap/zapcore"
)

// againWithin is how long Options.Again may take to end the process.
const againWithin = 30 * time.Second

// holding is an etcd that wanted to end the process because the disk is full.
// Going on is not safe for it, but reading is: what was answered has been applied
// to the view. So the goroutine that failed stays where it is until there is room,
// and then the process starts anew.
type holding struct {
	// sparse: this run writes no snapshot of etcd, because there was no room for
	// one when it began. It is not to last: without snapshots the log grows.
	sparse bool
	held   atomic.Bool
}

// holdUp is called where etcd would end the process. It returns when that is to
// happen after all: when something else is wrong than want of room, when other
// nodes go on without this one, or when nobody starts the process anew.
func (j *etcdJournal) holdUp(cause string, fields []zapcore.Field) {
	if j.opts.Peers != nil || j.opts.Again == nil || !j.holding.held.Load() && !j.lacksRoom(fields) {
		return
	}
	if !j.holding.held.Swap(true) {
		j.log.Error("journal: etcd cannot write on the full disk; what was acknowledged is safe, reading goes on, "+
			"and the server starts anew when there is room", append(attrs(fields), "cause", cause)...)
	}
	tick := time.NewTicker(spaceEvery)
	defer tick.Stop()
	for j.diskShortage(true) != "" {
		select {
		case <-tick.C:
		case <-j.ctx.Done():
			select {} // the process is being stopped, and etcd is not to go on
		}
	}
	j.startAgain() // once
	select {
	case <-time.After(againWithin):
	case <-j.ctx.Done():
		select {}
	}
}

// lacksRoom tells a full disk from other reasons for which etcd cannot go on.
func (j *etcdJournal) lacksRoom(fields []zapcore.Field) bool {
	for _, f := range fields {
		if err, ok := f.Interface.(error); ok && errors.Is(err, syscall.ENOSPC) {
			return true
		}
	}
	for _, dir := range []string{j.opts.Dir, j.opts.SpoolDir} {
		if free, err := j.opts.free(dir); err == nil && free < j.opts.MinFree {
			return true
		}
	}
	return false
}

// heldFor is why nothing is taken while etcd is held; "" if it is not.
func (j *etcdJournal) heldFor() string {
	if !j.holding.held.Load() {
		return ""
	}
	return fmt.Sprintf("etcd could not write on the full disk of %s; the server starts anew when there is room", j.opts.Dir)
}

// startAgain asks for a process without what this one cannot get rid of.
func (j *etcdJournal) startAgain() {
	j.again.Do(func() {
		j.log.Warn("journal: there is room again, the server starts anew")
		j.opts.Again()
	})
}

// snapshots gives the number of entries after which etcd writes one: none in a
// run that begins alone on a full disk, where the attempt would end it.
func (j *etcdJournal) snapshots() uint64 {
	if j.holding.sparse {
		return math.MaxUint64 >> 1
	}
	return snapshotCount
}
