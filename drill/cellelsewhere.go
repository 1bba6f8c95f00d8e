// SPDX-License-Identifier: Apache-2.0

package drill

import (
	"context"
	"fmt"
	"path/filepath"

	"bavard/drill/node"
)

// CellElsewhere has people chat on the nodes of a cell whose journal is an etcd that none of them runs, the program
// member. In turn a node is killed, that etcd is, a node loses what it has; so often as cfg.Kills.
func CellElsewhere(ctx context.Context, cfg CellConfig, member string) (*Report, error) {
	d := &apart{celled: newCelled(cfg)}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	addrs, err := node.FreePorts(2, generator(d.cfg.Seed, 1<<32).IntN)
	if err != nil {
		return nil, err
	}
	d.options = node.MemberOptions{Binary: member, Dir: filepath.Join(d.cfg.Dir, "etcd"), Client: addrs[0], Peer: addrs[1], Log: &d.tail}
	d.etcd = d.options.Endpoint()
	if err := d.back(ctx); err != nil {
		return nil, err
	}
	defer func() { d.member.Kill() }()
	r, err := d.rehearse(ctx, d.disturb, d.restartAll, d.stopAll)
	if err != nil {
		return r, fmt.Errorf("%w\netcd: %s", err, d.tail.String())
	}
	return r, nil
}

// apart is a drill under way in which the nodes of a cell and their journal are processes of their own.
type apart struct {
	*celled
	member  *node.Member
	options node.MemberOptions
	tail    node.Tail
}

func (d *apart) back(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	d.member, err = node.StartMember(ctx, d.options)
	return err
}

// disturb is celled.disturb.
func (d *apart) disturb(ctx context.Context) error {
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
func (d *apart) killJournal(ctx context.Context) error {
	d.member.Kill()
	d.report.JournalKills++
	d.harmed()
	if err := pause(ctx, d.between(0, d.cfg.DownMax)); err != nil {
		return err
	}
	return d.back(ctx)
}
