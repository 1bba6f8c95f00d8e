// SPDX-License-Identifier: Apache-2.0

package drill

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"bavard/drill/node"
)

// joinWithin bounds how long a node may take until it is in the cell and takes people: etcd takes a new
// member only once its own connections are 5 s old.
const joinWithin = 90 * time.Second

// Grow has people chat on one server, which becomes the first node of a cell of three by the commands that
// an operator types. All nodes are killed at the end.
func Grow(ctx context.Context, cfg CellConfig) (*Report, error) {
	cfg.Nodes = 3
	d := &growing{celled: newCelled(cfg)}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer d.end()
	err := d.beginAlone(ctx)
	if err == nil {
		err = d.carryOut(ctx, d.grow, d.restartAll, d.stopAll)
	}
	return d.reported(err)
}

// growing is a drill under way in which a server, nodes[0], becomes a cell.
type growing struct {
	*celled
	seats []node.Seat
}

// beginAlone is celled.begin, of one server, whose accounts are from a backup: no journal has them.
func (d *growing) beginAlone(ctx context.Context) (err error) {
	if d.seats, err = d.lay(); err != nil {
		return err
	}
	// It is not called a, so that another one gets the name by which a server alone calls itself.
	d.nodes[0], d.nodes[1] = d.nodes[1], d.nodes[0]
	d.places[0], d.places[1] = d.places[1], d.places[0]
	d.seats[0], d.seats[1] = d.seats[1], d.seats[0]
	d.devices = d.cast()
	first := d.nodes[0]
	before, backups := filepath.Join(d.cfg.Dir, "before"), filepath.Join(d.cfg.Dir, "backups")
	if err := node.Import(ctx, d.cfg.Binary, before, d.users()); err != nil {
		return err
	}
	if err := d.command(ctx, "backup", backups, "--data", before); err != nil {
		return err
	}
	if err := d.command(ctx, "restore", backups, "--data", first.options.Data); err != nil {
		return err
	}
	if err := first.start(); err != nil {
		return err
	}
	if err := d.admits(ctx, first, time.Now(), false); err != nil {
		return err
	}
	return d.group.open(ctx)
}

// grow makes a cell of the server while people chat.
func (d *growing) grow(ctx context.Context) error {
	first := d.nodes[0]
	if err := pause(ctx, d.cfg.UpMax); err != nil {
		return err
	}
	if err := node.Charter(ctx, d.cfg.Binary, d.cfg.Dir, d.seats, "--first", first.name, "--data", first.options.Data); err != nil {
		return err
	}
	if err := d.configure(d.seats); err != nil {
		return err
	}
	// The one restart that there has to be.
	d.harmed()
	if err := first.node.Stop(ctx); err != nil {
		return err
	}
	for i, n := range d.nodes {
		if err := d.enter(ctx, n, &d.seats[i]); err != nil {
			return fmt.Errorf("node %s: %w", n.name, err)
		}
		if err := pause(ctx, d.cfg.UpMin); err != nil {
			return err
		}
	}
	return d.alike(ctx)
}

// enter makes a node one of the cell and starts it, and waits until it takes people.
func (d *growing) enter(ctx context.Context, n *cellNode, seat *node.Seat) error {
	if err := seat.Join(ctx, d.cfg.Binary, d.cfg.Dir); err != nil {
		return err
	}
	started := time.Now()
	if err := n.restart(); err != nil {
		return err
	}
	ready, cancel := context.WithTimeout(ctx, joinWithin)
	defer cancel()
	if _, err := n.node.Ready(ready); err != nil {
		return err
	}
	return d.admits(ctx, n, started, false)
}
