// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"bavard/drill/node"
)

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "bavard-bench-test-*")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	buildDir = dir
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// buildDir is where the server is built. It is immutable once tests run.
var buildDir string

// serve starts a server of ours with accounts, for a transport.
func serve(t *testing.T, accounts int, transport string) (context.Context, *Server, *Target, *Watch) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	binary := os.Getenv("BAVARD")
	if binary == "" {
		var err error
		if binary, err = node.Build(ctx, buildDir); err != nil {
			t.Fatal(err)
		}
	}
	users, err := Numbered("bench%d", "correct horse")
	if err != nil {
		t.Fatal(err)
	}
	var log node.Tail
	w := &Watch{Progress: func(text string) { t.Log(text) }}
	s, err := Serve(ctx, ServeOptions{Binary: binary, Users: accounts, Accounts: users, Log: &log}, w)
	if err != nil {
		t.Fatalf("%v\n%s", err, &log)
	}
	t.Cleanup(func() {
		s.Stop()
		for _, line := range log.Trouble() {
			t.Error(line)
		}
	})
	target := &Target{Transport: transport, Accounts: users}
	if err := s.Target(target); err != nil {
		t.Fatal(err)
	}
	w.Server = s.Processes()
	return ctx, s, target, w
}

// sane checks what is common to all reports.
func sane(t *testing.T, r Report, scenario string) {
	t.Helper()
	var text, object strings.Builder
	if err := Write(&text, r); err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + text.String())
	c := r.conditions()
	if c.Scenario != scenario || !strings.HasPrefix(c.Server, "bavard ") || c.Seconds <= 0 || c.GeneratorCores <= 0 || c.ServerRSS < 10<<20 || c.ServerPSS <= 0 {
		t.Errorf("%+v", c)
	}
	for _, row := range r.Rows() {
		if !strings.Contains(text.String(), row[1]) {
			t.Errorf("the table lacks %q", row)
		}
	}
	if err := WriteJSON(&object, r); err != nil {
		t.Fatal(err)
	}
	var parsed map[string]any
	if err := json.Unmarshal([]byte(object.String()), &parsed); err != nil || parsed["scenario"] != scenario || strings.Count(object.String(), "\n") != 1 {
		t.Errorf("%v: %s", err, object.String())
	}
}
