// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"bavard/drill/client"
)

// LoginsConfig describes devices that log in, say that they are there, and
// leave, over and over.
type LoginsConfig struct {
	// Concurrency is how many do so at once; 0 means 16.
	Concurrency int
	// Accounts is how many accounts there are, in turn; 0 means 200. Each logs in
	// once before the measurement, so that its keys are known to the generator.
	Accounts int
	// Duration defaults to 10 s.
	Duration time.Duration
	// Managed also enables stream management and carbons.
	Managed bool
	// FAST has devices log in by a token, in one request (XEP-0388, XEP-0386,
	// XEP-0484); they get it with the login before the measurement.
	FAST bool
}

func (c *LoginsConfig) defaults() {
	orElse(&c.Concurrency, 16)
	orElse(&c.Accounts, 200)
	orElse(&c.Duration, 10*time.Second)
}

// LoginsReport is what was measured.
type LoginsReport struct {
	Conditions
	Concurrency int  `json:"concurrency"`
	Accounts    int  `json:"accounts"`
	Managed     bool `json:"managed"`
	FAST        bool `json:"fast"`
	// Logins are those that were completed, Failed the others.
	Logins uint64  `json:"logins"`
	Failed uint64  `json:"failed"`
	Rate   float64 `json:"logins_per_s"`
	// Ready is from connecting until the roster was there and presence was sent,
	// Whole until the server closed the stream, too: the next login does not wait
	// for that, as some servers take their time.
	Ready Latency `json:"ready"`
	Whole Latency `json:"whole"`
	// CPU is the server's per login, in milliseconds.
	CPU float64 `json:"server_cpu_ms_per_login"`
}

// Rows implements Report.
func (r *LoginsReport) Rows() [][2]string {
	kind := "connect, SASL, bind, "
	if r.FAST {
		kind = "connect, token and bind in one request, "
	}
	if r.Managed {
		kind += "stream management, carbons, "
	}
	kind += "roster, presence, close"
	return [][2]string{
		{"load", fmt.Sprintf("%d at once, %d accounts, %.1f s: %s", r.Concurrency, r.Accounts, r.Seconds, kind)},
		{"logins", fmt.Sprintf("%s/s; %d completed, %d failed", counted(r.Rate), r.Logins, r.Failed)},
		{"ready", r.Ready.String()},
		{"closed", r.Whole.String()},
		{"cost", fmt.Sprintf("%.3f ms of server CPU per login", r.CPU)},
	}
}

// Logins runs the scenario.
func Logins(ctx context.Context, t *Target, cfg LoginsConfig, w *Watch) (*LoginsReport, error) {
	cfg.defaults()
	if err := t.check(max(cfg.Accounts, cfg.Concurrency)); err != nil {
		return nil, err
	}
	report := &LoginsReport{Conditions: t.conditions("logins"), Concurrency: cfg.Concurrency, Accounts: cfg.Accounts, Managed: cfg.Managed, FAST: cfg.FAST}
	run := &logins{target: t, cfg: cfg}
	if cfg.FAST {
		run.tokens = make([]client.Token, cfg.Accounts)
	}
	if err := run.first(ctx, w, report); err != nil {
		return nil, err
	}
	derived := t.Accounts.derivations()
	report.start(w)
	measured, stop := context.WithTimeout(ctx, cfg.Duration)
	defer stop()
	var group, closing sync.WaitGroup
	run.closing, run.room = &closing, make(chan struct{}, maxClosing)
	for range cfg.Concurrency {
		group.Go(func() { run.work(measured) })
	}
	last := uint64(0)
	err := during(measured, cfg.Duration, func(at time.Duration) {
		now := run.done.Load()
		w.tell("measuring %.0f s: %s logins/s", at.Seconds(), counted(float64(now-last)))
		last = now
	})
	report.Interrupted = err != nil && ctx.Err() != nil
	report.stop(w)
	stop()
	group.Wait()
	closing.Wait()
	report.Logins, report.Failed = run.done.Load(), run.failed.Load()
	report.Rate = float64(report.Logins) / report.Seconds
	report.CPU = report.per(report.Logins)
	report.Ready, report.Whole = run.ready.latency(), run.whole.latency()
	if run.failure != nil {
		report.note("%d logins failed, the first with: %v", report.Failed, run.failure)
	}
	if n := t.Accounts.derivations() - derived; n > 0 {
		report.note("the server gave another salt for %d logins: the generator derived keys from passwords again, as devices would have to", n)
	}
	return report, nil
}

type logins struct {
	target *Target
	cfg    LoginsConfig
	tokens []client.Token // by account; nil without FAST
	next   atomic.Uint64  // login
	done   atomic.Uint64
	failed atomic.Uint64

	closing *sync.WaitGroup
	room    chan struct{} // has one for each session that is being closed

	mu           sync.Mutex
	ready, whole histogram
	failure      error
}

// first logs each account in once.
func (l *logins) first(ctx context.Context, w *Watch, report *LoginsReport) error {
	group, alive := errgroup.WithContext(ctx)
	group.SetLimit(l.target.logins())
	done := w.counting("logged in for the first time", l.cfg.Accounts)
	var once sync.Once
	for n := range l.cfg.Accounts {
		if alive.Err() != nil {
			break
		}
		group.Go(func() error {
			ctx, cancel := context.WithTimeout(alive, time.Minute)
			defer cancel()
			s, err := l.open(ctx, n)
			if err != nil {
				return err
			}
			once.Do(func() { report.Server = version(ctx, s, l.target.Domain) })
			done(1)
			return shut(ctx, s)
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// open logs an account in.
func (l *logins) open(ctx context.Context, n int) (*client.Session, error) {
	cfg := l.target.config(n, "")
	cfg.NoStreamManagement, cfg.Carbons = !l.cfg.Managed, l.cfg.Managed
	if l.tokens != nil {
		cfg.Token = &l.tokens[n]
	}
	s, err := client.Dial(ctx, cfg)
	if err != nil {
		return nil, explain(cfg.JID, err)
	}
	if _, err = s.Roster(ctx); err == nil {
		err = s.Available(ctx, 0)
	}
	if err != nil {
		s.Cut()
		return nil, explain(cfg.JID, err)
	}
	return s, nil
}

// shut closes a session; that the server does the same is demanded.
func shut(ctx context.Context, s *client.Session) error {
	if err := s.Close(ctx); err != nil {
		return err
	}
	if err := s.Err(); !errors.Is(err, client.ErrClosed) {
		return err
	}
	return nil
}

// maxClosing bounds the sessions that wait for the server to close the stream.
const maxClosing = 500

// work logs in and out until ctx ends; what it has begun it completes, without
// counting it.
func (l *logins) work(ctx context.Context) {
	for ctx.Err() == nil {
		n := int((l.next.Add(1) - 1) % uint64(l.cfg.Accounts))
		one, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		began := time.Now()
		s, err := l.open(one, n)
		ready := time.Since(began)
		if err != nil {
			cancel()
			l.count(ctx, ready, 0, err)
			_ = wait(ctx, 50*time.Millisecond) // ctx is asked next
			continue
		}
		l.room <- struct{}{}
		l.closing.Go(func() {
			defer cancel()
			err := shut(one, s)
			<-l.room
			l.count(ctx, ready, time.Since(began), err)
		})
	}
}

// count counts a login that has ended while it was measured.
func (l *logins) count(ctx context.Context, ready, whole time.Duration, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case ctx.Err() != nil:
	case err != nil:
		l.failed.Add(1)
		if l.failure == nil {
			l.failure = err
		}
	default:
		l.done.Add(1)
		l.ready.add(ready)
		l.whole.add(whole)
	}
}
