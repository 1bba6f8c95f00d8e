// SPDX-License-Identifier: Apache-2.0

package drill

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"bavard/drill/powerfs"
)

// diskFault is what is the matter with the disk of a node.
type diskFault uint8

// Kinds of faults; each comes in turn.
const (
	// diskSlow: each write and each sync takes 300 ms.
	diskSlow diskFault = iota
	// diskBroken: it answers everything with an error.
	diskBroken
	// diskHangs: it writes nothing, and answers when it is well again.
	diskHangs
	// diskFull: it has no room.
	diskFull
	diskFaults
)

func (f diskFault) String() string {
	return [...]string{"slow", "broken", "hangs", "full"}[f]
}

func (f diskFault) fault() powerfs.Fault {
	switch f {
	case diskSlow:
		return powerfs.Fault{Delay: 300 * time.Millisecond}
	case diskBroken:
		return powerfs.Fault{Broken: true}
	case diskHangs:
		return powerfs.Fault{Delay: 24 * time.Hour}
	default:
		return powerfs.Fault{Full: true}
	}
}

// Disk lets people chat on all nodes of a cell, each of which has a disk of its own, and has something be
// the matter with the disk of one of them, again and again: it is slow, it answers with errors, it hangs,
// it is full. A node that ends by itself is started again, as by a supervisor, and has to take people
// within a minute of the end of it. It errs with powerfs.ErrCannotMount where no such disk can be mounted.
// cfg.Harm is not used.
func Disk(ctx context.Context, cfg CellConfig) (r *Report, err error) {
	d := &ailing{supervised: &supervised{newCelled(cfg)}, disks: map[string]*powerfs.Disk{}}
	defer func() {
		for _, disk := range d.disks {
			err = errors.Join(err, disk.Unmount())
		}
	}()
	for i := range d.cfg.Nodes {
		name := string(rune('a' + i))
		dir := filepath.Join(d.cfg.Dir, "disk-"+name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			return nil, err
		}
		disk, err := powerfs.Mount(dir, powerBytes)
		if err != nil {
			return nil, err
		}
		d.disks[name] = disk
	}
	d.data = func(node string) string { return filepath.Join(d.disks[node].Path(), "data") }
	return d.rehearse(ctx, d.disturb, d.restartSupervised, d.stopSupervised)
}

// ailing is a drill under way in which disks have faults.
type ailing struct {
	*supervised
	disks map[string]*powerfs.Disk
}

// disturb begins the supervision of the nodes, and has a disk fail after each while.
func (d *ailing) disturb(ctx context.Context) error {
	d.supervisor = supervise(ctx, d.nodes)
	return d.again(ctx, func(ctx context.Context, n int) error {
		return d.failOne(ctx, d.nodes[d.random.IntN(len(d.nodes))], diskFault(n%int(diskFaults)))
	})
}

// failOne has something be the matter with the disk of a node for a while.
func (d *ailing) failOne(ctx context.Context, n *cellNode, f diskFault) error {
	disk := d.disks[n.name]
	disk.Fail(f.fault())
	defer disk.Heal() // before anything is ended: what hangs in the disk cannot be killed
	d.report.DiskFaults++
	d.harmed()
	d.cfg.Logger.Info("disk", "node", n.name, "is", f)
	if err := pause(ctx, d.between(d.cfg.DownMax/4, d.cfg.DownMax)); err != nil {
		return err
	}
	disk.Heal()
	if err := d.admitsAtLast(ctx, n, time.Now()); err != nil {
		return fmt.Errorf("a disk that was %s: %w", f, err)
	}
	return nil
}
