// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"bavard/drill"
)

// drillFigures are what a drill of a cell found; docs/operations.md describes them.
type drillFigures struct {
	Seed       uint64  `json:"seed"`
	Kills      int     `json:"kills"`
	Freezes    int     `json:"freezes"`
	Rolls      int     `json:"rolls"`
	Drains     int     `json:"drains"`
	Upgrades   int     `json:"upgrades"`
	Downgrades int     `json:"downgrades"`
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
		Seed: r.Seed, Kills: r.Kills, Freezes: r.Freezes, Rolls: r.Rolls, Drains: r.Drains, Upgrades: r.Upgrades, Downgrades: r.Downgrades, Wipes: r.Wipes, Cuts: r.NetworkCuts, PowerCuts: r.PowerCuts, Rots: r.Rots, DiskFaults: r.DiskFaults, Clocks: r.ClockFaults, Misdated: r.Misdated, Ticked: v.Ticked + g.Ticked, Lost: v.Lost + g.Lost, Hidden: v.Hidden,
		Duplicated: v.Duplicated + g.Duplicated, Reordered: v.Reordered + g.Reordered, Phantom: v.Phantom + g.Phantom,
		FalseTicks: v.FalseTicks, Diverged: v.Diverged + g.Diverged, GapP50: ms(r.Gap(0.5)), GapP99: ms(r.Gap(0.99)), GapMax: ms(r.Gap(1)), BackP50: ms(r.Restart(0.5)), BackP99: ms(r.Restart(0.99)),
		TickP50: ms(r.CalmTick(0.5)), TickP99: ms(r.CalmTick(0.99)),
	}
	if r.Files != nil {
		f.Files, f.FilesLost, f.FilesLeft = r.Files.Stored, r.Files.Lost+r.Files.Changed, r.Files.Left
	}
	return f
}

func (p *Program) printDrill(r *drill.Report, asJSON bool) error {
	f := figures(r)
	if asJSON {
		if err := json.NewEncoder(p.Stdout).Encode(f); err != nil {
			return err
		}
	} else if _, err := fmt.Fprintf(p.Stdout, "\nseed %d: repeat its choices with --seed\n\n%s", f.Seed, f.table(r.Files != nil)); err != nil {
		return err
	}
	if r.Clean() {
		return nil
	}
	return fmt.Errorf("this must never happen:\n%v\n%v\n%d messages of a wrong time, %d files lost, %d left over", r.Verdict, &r.Group, r.Misdated, f.FilesLost, f.FilesLeft)
}

// table is the figures as a table of Markdown: of harm, what was done, and all that must never happen.
func (f *drillFigures) table(files bool) string {
	var head, rule, row strings.Builder
	column := func(name, value string) {
		width := max(len(name), len(value))
		fmt.Fprintf(&head, "| %-*s ", width, name)
		fmt.Fprintf(&rule, "|%s", strings.Repeat("-", width+2))
		fmt.Fprintf(&row, "| %-*s ", width, value)
	}
	count := func(name string, n int) { column(name, fmt.Sprint(n)) }
	done := func(name string, n int) {
		if n > 0 {
			count(name, n)
		}
	}
	done("kills", f.Kills)
	done("freezes", f.Freezes)
	done("ended", f.Rolls)
	done("of these drained", f.Drains)
	done("to the newer version", f.Upgrades)
	done("to the older", f.Downgrades)
	done("wiped", f.Wipes)
	done("cut", f.Cuts)
	done("power cuts", f.PowerCuts)
	done("rotten", f.Rots)
	done("disk faults", f.DiskFaults)
	done("wrong clocks", f.Clocks)
	count("ticked", f.Ticked)
	count("lost", f.Lost)
	count("hidden", f.Hidden)
	count("duplicated", f.Duplicated)
	count("reordered", f.Reordered)
	count("phantom", f.Phantom)
	count("false ticks", f.FalseTicks)
	count("diverged", f.Diverged)
	if f.Clocks > 0 || f.Misdated > 0 {
		count("of a wrong time", f.Misdated)
	}
	if files {
		count("files", f.Files)
		count("of these lost", f.FilesLost)
		count("left over", f.FilesLeft)
	}
	column("sending stopped p50 / p99 / max", fmt.Sprintf("%.0f / %.0f / %.0f ms", f.GapP50, f.GapP99, f.GapMax))
	if f.BackP99 > 0 {
		column("a node is back p50 / p99", fmt.Sprintf("%.0f / %.0f ms", f.BackP50, f.BackP99))
	}
	column("tick p50 / p99", fmt.Sprintf("%.0f / %.0f ms", f.TickP50, f.TickP99))
	return head.String() + "|\n" + rule.String() + "|\n" + row.String() + "|\n"
}
