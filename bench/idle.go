// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
	"time"
)

// IdleConfig describes devices that are connected and say nothing.
type IdleConfig struct {
	// Connections, each of an account of its own; 0 means 1,000.
	Connections int
	// Still is how long the server's memory has to hold still, before and after
	// the logins; 0 means 5 s. Patience is how long that is waited for; 0 means
	// 2 min.
	Still, Patience time.Duration
	// Quiet is how long the connections are then left alone, to see what they
	// cost; 0 means 5 s.
	Quiet time.Duration
}

func (c *IdleConfig) defaults() {
	orElse(&c.Connections, 1000)
	orElse(&c.Still, 5*time.Second)
	orElse(&c.Patience, 2*time.Minute)
	orElse(&c.Quiet, 5*time.Second)
}

// IdleReport is what was measured, in bytes.
type IdleReport struct {
	Conditions
	Connections int `json:"connections"`
	// Before the first connection; Loaded right after the last login; After, once
	// the memory held still.
	Before    int64 `json:"rss_before_bytes"`
	Loaded    int64 `json:"rss_loaded_bytes"`
	After     int64 `json:"rss_after_bytes"`
	BeforePSS int64 `json:"pss_before_bytes"`
	AfterPSS  int64 `json:"pss_after_bytes"`
	// RSS and PSS are what a connection adds; PSS is 0 where it cannot be read.
	RSS float64 `json:"rss_per_connection_bytes"`
	PSS float64 `json:"pss_per_connection_bytes"`
	// Settled says whether the memory held still in the end.
	Settled bool `json:"settled"`
	// LoginRate is logins per second on the way there, LoginCPU the server's CPU
	// for each in milliseconds.
	LoginRate float64 `json:"logins_per_s"`
	LoginCPU  float64 `json:"server_cpu_ms_per_login"`
	// Dropped is how many sessions had ended at the end.
	Dropped int `json:"dropped"`
}

// Rows implements Report.
func (r *IdleReport) Rows() [][2]string {
	rows := [][2]string{
		{"load", fmt.Sprintf("%d connections, logged in and quiet; %d of them dropped", r.Connections, r.Dropped)},
		{"logins", fmt.Sprintf("%s/s, %.3f ms of server CPU each", counted(r.LoginRate), r.LoginCPU)},
	}
	if r.After == 0 {
		return append(rows, [2]string{"memory", "not known: name the server's processes with --pids"})
	}
	memory := fmt.Sprintf("%s per connection: %s before, %s after the logins, %s when still", kib(r.RSS), mib(r.Before), mib(r.Loaded), mib(r.After))
	rows = append(rows, [2]string{"memory", memory})
	if r.AfterPSS > 0 {
		rows = append(rows, [2]string{"", fmt.Sprintf("%s per connection without what is shared (PSS)", kib(r.PSS))})
	}
	return rows
}

// Idle runs the scenario. The measurement is the time of quiet.
func Idle(ctx context.Context, t *Target, cfg IdleConfig, w *Watch) (*IdleReport, error) {
	cfg.defaults()
	report := &IdleReport{Conditions: t.conditions("idle"), Connections: cfg.Connections}
	if err := t.check(cfg.Connections); err != nil {
		return nil, err
	}
	if _, err := w.settle(ctx, cfg.Still/2, cfg.Patience, "before"); err != nil {
		return nil, err
	}
	before, began := w.cost(), time.Now()
	sessions, err := t.all(ctx, cfg.Connections, w, nil)
	defer func() { leave(sessions) }()
	if err != nil {
		return nil, err
	}
	loaded := w.cost()
	report.LoginRate = float64(cfg.Connections) / time.Since(began).Seconds()
	report.LoginCPU = (loaded.CPU - before.CPU).Seconds() * 1000 / float64(cfg.Connections)
	report.Server = version(ctx, sessions[0], t.Domain)

	report.Settled, err = w.settle(ctx, cfg.Still, cfg.Patience, "quiet")
	report.start(w)
	if err == nil {
		err = during(ctx, cfg.Quiet, func(at time.Duration) { w.tell("quiet for %.0f s", at.Seconds()) })
	}
	report.Interrupted = err != nil
	report.stop(w)
	for _, s := range sessions {
		if s.Err() != nil {
			if report.Dropped == 0 {
				report.note("%s was dropped: %v", s.JID(), s.Err())
			}
			report.Dropped++
		}
	}
	after := Cost{RSS: report.ServerRSS, PSS: report.ServerPSS}
	report.Before, report.Loaded, report.After = before.RSS, loaded.RSS, after.RSS
	report.BeforePSS, report.AfterPSS = before.PSS, after.PSS
	if after.RSS > 0 {
		report.RSS = float64(after.RSS-before.RSS) / float64(cfg.Connections)
		if !report.Settled {
			report.note("the server's memory did not hold still: it is as it was after %s", time.Since(began).Round(time.Second))
		}
	}
	if after.PSS > 0 && before.PSS > 0 {
		report.PSS = float64(after.PSS-before.PSS) / float64(cfg.Connections)
	}
	return report, nil
}
