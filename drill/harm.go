// SPDX-License-Identifier: Apache-2.0

package drill

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"bavard/drill/await"
	"bavard/drill/node"
)

// killMinority kills as many nodes as the cell can lose: one of three, two of five, three of seven; where
// none can be lost, one. If they are several, what is sent meanwhile has to be ticked before they are
// started again, all at once.
func (d *celled) killMinority(ctx context.Context) error {
	var hit []*cellNode
	for _, i := range d.random.Perm(len(d.nodes))[:max(1, (len(d.nodes)-1)/2)] {
		hit = append(hit, d.nodes[i])
	}
	for _, n := range hit {
		select {
		case <-n.node.Exited():
			return fmt.Errorf("node %s ended by itself", n.name)
		default:
		}
		d.kill(n)
	}
	if len(hit) > 1 {
		if err := d.goesOn(ctx); err != nil {
			return fmt.Errorf("with %d of %d nodes down: %w", len(hit), len(d.nodes), err)
		}
	}
	if err := pause(ctx, d.between(0, d.cfg.DownMax)); err != nil {
		return err
	}
	started := time.Now()
	for _, n := range hit {
		if err := n.start(); err != nil {
			return err
		}
	}
	for _, n := range hit {
		if err := d.admits(ctx, n, started, true); err != nil {
			return err
		}
	}
	return nil
}

// goesOn waits until a message is ticked that was sent since the last kill.
func (d *celled) goesOn(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	return await.UntilEvery(ctx, 10*time.Millisecond, func(context.Context) error {
		d.mu.Lock()
		defer d.mu.Unlock()
		if !d.killedAt.IsZero() {
			return errors.New("nothing that was sent since is ticked")
		}
		return nil
	})
}

// freezeOne stops a node for a while that then goes on where it was: it does not
// know that the others have gone on without it. A long while is as long as there may be one.
func (d *celled) freezeOne(ctx context.Context, n *cellNode, long bool) error {
	if err := n.node.Freeze(); err != nil {
		return fmt.Errorf("freeze node %s: %w", n.name, err)
	}
	d.report.Freezes++
	d.harmed()
	frozen := d.between(d.cfg.DownMax/10, d.cfg.DownMax)
	if long {
		frozen = d.cfg.DownMax
	}
	err := pause(ctx, frozen)
	if err := errors.Join(err, n.node.Thaw()); err != nil {
		return fmt.Errorf("thaw node %s: %w", n.name, err)
	}
	return d.admits(ctx, n, time.Now(), false)
}

// rollOne ends a node as an operator does, and has it go on with that program.
func (d *celled) rollOne(ctx context.Context, n *cellNode, drain bool, program string) error {
	d.report.Rolls++
	stopping, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if drain {
		d.report.Drains++
		if err := d.command(stopping, "drain", "--within", drainWithin.String(), "--data", n.options.Data); err != nil {
			return fmt.Errorf("node %s: %w", n.name, err)
		}
		if err := n.node.Ended(stopping); err != nil {
			return fmt.Errorf("drain node %s: %w", n.name, err)
		}
	} else {
		d.harmed()
		if err := n.node.Stop(stopping); err != nil {
			return fmt.Errorf("end node %s: %w", n.name, err)
		}
	}
	if err := pause(ctx, d.between(0, d.cfg.DownMax)); err != nil {
		return err
	}
	if err := d.misconfigure(ctx, n); err != nil {
		return fmt.Errorf("node %s: %w", n.name, err)
	}
	if n.options.Binary != program {
		n.options.Binary = program
		if program == d.cfg.Older {
			d.report.Downgrades++
		} else {
			d.report.Upgrades++
		}
	}
	started := time.Now()
	if err := n.start(); err != nil {
		return err
	}
	return d.admits(ctx, n, started, true)
}

// next is the program with which a node goes on that is rolled: the other version's. One of them keeps the older one:
// the level of a cell rises of which all nodes know a higher one, and the older version cannot take part any more.
func (d *celled) next(n *cellNode) string {
	if d.cfg.Older == "" || n.options.Binary != d.cfg.Older {
		return d.founder()
	}
	for _, other := range d.nodes {
		if other != n && other.options.Binary == d.cfg.Older {
			return d.cfg.Binary
		}
	}
	return d.cfg.Older
}

// upgradeAll has those go on with the newer version that run the older one.
func (d *celled) upgradeAll(ctx context.Context) error {
	for _, n := range d.nodes {
		if n.options.Binary != d.cfg.Older {
			continue
		}
		if err := d.flows(ctx); err != nil {
			return err
		}
		if err := d.rollOne(ctx, n, true, d.cfg.Binary); err != nil {
			return err
		}
	}
	return nil
}

// misconfigure starts a node that does not run with a configuration that has a mistake: it has to say where, and to
// end, and to change nothing that its next start needs. The others do not depend on it.
func (d *celled) misconfigure(ctx context.Context, n *cellNode) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	file := filepath.Join(d.cfg.Dir, "wrong.toml")
	if err := os.WriteFile(file, []byte("[limits]\nlogin_tme = \"1s\"\n"), 0o600); err != nil {
		return err
	}
	o, said := n.options, &node.Tail{}
	o.Args, o.Log = slices.Clone(o.Args), said
	o.Args[slices.Index(o.Args, "--config")+1] = file
	wrong, err := node.Start(o)
	if err != nil {
		return err
	}
	defer wrong.Kill()
	select {
	case <-wrong.Exited():
	case <-ctx.Done():
		return fmt.Errorf("it runs with a configuration that has a mistake:\n%s", said.String())
	}
	if text := said.String(); !strings.Contains(text, "wrong.toml:2:") {
		return fmt.Errorf("it does not say what is wrong with its configuration:\n%s", text)
	}
	return nil
}

// drainWithin is the time over which a node that is drained sends its people away.
const drainWithin = time.Second

func (d *celled) kill(n *cellNode) {
	n.node.Kill()
	d.report.Kills++
	d.harmed()
}
