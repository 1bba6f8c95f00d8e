// SPDX-License-Identifier: Apache-2.0

// Summary reads what `go test -json` writes and prints a line for each package
// as it ends, the output of what failed, and what was skipped. With -to it
// appends "passed failed" and the package lines to a file, with -why what each
// failed test says of it, in a few lines. Its exit code is 1
// when something failed. A test that skips itself with a reason that begins with
// "LEFT OUT" lacks something on this machine; with -nothing-left-out that is a
// failure, too.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
)

// event is one line of test2json (go doc test2json).
type event struct {
	Action      string
	Package     string
	ImportPath  string // of build output
	Test        string
	Output      string
	Elapsed     float64 // seconds
	FailedBuild string
}

// summary of a run.
type summary struct {
	out             io.Writer
	passed, failed  int
	skipped         []string
	packages        []string            // "ok  …" lines
	why             []string            // what failed, and some lines of its output
	output          map[string][]string // of tests and builds that have not ended
	failedInPackage map[string]int
}

func main() {
	to := flag.String("to", "", "`FILE` to append the counts and the package lines to")
	why := flag.String("why", "", "`FILE` to append to what failed tests say of it")
	nothing := flag.Bool("nothing-left-out", false, "a test that lacks something is a failure")
	flag.Parse()
	s := &summary{out: os.Stdout, output: map[string][]string{}, failedInPackage: map[string]int{}}
	if err := s.read(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "summary:", err)
		os.Exit(1)
	}
	for _, name := range s.skipped {
		fmt.Fprintln(s.out, "skip ", name)
		if *nothing && strings.Contains(name, "LEFT OUT") {
			s.failed++
		}
	}
	if err := s.save(*to, *why); err != nil {
		fmt.Fprintln(os.Stderr, "summary:", err)
		os.Exit(1)
	}
	fmt.Fprintf(s.out, "%d passed, %d failed, %d skipped\n", s.passed, s.failed, len(s.skipped))
	if s.failed > 0 || s.passed == 0 {
		os.Exit(1)
	}
}

func (s *summary) read(r io.Reader) error {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) != nil {
				fmt.Fprint(s.out, string(line)) // go itself, not a test
			} else {
				s.take(e)
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (s *summary) take(e event) {
	key := e.Package + " " + e.Test
	if e.Action == "build-output" || e.Action == "build-fail" {
		key = "build " + e.ImportPath
	}
	switch e.Action {
	case "output", "build-output":
		s.output[key] = append(s.output[key], e.Output)
		return
	case "build-fail":
		s.print(key)
		return
	case "pass", "fail", "skip":
	default:
		return
	}
	if e.Test == "" {
		s.packageEnds(e)
	} else {
		s.testEnds(e, key)
	}
	delete(s.output, key)
}

func (s *summary) testEnds(e event, key string) {
	switch e.Action {
	case "pass":
		s.passed++
	case "skip":
		s.skipped = append(s.skipped, key+": "+reason(s.output[key]))
	case "fail":
		s.failed++
		s.failedInPackage[e.Package]++
		s.print(key)
	}
}

func (s *summary) packageEnds(e event) {
	line := fmt.Sprintf("ok    %s\t%.1fs", e.Package, e.Elapsed)
	switch {
	case e.Action == "skip":
		return // it has no tests
	case e.Action == "fail":
		line = fmt.Sprintf("FAIL  %s\t%.1fs", e.Package, e.Elapsed)
		if s.failedInPackage[e.Package] == 0 { // it did not build, panicked, exited or timed out
			s.failed++
			s.printUnfinished(e.Package)
		}
	}
	s.packages = append(s.packages, line)
	fmt.Fprintln(s.out, line)
}

// printUnfinished prints what the tests of a package wrote that never ended,
// and then what the package itself did.
func (s *summary) printUnfinished(pkg string) {
	for _, key := range slices.Sorted(maps.Keys(s.output)) {
		if strings.HasPrefix(key, pkg+" ") && key != pkg+" " {
			s.print(key)
			delete(s.output, key)
		}
	}
	s.print(pkg + " ")
}

func (s *summary) print(key string) {
	s.explain(key)
	fmt.Fprint(s.out, strings.Join(s.output[key], ""))
}

// reason gives the line that says why a test was skipped.
func reason(output []string) string {
	for _, line := range output {
		if text := strings.TrimSpace(line); text != "" && !strings.HasPrefix(text, "===") && !strings.HasPrefix(text, "---") {
			return text
		}
	}
	return ""
}

// Of a failed test that many lines of that many characters are told once more.
const (
	whyLines = 10
	whyWidth = 400
)

// explain keeps what a test says of its failure: the lines that begin with a place in a test file, each with the one
// after it, but not what a server under test logs through it; or else the last ones.
func (s *summary) explain(key string) {
	output := strings.Split(strings.TrimSpace(strings.Join(s.output[key], "")), "\n")
	var said []string
	for i, line := range output {
		at := func(i int) bool { return i >= 0 && strings.Contains(output[i], "_test.go:") && !logged(output[i]) }
		if at(i) || at(i-1) && !logged(line) {
			said = append(said, line)
		}
	}
	if len(said) == 0 {
		said = output[max(len(output)-whyLines, 0):]
	}
	s.why = append(s.why, "FAIL  "+strings.TrimSpace(key))
	for _, line := range said[:min(len(said), whyLines)] {
		s.why = append(s.why, "      "+strings.ToValidUTF8(line[:min(len(line), whyWidth)], ""))
	}
}

// logged reports whether a line is one of log/slog's text handler.
func logged(line string) bool {
	return strings.Contains(line, " level=") && strings.Contains(line, " msg=")
}

// save appends the counts and the package lines to a file, and what failed to another one; no name, no file.
func (s *summary) save(to, why string) error {
	counts := append([]string{fmt.Sprintf("%d %d", s.passed, s.failed)}, s.packages...)
	return errors.Join(appendTo(to, counts), appendTo(why, s.why))
}

func appendTo(path string, lines []string) error {
	if path == "" || len(lines) == 0 {
		return nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, strings.Join(lines, "\n"))
	return errors.Join(err, f.Close())
}
