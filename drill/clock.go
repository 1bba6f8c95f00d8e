// SPDX-License-Identifier: Apache-2.0

package drill

import (
	"context"
	"fmt"
	"slices"
	"time"

	"bavard/drill/client"
)

const (
	// clockOff is by how much a clock is wrong that is.
	clockOff = time.Hour
	// clockSlack is what a stamp may differ from the time in which it must have been given.
	clockSlack = 10 * time.Second
)

// wrongClock is in the environment of servers whose clock is wrong.
func wrongClock(by time.Duration) string { return fmt.Sprintf("BAVARD_UNSAFE_CLOCK=%v", by) }

// clockOne starts a node again with a clock that is an hour ahead, or behind, and the one whose clock was
// wrong until then with the right one.
func (d *celled) clockOne(ctx context.Context, hit *cellNode, n int) error {
	for _, other := range d.nodes {
		if other != hit && other.wrongClock {
			if err := d.restartAt(ctx, other, 0); err != nil {
				return err
			}
		}
	}
	by := clockOff
	if n%2 == 1 {
		by = -clockOff
	}
	d.report.ClockFaults++
	return d.restartAt(ctx, hit, by)
}

// restartAt kills a node and starts it with a clock that is wrong by so much.
func (d *celled) restartAt(ctx context.Context, n *cellNode, by time.Duration) error {
	d.kill(n)
	n.options.Env = slices.DeleteFunc(n.options.Env, func(v string) bool { return v == wrongClock(clockOff) || v == wrongClock(-clockOff) })
	if n.wrongClock = by != 0; n.wrongClock {
		n.options.Env = append(n.options.Env, wrongClock(by))
	}
	started := time.Now()
	if err := n.start(); err != nil {
		return err
	}
	return d.admits(ctx, n, started, true)
}

// dated counts a message of an archive if its stamp is not of the time of the drill.
func (d *killing) dated(in *client.Inbound) {
	if in.Delay.Before(d.began.Add(-clockSlack)) || in.Delay.After(time.Now().Add(clockSlack)) {
		d.count(func(r *Report) { r.Misdated++ })
	}
}
