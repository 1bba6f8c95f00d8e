// SPDX-License-Identifier: Apache-2.0

package drill

import (
	"context"
	"fmt"
)

// CellElsewhere has people chat on the nodes of a cell whose journal is an etcd that none of them runs, the program
// member. In turn a node is killed, that etcd is, a node loses what it has; as often as cfg.Kills.
func CellElsewhere(ctx context.Context, cfg CellConfig, member string) (_ *Report, err error) {
	d := newCelled(cfg)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if d.etcd, err = newEtcd(&d.cfg.KillConfig, member); err != nil {
		return nil, err
	}
	if err := d.etcd.start(ctx); err != nil {
		return nil, err
	}
	defer func() { d.etcd.member.Kill() }()
	r, err := d.rehearse(ctx, d.disturbElsewhere, d.restartAll, d.stopAll)
	if err != nil {
		return r, fmt.Errorf("%w\netcd: %s", err, d.etcd.tail.String())
	}
	return r, nil
}

// disturbElsewhere is disturb where the journal is elsewhere.
func (d *celled) disturbElsewhere(ctx context.Context) error {
	return d.again(ctx, func(ctx context.Context, n int) error {
		hit := d.nodes[d.random.IntN(len(d.nodes))]
		switch n % 3 {
		case 0:
			return d.killMinority(ctx)
		case 1:
			return d.killJournal(ctx)
		}
		return d.wipeOne(ctx, hit, [...]loss{lossJournal, lossView, lossDisk}[n/3%3])
	})
}

// killJournal kills the etcd, and has it come back some time later.
func (d *celled) killJournal(ctx context.Context) error {
	d.etcd.member.Kill()
	d.report.JournalKills++
	d.harmed()
	if err := pause(ctx, d.between(0, d.cfg.DownMax)); err != nil {
		return err
	}
	return d.etcd.start(ctx)
}
