// SPDX-License-Identifier: Apache-2.0

package drill

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"time"

	"bavard/drill/node"
	"bavard/drill/oracle"
)

// BackupReport is what a drill with backups measured.
type BackupReport struct {
	Report
	Backups int
	// Took is how long they took, while people chatted.
	Took []time.Duration
	// Missing are messages that had a tick when the backup began that was restored,
	// and are in no archive.
	Missing int
	// Bytes of the first backup, and new ones of all later.
	Bytes, NewBytes int64
}

// Backup has people chat while the server is backed up a few times, and restores
// what was kept into another directory, with which it goes on: the last state, made
// when nothing was under way, or, with early, one of those before, which lacks what was said since.
func Backup(ctx context.Context, cfg KillConfig, early bool) (*BackupReport, error) {
	cfg.defaults()
	d := &restoring{killing: newKilling(cfg), early: early, store: filepath.Join(cfg.Dir, "backups")}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := d.prepare(ctx); err != nil {
		return nil, err
	}
	defer func() { d.node.Kill() }()
	err := d.group.open(ctx)
	if err == nil {
		err = d.carryOut(ctx, d.disturb, d.restore, func(ctx context.Context) error { return d.node.Stop(ctx) })
	}
	d.killing.report.Server, d.killing.report.Trouble = d.tail.String(), d.tail.Trouble()
	d.report.Report = d.killing.report
	if err != nil {
		return &d.report, failed(cfg.Seed, err, d.tail.String())
	}
	d.report.Missing = d.missing()
	return &d.report, nil
}

// restoring is a drill with backups under way.
type restoring struct {
	*killing
	early  bool
	store  string
	report BackupReport
	state  string          // that is restored
	before map[string]bool // messages that had a tick when it began
}

// backups are made while people chat; that in the middle is what early restores.
const backups = 3

func (d *restoring) disturb(ctx context.Context) error {
	for n := range backups {
		if err := pause(ctx, d.between(d.cfg.UpMin, d.cfg.UpMax)); err != nil {
			return err
		}
		if err := d.backup(ctx, d.early && n == backups/2); err != nil {
			return err
		}
	}
	return pause(ctx, time.Second) // for more to be said
}

// backup makes one; keep says that it is the one to be restored.
func (d *restoring) backup(ctx context.Context, keep bool) error {
	before := map[string]bool{}
	for _, m := range d.log.History().Messages {
		before[m.ID] = m.Outcome == oracle.Ticked
	}
	began := time.Now()
	cmd := exec.CommandContext(ctx, d.cfg.Binary, "backup", d.store, "--data", d.options.Data, "--json")
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w\n%s", err, exit.Stderr)
		}
		return fmt.Errorf("backup: %w", err)
	}
	var made struct {
		State    string `json:"state"`
		Bytes    int64  `json:"bytes"`
		NewBytes int64  `json:"new_bytes"`
	}
	if err := json.Unmarshal(out, &made); err != nil {
		return fmt.Errorf("backup: %w: %s", err, out)
	}
	d.report.Took = append(d.report.Took, time.Since(began))
	if d.report.Backups++; d.report.Backups == 1 {
		d.report.Bytes = made.Bytes
	} else {
		d.report.NewBytes += made.NewBytes
	}
	if keep {
		d.state, d.before = made.State, before
	}
	return nil
}

// restore loses the server, and goes on with what was kept of it.
func (d *restoring) restore(ctx context.Context) error {
	if !d.early {
		if err := d.backup(ctx, true); err != nil {
			return err
		}
	}
	d.kill()
	data := filepath.Join(d.cfg.Dir, "restored")
	if out, err := exec.CommandContext(ctx, d.cfg.Binary, "restore", d.store, "--state", d.state, "--data", data).CombinedOutput(); err != nil {
		return fmt.Errorf("restore: %w\n%s", err, out)
	}
	d.options.Data = data
	started := time.Now()
	var err error
	if d.node, err = node.Start(d.options); err != nil {
		return err
	}
	return d.admitted(ctx, started, true)
}

// missing counts the messages that should have been in the state and were not read
// afterwards.
func (d *restoring) missing() int {
	read := map[string]bool{}
	for _, a := range d.log.History().Archives {
		for _, e := range a.Entries {
			read[e.OriginID] = true
		}
	}
	n := 0
	for id, ticked := range d.before {
		if ticked && !read[id] {
			n++
		}
	}
	return n
}
