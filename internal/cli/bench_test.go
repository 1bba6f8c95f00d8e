// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestBench(t *testing.T) {
	users := filepath.Join(t.TempDir(), "users.tsv")
	if err := os.WriteFile(users, []byte("ann\tsecret words\nbob\tsecret words\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := run(t, "", "bench", "pairs", "--serve", "--domain", "chat.example.org", "--users-file", users,
		"--pairs", "1", "--warmup", "0s", "--duration", "200ms", "--transport", "starttls", "--mechanism", "SCRAM-SHA-256", "--json")
	if r.code != 0 {
		t.Fatalf("%+v", r)
	}
	var report struct {
		Scenario, Domain, Transport, Mechanism string
		Sent, Ticked, Lost                     int
		Notes                                  []string
	}
	if err := json.Unmarshal([]byte(r.out), &report); err != nil {
		t.Fatalf("%v: %s", err, r.out)
	}
	if report.Scenario != "pairs" || report.Domain != "chat.example.org" || report.Transport != "starttls" || report.Mechanism != "SCRAM-SHA-256" ||
		report.Sent == 0 || report.Sent != report.Ticked || report.Lost != 0 || !strings.Contains(strings.Join(report.Notes, "\n"), "fsync takes") {
		t.Errorf("%+v", report)
	}
}

// People write to each other beside a room, whose load is a process of its own.
func TestBenchRoomBeside(t *testing.T) {
	r := run(t, "", "bench", "room", "--serve", "--occupants", "8", "--speakers", "2", "--rate", "20", "--beside", "200", "--pairs", "3",
		"--rounds", "2", "--slice", "400ms")
	if r.code != 0 || !strings.Contains(r.out, "8 in it, 2 speak") || !strings.Contains(r.out, "3 pairs, ") || !strings.Contains(r.out, "0 lost") || !strings.Contains(r.out, "1 orders") {
		t.Errorf("%+v", r)
	}
}

func TestBenchStorm(t *testing.T) {
	r := run(t, "", "bench", "storm", "--serve", "--kill", "--clients", "5", "--still", "300ms")
	if r.code != 0 || !strings.Contains(r.out, "cut by killing the server") || !strings.Contains(r.out, "5 came back") || !strings.Contains(r.out, "generator") {
		t.Errorf("%+v", r)
	}
}

// What is interrupted prints what there is.
func TestBenchInterrupted(t *testing.T) {
	var out bytes.Buffer
	cmd := exec.CommandContext(t.Context(), binary, "bench", "logins", "--serve", "--accounts", "2", "--duration", "10m")
	cmd.Dir, cmd.Stdout = t.TempDir(), &out
	progress, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(progress); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "measuring") {
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err != nil || !strings.Contains(out.String(), "interrupted") || !strings.Contains(out.String(), "logins") {
		t.Errorf("%v: %s", err, out.String())
	}
}

func TestBenchMistakes(t *testing.T) {
	for _, m := range []struct {
		args string
		code int
		says string
	}{
		{"", 2, ""},
		{"pairs", 2, "--serve"},
		{"pairs --serve --addr 127.0.0.1:1", 2, "--serve starts a server"},
		{"pairs --addr 127.0.0.1:1 --cpu 0", 2, "are for --serve"},
		{"pairs --addr 127.0.0.1:1 --transport pigeon", 2, "starttls"},
		{"pairs --transport websocket", 2, "--url"},
		{"pairs --addr 127.0.0.1:1 --config x", 2, "--config"},
		{"pairs --addr 127.0.0.1:1", 1, "no server listens there"},
		{"logins --addr 127.0.0.1:1", 1, "no server listens there"},
		{"idle --addr 127.0.0.1:1 --still 1ms", 1, "no server listens there"},
		{"archive --addr 127.0.0.1:1", 1, "no server listens there"},
		{"storm --addr 127.0.0.1:1", 1, "no server listens there"},
		{"storm --addr 127.0.0.1:1 --kill", 2, "--kill is for --serve"},
		{"storm --addr 127.0.0.1:1 --start true", 2, "--kill-pid"},
		{"storm --serve --fast 101", 2, "--fast is a percentage"},
		{"idle --addr 127.0.0.1:1 --connections 100000000", 1, "ulimit -n"},
		{"pairs --addr 127.0.0.1:1 --pids nothing-here", 1, "--pids"},
		{"pairs --addr 127.0.0.1:1 --users-file nothing-here", 1, "nothing-here"},
		{"pairs --addr 127.0.0.1:1 --user bench", 1, "%d"},
		{"pairs --addr 127.0.0.1:1 --transport tls --ca nothing-here", 1, "nothing-here"},
	} {
		r := run(t, "", append([]string{"bench"}, strings.Fields(m.args)...)...)
		if r.code != m.code || !strings.Contains(r.err, m.says) {
			t.Errorf("bench %s: %+v", m.args, r)
		}
	}
}

// A cell of three is started for a measurement, whose people are on all of its nodes.
func TestBenchNodes(t *testing.T) {
	r := run(t, "", "bench", "pairs", "--serve", "--nodes", "3", "--pairs", "3", "--warmup", "0s", "--duration", "200ms", "--json")
	if r.code != 0 {
		t.Fatalf("%+v", r)
	}
	var report struct {
		Addr       string
		Sent, Lost int
	}
	if err := json.Unmarshal([]byte(r.out), &report); err != nil {
		t.Fatalf("%v: %s", err, r.out)
	}
	if strings.Count(report.Addr, ",") != 2 || report.Sent == 0 || report.Lost != 0 {
		t.Errorf("%+v", report)
	}
	for _, wrong := range [][]string{{"--serve", "--nodes", "2"}, {"--addr", "127.0.0.1:1", "--nodes", "3"}} {
		run(t, "", append([]string{"bench", "pairs"}, wrong...)...).want(t, 2, "--nodes")
	}
}
