// SPDX-License-Identifier: Apache-2.0

// Command compare makes a table of what run.sh has measured: the median of the
// rounds with the lowest and the highest, and how many times better or worse
// than bavard each peer is.
//
//	go run ./bench/compare bin/compare.tsv
//
// With kill, it puts clusters through the drill of `bavard drill kill`, in turn, and makes a table of that:
//
//	go run ./bench/compare kill --rounds 3 --duration 1m
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	if len(args) > 0 && args[0] == "kill" {
		return kill(args[1:], out)
	}
	if len(args) != 1 {
		return errors.New("name the file that run.sh has written")
	}
	f, err := os.Open(args[0])
	if err != nil {
		return err
	}
	defer f.Close()
	results, err := read(f)
	if err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	_, err = io.WriteString(out, table(results))
	return err
}

// figure is one column of a scenario: where it is in the report, and in what
// unit it is shown.
type figure struct {
	name  string
	path  string
	scale float64
}

// figures of each scenario; of its variants, too. immutable
var figures = map[string][]figure{
	"pairs":   {{"messages/s", "messages_per_s", 1}, {"server CPU, ms each", "server_cpu_ms_per_message", 1}, {"tick p50, ms", "tick.p50_ms", 1}, {"tick p99, ms", "tick.p99_ms", 1}},
	"logins":  {{"logins/s", "logins_per_s", 1}, {"server CPU, ms each", "server_cpu_ms_per_login", 1}, {"ready p99, ms", "ready.p99_ms", 1}},
	"archive": {{"pages/s", "pages_per_s", 1}, {"server CPU, ms each", "server_cpu_ms_per_page", 1}, {"answer p99, ms", "answer.p99_ms", 1}},
	"idle":    {{"KiB per connection", "pss_per_connection_bytes", 1.0 / 1024}, {"server CPU per login, ms", "server_cpu_ms_per_login", 1}},
	"storm":   {{"all back, s", "back_100_s", 1}, {"server CPU, ms each", "server_cpu_ms_per_client", 1}, {"memory at most, MiB", "rss_peak_bytes", 1.0 / (1 << 20)}},
}

// result is one run.
type result struct {
	peer, scenario string
	report         map[string]any
}

func read(r io.Reader) ([]result, error) {
	var all []result
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		fields := strings.SplitN(lines.Text(), "\t", 4)
		if len(fields) != 4 {
			return nil, fmt.Errorf("line %d is not peer, scenario, round and report", n)
		}
		one := result{peer: fields[0], scenario: fields[1]}
		if err := json.Unmarshal([]byte(fields[3]), &one.report); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if figures[family(one.scenario)] == nil {
			return nil, fmt.Errorf("line %d: scenario %q is not known", n, one.scenario)
		}
		all = append(all, one)
	}
	if len(all) == 0 && lines.Err() == nil {
		return nil, errors.New("it is empty")
	}
	return all, lines.Err()
}

// family is a scenario without its variant: pairs of pairs-starttls.
func family(scenario string) string {
	name, _, _ := strings.Cut(scenario, "-")
	return name
}

// value of a figure in a report.
func (f figure) value(report map[string]any) (float64, bool) {
	outer, inner, nested := strings.Cut(f.path, ".")
	v := report[outer]
	if object, ok := v.(map[string]any); ok && nested {
		v = object[inner]
	}
	n, ok := v.(float64)
	return n * f.scale, ok
}

// table writes a part for each scenario, in the order in which they came.
func table(results []result) string {
	var out strings.Builder
	for _, scenario := range distinct(results, func(r result) string { return r.scenario }) {
		of := figures[family(scenario)]
		fmt.Fprintf(&out, "### %s\n\n| | rounds |", scenario)
		for _, f := range of {
			fmt.Fprintf(&out, " %s | |", f.name)
		}
		fmt.Fprintf(&out, " load | wrong |\n|---|---|%s---|---|\n", strings.Repeat("---|---|", len(of)))
		for _, peer := range distinct(results, func(r result) string { return r.peer }) {
			if line := row(results, scenario, peer); line != "" {
				out.WriteString(line)
			}
		}
		out.WriteString("\n")
	}
	return out.String()
}

func row(results []result, scenario, peer string) string {
	mine := selected(results, scenario, peer)
	if len(mine) == 0 {
		return ""
	}
	line := fmt.Sprintf("| %s | %d |", peer, len(mine))
	for _, f := range figures[family(scenario)] {
		median, low, high := spread(mine, f)
		ours, _, _ := spread(selected(results, scenario, "bavard"), f)
		ratio := ""
		if peer != "bavard" && ours > 0 {
			ratio = fmt.Sprintf("× %.2g", median/ours)
		}
		line += " " + number(median)
		if len(mine) > 1 {
			line += fmt.Sprintf(" (%s to %s)", number(low), number(high))
		}
		line += fmt.Sprintf(" | %s |", ratio)
	}
	load := figure{path: "load_before", scale: 1}
	_, low, high := spread(mine, load)
	return line + fmt.Sprintf(" %.1f to %.1f | %s |\n", low, high, wrong(mine))
}

// wrong says what else there is to say of the runs.
func wrong(runs []result) string {
	var said []string
	for _, what := range []string{"lost", "doubled", "disordered", "wrong", "failed", "dropped"} {
		sum := 0.0
		for _, r := range runs {
			n, _ := figure{path: what, scale: 1}.value(r.report)
			sum += n
		}
		if sum > 0 {
			said = append(said, fmt.Sprintf("%s %s", number(sum), what))
		}
	}
	for _, r := range runs {
		notes, _ := r.report["notes"].([]any)
		for _, n := range notes {
			if text, _ := n.(string); strings.Contains(text, "bottleneck") && !slices.Contains(said, "generator limited") {
				said = append(said, "generator limited")
			}
		}
	}
	if len(said) == 0 {
		return "–"
	}
	return strings.Join(said, ", ")
}

func selected(results []result, scenario, peer string) (mine []result) {
	for _, r := range results {
		if r.scenario == scenario && r.peer == peer {
			mine = append(mine, r)
		}
	}
	return mine
}

// spread gives the median, the lowest and the highest of a figure.
func spread(runs []result, f figure) (median, low, high float64) {
	var all []float64
	for _, r := range runs {
		if v, ok := f.value(r.report); ok {
			all = append(all, v)
		}
	}
	if len(all) == 0 {
		return 0, 0, 0
	}
	slices.Sort(all)
	middle := len(all) / 2
	median = all[middle]
	if len(all)%2 == 0 {
		median = (all[middle-1] + all[middle]) / 2
	}
	return median, all[0], all[len(all)-1]
}

// number writes three digits that mean something.
func number(n float64) string {
	switch {
	case n >= 100:
		return fmt.Sprintf("%.0f", n)
	case n >= 10:
		return fmt.Sprintf("%.1f", n)
	}
	return fmt.Sprintf("%.3g", n)
}

func distinct(results []result, of func(result) string) (names []string) {
	for _, r := range results {
		if name := of(r); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}
