// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Environment of the helper processes of TestKill and TestCellKill.
const (
	envKillDir  = "BAVARD_TEST_KILL_DIR"
	envKillFrom = "BAVARD_TEST_KILL_FROM"
	envKillNode = "BAVARD_TEST_KILL_NODE" // of a cell
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(envKillDir); dir != "" {
		opts, pace := killOptions(dir, os.Stderr), flatOut
		if node := os.Getenv(envKillNode); node != "" {
			opts, pace = cellKillOptions(dir, node, os.Stderr), oneByOne
		}
		if err := appendUntilKilled(opts, os.Getenv(envKillFrom), pace); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if dir := os.Getenv(envHoldDir); dir != "" {
		if err := beHeld(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	code := m.Run()
	if code == 0 {
		code = leftovers()
	}
	os.Exit(code)
}

// leftovers fails the run when goroutines of a journal outlive its Close.
func leftovers() int {
	buf := make([]byte, 4<<20)
	var left []string
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for begun := time.Now(); time.Since(begun) < patience; <-tick.C {
		left = left[:0]
		for g := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if strings.Contains(g, "leftovers") || !strings.Contains(g, "bavard/internal/journal") && !strings.Contains(g, "go.etcd.io") {
				continue
			}
			left = append(left, g)
		}
		if len(left) == 0 {
			return 0
		}
	}
	fmt.Fprintf(os.Stderr, "FAIL: %d goroutines are left:\n%s\n", len(left), strings.Join(left, "\n\n"))
	return 1
}

func killOptions(dir string, log io.Writer) Options {
	return Options{
		Name: "a", Dir: filepath.Join(dir, "journal"), SpoolDir: filepath.Join(dir, "spool"), MinFree: 1,
		Log: slog.New(slog.NewTextHandler(log, nil)), segment: 64 << 10, recent: 16 << 10,
	}
}

// killPace is how much a process appends. Three that do so flat out take each other the
// processor, and hardly get to being killed.
type killPace struct{ writers, unsettled int }

var (
	flatOut  = killPace{writers: 8, unsettled: 4}
	oneByOne = killPace{writers: 3, unsettled: 1}
)

// appendUntilKilled appends from some goroutines, each with some commands that are not
// settled, and writes a line for each settled command.
func appendUntilKilled(opts Options, from string, pace killPace) error {
	ctx := context.Background()
	j, err := OpenEtcd(ctx, opts)
	if err != nil {
		return err
	}
	released, err := strconv.ParseUint(from, 10, 64)
	if err != nil {
		return err
	}
	tl, err := j.Tail(ctx, released)
	if err != nil {
		return err
	}
	go func() {
		for {
			if _, err := tl.Next(ctx); err != nil {
				fmt.Fprintln(os.Stderr, "tail:", err)
				os.Exit(1)
			}
			j.Release(released)
		}
	}()
	errs := make(chan error, 1)
	for w := range pace.writers {
		go func() {
			padding := strings.Repeat("x", 20<<(8/pace.writers*w))
			for i := 0; ; i++ {
				cmd := fmt.Sprintf("%x %d %d %s", j.Incarnation(), w, i, padding)
				done := make(chan error, 1)
				err := j.Submit(ctx, []byte(cmd), func(revision uint64, index uint32, err error) {
					if err == nil {
						// One write for each: what was written before the kill is read.
						_, err = fmt.Fprintf(os.Stdout, "%d %d %x %d %d\n", revision, index, j.Incarnation(), w, i)
					}
					done <- err
				})
				if err == nil && i%pace.unsettled == 0 {
					err = <-done
				}
				if err != nil {
					errs <- err
					return
				}
			}
		}()
	}
	return <-errs
}

// TestKill: after SIGKILL at random moments every settled command is there once,
// where it was settled, and each goroutine's commands are in order.
// BAVARD_LONG=1 does it 20 times instead of 5.
func TestKill(t *testing.T) {
	t.Parallel()
	cycles := 5
	if os.Getenv("BAVARD_LONG") != "" {
		cycles = 20
	}
	dir := t.TempDir()
	from, total := uint64(0), 0
	for cycle := range cycles {
		settled := killOnce(t, dir, from)
		if cycle%2 == 1 { // the spool must not be needed
			if err := os.RemoveAll(filepath.Join(dir, "spool")); err != nil {
				t.Fatal(err)
			}
		}
		from = verify(t, dir, from, settled)
		total += len(settled)
	}
	t.Logf("%d settled commands, %d kills", total, cycles)
}

// TestKillFirstStart: a process killed while it starts on an empty directory does
// not spoil the directory.
func TestKillFirstStart(t *testing.T) {
	t.Parallel()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cycles := 5
	if os.Getenv("BAVARD_LONG") != "" {
		cycles = 20
	}
	for range cycles {
		dir := t.TempDir()
		cmd := exec.Command(exe)
		cmd.Env = append(os.Environ(), envKillDir+"="+dir, envKillFrom+"=0")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		until(t, "etcd starts", func() bool {
			_, err := os.Stat(filepath.Join(dir, "journal", "etcd"))
			return err == nil
		})
		timer := time.NewTimer(time.Duration(rand.IntN(200)) * time.Millisecond)
		<-timer.C
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // killed
		verify(t, dir, 0, nil)
	}
}

// killOnce returns where commands were settled, by command.
func killOnce(t *testing.T, dir string, from uint64) map[string]result {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), envKillDir+"="+dir, envKillFrom+"="+strconv.FormatUint(from, 10))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	settled := map[string]result{}
	var kill sync.Once
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		kill.Do(func() {
			time.AfterFunc(time.Duration(rand.IntN(500))*time.Millisecond, func() { _ = cmd.Process.Kill() })
		})
		if name, r, ok := readSettled(lines.Text()); ok {
			settled[name] = r
		}
	}
	_ = cmd.Wait() // killed
	if len(settled) == 0 {
		t.Fatalf("nothing was settled: %s", stderr.String())
	}
	return settled
}

// readSettled reads a line of the helper process; it may be cut by the kill.
func readSettled(line string) (command string, r result, ok bool) {
	var incarnation string
	var w, i int
	_, err := fmt.Sscanf(line, "%d %d %s %d %d", &r.revision, &r.index, &incarnation, &w, &i)
	return fmt.Sprintf("%s %d %d", incarnation, w, i), r, err == nil
}

// verify reads all after from and gives the revision of the last batch.
func verify(t *testing.T, dir string, from uint64, settled map[string]result) uint64 {
	t.Helper()
	j, err := OpenEtcd(testContext(t), killOptions(dir, testWriter{t}))
	if err != nil {
		t.Fatal(err)
	}
	defer closeJournal(t, j)
	end, err := j.Latest(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	verifyTail(t, tail(t, j, from), from, end, settled)
	return end
}

// verifyTail reads from a tailer up to end and gives where each command is.
func verifyTail(t *testing.T, tl Tailer, from, end uint64, settled map[string]result) map[string]result {
	t.Helper()
	seen, next := map[string]result{}, map[string]int{}
	for last := from; last < end; {
		b, err := tl.Next(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		last = b.Revision
		for index, cmd := range b.Commands {
			f := strings.Fields(string(cmd))
			name, by := strings.Join(f[:3], " "), strings.Join(f[:2], " ")
			if _, twice := seen[name]; twice {
				t.Fatalf("%q is there twice", name)
			}
			seen[name] = result{b.Revision, uint32(index), nil}
			if i, err := strconv.Atoi(f[2]); err != nil || i != next[by] {
				t.Fatalf("%q, but %d comes next", name, next[by])
			}
			next[by]++
		}
	}
	if err := tl.Close(); err != nil {
		t.Fatal(err)
	}
	for name, r := range settled {
		if seen[name] != r {
			t.Fatalf("%q was settled at %+v and is at %+v", name, r, seen[name])
		}
	}
	return seen
}
