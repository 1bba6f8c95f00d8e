// SPDX-License-Identifier: Apache-2.0

// Summary reads what `go test -json` writes and prints a line for each package
// as it ends, the output of what failed, and what was skipped. With -to it
// appends "passed failed" and the package lines to a file. Its exit code is 1
// when something failed. A test that skips itself with a reason that begins with
// "LEFT OUT" lacks something on this machine; with -nothing-left-out that is a
// failure, too.
package main

import (
	"bufio"
	"encoding/json"
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
	output          map[string][]string // of tests and builds that have not ended
	failedInPackage map[string]int
}

func main() {
	to := flag.String("to", "", "`FILE` to append the counts and the package lines to")
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
	if *to != "" {
		if err := s.save(*to); err != nil {
			fmt.Fprintln(os.Stderr, "summary:", err)
			os.Exit(1)
		}
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

func (s *summary) save(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	fmt.Fprintf(f, "%d %d\n%s\n", s.passed, s.failed, strings.Join(s.packages, "\n"))
	return f.Close()
}
