// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"bavard/drill/client"
)

func TestLogins(t *testing.T) {
	ctx, _, target, w := serve(t, 4, StartTLS)
	for _, managed := range []bool{false, true} {
		target.Mechanism = "SCRAM-SHA-256"
		r, err := Logins(ctx, target, LoginsConfig{Concurrency: 3, Accounts: 4, Duration: 400 * time.Millisecond, Managed: managed}, w)
		if err != nil {
			t.Fatal(err)
		}
		sane(t, r, "logins")
		if r.Logins == 0 || r.Failed != 0 || r.Ready.Count != r.Logins || r.Whole.Count != r.Logins || r.Whole.P50 < r.Ready.P50 || r.Rate != float64(r.Logins)/r.Seconds || r.Interrupted || len(r.Notes) > 1 {
			t.Errorf("%+v", r)
		}
		if n := target.Accounts.derivations(); n != 4 {
			t.Errorf("keys were derived %d times for 4 accounts", n)
		}
	}
	r, err := Logins(ctx, target, LoginsConfig{Concurrency: 2, Accounts: 4, Duration: 400 * time.Millisecond, Managed: true, FAST: true}, w)
	if err != nil {
		t.Fatal(err)
	}
	if sane(t, r, "logins"); r.Logins == 0 || !r.FAST || !strings.Contains(r.Rows()[0][1], "token") {
		t.Errorf("%+v", r)
	}
	target.Accounts, _ = Numbered("nobody%d", "x")
	if _, err := Logins(ctx, target, LoginsConfig{Accounts: 1}, w); !errors.Is(err, client.ErrAuth) {
		t.Error(err)
	}
}

// A server that goes away: what failed is counted and told.
func TestLoginsFail(t *testing.T) {
	ctx, s, target, w := serve(t, 2, Plain)
	w.Progress = func(text string) {
		if strings.HasPrefix(text, "measuring") {
			s.Kill()
		}
	}
	r, err := Logins(ctx, target, LoginsConfig{Concurrency: 1, Accounts: 2, Duration: 3 * time.Second}, w)
	if err != nil {
		t.Fatal(err)
	}
	if r.Logins == 0 || r.Failed == 0 || !strings.Contains(strings.Join(r.Notes, "\n"), "logins failed, the first with: ") {
		t.Errorf("%+v", r)
	}
}

func TestIdle(t *testing.T) {
	ctx, s, target, w := serve(t, 40, WebSocket)
	cfg := IdleConfig{Connections: 40, Still: 500 * time.Millisecond, Quiet: 50 * time.Millisecond}
	r, err := Idle(ctx, target, cfg, w)
	if err != nil {
		t.Fatal(err)
	}
	sane(t, r, "idle")
	// The samples are of different moments, and memory moves by itself.
	if r.Connections != 40 || r.Dropped != 0 || r.Before < 10<<20 || r.After < r.Before/2 || r.RSS != float64(r.After-r.Before)/40 || r.AfterPSS > 2*r.After || r.LoginRate <= 0 || r.Interrupted {
		t.Errorf("%+v", r)
	}
	w.Progress = func(text string) {
		if strings.HasPrefix(text, "quiet for") {
			s.Kill()
		}
	}
	cfg.Quiet = 3 * time.Second
	if r, err = Idle(ctx, target, cfg, w); err != nil || r.Dropped != 40 {
		t.Errorf("the server went away: %v %+v", err, r)
	}
	w.Server = nil
	if _, err = Idle(ctx, target, cfg, w); err == nil || !strings.Contains(err.Error(), "no server listens there") {
		t.Error(err)
	}
}

func TestArchive(t *testing.T) {
	ctx, _, target, w := serve(t, 4, Plain)
	for _, cfg := range []ArchiveConfig{
		{Clients: 2, Messages: 25, Page: 10},
		{Clients: 2, Messages: 30, Page: 10, Depth: true},
		{Clients: 2, Messages: 50, Page: 10, Filled: true},
		{Clients: 2, Messages: 5, Page: 10, Filled: true}, // and a page may be full all the same
	} {
		cfg.Duration = 200 * time.Millisecond
		r, err := Archive(ctx, target, cfg, w)
		if err != nil {
			t.Fatal(err)
		}
		sane(t, r, "archive")
		if r.Pages == 0 || !r.Correct() || r.Answer.Count != r.Pages || r.Rate != float64(r.Pages)/r.Seconds || (r.FillRate > 0) == cfg.Filled {
			t.Errorf("%+v", r)
		}
	}
	r, err := Archive(ctx, target, ArchiveConfig{Clients: 2, Messages: 1000, Page: 100, Filled: true, Duration: 200 * time.Millisecond}, w)
	if err != nil || r.Correct() || !strings.Contains(strings.Join(r.Notes, "\n"), "a page of 55 messages instead of 100") {
		t.Errorf("archives that hold less than is claimed: %v %+v", err, r)
	}
}

// A page that is not what was written last is found.
func TestArchiveIsJudged(t *testing.T) {
	a := &archive{cfg: ArchiveConfig{Messages: 4, Page: 2}, people: newPairs(1, 1, 10)}
	page := func(numbers ...int) *client.Page {
		p := &client.Page{}
		for _, n := range numbers {
			p.Messages = append(p.Messages, &client.Inbound{OriginID: a.people.name + itoa(n), Body: "x"})
		}
		return p
	}
	if err := a.check(page(2, 3)); err != nil {
		t.Error(err)
	}
	for _, wrong := range []*client.Page{page(3), page(1, 2), page(3, 2), page(1, 2, 3), {}} {
		if a.check(wrong) == nil {
			t.Errorf("%d messages", len(wrong.Messages))
		}
	}
	empty := page(2, 3)
	empty.Messages[1].Body = ""
	if a.check(empty) == nil {
		t.Error("a message without its body")
	}
}

func TestStorm(t *testing.T) {
	ctx, s, target, w := serve(t, 30, Plain)
	cfg := StormConfig{Clients: 30, Still: 500 * time.Millisecond}
	storm := func() *StormReport {
		t.Helper()
		r, err := Storm(ctx, target, cfg, w)
		if err != nil {
			t.Fatal(err)
		}
		sane(t, r, "storm")
		if r.Back != 30 || r.First <= 0 || r.Half < r.First || r.Most < r.Half || r.All < r.Most || r.Attempts < 30 || r.Steady < 10<<20 || r.Peak < 10<<20 {
			t.Errorf("%+v", r)
		}
		return r
	}
	if r := storm(); r.Resumed != 30 || r.Killed {
		t.Errorf("cut: %+v", r)
	}
	cfg.FAST = 10 // these clients are the first of a hundred
	if r := storm(); r.Resumed != 30 || r.Tokens != 10 || r.TokensHalf <= 0 || r.TokensAll < r.TokensHalf || r.PasswordHalf <= 0 || r.PasswordAll < r.PasswordHalf {
		t.Errorf("cut, some with tokens: %+v", r)
	}
	cfg.FAST, cfg.Fresh = 100, true
	if r := storm(); r.Resumed != 0 || r.Tokens != 30 || r.PasswordAll != 0 || r.TokensAll != r.All {
		t.Errorf("cut, fresh: %+v", r)
	}
	cfg.FAST = 0
	cfg.Fresh, cfg.Kill, cfg.Start = false, func() error { s.Kill(); return nil }, s.Start
	if r := storm(); !r.Killed || r.Attempts == 30 {
		t.Errorf("killed: %+v", r)
	}
	cfg.Start, cfg.GiveUp = nil, 300*time.Millisecond
	r, err := Storm(ctx, target, cfg, w)
	if err != nil || r.Back != 0 || r.All != 0 || r.Interrupted || !strings.Contains(r.Rows()[1][1], "all never") {
		t.Errorf("nobody starts it again: %v %+v", err, r)
	}
}

func TestForeignServerIsKilledAndStarted(t *testing.T) {
	for _, bad := range []string{"nothing-here", "0", "-1", "1", os.DevNull} {
		if KillProcess(bad)() == nil {
			t.Errorf("%q was killed", bad)
		}
	}
	dir := t.TempDir()
	pid := filepath.Join(dir, "pid")
	if err := StartCommand("sleep 100 & echo $! > " + pid)(t.Context()); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(pid)
	if err != nil {
		t.Fatal(err)
	}
	n, _ := strconv.Atoi(strings.TrimSpace(string(data)))
	if err := KillProcess(pid)(); err != nil {
		t.Error(err)
	}
	for s, err := readStat(n); err == nil && s.rss > 0; s, err = readStat(n) {
		if t.Context().Err() != nil {
			t.Fatal("it lives")
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := StartCommand("echo it cannot >&2; exit 3")(ctx); err == nil || !strings.Contains(err.Error(), "it cannot") {
		t.Error(err)
	}
}
