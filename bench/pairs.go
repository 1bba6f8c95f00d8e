// SPDX-License-Identifier: Apache-2.0

// Package bench loads an XMPP server, ours or another, and measures it from
// the clients' side. Each scenario is a function that takes a Target, its own
// configuration and a Watch, and gives a Report. When its context ends during
// the measurement, it reports what there is.
package bench

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"bavard/drill/client"
	"bavard/internal/stanza"
)

// PairsConfig describes pairs of people of whom one writes to the other, in a
// closed loop: a message is sent when an earlier one was acknowledged by the
// server and has been delivered. An acknowledgement is asked for after each.
type PairsConfig struct {
	// Pairs, Window (messages under way per pair) and Body (bytes) default to 50,
	// 8 and 100.
	Pairs, Window, Body int
	// Warmup is the time before the measurement; Duration defaults to 10 s.
	Warmup, Duration time.Duration
	// Drain is how long is waited at the end for what was sent; 0 means 10 s.
	Drain time.Duration
}

func (c *PairsConfig) defaults() {
	orElse(&c.Pairs, 50)
	orElse(&c.Window, 8)
	orElse(&c.Body, 100)
	orElse(&c.Duration, 10*time.Second)
	orElse(&c.Drain, 10*time.Second)
}

// orElse sets what was not set.
func orElse[T int | time.Duration](n *T, v T) {
	if *n <= 0 {
		*n = v
	}
}

// PairsReport is what was measured.
type PairsReport struct {
	Conditions
	Pairs  int `json:"pairs"`
	Window int `json:"window"`
	Body   int `json:"body_bytes"`
	// Rate counts messages per second that were ticked and delivered: the lower
	// of both.
	Rate float64 `json:"messages_per_s"`
	// Tick is from sending to the server's acknowledgement, Delivery to the
	// arrival at the recipient.
	Tick     Latency `json:"tick"`
	Delivery Latency `json:"delivery"`
	// CPU is the server's per message, in milliseconds.
	CPU float64 `json:"server_cpu_ms_per_message"`
	// Silence is the longest time without any tick or delivery, in seconds, from
	// the beginning of the measurement to the end of the drain.
	Silence float64 `json:"longest_silence_s"`
	Verdict
}

// Verdict says what became of all that was sent, warm-up included.
type Verdict struct {
	Sent   uint64 `json:"sent"`
	Ticked uint64 `json:"ticked"`
	// Lost were ticked, not refused, and never arrived.
	Lost uint64 `json:"lost"`
	// Doubled arrived again, Disordered after one that was sent later.
	Doubled    uint64 `json:"doubled"`
	Disordered uint64 `json:"disordered"`
	// Refused came back as an error; Unticked were never acknowledged.
	Refused  uint64 `json:"refused"`
	Unticked uint64 `json:"unticked"`
	// Foreign arrived and were not of this run.
	Foreign uint64 `json:"foreign"`
}

// Correct reports whether the server kept its word.
func (v *Verdict) Correct() bool { return v.Lost+v.Doubled+v.Disordered == 0 }

func (v *Verdict) String() string {
	return fmt.Sprintf("%s sent, %s acknowledged: %d lost, %d doubled, %d out of order; %d refused, %d never acknowledged",
		counted(float64(v.Sent)), counted(float64(v.Ticked)), v.Lost, v.Doubled, v.Disordered, v.Refused, v.Unticked)
}

// Rows implements Report.
func (r *PairsReport) Rows() [][2]string {
	return [][2]string{
		{"load", fmt.Sprintf("%d pairs, window %d, %d-byte bodies, %.1f s", r.Pairs, r.Window, r.Body, r.Seconds)},
		{"messages", fmt.Sprintf("%s/s ticked and delivered", counted(r.Rate))},
		{"tick", r.Tick.String()},
		{"delivery", r.Delivery.String()},
		{"verdict", r.Verdict.String()},
		{"cost", fmt.Sprintf("%.3f ms of server CPU per message", r.CPU)},
	}
}

// Pairs runs the scenario.
func Pairs(ctx context.Context, t *Target, cfg PairsConfig, w *Watch) (*PairsReport, error) {
	cfg.defaults()
	report := &PairsReport{Conditions: t.conditions("pairs"), Pairs: cfg.Pairs, Window: cfg.Window, Body: cfg.Body}
	run := newPairs(cfg.Pairs, cfg.Window, cfg.Body)
	sessions, err := run.login(ctx, t, w)
	defer func() { leave(sessions) }()
	if err != nil {
		return nil, err
	}
	report.Server = version(ctx, sessions[0], t.Domain)

	senders, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	group, senders := errgroup.WithContext(senders)
	for _, p := range run.pairs {
		group.Go(func() error { return p.send(senders, -1) })
	}
	// Whichever ends first: what was asked for, or a sender that fails.
	measured, done := context.WithCancel(ctx)
	defer done()
	context.AfterFunc(senders, done)
	report.Interrupted = run.measure(measured, cfg, w, report) != nil
	stop()
	err = group.Wait()
	run.drain(ctx, cfg.Drain)
	report.Verdict = run.verdict()
	report.Silence = time.Duration(run.silence.Load()).Seconds()
	report.Notes = append(report.Notes, run.diagnosis(report)...)
	return report, err
}

// pairs is the state of a run.
type pairs struct {
	name      string // begins the ids of this run
	text      string // bodies are parts of it
	body      int
	pairs     []*pair
	measuring atomic.Bool
	moved     atomic.Uint64 // ticks and deliveries
	last      atomic.Int64  // when one of them was, since epoch
	silence   atomic.Int64  // the longest time between two of them
	first     int           // account of the first
	// record is told of each tick and delivery that is measured; may be nil.
	record func(tick bool, sent time.Time, took time.Duration)
}

// pair is one conversation.
type pair struct {
	run  *pairs
	a, b *client.Session
	to   string
	free chan struct{}        // one token per message that may be under way
	rest func() time.Duration // before each message; nil does not

	mu                sync.Mutex
	open              map[int]*flight // sent, and not yet ticked and delivered
	highest           int             // that was delivered
	ticks, deliveries histogram
	verdict           Verdict
	stranger          string // id of a message that was not of this run
}

// flight is a message under way.
type flight struct {
	sent              time.Time
	ticked, delivered bool
}

func newPairs(n, window, body int) *pairs {
	r := &pairs{name: rand.Text() + "-", text: text(body), body: body}
	for range n {
		p := &pair{run: r, free: make(chan struct{}, window), open: map[int]*flight{}, highest: -1}
		for range window {
			p.free <- struct{}{}
		}
		r.pairs = append(r.pairs, p)
	}
	return r
}

// text is what bodies of a size are taken from: letters that do not compress
// better than people's do.
func text(body int) string {
	b := make([]byte, 1<<16+body)
	_, _ = rand.Read(b) // it never fails
	for i := range b {
		b[i] = "etaoin shrdlucmf"[b[i]&15]
	}
	return string(b)
}

func (r *pairs) bodyOf(n int) string {
	from := n * 97 & (1<<16 - 1)
	return r.text[from : from+r.body]
}

// login logs everybody in: the nth pair is the accounts 2n and 2n+1, counted
// from the first.
func (r *pairs) login(ctx context.Context, t *Target, w *Watch) ([]*client.Session, error) {
	resource := "bench-" + r.name[:6]
	sessions, err := t.from(ctx, r.first, 2*len(r.pairs), w, func(n int, cfg *client.Config) {
		p := r.pairs[n/2]
		cfg.Carbons, cfg.Resource = true, resource
		if n%2 == 0 {
			cfg.Handler = client.Handler{Ticked: p.ticked, Refused: p.refused}
		} else {
			cfg.Handler = client.Handler{Message: p.delivered}
		}
	})
	for i, p := range r.pairs {
		local, _ := t.Accounts.User(r.first + 2*i + 1)
		p.to = local + "@" + t.Domain
		if err == nil {
			p.a, p.b = sessions[2*i], sessions[2*i+1]
		}
	}
	return sessions, err
}

// send sends until ctx ends, or count messages if that is not negative.
func (p *pair) send(ctx context.Context, count int) error {
	for n := 0; n != count; n++ {
		if p.rest != nil && wait(ctx, p.rest()) != nil {
			return nil
		}
		select {
		case <-p.free:
		case <-p.a.Done():
			return fmt.Errorf("%s: the session ended: %w", p.a.JID(), p.a.Err())
		case <-p.b.Done():
			return fmt.Errorf("%s: the session ended: %w", p.b.JID(), p.b.Err())
		case <-ctx.Done():
			return nil
		}
		p.mu.Lock()
		p.open[n] = &flight{sent: time.Now()}
		p.verdict.Sent++
		p.mu.Unlock()
		o := &client.Outgoing{ID: p.run.name + itoa(n), To: p.to, Type: "chat", Body: p.run.bodyOf(n)}
		if err := p.a.Send(ctx, o); err != nil {
			p.mu.Lock()
			delete(p.open, n)
			p.verdict.Sent--
			p.mu.Unlock()
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("%s: %w", p.a.JID(), err)
		}
	}
	return nil
}

// number of the message with an id, -1 when it is not of this run.
func (r *pairs) number(id string) int {
	digits, ok := strings.CutPrefix(id, r.name)
	n, err := strconv.Atoi(digits)
	if !ok || err != nil || n < 0 {
		return -1
	}
	return n
}

func (p *pair) ticked(o *client.Outgoing) {
	n, now := p.run.number(o.ID), time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.verdict.Ticked++
	f := p.open[n]
	if f == nil || f.ticked {
		return // it was refused before
	}
	f.ticked = true
	p.measured(true, &p.ticks, f, now)
	p.settle(n, f)
}

func (p *pair) delivered(in *client.Inbound) {
	if in.Carbon != client.Direct {
		return
	}
	id := in.OriginID
	if id == "" {
		id = in.ID
	}
	n, now := p.run.number(id), time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.open[n]
	switch {
	case n < 0:
		p.verdict.Foreign++
		p.stranger = id
		return
	case f == nil || f.delivered:
		p.verdict.Doubled++
		return
	case n < p.highest:
		p.verdict.Disordered++
	}
	p.highest = max(p.highest, n)
	f.delivered = true
	p.measured(false, &p.deliveries, f, now)
	p.settle(n, f)
}

// measured adds what a message met to what is measured; p.mu is held.
func (p *pair) measured(tick bool, h *histogram, f *flight, now time.Time) {
	if !p.run.measuring.Load() {
		return
	}
	h.add(now.Sub(f.sent))
	if p.run.record != nil {
		p.run.record(tick, f.sent, now.Sub(f.sent))
	}
}

// progress notes that something moved, or that silence begins to count.
func (r *pairs) progress() {
	r.moved.Add(1)
	now := int64(time.Since(epoch))
	gap := now - r.last.Swap(now)
	for {
		longest := r.silence.Load()
		if gap <= longest || r.silence.CompareAndSwap(longest, gap) {
			return
		}
	}
}

// settle lets the next message go when this one has arrived; p.mu is held.
func (p *pair) settle(n int, f *flight) {
	p.run.progress()
	if f.ticked && f.delivered {
		delete(p.open, n)
		p.free <- struct{}{} // there is room: as many as were taken
	}
}

func (p *pair) refused(id string, _ stanza.Condition) {
	n := p.run.number(id)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open[n] == nil {
		return
	}
	p.verdict.Refused++
	delete(p.open, n)
	p.free <- struct{}{}
}

// measure waits for the warm-up and the duration; its error is ctx's.
func (r *pairs) measure(ctx context.Context, cfg PairsConfig, w *Watch, report *PairsReport) error {
	last := uint64(0)
	rate := func(phase string) func(time.Duration) {
		return func(at time.Duration) {
			now := r.moved.Load()
			w.tell("%s %.0f s: %s messages/s", phase, at.Seconds(), counted(float64(now-last)/2))
			last = now
		}
	}
	if err := during(ctx, cfg.Warmup, rate("warm-up")); err != nil {
		return err
	}
	report.start(w)
	r.last.Store(int64(time.Since(epoch)))
	r.silence.Store(0)
	r.measuring.Store(true)
	err := during(ctx, cfg.Duration, rate("measuring"))
	r.measuring.Store(false)
	report.stop(w)
	var ticks, deliveries histogram
	for _, p := range r.pairs {
		p.mu.Lock()
		ticks.merge(&p.ticks)
		deliveries.merge(&p.deliveries)
		p.mu.Unlock()
	}
	report.Tick, report.Delivery = ticks.latency(), deliveries.latency()
	done := min(ticks.total, deliveries.total)
	report.Rate = float64(done) / report.Seconds
	report.CPU = report.per(done)
	return err
}

// drain waits until nothing is under way any more, or for so long.
func (r *pairs) drain(ctx context.Context, d time.Duration) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), d)
	defer cancel()
	for r.underWay() > 0 && wait(ctx, 5*time.Millisecond) == nil {
	}
}

func (r *pairs) underWay() (n int) {
	for _, p := range r.pairs {
		select {
		case <-p.a.Done(): // nothing comes any more
			continue
		case <-p.b.Done():
			continue
		default:
		}
		p.mu.Lock()
		n += len(p.open)
		p.mu.Unlock()
	}
	return n
}

func (r *pairs) verdict() (sum Verdict) {
	for _, p := range r.pairs {
		p.mu.Lock()
		v := p.verdict
		for _, f := range p.open {
			if f.ticked {
				v.Lost++
			} else {
				v.Unticked++
			}
		}
		p.mu.Unlock()
		sum.Sent += v.Sent
		sum.Ticked += v.Ticked
		sum.Lost += v.Lost
		sum.Doubled += v.Doubled
		sum.Disordered += v.Disordered
		sum.Refused += v.Refused
		sum.Unticked += v.Unticked
		sum.Foreign += v.Foreign
	}
	return sum
}

// diagnosis says why nothing may have come.
func (r *pairs) diagnosis(report *PairsReport) (notes []string) {
	note := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
	v := &report.Verdict
	if report.Tick.Count == 0 {
		note("no message was acknowledged while it was measured: of %d that were sent, %d were in the end, %d were refused", v.Sent, v.Ticked, v.Refused)
	}
	if report.Delivery.Count == 0 {
		note("no message was delivered while it was measured: %d were lost, %d came that were not of this run", v.Lost, v.Foreign)
	}
	if report.Silence > report.Seconds/8 {
		note("nothing at all arrived for %.1f s at a time: such a server answers in bursts, or was held up; measure for much longer than that, or the rate says little", report.Silence)
	}
	if v.Foreign > 0 {
		for _, p := range r.pairs {
			p.mu.Lock()
			if p.stranger != "" && len(notes) < 10 {
				note("the recipients got %d messages that are not of this run, such as %.60q to %s: kept for them from before, or somebody else uses the accounts", v.Foreign, p.stranger, p.to)
				p.mu.Unlock()
				break
			}
			p.mu.Unlock()
		}
	}
	for _, p := range r.pairs {
		for _, s := range []*client.Session{p.a, p.b} {
			if err := s.Err(); err != nil && !errors.Is(err, context.Canceled) {
				note("%s: the session ended: %v", s.JID(), err)
				return notes
			}
		}
	}
	if !v.Correct() {
		note("the server did NOT keep its word: %s", v)
	}
	return notes
}
