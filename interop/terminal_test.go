// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"bavard/drill/await"
)

// terminal is a program on the screen of a tmux server of its own.
type terminal struct {
	t      *testing.T
	socket string
	pids   []int
}

// startTerminal runs a shell command line on a new screen. Everything ends with
// the test, whatever becomes of it.
func startTerminal(t *testing.T, command string, env ...string) *terminal {
	t.Helper()
	dir, err := os.MkdirTemp("", "it-") // short: it names a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	term := &terminal{t: t, socket: filepath.Join(dir, "s")}
	server := exec.Command("tmux", "-D", "-u", "-S", term.socket, "-f", "/dev/null")
	server.Env = append(os.Environ(), "TERM=screen-256color", "LC_ALL=C.UTF-8")
	server.Env = append(server.Env, env...)
	server.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	ctx := testContext(t)
	t.Cleanup(func() {
		for _, pid := range term.pids {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
		}
		_ = syscall.Kill(-server.Process.Pid, syscall.SIGKILL) // likewise
		_ = server.Wait()                                      // killed
	})
	if err := await.Until(ctx, func(ctx context.Context) error {
		_, err := term.tmux(ctx, "new-session", "-d", "-x", "160", "-y", "45", "-s", "p", command)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	out, err := term.tmux(ctx, "list-panes", "-a", "-F", "#{pane_pid}")
	if err != nil {
		t.Fatal(err)
	}
	for field := range strings.FieldsSeq(out) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		term.pids = append(term.pids, pid)
	}
	return term
}

// tmux runs a command of tmux. It never starts a server: that one would outlive
// the test.
func (term *terminal) tmux(ctx context.Context, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, "tmux", append([]string{"-N", "-S", term.socket}, args...)...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("tmux %s: %w: %s", args[0], err, out)
	}
	return string(out), nil
}

// typeLine types a line and then, as a key of its own, Enter.
func (term *terminal) typeLine(line string) {
	term.t.Helper()
	term.keys("-l", line)
	term.keys("Enter")
}

// keys presses keys, or types a text after "-l".
func (term *terminal) keys(keys ...string) {
	term.t.Helper()
	if _, err := term.tmux(testContext(term.t), append([]string{"send-keys", "-t", "p"}, keys...)...); err != nil {
		term.t.Fatal(err)
	}
}

// screen is what the screen shows.
func (term *terminal) screen(ctx context.Context) string {
	out, err := term.tmux(ctx, "capture-pane", "-t", "p", "-p")
	if err != nil {
		return err.Error()
	}
	return out
}

// shows waits until the screen shows a text.
func (term *terminal) shows(want string) {
	term.t.Helper()
	ctx := testContext(term.t)
	var screen string
	err := await.UntilEvery(ctx, 100*time.Millisecond, func(ctx context.Context) error {
		if now := term.screen(ctx); ctx.Err() == nil {
			screen = now
		}
		if !strings.Contains(screen, want) {
			return fmt.Errorf("the screen does not show %q", want)
		}
		return nil
	})
	if err != nil {
		term.t.Fatalf("%v:\n%s", err, screen)
	}
}
