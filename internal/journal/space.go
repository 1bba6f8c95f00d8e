// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"golang.org/x/sys/unix"
)

const (
	// spaceEvery is how often free space is looked at. With the largest stream of
	// batches, what is written in between is a small part of Options.MinFree.
	spaceEvery = 250 * time.Millisecond
	// freeUpTimeout bounds that work.
	freeUpTimeout = time.Minute
)

// space remembers what is known about room for more.
type space struct {
	mu      sync.Mutex
	noSpace bool   // etcd is at its quota, or was until its alarm is cleared
	reason  string // why Submit is refused; "" if it is not
}

// refused notes that etcd turned a batch down.
func (s *space) refused() {
	s.mu.Lock()
	s.noSpace = true
	s.mu.Unlock()
}

func (s *space) short() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.noSpace
}

func (s *space) why() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reason
}

func (s *space) made() {
	s.mu.Lock()
	s.noSpace = false
	s.mu.Unlock()
}

// MakeRoom is Journal.MakeRoom.
func (j *etcdJournal) MakeRoom() bool {
	given := j.reserve.giveUp()
	if given {
		j.log.Error("journal: the disk is full, the reserve is given up", "file", j.reserve.path, "mib", j.reserve.size>>20)
	}
	return given
}

// prepareDisk gives a reserve up before etcd is opened on a disk that is short of
// room: the one of a start only if the other is gone.
func (j *etcdJournal) prepareDisk() {
	j.reserve = newReserve(j.opts.Dir, reserveFile, j.opts.MinFree)
	j.last = newReserve(j.opts.Dir, lastReserveFile, j.opts.MinFree)
	if free, err := j.opts.free(j.opts.Dir); err != nil || free >= j.opts.MinFree {
		return
	}
	j.holding.sparse = j.opts.Peers == nil && j.opts.Remote == nil && j.opts.Again != nil
	if !j.MakeRoom() && j.last.giveUp() {
		j.log.Error("journal: the disk is full, the reserve for starts is given up", "file", j.last.path, "mib", j.last.size>>20)
	}
}

// freeBytes is what an unprivileged process may still write to dir's disk.
func freeBytes(dir string) (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return uint64(st.Bavail) * uint64(st.Bsize), nil
}

// watchSpace refuses commands before a disk is full: etcd ends the process when
// it cannot write. Without commands nothing but what is under way is written.
func (j *etcdJournal) watchSpace() {
	tick := time.NewTicker(spaceEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			j.checkSpace()
		case <-j.ctx.Done():
			return
		}
	}
}

// checkSpace sets what Submit answers.
func (j *etcdJournal) checkSpace() {
	reason := ""
	if own, _ := j.host.atQuota(); own || j.space.short() {
		ctx, cancel := context.WithTimeout(j.ctx, freeUpTimeout)
		err := j.freeUp(ctx)
		cancel()
		if err == nil {
			j.space.made()
		} else {
			reason = fmt.Sprintf("etcd's database is at its quota: %v", err)
		}
	}
	before := j.space.why()
	if short := j.shortage(before != ""); short != "" {
		reason = short
	} else if j.holding.sparse {
		j.startAgain()
	}
	if held := j.heldFor(); held != "" {
		reason = held
	}
	j.space.mu.Lock()
	j.space.reason = reason
	j.space.mu.Unlock()
	switch {
	case reason == "" && before != "":
		j.log.Info("journal: takes commands again")
		j.appender.setRefusal(nil)
	case reason != "" && before == "":
		j.log.Error("journal: takes no commands until there is room", "cause", reason)
		j.appender.setRefusal(fmt.Errorf("%w: %s", ErrFull, reason))
	}
}

// shortage says what is short: disks or spool.
func (j *etcdJournal) shortage(refusing bool) string {
	if short := j.diskShortage(refusing); short != "" {
		return short
	}
	if t := j.currentTailer(); t != nil {
		if n := t.spool.bytes(); n > j.opts.MaxSpool {
			return fmt.Sprintf("the view is %d MiB behind", n>>20)
		}
	}
	return ""
}

// diskShortage says which disk is short of room. After a refusal an eighth more
// must be free, so that it does not come and go with each file.
func (j *etcdJournal) diskShortage(refusing bool) string {
	least := j.opts.MinFree
	if refusing {
		least += least / 8
	}
	for _, dir := range []string{j.opts.Dir, j.opts.SpoolDir} {
		free, err := j.opts.free(dir)
		if err != nil {
			return fmt.Sprintf("free space of %s is unknown: %v", dir, err)
		}
		if free < least {
			return fmt.Sprintf("%d MiB free on the disk of %s, %d MiB are needed", free>>20, dir, least>>20)
		}
		if dir != j.opts.Dir {
			continue
		}
		if err := errors.Join(j.last.take(free, least), j.reserve.take(free, least)); err != nil {
			j.log.Warn("journal: no room is kept in reserve", "error", err)
		}
	}
	return ""
}

// freeUp compacts what is released, defragments, and only then disarms the
// alarm, which would come back with the next batch otherwise.
func (j *etcdJournal) freeUp(ctx context.Context) error {
	released := j.window.releasedTo()
	cell, err := j.agreed(ctx, nodeState{released, released})
	if err != nil {
		return fmt.Errorf("compacting: %w", err)
	}
	if cell.spooled > 0 {
		if err := j.compact(ctx, cell.spooled, true); err != nil {
			return fmt.Errorf("compacting: %w", err)
		}
	}
	if err := j.host.defragment(ctx); err != nil {
		return fmt.Errorf("defragmenting: %w", err)
	}
	if err := j.host.disarm(ctx); err != nil {
		return fmt.Errorf("disarming: %w", err)
	}
	return nil
}

// clearAlarm deals at start with the alarms that are stored with the data.
func (j *etcdJournal) clearAlarm(ctx context.Context) error {
	resp, err := atStart(ctx, j.client.AlarmList)
	if err != nil {
		return fmt.Errorf("journal: alarms: %w", err)
	}
	for _, a := range resp.Alarms {
		switch a.Alarm {
		case etcdserverpb.AlarmType_CORRUPT:
			return damagef(0, "etcd has raised its alarm of corruption")
		case etcdserverpb.AlarmType_NOSPACE:
			j.log.Warn("journal: etcd's database was at its quota, making space")
			if err := j.freeUp(ctx); err != nil {
				return j.widen(ctx, err)
			}
		}
	}
	return nil
}

// quotaStep is by how much the quota grows for one run that could not start
// otherwise: what fills it is released by the view, which the start opens.
const quotaStep = 64 << 20

// widen starts an etcd of ours again with a larger quota.
func (j *etcdJournal) widen(ctx context.Context, cause error) error {
	if j.opts.Remote != nil {
		return fmt.Errorf("%w: %w", ErrFull, cause)
	}
	j.log.Warn("journal: no space can be made yet, the quota is raised for this run", "cause", cause, "mib", (j.opts.Quota+quotaStep)>>20)
	if err := j.leave(); err != nil {
		return err
	}
	j.host = nil
	if err := j.start(ctx, j.opts.Quota+quotaStep); err != nil {
		return err
	}
	if err := j.host.disarm(ctx); err != nil {
		return fmt.Errorf("journal: disarming: %w", err)
	}
	return nil
}

// DirSize gives the bytes of the files under a directory, 0 if it is not there.
func DirSize(dir string) (bytes uint64, err error) {
	err = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err == nil {
			bytes += uint64(info.Size())
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return bytes, err
}
