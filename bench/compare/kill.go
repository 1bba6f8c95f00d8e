// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"bavard/drill"
)

// rival is a cluster that goes through the drill.
type rival struct {
	name string
	// nodes is as many as it needs to go on when one is killed.
	nodes int
	run   func(context.Context, drill.CellConfig) (*drill.Report, error)
}

// rivals in the order in which they take turns.
func rivals() []rival {
	return []rival{
		{"bavard, 3 nodes", 3, drill.Cell},
		{"ejabberd, 2 nodes", 2, func(ctx context.Context, cfg drill.CellConfig) (*drill.Report, error) {
			return drill.Peered(ctx, cfg, &ejabberd{})
		}},
	}
}

// kill has clusters go through the drill of `bavard drill kill` in turn, and makes a table of what happened.
func kill(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("kill", flag.ContinueOnError)
	binary := flags.String("bavard", "bin/bavard", "the `program`")
	rounds := flags.Int("rounds", 3, "`number` of turns of each")
	duration := flags.Duration("duration", time.Minute, "`time` for which nodes are killed, each turn")
	think := flags.Duration("think", 100*time.Millisecond, "mean `pause` between two messages of somebody")
	only := flags.String("only", "", "the beginning of a `name`: leave out who is called otherwise")
	seed := flags.Uint64("seed", 1, "`seed` of the first round's choices")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 || *rounds < 1 || *rounds > 100 || *duration < time.Second || *duration > time.Hour {
		return errors.New("kill: give 1 to 100 --rounds, and a --duration of 1s to 1h")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	path, err := filepath.Abs(*binary)
	if err != nil {
		return err
	}
	turns := map[string][]*drill.Report{}
	for round := range *rounds {
		for _, r := range rivals() {
			if !strings.HasPrefix(r.name, *only) {
				continue
			}
			cfg := drill.Usual()
			cfg.Binary, cfg.Seed, cfg.Nodes, cfg.Duration, cfg.Group = path, *seed+uint64(round), r.nodes, *duration, -1
			cfg.Think = *think
			report, err := r.turn(ctx, cfg)
			if err != nil {
				return fmt.Errorf("%s: %w", r.name, err)
			}
			fmt.Fprintf(os.Stderr, "%s: %s\n", r.name, report)
			turns[r.name] = append(turns[r.name], report)
		}
	}
	_, err = io.WriteString(out, killTable(turns))
	return err
}

// turn is a drill in a directory of its own.
func (r *rival) turn(ctx context.Context, cfg drill.CellConfig) (_ *drill.Report, err error) {
	if cfg.Dir, err = os.MkdirTemp("", "bavard-compare-*"); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(cfg.Dir)) }()
	return r.run(ctx, cfg)
}

// killTable has a line for each that took turns: sums of what was counted, medians of times, and the longest.
func killTable(turns map[string][]*drill.Report) string {
	var out strings.Builder
	out.WriteString("| | turns | kills | ticked | lost | hidden | duplicated | reordered | false ticks | a node is back after | sending stopped p50 / p99 / max |\n|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, r := range rivals() {
		all := turns[r.name]
		if len(all) == 0 {
			continue
		}
		sum := func(of func(*drill.Report) int) (n int) {
			for _, report := range all {
				n += of(report)
			}
			return n
		}
		middle := func(of func(*drill.Report) time.Duration) time.Duration {
			var times []time.Duration
			for _, report := range all {
				times = append(times, of(report))
			}
			return drill.Percentile(times, 0.5).Round(time.Millisecond)
		}
		longest := slices.MaxFunc(all, func(a, b *drill.Report) int { return int(a.Gap(1) - b.Gap(1)) })
		fmt.Fprintf(&out, "| %s | %d | %d | %d | %d | %d | %d | %d | %d | %v | %v / %v / %v |\n", r.name, len(all),
			sum(func(r *drill.Report) int { return r.Kills }), sum(func(r *drill.Report) int { return r.Verdict.Ticked }),
			sum(func(r *drill.Report) int { return r.Verdict.Lost }), sum(func(r *drill.Report) int { return r.Verdict.Hidden }),
			sum(func(r *drill.Report) int { return r.Verdict.Duplicated }), sum(func(r *drill.Report) int { return r.Verdict.Reordered }),
			sum(func(r *drill.Report) int { return r.Verdict.FalseTicks }),
			middle(func(r *drill.Report) time.Duration { return r.Restart(0.5) }), middle(func(r *drill.Report) time.Duration { return r.Gap(0.5) }),
			middle(func(r *drill.Report) time.Duration { return r.Gap(0.99) }), longest.Gap(1).Round(time.Millisecond))
	}
	return out.String()
}
