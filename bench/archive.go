// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"bavard/drill/client"
)

// ArchiveConfig describes devices that ask for pages of their archives
// (XEP-0313).
type ArchiveConfig struct {
	// Clients is how many ask at once, each with an account of its own; 0 means
	// 10. Each writes to a second account, so that twice as many are needed.
	Clients int
	// Messages is how many an archive holds, at least; 0 means 200. Filled leaves
	// out to fill them: an earlier run did.
	Messages int
	Filled   bool
	// Page is how many messages are asked for; 0 means 50.
	Page int
	// Depth asks for pages at random places instead of the last one.
	Depth bool
	// Body is the size of a body in bytes, 0 means 100; Duration defaults to 10 s.
	Body     int
	Duration time.Duration
}

func (c *ArchiveConfig) defaults() {
	orElse(&c.Clients, 10)
	orElse(&c.Messages, 200)
	orElse(&c.Page, 50)
	orElse(&c.Body, 100)
	orElse(&c.Duration, 10*time.Second)
}

// ArchiveReport is what was measured.
type ArchiveReport struct {
	Conditions
	Clients  int  `json:"clients"`
	Messages int  `json:"messages"`
	Page     int  `json:"page"`
	Depth    bool `json:"depth"`
	// FillRate is messages per second while the archives were filled, 0 when they
	// were not.
	FillRate float64 `json:"fill_messages_per_s"`
	// Pages were answered and right, Wrong were answered with something else.
	Pages uint64  `json:"pages"`
	Wrong uint64  `json:"wrong"`
	Rate  float64 `json:"pages_per_s"`
	// Answer is from the question to the end of the page.
	Answer Latency `json:"answer"`
	// CPU is the server's per page, in milliseconds.
	CPU float64 `json:"server_cpu_ms_per_page"`
}

// Correct reports whether each page was what it had to be.
func (r *ArchiveReport) Correct() bool { return r.Wrong == 0 }

// Rows implements Report.
func (r *ArchiveReport) Rows() [][2]string {
	what := fmt.Sprintf("the last %d", r.Page)
	if r.Depth {
		what = fmt.Sprintf("%d at random places", r.Page)
	}
	rows := [][2]string{
		{"load", fmt.Sprintf("%d clients at once ask for %s of archives of %s messages, %.1f s", r.Clients, what, counted(float64(r.Messages)), r.Seconds)},
		{"pages", fmt.Sprintf("%s/s; %d were right, %d wrong", counted(r.Rate), r.Pages, r.Wrong)},
		{"answer", r.Answer.String()},
		{"cost", fmt.Sprintf("%.3f ms of server CPU per page", r.CPU)},
	}
	if r.FillRate > 0 {
		rows = append(rows, [2]string{"filled", fmt.Sprintf("at %s messages/s", counted(r.FillRate))})
	}
	return rows
}

// Archive runs the scenario.
func Archive(ctx context.Context, t *Target, cfg ArchiveConfig, w *Watch) (*ArchiveReport, error) {
	cfg.defaults()
	report := &ArchiveReport{Conditions: t.conditions("archive"), Clients: cfg.Clients, Messages: cfg.Messages, Page: cfg.Page, Depth: cfg.Depth}
	people := newPairs(cfg.Clients, 32, cfg.Body)
	sessions, err := people.login(ctx, t, w)
	defer func() { leave(sessions) }()
	if err != nil {
		return nil, err
	}
	report.Server = version(ctx, sessions[0], t.Domain)
	if !cfg.Filled {
		if report.FillRate, err = people.fill(ctx, cfg.Messages, w); err != nil {
			return nil, err
		}
	}
	run := &archive{cfg: cfg, people: people}
	if cfg.Depth {
		if err := run.places(ctx, w); err != nil {
			return nil, err
		}
	}
	report.start(w)
	measured, stop := context.WithTimeout(ctx, cfg.Duration)
	defer stop()
	var group sync.WaitGroup
	for n, p := range people.pairs {
		group.Go(func() { run.ask(measured, n, p.a) })
	}
	last := uint64(0)
	err = during(measured, cfg.Duration, func(at time.Duration) {
		now := run.pages.Load()
		w.tell("measuring %.0f s: %s pages/s", at.Seconds(), counted(float64(now-last)))
		last = now
	})
	report.Interrupted = err != nil && ctx.Err() != nil
	report.stop(w)
	stop()
	group.Wait()
	report.Pages, report.Wrong = run.pages.Load(), run.wrong.Load()
	report.Rate = float64(report.Pages) / report.Seconds
	report.Answer = run.answers.latency()
	report.CPU = report.per(report.Pages)
	if run.failure != nil {
		report.note("%d pages were not as they have to be, the first: %v", report.Wrong, run.failure)
	}
	return report, nil
}

// fill sends so many messages from each pair's first to its second.
func (r *pairs) fill(ctx context.Context, messages int, w *Watch) (rate float64, err error) {
	began := time.Now()
	group, alive := errgroup.WithContext(ctx)
	for _, p := range r.pairs {
		group.Go(func() error { return p.send(alive, messages) })
	}
	watching, stop := context.WithCancel(alive)
	go func() {
		_ = during(watching, 24*time.Hour, func(time.Duration) {
			w.tell("filling archives: %d of %d", r.moved.Load()/2, messages*len(r.pairs))
		})
	}()
	err = group.Wait()
	stop()
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return 0, err
	}
	r.drain(ctx, time.Minute)
	v := r.verdict()
	if want := uint64(messages * len(r.pairs)); v.Ticked != want || v.Lost > 0 {
		return 0, fmt.Errorf("the archives could not be filled: %s", &v)
	}
	return float64(v.Ticked) / time.Since(began).Seconds(), nil
}

type archive struct {
	cfg    ArchiveConfig
	people *pairs
	ids    [][]string // of messages at random places, by client

	pages, wrong atomic.Uint64
	mu           sync.Mutex
	answers      histogram
	failure      error
}

// maxPlaces bounds the places that are kept for each client.
const maxPlaces = 1000

// places reads all archives once and keeps ids at random places of each, with
// at least a page before them.
func (a *archive) places(ctx context.Context, w *Watch) error {
	a.ids = make([][]string, len(a.people.pairs))
	group, ctx := errgroup.WithContext(ctx)
	done := w.counting("pages read for random places", len(a.ids)*a.cfg.Messages/a.cfg.Page)
	for i, p := range a.people.pairs {
		group.Go(func() error {
			seen := 0
			for q := (client.Query{Max: a.cfg.Page}); ; {
				page, err := p.a.Archive(ctx, q)
				if err != nil {
					return fmt.Errorf("archive of %s: %w", p.a.JID(), err)
				}
				for _, m := range page.Messages {
					// Each has the same chance to be kept, however many come.
					if seen++; seen <= a.cfg.Page {
						continue
					}
					if k := seen - a.cfg.Page; k <= maxPlaces {
						a.ids[i] = append(a.ids[i], m.ArchiveID)
					} else if r := rand.IntN(k); r < maxPlaces {
						a.ids[i][r] = m.ArchiveID
					}
				}
				done(1)
				if page.Complete || page.Last == "" || page.Last == q.After {
					break
				}
				q.After = page.Last
			}
			if len(a.ids[i]) == 0 {
				return fmt.Errorf("the archive of %s holds %d messages: too few for pages of %d at random places", p.a.JID(), seen, a.cfg.Page)
			}
			return nil
		})
	}
	return group.Wait()
}

// ask asks for pages until ctx ends.
func (a *archive) ask(ctx context.Context, n int, s *client.Session) {
	for ctx.Err() == nil {
		q := client.Query{Max: a.cfg.Page, Last: !a.cfg.Depth}
		if a.cfg.Depth {
			q.Before = a.ids[n][rand.IntN(len(a.ids[n]))]
		}
		began := time.Now()
		page, err := s.Archive(ctx, q)
		took := time.Since(began)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			err = a.check(page)
		}
		a.mu.Lock()
		if err == nil {
			a.pages.Add(1)
			a.answers.add(took)
		} else {
			a.wrong.Add(1)
			if a.failure == nil {
				a.failure = err
			}
		}
		a.mu.Unlock()
		if err != nil {
			_ = wait(ctx, 50*time.Millisecond) // ctx is asked next
		}
	}
}

// check compares a page with what was sent: the newest messages, in order, or
// at a random place as many as were asked for.
func (a *archive) check(page *client.Page) error {
	want := a.cfg.Page
	if !a.cfg.Depth {
		want = min(a.cfg.Page, a.cfg.Messages)
	}
	if got := len(page.Messages); got < want || got > a.cfg.Page {
		return fmt.Errorf("a page of %d messages instead of %d", got, want)
	}
	if a.cfg.Depth || a.cfg.Filled {
		return nil
	}
	for i, m := range page.Messages[len(page.Messages)-want:] {
		id := m.OriginID
		if id == "" {
			id = m.ID
		}
		if n := a.cfg.Messages - want + i; a.people.number(id) != n {
			return fmt.Errorf("message %d of the last page is %q, not the one that was sent %d before the last", i, id, a.cfg.Messages-1-n)
		}
		if m.Body == "" {
			return errors.New("a message of the page has no body")
		}
	}
	return nil
}
