// SPDX-License-Identifier: Apache-2.0

package drill

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"bavard/drill/node"
)

// Elsewhere lets people chat while the journal is an etcd of its own, the program
// member, which is killed cfg.Kills times and comes back: at once, after the
// server has told its clients to go away, or together with the server, which is
// killed as well.
func Elsewhere(ctx context.Context, cfg KillConfig, member string) (*Report, error) {
	cfg.defaults()
	cfg.Group = -1 // none
	d := &parted{killing: newKilling(cfg)}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := d.prepare(ctx, member); err != nil {
		return nil, err
	}
	defer func() { d.node.Kill() }()
	defer func() { d.etcd.member.Kill() }()
	err := d.carryOut(ctx, d.disturb, d.restartBoth, func(ctx context.Context) error { return d.node.Stop(ctx) })
	d.report.Server = d.tail.String()
	d.report.Trouble = d.tail.Trouble()
	if err != nil {
		return &d.report, failed(cfg.Seed, err, d.tail.String(), "etcd:", d.etcd.tail.String())
	}
	return &d.report, nil
}

// etcd is one that no server of a drill runs.
type etcd struct {
	member  *node.Member
	options node.MemberOptions
	tail    node.Tail
}

// newEtcd chooses where one is, of the program member; cfg.Dir holds its data. It does not run yet.
func newEtcd(cfg *KillConfig, member string) (*etcd, error) {
	addrs, err := node.FreePorts(2, generator(cfg.Seed, 1<<32).IntN)
	if err != nil {
		return nil, err
	}
	e := &etcd{}
	e.options = node.MemberOptions{Binary: member, Dir: filepath.Join(cfg.Dir, "etcd"), Client: addrs[0], Peer: addrs[1], Log: &e.tail}
	return e, nil
}

// configuration is what tells a server of it.
func (e *etcd) configuration() string {
	return fmt.Sprintf("[journal]\nendpoints = [%q]\n", e.options.Endpoint())
}

// start has it run, also after it was killed.
func (e *etcd) start(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	e.member, err = node.StartMember(ctx, e.options)
	return err
}

// parted is a drill under way in which server and journal are two processes.
type parted struct {
	*killing
	etcd *etcd
}

// prepare starts both.
func (d *parted) prepare(ctx context.Context, member string) (err error) {
	if d.etcd, err = newEtcd(&d.cfg, member); err != nil {
		return err
	}
	config := filepath.Join(d.cfg.Dir, "bavard.toml")
	if err := os.WriteFile(config, []byte(d.etcd.configuration()), 0o600); err != nil {
		return err
	}
	d.args = []string{"--config", config}
	if err := d.etcd.start(ctx); err != nil {
		return err
	}
	if err := d.killing.prepare(ctx); err != nil {
		d.etcd.member.Kill()
		if d.node != nil {
			d.node.Kill()
		}
		return fmt.Errorf("%w\n%s", err, d.tail.String())
	}
	return nil
}

func (d *parted) away() {
	d.etcd.member.Kill()
	d.report.JournalKills++
}

func (d *parted) disturb(ctx context.Context) error {
	ways := []struct {
		what string
		do   func(context.Context) error
	}{
		{"etcd is killed", d.brief},
		{"the server is killed", func(ctx context.Context) error { return d.restart(ctx, 0) }},
		{"etcd stays away", d.long},
		{"both are killed", d.restartBoth},
	}
	for n := 0; d.report.JournalKills < d.cfg.Kills; n++ {
		way := ways[n%len(ways)]
		if err := d.holds(ctx, d.ticks(500)); err != nil {
			return fmt.Errorf("before %s, messages flow: %w", way.what, err)
		}
		if err := way.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", way.what, err)
		}
	}
	if err := d.holds(ctx, d.ticks(500)); err != nil {
		return fmt.Errorf("at last, messages flow: %w", err)
	}
	return nil
}

// brief kills etcd and starts it again at once.
func (d *parted) brief(ctx context.Context) error {
	d.away()
	if err := d.etcd.start(ctx); err != nil {
		return err
	}
	return d.flows(ctx, time.Now())
}

// restartBoth kills etcd, then the server, which has commands under way, and
// starts both.
func (d *parted) restartBoth(ctx context.Context) error {
	d.away()
	d.kill()
	started := time.Now()
	var err error
	if d.node, err = node.Start(d.options); err != nil {
		return err
	}
	if err := d.etcd.start(ctx); err != nil {
		return err
	}
	return d.admitted(ctx, started, false)
}

// long keeps etcd away until the clients are told to go, and looks whether they
// come back with it by themselves.
func (d *parted) long(ctx context.Context) error {
	d.away()
	gone := time.Now()
	told, resumed := d.counts()
	if err := d.holds(ctx, func(ctx context.Context) error {
		if now, _ := d.counts(); now == told {
			return errors.New("no client is told to go away")
		}
		return d.cutOff(ctx)
	}); err != nil {
		return err
	}
	d.cfg.Logger.Info("clients are cut off", "after", time.Since(gone).Round(time.Millisecond))
	if err := d.etcd.start(ctx); err != nil {
		return err
	}
	back := time.Now()
	if err := d.flows(ctx, back); err != nil {
		return err
	}
	if err := d.holds(ctx, func(ctx context.Context) error {
		if _, now := d.counts(); now == resumed {
			return errors.New("no stream is resumed")
		}
		return d.warned(ctx, false)
	}); err != nil {
		return err
	}
	toldNow, resumedNow := d.counts()
	d.cfg.Logger.Info("clients are back", "told", toldNow-told, "resumed", resumedNow-resumed)
	return nil
}

func (d *parted) counts() (told, resumed int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.report.Told, d.report.Resumed
}

// flows waits until messages are ticked again.
func (d *parted) flows(ctx context.Context, since time.Time) error {
	if err := d.holds(ctx, d.ticks(1)); err != nil {
		return fmt.Errorf("messages flow: %w", err)
	}
	d.cfg.Logger.Info("messages flow again", "etcd", d.report.JournalKills, "after", time.Since(since).Round(time.Millisecond), "ticked", d.log.Ticked())
	return nil
}

// cutOff: no session has a connection any more, some wait for theirs, and the
// operator is told.
func (d *parted) cutOff(ctx context.Context) error {
	metrics, err := d.metrics(ctx)
	if err != nil {
		return err
	}
	sessions, detached := gauge(metrics, "bavard_sessions"), gauge(metrics, "bavard_sessions_detached")
	if detached < 1 || detached < sessions {
		return fmt.Errorf("of %d sessions %d are cut off", sessions, detached)
	}
	return d.warned(ctx, true)
}

// warned looks whether the operator is told that there is no journal.
func (d *parted) warned(ctx context.Context, away bool) error {
	metrics, err := d.metrics(ctx)
	if err != nil {
		return err
	}
	if on := gauge(metrics, `bavard_warning{id="journal-no-leader",severity="error"}`) == 1; on != away {
		return fmt.Errorf("the warning that the journal has no leader is %t", on)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+d.options.HTTP+"/readyz", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	if err != nil {
		return err
	}
	if unready := resp.StatusCode == http.StatusServiceUnavailable; unready != away {
		return fmt.Errorf("/readyz: %s: %s", resp.Status, body)
	}
	return nil
}
