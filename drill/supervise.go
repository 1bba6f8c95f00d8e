// SPDX-License-Identifier: Apache-2.0

package drill

import (
	"context"
	"sync"
	"time"

	"bavard/drill/node"
)

// healsWithin bounds how long a node may take until it takes people again after something was the matter
// with its disk.
const healsWithin = time.Minute

// supervised is a drill under way in which nodes that end by themselves are started again.
type supervised struct{ *celled }

// admitsAtLast waits until a node takes people, however often it ends by itself before.
func (d *supervised) admitsAtLast(ctx context.Context, n *cellNode, started time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, healsWithin)
	defer cancel()
	for {
		err := d.admits(ctx, &cellNode{name: n.name, options: n.options, node: n.running()}, started, true)
		if err == nil || ctx.Err() != nil {
			return err
		}
		if err := pause(ctx, superviseEvery); err != nil {
			return err
		}
	}
}

// restartSupervised is restartAll, of nodes that may have something to heal that nobody knew of.
func (d *supervised) restartSupervised(ctx context.Context) error {
	for _, n := range d.nodes {
		n.starting.Lock()
		d.kill(n)
	}
	started := time.Now()
	err := d.startAll()
	for _, n := range d.nodes {
		n.starting.Unlock()
	}
	for _, n := range d.nodes {
		if err == nil {
			err = d.admitsAtLast(ctx, n, started)
		}
	}
	return err
}

// stopSupervised is stopAll, of nodes one of which may have met what is wrong only now, with nobody to
// start it again: then all are started once more, and have to end in good order.
func (d *supervised) stopSupervised(ctx context.Context) error {
	err := d.stopAll(ctx)
	if err == nil {
		return nil
	}
	d.cfg.Logger.Info("not ended in good order", "error", err)
	d.supervisor = supervise(ctx, d.nodes)
	if err := d.restartSupervised(ctx); err != nil {
		return err
	}
	return d.stopAll(ctx)
}

// superviseEvery is between the end of a process and its next start.
const superviseEvery = 200 * time.Millisecond

// supervisor starts processes again that end by themselves.
type supervisor struct {
	cancel  context.CancelFunc
	running sync.WaitGroup
}

// supervise starts each node again that ends by itself, until stop.
func supervise(ctx context.Context, nodes []*cellNode) *supervisor {
	ctx, cancel := context.WithCancel(ctx)
	s := &supervisor{cancel: cancel}
	for _, n := range nodes {
		s.running.Go(func() {
			for ctx.Err() == nil {
				seen := n.running()
				select {
				case <-seen.Exited():
				case <-ctx.Done():
					return
				}
				if pause(ctx, superviseEvery) == nil {
					n.startInPlaceOf(seen)
				}
			}
		})
	}
	return s
}

func (s *supervisor) stop() {
	s.cancel()
	s.running.Wait()
}

// running is the process of a node, which a supervisor may have put in another one's place.
func (n *cellNode) running() *node.Node {
	n.starting.Lock()
	defer n.starting.Unlock()
	return n.node
}

// startInPlaceOf starts a node again, unless somebody has done so or it cannot be started; then it is tried again.
func (n *cellNode) startInPlaceOf(ended *node.Node) {
	n.starting.Lock()
	defer n.starting.Unlock()
	if n.node == ended {
		if err := n.start(); err != nil {
			n.node = ended
		}
	}
}
