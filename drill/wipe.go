// SPDX-License-Identifier: Apache-2.0

package drill

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// loss is what a node is started without.
type loss uint8

// Kinds of loss; each comes in turn.
const (
	// lossJournal is all that the node had acknowledged, lossEnd the last of it, as by a
	// disk that has lost what it said was synced.
	lossJournal loss = iota
	lossEnd
	lossView
	// lossDisk is the whole data directory: the node is made again from its bundle.
	lossDisk
	losses
)

// rejoinWithin bounds how long a node may take until it takes part again.
const rejoinWithin = 2 * time.Minute

// wipeOne kills a node, takes data of its away and starts it; one in three is killed once
// more while it comes back.
func (d *celled) wipeOne(ctx context.Context, n *cellNode, what loss) error {
	d.kill(n)
	if err := pause(ctx, d.between(0, d.cfg.DownMax)); err != nil {
		return err
	}
	if err := d.take(ctx, n, what); err != nil {
		return fmt.Errorf("take data of node %s away: %w", n.name, err)
	}
	d.report.Wipes++
	ctx, cancel := context.WithTimeout(ctx, rejoinWithin)
	defer cancel()
	started := time.Now()
	if err := n.restart(); err != nil {
		return err
	}
	if d.random.IntN(3) == 0 {
		if err := pause(ctx, d.between(0, 4*time.Second)); err != nil {
			return err
		}
		d.kill(n)
		if err := n.restart(); err != nil {
			return err
		}
	}
	if _, err := n.node.Ready(ctx); err != nil {
		return fmt.Errorf("node %s: %w", n.name, err)
	}
	return d.admits(ctx, n, started, true)
}

// restart starts a node that was killed, and removes what it has left that says where it
// listens, so that one can wait for it.
func (n *cellNode) restart() error {
	if err := os.RemoveAll(filepath.Join(n.options.Data, "addresses.json")); err != nil {
		return err
	}
	return n.start()
}

// take removes what is lost from the data directory of a node that does not run.
func (d *celled) take(ctx context.Context, n *cellNode, what loss) error {
	data := n.options.Data
	switch what {
	case lossJournal:
		return os.RemoveAll(filepath.Join(data, "journal"))
	case lossEnd:
		return cutEnd(filepath.Join(data, "journal", "etcd", "member", "wal"))
	case lossView:
		return os.RemoveAll(filepath.Join(data, "view"))
	}
	if err := os.RemoveAll(data); err != nil {
		return err
	}
	return d.command(ctx, "cell", "join", "--again", n.bundle, "--data", data)
}

// cutEnd overwrites the newer half of what is in the newest file of a log with zeros, from
// the beginning of a sector on.
func cutEnd(dir string) error {
	const sector = 512
	files, err := filepath.Glob(filepath.Join(dir, "*.wal"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("there is no log in %s: %v", dir, err)
	}
	slices.Sort(files)
	path := files[len(files)-1]
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	used := len(bytes.TrimRight(text, "\x00"))
	clear(text[used/2/sector*sector : used])
	return os.WriteFile(path, text, 0o600)
}
