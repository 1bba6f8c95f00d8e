// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bavard/drill/node"
)

// TestCellInit: a bundle for each node, which nobody else can read, that makes an
// empty data directory a node's, once.
func TestCellInit(t *testing.T) {
	dir := t.TempDir()
	run(t, "", "cell", "init", "--domain", "chat.example.org", "--nodes", "a,b,c", "--out", dir).want(t, 0, "bavard cell join a.cell", "chat.example.org", "7 days", "--again")
	run(t, "", "cell", "init", "--domain", "chat.example.org", "--nodes", "c,d,e", "--out", dir).want(t, 1, "c.cell already", "--out")
	for _, name := range []string{"a.cell", "b.cell", "c.cell"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "d.cell")); err == nil {
		t.Error("a cell that was not made left a bundle")
	}
	copied := filepath.Join(dir, "copy.cell")
	text, err := os.ReadFile(filepath.Join(dir, "a.cell"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(copied, text, 0o600); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(t.TempDir(), "data")
	run(t, "", "cell", "join", filepath.Join(dir, "a.cell"), "--data", data, "--domain", "other.example.org").want(t, 1, "chat.example.org", "other.example.org")
	run(t, "", "cell", "join", filepath.Join(dir, "a.cell"), "--data", data).want(t, 0, "node a", "a, b, c", "removed")
	if _, err := os.Stat(filepath.Join(dir, "a.cell")); err == nil {
		t.Error("the bundle is still there")
	}
	run(t, "", "cell", "join", copied, "--data", data).want(t, 1, "in use already")
	run(t, "", "cell", "join", "--again", copied, "--data", data).want(t, 1, "in use already")

	// A node that lost its disk: the copy stays, for the next time, and the node does not begin.
	again := filepath.Join(t.TempDir(), "data")
	run(t, "", "cell", "join", "--again", copied, "--data", again).want(t, 0, "node a", "let it in")
	if _, err := os.Stat(copied); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(again, "cell", "new")); err == nil {
		t.Error("a node that comes back may begin a cell")
	}
}

// TestCellInitFirst: the directory of a server becomes that of the first node, and of no other, once.
func TestCellInitFirst(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	run(t, "", "user", "add", "alice", "--generate", "--data", data).want(t, 0)
	run(t, "", "cell", "init", "--nodes", "a,b,c", "--first", "b", "--data", data, "--out", dir).want(t, 0, "b.cell   here, while the server is stopped", "Start node b first")
	run(t, "", "cell", "join", filepath.Join(dir, "a.cell"), "--data", data).want(t, 1, "in use already", "--first")
	run(t, "", "cell", "join", filepath.Join(dir, "b.cell"), "--data", data).want(t, 0, "node b")
	run(t, "", "cell", "init", "--nodes", "a,b,c", "--first", "b", "--data", data, "--out", dir).want(t, 1, "node b of a cell already")
	run(t, "", "serve", "--data", data).want(t, 1, "--node b", "--cell")
}

// TestCellMistakes: what to do is said.
func TestCellMistakes(t *testing.T) {
	dir := t.TempDir()
	broken := filepath.Join(dir, "broken.cell")
	if err := os.WriteFile(broken, []byte("-----BEGIN BAVARD CELL NODE-----\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "", "cell").want(t, 2, "init", "join")
	run(t, "", "cell", "joyn").want(t, 2, "bavard cell join")
	run(t, "", "cell", "init", "--out", dir).want(t, 2, "--nodes", "three")
	run(t, "", "cell", "init", "--nodes", "a,b", "--out", dir).want(t, 2, "three")
	run(t, "", "cell", "init", "--nodes", "a,b,c", "--first", "d", "--out", dir).want(t, 2, "--first", `"d"`)
	run(t, "", "cell", "init", "--nodes", "a,b,c", "--first", "a", "--out", dir, "--data", filepath.Join(dir, "data")).want(t, 1, "no server", "--data")
	run(t, "", "cell", "remove", "--data", dir).want(t, 2, "cell remove")
	run(t, "", "cell", "remove", "c", "--data", dir).want(t, 1, "no server is running")
	run(t, "", "cell", "add", "c", "--data", dir).want(t, 1, "no server is running")
	run(t, "", "drain", "--within", "2h", "--data", dir).want(t, 2, "--within", "1h0m0s")
	run(t, "", "drain", "--undo", "--stay", "--data", dir).want(t, 2, "--undo")
	run(t, "", "drain", "--data", dir).want(t, 1, "no server is running")
	run(t, "", "cell", "join", broken, "--data", filepath.Join(dir, "data")).want(t, 1, "no whole bundle")
	run(t, "", "cell", "join", filepath.Join(dir, "none.cell"), "--data", filepath.Join(dir, "data")).want(t, 1, "none.cell")
}

// TestStatusOfNodeThatStarts: a node that waits for the others is not said not to run, and whoever
// wants something of it is told to wait.
func TestStatusOfNodeThatStarts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	run(t, "", "cell", "init", "--domain", "localhost", "--nodes", "a,b,c", "--out", dir).want(t, 0)
	run(t, "", "cell", "join", filepath.Join(dir, "a.cell"), "--data", data).want(t, 0)
	at, err := node.FreePorts(3, rand.IntN)
	if err != nil {
		t.Fatal(err)
	}
	launch(t, data, "--node", "a", "--cell", fmt.Sprintf("a=%s,b=%s,c=%s", at[0], at[1], at[2]))
	until(t, func() error {
		if r := run(t, "", "status", "--data", data); r.code != 1 || !strings.Contains(r.out, "NOT READY: the server is starting: process ") {
			return fmt.Errorf("status: %d, %s", r.code, r.out)
		}
		return nil
	})
	if r := run(t, "", "status", "--json", "--data", data).want(t, 1, `"running": false`, `"starting": {`); strings.Contains(r.out, "0001-") {
		t.Errorf("it said something at no time: %s", r.out)
	}
	run(t, "", "user", "add", "alice", "--data", data).want(t, 1, "is starting", "`bavard status` says when it is ready")
}

// TestDrillKill: the figures are printed as documented, and are clean.
func TestDrillKill(t *testing.T) {
	r := run(t, "", "drill", "kill", "--duration", "1s", "--json").want(t, 0)
	var figures map[string]float64
	if err := json.Unmarshal([]byte(r.out), &figures); err != nil {
		t.Fatalf("%v: %s", err, r.out)
	}
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	for key, n := range figures {
		if !strings.Contains(string(text), "`"+key+"`") {
			t.Errorf("%s is not documented", key)
		}
		switch key {
		case "lost", "hidden", "duplicated", "reordered", "phantom", "false_ticks", "diverged", "files_lost", "files_left":
			if n != 0 {
				t.Errorf("%s: %v", key, n)
			}
		case "kills", "ticked":
			if n == 0 {
				t.Errorf("%s: none", key)
			}
		}
	}
	if len(figures) != 32 {
		t.Errorf("%d figures: %s", len(figures), r.out)
	}
	run(t, "", "drill", "kill", "--nodes", "4").want(t, 2, "3, 5 or 7")
	run(t, "", "drill", "freeze", "--nodes", "1").want(t, 2, "3, 5 or 7")
	run(t, "", "drill", "power", "--nodes", "2").want(t, 2, "1, 3, 5 or 7")
	run(t, "", "drill", "kill", "--duration", "0s").want(t, 2, "1s to 24h")
	run(t, "", "drill", "rot", "--cycles", "-1").want(t, 2, "1 to 1000000")
	run(t, "", "drill", "freeze", "--up-to", "100ms").want(t, 2, "1s to 1h")
	run(t, "", "drill", "kill", "--people", "1").want(t, 2, "2 to 1000")
	run(t, "", "drill", "kill", "--pause", "0s").want(t, 2, "100us to 1h")
	run(t, "", "drill", "roll", "--older", "nowhere").want(t, 2, "--older", "nowhere")
	run(t, "", "drill", "roll", "--older", ".").want(t, 2, "is not a program")
}

// TestDrillInterrupted: a drill that is interrupted does no more harm, and says what it found; interrupted again, it ends.
func TestDrillInterrupted(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		at   []string // the lines at which it is interrupted
		code int
		says string
	}{
		"once":  {[]string{" 1 times"}, 0, "| kills "},
		"twice": {[]string{" 1 times", "no more harm"}, 1, "interrupted"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, binary, "drill", "kill", "--duration", "1h")
			said, out, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer said.Close()
			cmd.Stdout, cmd.Stderr = out, out
			err = cmd.Start()
			out.Close() // what is left of it is the program's
			if err != nil {
				t.Fatal(err)
			}
			all, at := "", c.at
			for lines := bufio.NewScanner(said); lines.Scan(); {
				all += lines.Text() + "\n"
				if len(at) > 0 && strings.Contains(lines.Text(), at[0]) {
					at = at[1:]
					if err := cmd.Process.Signal(os.Interrupt); err != nil {
						t.Error(err)
					}
				}
			}
			_ = cmd.Wait() // the code is looked at
			result{out: all, code: cmd.ProcessState.ExitCode()}.want(t, c.code, "no more harm", c.says)
		})
	}
}
