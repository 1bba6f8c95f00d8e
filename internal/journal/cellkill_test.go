// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bufio"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// cellFile describes a cell to its processes.
const cellFile = "cell.json"

func cellKillOptions(dir, node string, log io.Writer) Options {
	opts := Options{
		Name: node, Dir: filepath.Join(dir, node, "journal"), SpoolDir: filepath.Join(dir, node, "spool"), MinFree: 1,
		Log: slog.New(slog.NewTextHandler(log, nil)), Peers: &Peers{},
	}
	text, err := os.ReadFile(filepath.Join(dir, cellFile))
	if err == nil {
		err = json.Unmarshal(text, opts.Peers)
	}
	if err != nil {
		panic(err)
	}
	return opts
}

// killedNode is a node of a cell in a process of its own.
type killedNode struct {
	t    *testing.T
	dir  string
	name string
	cmd  *exec.Cmd
	read chan struct{} // closed when all that it wrote is read
	log  strings.Builder

	mu      sync.Mutex
	settled map[string]result
}

func (n *killedNode) start() {
	n.t.Helper()
	exe, err := os.Executable()
	if err != nil {
		n.t.Fatal(err)
	}
	n.cmd = exec.Command(exe)
	n.cmd.Env = append(os.Environ(), envKillDir+"="+n.dir, envKillFrom+"=0", envKillNode+"="+n.name)
	n.cmd.Stderr = &n.log
	out, err := n.cmd.StdoutPipe()
	if err != nil {
		n.t.Fatal(err)
	}
	if err := n.cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	n.read = make(chan struct{})
	go func() {
		defer close(n.read)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if name, r, ok := readSettled(lines.Text()); ok {
				n.mu.Lock()
				n.settled[name] = r
				n.mu.Unlock()
			}
		}
	}()
}

func (n *killedNode) kill() {
	if err := n.cmd.Process.Kill(); err != nil {
		n.t.Errorf("kill %s: %v", n.name, err)
	}
	<-n.read
	_ = n.cmd.Wait() // killed
}

// end is for a test that has failed.
func (n *killedNode) end() {
	if n.cmd.ProcessState == nil {
		n.kill()
	}
	if n.t.Failed() {
		const most = 8 << 10
		log := n.log.String()
		n.t.Logf("the end of what node %s wrote:\n%s", n.name, log[max(0, len(log)-most):])
	}
}

func (n *killedNode) count() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.settled)
}

// TestCellKill: nodes are killed at random, one, two or all at a time, while all
// of them append. In the end every node has what was settled on any, once, where
// it was settled and in order, and what one has all have.
func TestCellKill(t *testing.T) {
	t.Parallel()
	cycles := 5
	if os.Getenv("BAVARD_LONG") != "" {
		cycles = 10
	}
	c := newTestCell(t)
	text, err := json.Marshal(Peers{Members: c.nodes, CA: c.files.ca, Certificate: c.files.cert, Key: c.files.key, Begin: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(c.dir, cellFile), text, 0o600); err != nil {
		t.Fatal(err)
	}
	var nodes []*killedNode
	for _, name := range slices.Sorted(maps.Keys(c.nodes)) {
		n := &killedNode{t: t, dir: c.dir, name: name, settled: map[string]result{}}
		n.start()
		defer n.end()
		nodes = append(nodes, n)
	}
	progress := func() {
		t.Helper()
		for _, n := range nodes {
			before := n.count()
			until(t, "node "+n.name+" settles commands", func() bool { return n.count() > before })
		}
	}
	for cycle := range cycles {
		progress()
		<-time.After(rand.N(500 * time.Millisecond))
		hit := rand.Perm(3)[:1+[]int{0, 0, 0, 1, 2}[cycle%5]]
		for _, i := range hit {
			nodes[i].kill()
		}
		<-time.After(rand.N(time.Second))
		for _, i := range hit {
			nodes[i].start()
		}
	}
	progress()
	settled := map[string]result{}
	for _, n := range nodes {
		n.kill()
		maps.Copy(settled, n.settled)
	}
	opened := c.open(t, Options{}, "a", "b", "c")
	end, err := opened["a"].Latest(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	var first map[string]result
	for _, name := range []string{"a", "b", "c"} {
		seen := verifyTail(t, tail(t, opened[name], 0), 0, end, settled)
		if first == nil {
			first = seen
		}
		if !maps.Equal(seen, first) {
			t.Errorf("node %s has %d commands, node a has %d, or elsewhere", name, len(seen), len(first))
		}
	}
	t.Logf("%d settled commands, %d kills", len(settled), cycles)
}
