// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"bavard/drill/client"
)

// StormConfig describes devices that all lose their connection and all come
// back at once.
type StormConfig struct {
	// Clients, each of an account of its own; 0 means 1,000.
	Clients int
	// Kill ends the server, and Start starts it again; without Kill the clients
	// are cut from their side, without a word, and resume their streams where the
	// server lets them. Start may be nil: somebody else does it.
	Kill  func() error
	Start func(context.Context) error
	// Fresh leaves out to resume.
	Fresh bool
	// FAST is how many of a hundred come back by a token, in one request (XEP-0388,
	// XEP-0484). The others log in with their password.
	FAST int
	// GiveUp is how long is waited for the last one; 0 means 5 min.
	GiveUp time.Duration
	// Still and Patience are those of IdleConfig, for the memory before the storm.
	Still, Patience time.Duration
}

func (c *StormConfig) defaults() {
	orElse(&c.Clients, 1000)
	orElse(&c.GiveUp, 5*time.Minute)
	orElse(&c.Still, 3*time.Second)
	orElse(&c.Patience, time.Minute)
}

// StormReport is what was measured. Times are seconds from the cut.
type StormReport struct {
	Conditions
	Clients int  `json:"clients"`
	Killed  bool `json:"killed"`
	// Back is how many came back, Resumed how many of these by resumption
	// (XEP-0198), Attempts how often it was tried.
	Back     int    `json:"back"`
	Resumed  int    `json:"resumed"`
	Attempts uint64 `json:"attempts"`
	// First, Half, Most (99 %) and All say when; 0 when so many never were.
	First float64 `json:"back_first_s"`
	Half  float64 `json:"back_50_s"`
	Most  float64 `json:"back_99_s"`
	All   float64 `json:"back_100_s"`
	// Tokens is how many had one, and the times are when they and the others were
	// back.
	Tokens       int     `json:"tokens"`
	TokensHalf   float64 `json:"tokens_back_50_s"`
	TokensAll    float64 `json:"tokens_back_100_s"`
	PasswordHalf float64 `json:"passwords_back_50_s"`
	PasswordAll  float64 `json:"passwords_back_100_s"`
	// Steady and Peak are the server's memory before, and the most until all were
	// back, in bytes.
	Steady int64 `json:"rss_steady_bytes"`
	Peak   int64 `json:"rss_peak_bytes"`
	// CPU is the server's per client that came back, in milliseconds; not after a
	// kill.
	CPU float64 `json:"server_cpu_ms_per_client"`
}

// Rows implements Report.
func (r *StormReport) Rows() [][2]string {
	how := "cut from their side"
	if r.Killed {
		how = "cut by killing the server"
	}
	when := func(s float64) string {
		if s == 0 {
			return "never"
		}
		return fmt.Sprintf("%.2f s", s)
	}
	rows := [][2]string{
		{"load", fmt.Sprintf("%d clients, %s, all come back at once", r.Clients, how)},
		{"back", fmt.Sprintf("the first after %s, 50 %% %s, 99 %% %s, all %s", when(r.First), when(r.Half), when(r.Most), when(r.All))},
		{"how", fmt.Sprintf("%d came back, %d of them resumed; %d attempts", r.Back, r.Resumed, r.Attempts)},
	}
	if r.Tokens > 0 {
		rows = append(rows, [2]string{"tokens", fmt.Sprintf("%d came with one: 50 %% back after %s, all %s; of those with a password 50 %% %s, all %s",
			r.Tokens, when(r.TokensHalf), when(r.TokensAll), when(r.PasswordHalf), when(r.PasswordAll))})
	}
	if r.Steady > 0 {
		rows = append(rows, [2]string{"memory", fmt.Sprintf("%s before, %s at most: %.2f times", mib(r.Steady), mib(r.Peak), float64(r.Peak)/float64(r.Steady))})
	}
	if r.CPU > 0 {
		rows = append(rows, [2]string{"cost", fmt.Sprintf("%.3f ms of server CPU per client", r.CPU)})
	}
	return rows
}

// Storm runs the scenario. The measurement is from the cut until all are back.
func Storm(ctx context.Context, t *Target, cfg StormConfig, w *Watch) (*StormReport, error) {
	cfg.defaults()
	report := &StormReport{Conditions: t.conditions("storm"), Clients: cfg.Clients, Killed: cfg.Kill != nil}
	run := &storm{target: t, cfg: cfg, tokens: make([]client.Token, cfg.Clients)}
	var err error
	run.sessions, err = t.all(ctx, cfg.Clients, w, func(n int, c *client.Config) { c.Token = run.token(n) })
	defer func() { leave(run.sessions) }()
	if err != nil {
		return nil, err
	}
	report.Server = version(ctx, run.sessions[0], t.Domain)
	if _, err := w.settle(ctx, cfg.Still, cfg.Patience, "steady"); err != nil {
		return nil, err
	}
	report.Steady = w.cost().RSS

	ctx, cancel := context.WithTimeout(ctx, cfg.GiveUp)
	defer cancel()
	peak := w.peak()
	report.start(w)
	err = run.cut(ctx)
	if err == nil {
		run.back(ctx, w)
	}
	report.stop(w)
	report.Peak = peak()
	report.Interrupted = errors.Is(ctx.Err(), context.Canceled)
	run.tell(report)
	if !report.Killed {
		report.CPU = report.per(uint64(report.Back))
	}
	if err == nil {
		err = <-run.started
	}
	return report, err
}

type storm struct {
	target   *Target
	cfg      StormConfig
	sessions []*client.Session
	tokens   []client.Token // by client; zero for those without
	started  chan error     // of the server that was killed
	began    time.Time
	attempts atomic.Uint64

	mu      sync.Mutex
	times   [2][]time.Duration // of those that are back with a password, and with a token
	resumed int
	failure error
}

// token of a client, nil for those that have only a password.
func (s *storm) token(n int) *client.Token {
	if n%100 >= s.cfg.FAST {
		return nil
	}
	return &s.tokens[n]
}

// cut ends all connections.
func (s *storm) cut(ctx context.Context) error {
	s.started = make(chan error, 1)
	s.began = time.Now()
	if s.cfg.Kill != nil {
		if err := s.cfg.Kill(); err != nil {
			return err
		}
		go func() {
			var err error
			if s.cfg.Start != nil {
				err = s.cfg.Start(ctx)
			}
			s.started <- err
		}()
		return nil
	}
	s.started <- nil
	var all sync.WaitGroup
	const at = 8 // goroutines, so that it takes as long as it must
	for i := range at {
		all.Go(func() {
			for n := i; n < len(s.sessions); n += at {
				s.sessions[n].Cut()
			}
		})
	}
	all.Wait()
	s.began = time.Now()
	return nil
}

// back has all clients come back, each in its own goroutine, and waits for them.
func (s *storm) back(ctx context.Context, w *Watch) {
	var all sync.WaitGroup
	done := w.counting("back", len(s.sessions))
	for n := range s.sessions {
		all.Go(func() {
			if s.one(ctx, n) {
				done(1)
			}
		})
	}
	all.Wait()
}

// one tries until the client is back, or ctx ends.
func (s *storm) one(ctx context.Context, n int) bool {
	old := s.sessions[n]
	select {
	case <-old.Done():
	case <-ctx.Done():
		return false
	}
	old.Cut()
	cfg := s.target.config(n, "bench")
	by := 0
	if cfg.Token = s.token(n); cfg.Token != nil {
		by = 1
	}
	if !s.cfg.Fresh {
		cfg.Resume = old.Resumption()
	}
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		s.attempts.Add(1)
		try, cancel := context.WithTimeout(ctx, time.Minute)
		session, err := s.target.join(try, cfg)
		cancel()
		if err == nil {
			s.sessions[n] = session
			s.mu.Lock()
			s.times[by] = append(s.times[by], time.Since(s.began))
			if session.Resumed() {
				s.resumed++
			}
			s.mu.Unlock()
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		s.mu.Lock()
		if s.failure == nil && !errors.Is(err, syscall.ECONNREFUSED) {
			s.failure = err
		}
		s.mu.Unlock()
		if wait(ctx, pause/2+rand.N(pause)) != nil { // as clients do, so that they do not come in step
			return false
		}
	}
}

func (s *storm) tell(r *StormReport) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n := range r.Clients {
		if s.token(n) != nil {
			r.Tokens++
		}
	}
	all := slices.Concat(s.times[0], s.times[1])
	r.Back, r.Resumed, r.Attempts = len(all), s.resumed, s.attempts.Load()
	r.First, r.Half, r.Most, r.All = backAt(all, 1), backAt(all, (r.Clients+1)/2), backAt(all, (99*r.Clients+99)/100), backAt(all, r.Clients)
	r.PasswordHalf, r.PasswordAll = backAt(s.times[0], (r.Clients-r.Tokens+1)/2), backAt(s.times[0], r.Clients-r.Tokens)
	r.TokensHalf, r.TokensAll = backAt(s.times[1], (r.Tokens+1)/2), backAt(s.times[1], r.Tokens)
	if s.failure != nil {
		r.note("%d attempts failed, the first, but for refused connections, with: %v", r.Attempts-uint64(r.Back), s.failure)
	}
}

// backAt is when so many were back, in seconds; 0 when they never were.
func backAt(times []time.Duration, count int) float64 {
	if count < 1 || count > len(times) {
		return 0
	}
	slices.Sort(times)
	return times[count-1].Seconds()
}

// KillProcess makes StormConfig.Kill of a process id, or of a file that holds
// one.
func KillProcess(id string) func() error {
	return func() error {
		pid, err := processID(id)
		if err != nil {
			return err
		}
		return syscall.Kill(pid, syscall.SIGKILL)
	}
}

// StartCommand makes StormConfig.Start of a command line for the shell, which
// has to end once the server was started.
func StartCommand(line string) func(context.Context) error {
	return func(ctx context.Context) error {
		// A file, not a pipe: what was started may keep it open.
		out, err := os.CreateTemp("", "bavard-bench-*")
		if err != nil {
			return err
		}
		defer os.Remove(out.Name())
		defer out.Close()
		cmd := exec.CommandContext(ctx, "sh", "-c", line)
		cmd.Stdout, cmd.Stderr = out, out
		if err := cmd.Run(); err != nil {
			said, _ := os.ReadFile(out.Name()) // the error says enough without
			return fmt.Errorf("%s: %w\n%.2000s", line, err, said)
		}
		return nil
	}
}
