// SPDX-License-Identifier: Apache-2.0

package drill

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"bavard/drill/await"
	"bavard/drill/node"
)

// joinWithin bounds how long a node may take until it is in the cell and takes people: etcd takes a new
// member only once its own connections are 5 s old.
const joinWithin = 90 * time.Second

// removeWithin bounds how long a command may take that takes a node out, and how long that may take to end.
const removeWithin = 60 * time.Second

// Grow has people chat on one server, which becomes the first node of a cell of three by the commands that
// an operator types; then two are taken out again, that one last. The one that is left is killed at the end.
func Grow(ctx context.Context, cfg CellConfig) (*Report, error) {
	cfg.Nodes = 3
	d := &growing{celled: newCelled(cfg)}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer d.end()
	err := d.beginAlone(ctx)
	if err == nil {
		err = d.carryOut(ctx, d.disturb, d.restartLast, func(ctx context.Context) error { return d.last().node.Stop(ctx) })
	}
	return d.reported(err)
}

// growing is a drill under way in which a server, nodes[0], becomes a cell, and is left by what it had.
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

func (d *growing) last() *cellNode { return d.nodes[2] }

func (d *growing) disturb(ctx context.Context) error {
	if err := d.grow(ctx); err != nil {
		return fmt.Errorf("one becomes three: %w", err)
	}
	if err := d.shrink(ctx); err != nil {
		return fmt.Errorf("three become one: %w", err)
	}
	d.rest = []place{d.places[2]}
	return pause(ctx, d.cfg.UpMin)
}

// shrink takes two nodes out of the cell while people chat: one that does not run, and one that does.
func (d *growing) shrink(ctx context.Context) error {
	first, other := d.nodes[0], d.nodes[1]
	d.kill(other)
	ctx, cancel := context.WithTimeout(ctx, 4*removeWithin)
	defer cancel()
	if err := await.Until(ctx, func(ctx context.Context) error { return d.away(ctx, other) }); err != nil {
		return err
	}
	switch err := d.remove(ctx, first); {
	case err == nil:
		return errors.New("a node was taken out although those that are left were no majority")
	case !strings.Contains(err.Error(), "majority"):
		return err
	}
	if err := d.remove(ctx, other); err != nil {
		return err
	}
	if err := other.start(); err != nil {
		return err
	}
	if err := d.endsRemoved(ctx, other); err != nil {
		return err
	}
	d.harmed()
	if err := d.remove(ctx, first); err != nil {
		return err
	}
	if err := d.remove(ctx, first); err != nil {
		return fmt.Errorf("a second time: %w", err)
	}
	if err := d.endsRemoved(ctx, first); err != nil {
		return err
	}
	if err := first.start(); err != nil {
		return err
	}
	return d.endsRemoved(ctx, first)
}

// away errs while the last node reaches another one.
func (d *growing) away(ctx context.Context, n *cellNode) error {
	status, err := d.status(ctx, d.last())
	if err != nil {
		return err
	}
	for _, o := range status.Journal.Others {
		if o.Node == n.name && !o.Reached {
			return nil
		}
	}
	return fmt.Errorf("node %s is still reached: %+v", n.name, status.Journal)
}

func (d *growing) remove(ctx context.Context, n *cellNode) error {
	ctx, cancel := context.WithTimeout(ctx, removeWithin)
	defer cancel()
	return d.command(ctx, "cell", "remove", n.name, "--data", d.last().options.Data)
}

// endsRemoved waits until a node that is not in the cell any more has ended by itself, and errs unless it says why.
func (d *growing) endsRemoved(ctx context.Context, n *cellNode) error {
	n.removed = true
	ctx, cancel := context.WithTimeout(ctx, removeWithin)
	defer cancel()
	err := n.node.Ended(ctx)
	if err == nil || ctx.Err() != nil || !strings.Contains(n.tail.String(), "was removed from the cell: by") {
		return fmt.Errorf("node %s was taken out, and it did not say so and end: %w", n.name, err)
	}
	return nil
}

// restartLast kills the node that is left and starts it again.
func (d *growing) restartLast(ctx context.Context) error {
	last := d.last()
	d.kill(last)
	started := time.Now()
	if err := last.restart(); err != nil {
		return err
	}
	return d.admits(ctx, last, started, false)
}
