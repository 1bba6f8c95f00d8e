// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

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
		p.drillCell("freeze", "Freeze one node of a cell after the other while people chat on all", "freeze one after the other for a while (SIGSTOP)", drill.HarmFreeze),
		p.drillCell("roll", "Drain the nodes of a cell and start them again, in turn, while people chat on all", "drain one after the other (and end one in four by SIGTERM) and start it again, as for a new version", drill.HarmRoll),
		p.drillPower(),
		p.drillCell("wipe", "Take data away from one node of a cell after the other while people chat on all", "kill one after the other and take its journal away, the end of it, its view, or its disk, before it is started again", drill.HarmWipe),
		p.drillCell("cut", "Cut the network between one node of a cell and the others while people chat on all", "cut one after the other off from the others for a while, or one way, or make the way to it slow,\nand heal it; on Linux alone", drill.HarmCut),
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
	drillFlags(cmd, drill.Usual().Think, 3, 5, 7)
	switch harm {
	case drill.HarmFreeze, drill.HarmCut:
		upToFlag(cmd)
	case drill.HarmRoll:
		cmd.Flags().String("older", "", "program `FILE` of an older version: nodes begin with it, go on with this one and back again, and at last all with this one")
	}
	return cmd
}

// upToFlag is how long harm lasts that is undone.
func upToFlag(cmd *cobra.Command) {
	cmd.Flags().Duration("up-to", 10*time.Second, "each time for `TIME` at most")
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

// drillFlags are those of all drills; pause is that between two messages.
func drillFlags(cmd *cobra.Command, pause time.Duration, nodes ...int) {
	flags := cmd.Flags()
	flags.Int("nodes", 3, "`NUMBER` of nodes: "+anyOf(nodes))
	flags.Duration("duration", 30*time.Second, "`TIME` for which it is done")
	flags.Int("people", 12, "`NUMBER` of people who chat two by two")
	flags.Duration("pause", pause, "mean `TIME` between two messages of one of them")
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
			cfg := drill.CellConfig{KillConfig: drill.KillConfig{UpMin: 200 * time.Millisecond, UpMax: time.Second}}
			return p.runCycles(cmd, drill.Rot, cfg, 3, 5, 7)
		},
	}
	// They write a tenth of what they do elsewhere: what a node has to read after each start is not what is tried here.
	drillFlags(cmd, 100*time.Millisecond, 3, 5, 7)
	cyclesFlag(cmd, "damaged files")
	return cmd
}

func (p *Program) drillDisk() *cobra.Command {
	cmd := &cobra.Command{
		Use: "disk", Short: "Have the disk of one node of a cell after the other fail while people chat on all", Args: cobra.NoArgs,
		Long: `Start a cell of its own, each node with a disk in memory, have people chat on all nodes,
and have something be the matter with the disk of one after the other for a while: it is
slow, it answers with errors, it hangs, it is full. A node that ends by itself is started
again, and has to take people within a minute after it. At the end all are killed at once,
and every archive is read through every node. It needs Linux, root (CAP_SYS_ADMIN) and
/dev/fuse. The exit code is 1 if anything happened that must never happen.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.runDrill(cmd, drill.Disk, drill.CellConfig{}, 3, 5, 7)
		},
	}
	drillFlags(cmd, drill.Usual().Think, 3, 5, 7)
	upToFlag(cmd)
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
	drillFlags(cmd, drill.Usual().Think, 1, 3, 5, 7)
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

// older is the program that --older names; "" without it.
func older(flags *pflag.FlagSet) (string, error) {
	name, _ := flags.GetString("older")
	if name == "" {
		return "", nil
	}
	program, err := filepath.Abs(name)
	if err != nil {
		return "", fmt.Errorf("--older: %w", err)
	}
	if file, err := os.Stat(program); err != nil {
		return "", fmt.Errorf("--older: %w", err)
	} else if file.IsDir() || file.Mode()&0o111 == 0 {
		return "", fmt.Errorf("--older: %s is not a program", name)
	}
	return program, nil
}

// runDrill runs a drill of a cell, of one of so many nodes.
func (p *Program) runDrill(cmd *cobra.Command, run func(context.Context, drill.CellConfig) (*drill.Report, error), cfg drill.CellConfig, nodes ...int) (err error) {
	flags := cmd.Flags()
	if usual := drill.Usual(); cfg.UpMax == 0 {
		cfg.UpMin, cfg.UpMax = usual.UpMin, usual.UpMax
	}
	if cfg.Accounts, _ = flags.GetInt("people"); cfg.Accounts < 2 || cfg.Accounts > 1000 {
		return usage(cmd, errors.New("--people: use 2 to 1000"))
	}
	if cfg.Think, _ = flags.GetDuration("pause"); cfg.Think < 100*time.Microsecond || cfg.Think > time.Hour {
		return usage(cmd, errors.New("--pause: use 100us to 1h"))
	}
	if flags.Lookup("up-to") != nil {
		if cfg.DownMax, _ = flags.GetDuration("up-to"); cfg.DownMax < time.Second || cfg.DownMax > time.Hour {
			return usage(cmd, errors.New("--up-to: use 1s to 1h"))
		}
	}
	if flags.Lookup("older") != nil {
		if cfg.Older, err = older(flags); err != nil {
			return usage(cmd, err)
		}
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
	ctx, stop := p.enough(cmd.Context(), &cfg)
	defer stop()
	progress := p.Stdout
	if asJSON {
		progress = p.Stderr
	}
	cfg.Progress = func(harmed, ticked int) { fmt.Fprintf(progress, "%6d times %9d ticked\n", harmed, ticked) }
	r, err := run(ctx, cfg)
	if err != nil {
		if errors.Is(ctx.Err(), context.Canceled) {
			return errors.New("interrupted: what was ticked was not looked for")
		}
		return err
	}
	return p.printDrill(r, asJSON)
}

// enough has the first Ctrl-C or SIGTERM end the drill's harm, so that a long drill that is interrupted gives its verdict,
// too, and the second one end the drill.
func (p *Program) enough(parent context.Context, cfg *drill.CellConfig) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancel(parent)
	enough, signals := make(chan struct{}), make(chan os.Signal, 1)
	cfg.Enough = enough
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		select {
		case <-signals:
			close(enough)
			fmt.Fprintln(p.Stderr, "bavard: no more harm is done; now every archive is read. Once more, and it ends at once")
		case <-ctx.Done():
			return
		}
		select {
		case <-signals:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		cancel()
	}
}
