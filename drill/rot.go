// SPDX-License-Identifier: Apache-2.0

package drill

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Rot lets people chat on all nodes of a cell, and damages a file of the journal or the view of one of
// them, again and again: bits are flipped, or its end or all of it is gone. One time in three the node
// runs meanwhile. It is killed and started again, and has to take people within a minute. A
// node that ends by itself is started again, as by a supervisor. It is one disk that rots: some of its files, before it is
// another node's turn, once that one has found, by its scrub, nothing more. cfg.Harm and cfg.DownMax are not used.
func Rot(ctx context.Context, cfg CellConfig) (*Report, error) {
	d := &rotting{supervised: &supervised{newCelled(cfg)}}
	return d.rehearse(ctx, d.disturb, d.restartSupervised, d.stopSupervised)
}

// rotting is a drill under way in which disks rot.
type rotting struct {
	*supervised
	bad  *cellNode // whose disk rots
	left int       // so many more of its files
}

const (
	// rotMost is how many files of a node are damaged at most before it is another one's turn.
	rotMost = 50
	// scrubbedWithin bounds how long a node may take to have read all that it has.
	scrubbedWithin = 3 * time.Minute
)

// disturb begins the supervision of the nodes, and damages something after each while.
func (d *rotting) disturb(ctx context.Context) error {
	d.supervisor = supervise(ctx, d.nodes)
	return d.again(ctx, func(ctx context.Context, _ int) error {
		if d.left == 0 {
			if err := d.scrubbed(ctx); err != nil {
				return err
			}
			d.bad, d.left = d.nodes[d.random.IntN(len(d.nodes))], 1+d.random.IntN(rotMost)
		}
		d.left--
		return d.rotOne(ctx, d.bad)
	})
}

// scrubbed waits until the node whose disk rotted has read all that it has since its start, and found nothing: what nobody
// has read yet may be damaged, and then no other node's may be, or nobody has it.
func (d *rotting) scrubbed(ctx context.Context) error {
	if d.bad == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, scrubbedWithin)
	defer cancel()
	return d.bad.shows(ctx, func(page string) error {
		if passes, found := gauge(page, "bavard_scrub_passes_total"), gauge(page, "bavard_scrub_damaged_total"); passes < 1 || found > 0 {
			return fmt.Errorf("it was read through %d times, damage was found %d times", passes, found)
		}
		return nil
	})
}

// rotOne damages a file of a node that has been killed, or will be in a moment.
func (d *rotting) rotOne(ctx context.Context, n *cellNode) error {
	live := d.random.IntN(3) == 0
	started, what, err := d.damageAndStart(ctx, n, live)
	if err != nil {
		return fmt.Errorf("damage node %s: %w", n.name, err)
	}
	d.report.Rots++
	d.cfg.Logger.Info("damaged", "node", n.name, "running", live, "what", what)
	if err := d.admitsAtLast(ctx, n, started); err != nil {
		return fmt.Errorf("%s; while it ran: %t: %w", what, live, err)
	}
	return nil
}

func (d *rotting) damageAndStart(ctx context.Context, n *cellNode, live bool) (started time.Time, what string, err error) {
	n.starting.Lock() // so that nobody else starts it
	defer n.starting.Unlock()
	if live {
		what, err = d.damage(n.options.Data)
		err = errors.Join(err, pause(ctx, d.between(0, time.Second)))
	}
	d.kill(n)
	if !live {
		what, err = d.damage(n.options.Data)
	}
	if err != nil {
		return started, what, err
	}
	return time.Now(), what, n.start()
}

// rotGroups are the files of a node that rot, a group as often as another one; the view's are many.
func rotGroups() []string {
	return []string{"journal/etcd/member/wal/*.wal", "journal/etcd/member/snap/db", "journal/etcd/member/snap/*.snap", "journal/owner", "spool/*", "view/db/*"}
}

// damage does something to a random file of a data directory.
func (d *rotting) damage(data string) (what string, err error) {
	groups := rotGroups()
	var paths []string
	for len(paths) == 0 { // there is always a log
		all, err := filepath.Glob(filepath.Join(data, groups[d.random.IntN(len(groups))]))
		if err != nil {
			return "", err
		}
		for _, path := range all {
			if info, err := os.Lstat(path); err == nil && info.Mode().IsRegular() && info.Size() > 0 {
				paths = append(paths, path)
			}
		}
	}
	path := paths[d.random.IntN(len(paths))]
	text, err := os.ReadFile(path)
	if err == nil {
		what, err = d.damageFile(path, text)
	}
	if errors.Is(err, fs.ErrNotExist) { // a node that runs has removed it
		err = nil
	}
	return what, err
}

// damageFile does something to a file with this content.
func (d *rotting) damageFile(path string, text []byte) (what string, err error) {
	used := max(len(bytes.TrimRight(text, "\x00")), 1) // etcd makes its files larger than they need be
	name := filepath.Base(path)
	switch kind := d.random.IntN(4); kind {
	case 0:
		return name + " deleted", os.Remove(path)
	case 1:
		size := d.random.IntN(used)
		return fmt.Sprintf("%s cut from %d to %d bytes", name, used, size), os.Truncate(path, int64(size))
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return "", err
	}
	bits := 1 + d.random.IntN(64)
	for range bits {
		at := d.random.IntN(used)
		text[at] ^= 1 << d.random.IntN(8)
		if _, err = f.WriteAt(text[at:at+1], int64(at)); err != nil {
			break
		}
	}
	return fmt.Sprintf("%s: %d bits flipped of %d bytes", name, bits, used), errors.Join(err, f.Close())
}
