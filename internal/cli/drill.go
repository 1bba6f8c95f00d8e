// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"bavard/drill"
)

func (p *Program) drill() *cobra.Command {
	cmd := &cobra.Command{
		Use: "drill", Short: "Rehearse failures on servers of its own, and count what is lost", Args: group,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_ = cmd.Help()
			return &exitError{code: exitUsage}
		},
	}
	cmd.AddCommand(
		p.drillCell("kill", "Kill nodes of a cell, as many as it can lose, again and again while people chat on all", "kill one after the other with SIGKILL (of five two at a time, of seven three)", drill.HarmKill),
		p.drillCell("freeze", "Freeze one node of a cell after the other while people chat on all", "freeze one after the other for up to 10 s (SIGSTOP)", drill.HarmFreeze),
		p.drillCell("roll", "Drain the nodes of a cell and start them again, in turn, while people chat on all", "drain one after the other (and end one in four by SIGTERM) and start it again, as for a new version", drill.HarmRoll),
		p.drillPower(),
		p.drillCell("wipe", "Take data away from one node of a cell after the other while people chat on all", "kill one after the other and take its journal away, the end of it, its view, or its disk, before it is started again", drill.HarmWipe),
		p.drillCell("cut", "Cut the network between one node of a cell and the others while people chat on all", "cut one after the other off from the others for up to 10 s, or one way, or make the way to it slow,\nand heal it; on Linux alone", drill.HarmCut),
		p.drillCell("clock", "Start one node of a cell after the other with a wrong clock while people chat on all", "kill one after the other and start it with a clock that is an hour ahead, or behind", drill.HarmClock),
		p.drillRot(),
		p.drillDisk(),
	)
	return cmd
}

func (p *Program) drillCell(name, short, what string, harm drill.Harm) *cobra.Command {
	cmd := &cobra.Command{
		Use: name, Short: short, Args: cobra.NoArgs,
		Long: `Start a cell of its own in a directory that is removed afterwards, have people chat
on all nodes, and ` + what + `. At the end all
are killed at once, and every archive is read through every node. The exit code is 1
if anything happened that must never happen.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.runDrill(cmd, drill.Cell, drill.CellConfig{Harm: harm}, 3, 5, 7)
		},
	}
	drillFlags(cmd, 3, 5, 7)
	return cmd
}

// anyOf gives some numbers, two at least, in words.
func anyOf(all []int) string {
	last := len(all) - 1
	words := fmt.Sprint(all[0])
	for _, n := range all[1:last] {
		words += fmt.Sprintf(", %d", n)
	}
	return fmt.Sprintf("%s or %d", words, all[last])
}

func drillFlags(cmd *cobra.Command, nodes ...int) {
	flags := cmd.Flags()
	flags.Int("nodes", 3, "`NUMBER` of nodes: "+anyOf(nodes))
	flags.Duration("duration", 30*time.Second, "`TIME` for which it is done")
	flags.Uint64("seed", 0, "`SEED` of the drill's choices; 0 takes a random one")
	flags.Bool("json", false, "print the figures as one JSON object")
}

func (p *Program) drillRot() *cobra.Command {
	cmd := &cobra.Command{
		Use: "rot", Short: "Damage files of one node of a cell after the other while people chat on all", Args: cobra.NoArgs,
		Long: `Start a cell of its own in a directory that is removed afterwards, have people chat
on all nodes, and damage a file of the journal or the view of one after the other, while it
runs or is down: up to 64 bits are flipped, or its end or all of it is gone, again within a second
once it is back and people are ticked. It is killed and
started again, and has to take people within a minute. At the end all are killed at once,
and every archive is read through every node. The exit code is 1 if anything happened that
must never happen.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			// People write a tenth of what they do elsewhere: what a node has to read after each start is not what is tried here.
			cfg := drill.CellConfig{KillConfig: drill.KillConfig{UpMin: 200 * time.Millisecond, UpMax: time.Second, Think: 100 * time.Millisecond}}
			return p.runCycles(cmd, drill.Rot, cfg, 3, 5, 7)
		},
	}
	drillFlags(cmd, 3, 5, 7)
	cyclesFlag(cmd, "damaged files")
	return cmd
}

func (p *Program) drillDisk() *cobra.Command {
	cmd := &cobra.Command{
		Use: "disk", Short: "Have the disk of one node of a cell after the other fail while people chat on all", Args: cobra.NoArgs,
		Long: `Start a cell of its own, each node with a disk in memory, have people chat on all nodes,
and have something be the matter with the disk of one after the other, for up to 10 s: it
is slow, it answers with errors, it hangs, it is full. A node that ends by itself is started
again, and has to take people within a minute after it. At the end all are killed at once,
and every archive is read through every node. It needs Linux, root (CAP_SYS_ADMIN) and
/dev/fuse. The exit code is 1 if anything happened that must never happen.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.runDrill(cmd, drill.Disk, drill.CellConfig{DownMax: 10 * time.Second}, 3, 5, 7)
		},
	}
	drillFlags(cmd, 3, 5, 7)
	return cmd
}

func (p *Program) drillPower() *cobra.Command {
	cmd := &cobra.Command{
		Use: "power", Short: "Cut the power of all nodes at once while people chat on them", Args: cobra.NoArgs,
		Long: `Start a server or a cell of its own on a disk in memory, have people chat and put files on
all nodes, and cut the power of all at once, a second to five after they have started, again
and again: what was not synced is gone then, or a random part of it. At the end it is cut at
rest, and every archive is read, and every file got, through every node. It needs Linux, root
(CAP_SYS_ADMIN) and /dev/fuse. The exit code is 1 if anything happened that must never happen.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.runCycles(cmd, drill.Power, drill.CellConfig{}, 1, 3, 5, 7)
		},
	}
	drillFlags(cmd, 1, 3, 5, 7)
	cyclesFlag(cmd, "cuts")
	return cmd
}

func cyclesFlag(cmd *cobra.Command, of string) {
	cmd.Flags().Int("cycles", 0, "`NUMBER` of "+of+", in place of --duration")
}

// runCycles is runDrill so many times as --cycles says, if it is given.
func (p *Program) runCycles(cmd *cobra.Command, run func(context.Context, drill.CellConfig) (*drill.Report, error), cfg drill.CellConfig, nodes ...int) error {
	cycles, _ := cmd.Flags().GetInt("cycles")
	if cycles < 0 || cycles > 1_000_000 {
		return usage(cmd, errors.New("--cycles: use 1 to 1000000"))
	}
	cfg.Kills = cycles
	return p.runDrill(cmd, run, cfg, nodes...)
}

// drillFigures are what a drill of a cell found; docs/operations.md describes them.
type drillFigures struct {
	Seed       uint64  `json:"seed"`
	Kills      int     `json:"kills"`
	Freezes    int     `json:"freezes"`
	Rolls      int     `json:"rolls"`
	Drains     int     `json:"drains"`
	Wipes      int     `json:"wipes"`
	Cuts       int     `json:"cuts"`
	PowerCuts  int     `json:"power_cuts"`
	Rots       int     `json:"rots"`
	DiskFaults int     `json:"disk_faults"`
	Clocks     int     `json:"clock_faults"`
	Ticked     int     `json:"ticked"`
	Lost       int     `json:"lost"`
	Hidden     int     `json:"hidden"`
	Duplicated int     `json:"duplicated"`
	Reordered  int     `json:"reordered"`
	Phantom    int     `json:"phantom"`
	FalseTicks int     `json:"false_ticks"`
	Diverged   int     `json:"diverged"`
	Misdated   int     `json:"misdated"`
	Files      int     `json:"files"`
	FilesLost  int     `json:"files_lost"`
	FilesLeft  int     `json:"files_left"`
	GapP50     float64 `json:"gap_p50_ms"`
	GapP99     float64 `json:"gap_p99_ms"`
	GapMax     float64 `json:"gap_max_ms"`
	BackP50    float64 `json:"back_p50_ms"`
	BackP99    float64 `json:"back_p99_ms"`
	TickP50    float64 `json:"tick_p50_ms"`
	TickP99    float64 `json:"tick_p99_ms"`
}

func figures(r *drill.Report) drillFigures {
	v, g := &r.Verdict, &r.Group
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	f := drillFigures{
		Seed: r.Seed, Kills: r.Kills, Freezes: r.Freezes, Rolls: r.Rolls, Drains: r.Drains, Wipes: r.Wipes, Cuts: r.NetworkCuts, PowerCuts: r.PowerCuts, Rots: r.Rots, DiskFaults: r.DiskFaults, Clocks: r.ClockFaults, Misdated: r.Misdated, Ticked: v.Ticked + g.Ticked, Lost: v.Lost + g.Lost, Hidden: v.Hidden,
		Duplicated: v.Duplicated + g.Duplicated, Reordered: v.Reordered + g.Reordered, Phantom: v.Phantom + g.Phantom,
		FalseTicks: v.FalseTicks, Diverged: v.Diverged + g.Diverged, GapP50: ms(r.Gap(0.5)), GapP99: ms(r.Gap(0.99)), GapMax: ms(r.Gap(1)), BackP50: ms(r.Restart(0.5)), BackP99: ms(r.Restart(0.99)),
		TickP50: ms(r.CalmTick(0.5)), TickP99: ms(r.CalmTick(0.99)),
	}
	if r.Files != nil {
		f.Files, f.FilesLost, f.FilesLeft = r.Files.Stored, r.Files.Lost+r.Files.Changed, r.Files.Left
	}
	return f
}

// runDrill runs a drill of a cell, of one of so many nodes.
func (p *Program) runDrill(cmd *cobra.Command, run func(context.Context, drill.CellConfig) (*drill.Report, error), cfg drill.CellConfig, nodes ...int) (err error) {
	flags := cmd.Flags()
	usual := drill.Usual()
	if cfg.Think == 0 {
		cfg.Think = usual.Think
	}
	if cfg.UpMax == 0 {
		cfg.UpMin, cfg.UpMax = usual.UpMin, usual.UpMax
	}
	if cfg.Harm == drill.HarmFreeze || cfg.Harm == drill.HarmCut {
		cfg.DownMax = 10 * time.Second
	}
	cfg.Nodes, _ = flags.GetInt("nodes")
	if cfg.Kills == 0 {
		cfg.Duration, _ = flags.GetDuration("duration")
	}
	cfg.Seed, _ = flags.GetUint64("seed")
	asJSON, _ := flags.GetBool("json")
	if !slices.Contains(nodes, cfg.Nodes) {
		return usage(cmd, fmt.Errorf("--nodes: %d is not %s", cfg.Nodes, anyOf(nodes)))
	}
	if cfg.Kills == 0 && cfg.Duration < time.Second || cfg.Duration > 24*time.Hour {
		return usage(cmd, errors.New("--duration: use 1s to 24h"))
	}
	if cfg.Binary, err = os.Executable(); err != nil {
		return err
	}
	if cfg.Dir, err = os.MkdirTemp("", "bavard-drill-*"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(cfg.Dir)) }()
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	progress := p.Stdout
	if asJSON {
		progress = p.Stderr
	}
	cfg.Progress = func(harmed, ticked int) { fmt.Fprintf(progress, "%6d times %9d ticked\n", harmed, ticked) }
	r, err := run(ctx, cfg)
	if err != nil {
		if errors.Is(ctx.Err(), context.Canceled) {
			return errors.New("interrupted")
		}
		return err
	}
	return p.printDrill(r, asJSON)
}

func (p *Program) printDrill(r *drill.Report, asJSON bool) error {
	f := figures(r)
	if asJSON {
		if err := json.NewEncoder(p.Stdout).Encode(f); err != nil {
			return err
		}
	} else if _, err := fmt.Fprintf(p.Stdout, `
seed %d: repeat its choices with --seed

| kills | freezes | ended | of these drained | wiped | cut | power cuts | rotten | disk faults | wrong clocks | ticked | lost | hidden | duplicated | reordered | phantom | false ticks | of a wrong time | files | of these lost | left over | sending stopped p50 / p99 / max | a node is back p50 / p99 | tick p50 / p99 |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|
| %d | %d | %d | %d | %d | %d | %d | %d | %d | %d | %d | %d | %d | %d | %d | %d | %d | %d | %d | %d | %d | %.0f / %.0f / %.0f ms | %.0f / %.0f ms | %.0f / %.0f ms |
`, f.Seed, f.Kills, f.Freezes, f.Rolls, f.Drains, f.Wipes, f.Cuts, f.PowerCuts, f.Rots, f.DiskFaults, f.Clocks, f.Ticked, f.Lost, f.Hidden, f.Duplicated, f.Reordered, f.Phantom, f.FalseTicks, f.Misdated, f.Files, f.FilesLost, f.FilesLeft, f.GapP50, f.GapP99, f.GapMax, f.BackP50, f.BackP99, f.TickP50, f.TickP99); err != nil {
		return err
	}
	if r.Clean() {
		return nil
	}
	return fmt.Errorf("this must never happen:\n%v\n%v\n%d messages of a wrong time, %d files lost, %d left over", r.Verdict, &r.Group, r.Misdated, f.FilesLost, f.FilesLeft)
}
