// SPDX-License-Identifier: Apache-2.0

package drill

import (
	"context"
	"errors"
	"fmt"
	"time"

	"bavard/drill/await"
	"bavard/drill/powerfs"
)

// powerBytes is the size of the disk for each node; it takes as much memory as is used of it.
const powerBytes = 3 << 30

// Power lets people chat and put files on all nodes of a cell, or on a server alone if there is
// one node, whose power is cut at once, again and again: what was not synced is gone then, or a random
// part of it. At last it is cut at rest. It errs with powerfs.ErrCannotMount where no disk can be
// mounted whose power can be cut. cfg.Harm and cfg.DownMax are not used.
func Power(ctx context.Context, cfg CellConfig) (r *Report, err error) {
	cfg.defaults()
	disk, err := powerfs.Mount(cfg.Dir, int64(cfg.Nodes)*powerBytes)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, disk.Unmount()) }()
	cfg.Dir = disk.Path()
	d := &powered{disk: disk, celled: newCelled(cfg)}
	d.uploads = newUploading(d.killing)
	d.uploads.small()
	r, err = d.rehearse(ctx, d.disturb, d.atRest, d.stopAll)
	d.uploads.running.Wait() // it may have ended early
	r.Files = &d.uploads.found
	return r, err
}

// powered is a drill under way in which all nodes have one power supply.
type powered struct {
	*celled
	disk    *powerfs.Disk
	uploads *uploading
}

// survivals are the chances of what was not synced, cut by cut: nothing of it, half, most.
func survivals() []float64 { return []float64{0, 0.5, 0, 0.9} }

// disturb cuts the power after each while.
func (d *powered) disturb(ctx context.Context) error {
	d.disk.WriteBack() // the drill's own files: an operator made theirs long ago
	d.uploads.begin(ctx)
	return d.again(ctx, func(ctx context.Context, n int) error {
		survive := survivals()[n%len(survivals())]
		if d.cfg.NoFsync {
			survive = 0
		}
		if err := d.filesFlow(ctx); err != nil {
			return fmt.Errorf("before power cut %d: %w", n+1, err)
		}
		if err := d.cut(ctx, survive); err != nil {
			return fmt.Errorf("power cut %d: %w", n+1, err)
		}
		d.writeBack()
		return nil
	})
}

// filesFlow waits until a file is stored: it is what the next cut may take away.
func (d *powered) filesFlow(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	return await.Until(ctx, d.uploads.more(1))
}

// atRest cuts the power when all that was sent is settled, and looks at the files.
func (d *powered) atRest(ctx context.Context) error {
	d.uploads.running.Wait()
	if err := d.cut(ctx, 0); err != nil {
		return err
	}
	var dirs []string
	for _, n := range d.nodes {
		dirs = append(dirs, n.options.Data)
	}
	return d.uploads.lookAtFiles(ctx, dirs...)
}

// writeBack has nodes that sync nothing find what they had at this moment, as those of a
// system that writes back now and then. What they tick from now on is lost.
func (d *powered) writeBack() {
	if d.cfg.NoFsync {
		d.disk.WriteBack()
	}
}

// cut cuts the power of all nodes and starts them again; one time in four it is cut once more
// while they start.
func (d *powered) cut(ctx context.Context, survive float64) error {
	if err := d.blink(survive); err != nil {
		return err
	}
	if d.random.IntN(4) == 0 && !d.cfg.NoFsync {
		if err := pause(ctx, d.between(0, 2*time.Second)); err != nil {
			return err
		}
		if err := d.blink(survive); err != nil {
			return err
		}
	}
	return d.allAdmit(ctx, true)
}

// off stops all nodes at one moment, so that none goes on without the others.
func (d *powered) off(survive float64) error {
	for _, n := range d.nodes {
		select {
		case <-n.node.Exited():
			return fmt.Errorf("node %s ended by itself", n.name)
		default:
		}
		if err := n.node.Freeze(); err != nil {
			return fmt.Errorf("node %s: %w", n.name, err)
		}
	}
	d.harmed()
	for _, n := range d.nodes {
		n.node.Kill()
	}
	d.report.PowerCuts++
	return d.disk.Cut(survive, d.random)
}

// blink takes the power away and gives it back.
func (d *powered) blink(survive float64) error {
	if err := d.off(survive); err != nil {
		return err
	}
	return d.startAll()
}
