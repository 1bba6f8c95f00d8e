// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"bavard/drill/await"
	"bavard/drill/node"
)

const python = "/usr/bin/python3" // Debian's, which has its python3-slixmpp

// script is a client that the test drives: a program that reads commands and
// writes answers and events, one JSON object a line.
type script struct {
	t      *testing.T
	name   string
	stdin  io.WriteCloser
	log    node.Tail
	number int
	jid    string        // bound, where the test is told
	waits  time.Duration // how long for an answer or event

	mu     sync.Mutex
	lines  []map[string]any // not yet consumed
	change chan struct{}    // closed and replaced when lines grows or the process ends
	ended  bool
}

// startScript runs a command line. Everything ends with the test.
func startScript(t *testing.T, name string, line []string, env ...string) *script {
	t.Helper()
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p := &script{t: t, name: name, stdin: stdin, waits: patience, change: make(chan struct{})}
	cmd.Stderr = &p.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.read(stdout)
	}()
	t.Cleanup(func() {
		stdin.Close()
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // it has ended otherwise
		<-done
		_ = cmd.Wait() // killed
		if t.Failed() {
			t.Logf("%s:\n%s", p.name, &p.log)
		}
	})
	return p
}

func (p *script) read(stdout io.Reader) {
	lines := bufio.NewScanner(stdout)
	lines.Buffer(nil, 1<<20)
	add := func(line map[string]any) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if line == nil {
			p.ended = true
		} else {
			p.lines = append(p.lines, line)
		}
		close(p.change)
		p.change = make(chan struct{})
	}
	for lines.Scan() {
		var line map[string]any
		if json.Unmarshal(lines.Bytes(), &line) == nil {
			add(line)
		}
	}
	add(nil)
}

// end lets the program end by itself, so that it can clean up.
func (p *script) end() {
	p.stdin.Close()
	late := time.After(5 * time.Second)
	for {
		p.mu.Lock()
		change, ended := p.change, p.ended
		p.mu.Unlock()
		if ended {
			return
		}
		select {
		case <-change:
		case <-late:
			return // it is killed
		}
	}
}

// take waits for the first line that matches and consumes it.
func (p *script) take(what string, match func(map[string]any) bool) map[string]any {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), p.waits)
	defer cancel()
	for {
		p.mu.Lock()
		i := slices.IndexFunc(p.lines, match)
		if i >= 0 {
			line := p.lines[i]
			p.lines = slices.Delete(p.lines, i, i+1)
			p.mu.Unlock()
			return line
		}
		change, ended, pending := p.change, p.ended, fmt.Sprint(p.lines)
		p.mu.Unlock()
		if ended {
			p.t.Fatalf("%s ended, waiting for %s", p.name, what)
		}
		select {
		case <-change:
		case <-ctx.Done():
			p.t.Fatalf("%s does not tell %s, but %s", p.name, what, pending)
		}
	}
}

// event waits for an event; pairs are keys and values that it must have.
func (p *script) event(name string, pairs ...string) map[string]any {
	p.t.Helper()
	return p.take(fmt.Sprint("event ", name, pairs), func(line map[string]any) bool {
		return has(line, name, pairs)
	})
}

// has tells whether an event has these keys and values.
func has(line map[string]any, name string, pairs []string) bool {
	if line["event"] != name {
		return false
	}
	for i := 0; i < len(pairs); i += 2 {
		if fmt.Sprint(line[pairs[i]]) != pairs[i+1] {
			return false
		}
	}
	return true
}

// never fails the test when an event of this name, and with these keys and
// values, has come and was not taken.
func (p *script) never(name string, pairs ...string) {
	p.t.Helper()
	p.neverBut("", "", name, pairs...)
}

// neverBut is never, except for events that have this value under this key.
func (p *script) neverBut(key, value, name string, pairs ...string) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, line := range p.lines {
		if has(line, name, pairs) && (key == "" || fmt.Sprint(line[key]) != value) {
			p.t.Errorf("%s tells %v", p.name, line)
		}
	}
}

// until waits for what the client does not tell.
func (p *script) until(what string, condition func() bool) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), p.waits)
	defer cancel()
	if err := await.UntilEvery(ctx, 200*time.Millisecond, func(context.Context) error {
		if !condition() {
			return fmt.Errorf("%s does not see %s", p.name, what)
		}
		return nil
	}); err != nil {
		p.t.Fatal(err)
	}
}

// do runs a command and returns its result.
func (p *script) do(command string, args map[string]any) any {
	p.t.Helper()
	result, failure := p.try(command, args)
	if failure != "" {
		p.t.Fatalf("%s: %s: %s", p.name, command, failure)
	}
	return result
}

// refused runs a command that has to fail, and returns what the client says of it.
func (p *script) refused(command string, args map[string]any) string {
	p.t.Helper()
	result, failure := p.try(command, args)
	if failure == "" {
		p.t.Fatalf("%s: %s is not refused: %v", p.name, command, result)
	}
	return failure
}

func (p *script) try(command string, args map[string]any) (result any, failure string) {
	p.t.Helper()
	p.number++
	line := map[string]any{"do": command, "n": p.number}
	maps.Copy(line, args)
	text, err := json.Marshal(line)
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := p.stdin.Write(append(text, '\n')); err != nil {
		p.t.Fatal(err)
	}
	n := float64(p.number)
	answer := p.take("the answer to "+command, func(line map[string]any) bool { return line["n"] == n })
	if e, ok := answer["error"]; ok {
		return nil, fmt.Sprint(e)
	}
	return answer["ok"], ""
}

// subtest is t.Run for a test whose scripts outlive it: what goes wrong with
// them is said in it.
func subtest(t *testing.T, name string, scripts []*script, f func(t *testing.T)) {
	t.Run(name, func(t *testing.T) {
		for _, p := range scripts {
			outer := p.t
			p.t = t
			defer func() { p.t = outer }()
		}
		f(t)
	})
}

func atoi(t *testing.T, s string) int {
	var n int
	if _, err := fmt.Sscan(s, &n); err != nil {
		t.Fatal(err)
	}
	return n
}
