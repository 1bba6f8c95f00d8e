// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// BesideConfig describes people who write to each other at a steady rate, and
// a room that speaks beside them in every other slice of time. The room's load
// is another process: in one, what its clients do would hold up those whose
// latencies are measured.
type BesideConfig struct {
	// Pairs, Rate (messages per second in all) and Body (bytes) default to 20,
	// 400 and 100.
	Pairs, Rate, Body int
	// Rounds of two slices, one without and one with the room, default to 5 of 2 s.
	Rounds int
	Slice  time.Duration
	// Crowd is the command that loads the room, by Room with Told and Ready on its
	// standard input and output, and then prints its report as JSON. Its people
	// are the target's first Occupants.
	Crowd     []string
	Occupants int
}

func (c *BesideConfig) defaults() {
	orElse(&c.Pairs, 20)
	orElse(&c.Rate, 400)
	orElse(&c.Body, 100)
	orElse(&c.Rounds, 5)
	orElse(&c.Slice, 2*time.Second)
}

// Words that are said to a crowd and by it, a line each.
const (
	wordSpeak = "speak"
	wordHush  = "hush"
	wordReady = "ready"
)

// BesideReport is what was measured.
type BesideReport struct {
	Conditions
	Pairs  int     `json:"pairs"`
	Body   int     `json:"body_bytes"`
	Rounds int     `json:"rounds"`
	Slice  float64 `json:"slice_s"`
	// Rate is of messages from person to person, per second, ticked and delivered.
	Rate float64 `json:"messages_per_s"`
	// Alone and Beside are what such messages met without and with the room.
	Alone  Between `json:"alone"`
	Beside Between `json:"beside"`
	// P99All is the p99 of all deliveries beside the room by that of all without.
	P99All float64 `json:"p99_ratio_of_all"`
	// P50 and P99 of deliveries beside the room, as multiples of those without: the
	// medians of the rounds. P99Low to P99High holds the true median in 95 runs of 100.
	// Noise is what P99 is where nothing differs: the median of one slice without the
	// room by another, the larger by the smaller.
	P50     float64 `json:"p50_ratio"`
	P99     float64 `json:"p99_ratio"`
	P99Low  float64 `json:"p99_ratio_low"`
	P99High float64 `json:"p99_ratio_high"`
	Noise   float64 `json:"p99_noise"`
	// Room is what the room's load reports; its rate is of the slices in which it
	// spoke.
	Room RoomReport `json:"room"`
	Verdict
}

// Between is how messages between two people fared.
type Between struct {
	Tick     Latency `json:"tick"`
	Delivery Latency `json:"delivery"`
	// Cores that the server used.
	Cores float64 `json:"server_cores"`
}

func (b *Between) String() string {
	return fmt.Sprintf("tick %s; delivery %s; server %.2f cores", b.Tick, b.Delivery, b.Cores)
}

// Rows implements Report.
func (r *BesideReport) Rows() [][2]string {
	return [][2]string{
		{"load", fmt.Sprintf("%d pairs, %s messages/s, %d-byte bodies; %d rounds of %.1f s without and with the room", r.Pairs, counted(r.Rate), r.Body, r.Rounds, r.Slice)},
		{"room", fmt.Sprintf("%d in it, %d speak: %s deliveries/s, %s; all were in after %.1f s", r.Room.Occupants, r.Room.Speakers, counted(r.Room.Rate), r.Room.Delivery, r.Room.Entering)},
		{"alone", r.Alone.String()},
		{"beside", r.Beside.String()},
		{"ratio", fmt.Sprintf("p99 of all × %.2f; medians of the rounds: p50 × %.2f, p99 × %.2f, by 95 %% between %.2f and %.2f; p99 of one slice alone by another: × %.2f", r.P99All, r.P50, r.P99, r.P99Low, r.P99High, r.Noise)},
		{"verdict", r.Verdict.String()},
		{"room's", fmt.Sprintf("%s; %d orders", r.Room.Verdict.String(), r.Room.Orders)},
	}
}

// Correct reports whether the server kept its word.
func (r *BesideReport) Correct() bool { return r.Verdict.Correct() && r.Room.Correct() }

// Beside runs the scenario.
func Beside(ctx context.Context, t *Target, cfg BesideConfig, w *Watch) (*BesideReport, error) {
	cfg.defaults()
	report := &BesideReport{Conditions: t.conditions("beside"), Pairs: cfg.Pairs, Body: cfg.Body, Rounds: cfg.Rounds, Slice: cfg.Slice.Seconds()}
	crowd, err := startCrowd(cfg.Crowd, w)
	if err != nil {
		return nil, err
	}
	defer crowd.kill()
	run := newPairs(cfg.Pairs, 64, cfg.Body)
	run.first = cfg.Occupants
	watched := &watched{}
	run.record = watched.add
	every := time.Second * time.Duration(cfg.Pairs) / time.Duration(cfg.Rate)
	for _, p := range run.pairs {
		p.rest = func() time.Duration { return time.Duration((0.5 + rand.Float64()) * float64(every)) } //nolint:gosec // no secret
	}
	sessions, err := run.login(ctx, t, w)
	defer func() { leave(sessions) }()
	if err != nil {
		return nil, err
	}
	report.Server = version(ctx, sessions[0], t.Domain)
	w.tell("waiting for the room to fill")
	if err := crowd.ready(ctx); err != nil {
		return nil, err
	}
	senders, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	group, senders := errgroup.WithContext(senders)
	for _, p := range run.pairs {
		group.Go(func() error { return p.send(senders, -1) })
	}
	measured, done := context.WithCancel(ctx)
	defer done()
	context.AfterFunc(senders, done)
	run.measuring.Store(true)
	report.start(w)
	periods, err := rounds(measured, cfg, crowd, w)
	report.stop(w)
	report.Interrupted = err != nil
	run.measuring.Store(false)
	stop()
	err = group.Wait()
	run.drain(ctx, 10*time.Second)
	report.Verdict = run.verdict()
	report.sum(watched, periods)
	if !report.Verdict.Correct() {
		report.note("the server did NOT keep its word: %s", &report.Verdict)
	}
	return report, errors.Join(err, crowd.report(&report.Room, periods))
}

// period is one slice of time.
type period struct {
	loud     bool
	from, to time.Time
	cpu      time.Duration
}

// settling is the time after the room begins or ceases to speak that is not
// measured.
const settling = 300 * time.Millisecond

// rounds has the room speak in every other slice; the error is ctx's, or the
// crowd's.
func rounds(ctx context.Context, cfg BesideConfig, c *crowdProcess, w *Watch) (periods []period, err error) {
	for n := range 2 * cfg.Rounds {
		loud := n%2 == 1
		if err := c.tell(loud); err != nil {
			return periods, err
		}
		if err := wait(ctx, settling); err != nil {
			return periods, err
		}
		w.tell("round %d of %d", n/2+1, cfg.Rounds)
		p := period{loud: loud, cpu: -w.cost().CPU, from: time.Now()}
		err := wait(ctx, cfg.Slice)
		p.to = time.Now()
		p.cpu += w.cost().CPU
		if err != nil {
			return periods, err
		}
		periods = append(periods, p)
	}
	return periods, c.tell(false)
}

// watched collects exactly what messages between two people met.
type watched struct {
	mu  sync.Mutex
	all []flown
}

type flown struct {
	sent   time.Time
	took   time.Duration
	ticked bool // this is the time to the tick, else to the delivery
}

func (w *watched) add(ticked bool, sent time.Time, took time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, flown{sent, took, ticked})
}

// of gives the durations of what was sent in a period, sorted.
func (w *watched) of(p *period, ticked bool) (all []time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range w.all {
		if f.ticked == ticked && !f.sent.Before(p.from) && f.sent.Before(p.to) {
			all = append(all, f.took)
		}
	}
	slices.Sort(all)
	return all
}

// quantile of sorted durations in milliseconds, 0 when there are none.
func quantile(sorted []time.Duration, p float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return float64(sorted[min(int(p*float64(len(sorted))), len(sorted)-1)]) / float64(time.Millisecond)
}

func exactly(all []time.Duration) Latency {
	slices.Sort(all)
	return Latency{Count: uint64(len(all)), P50: quantile(all, 0.5), P99: quantile(all, 0.99), Max: quantile(all, 1)}
}

// median of some numbers, 0 of none.
func median(all []float64) float64 {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return (all[len(all)/2] + all[(len(all)-1)/2]) / 2
}

// confidence gives between which of some numbers the median of what they are drawn from
// is, with at least 95 % where there are enough of them: of a sample of n, that many are
// below it as heads come of n coins. Of fewer than 6 it is all of them.
func confidence(all []float64) (low, high float64) {
	if len(all) == 0 {
		return 0, 0
	}
	slices.Sort(all)
	n := len(all)
	out, below, exactly := 0, 0.0, math.Pow(0.5, float64(n)) // exactly: that out heads come
	for below+exactly <= 0.025 {
		below += exactly
		exactly *= float64(n-out) / float64(out+1)
		out++
	}
	out = max(out-1, 0)
	return all[out], all[n-1-out]
}

func (r *BesideReport) sum(w *watched, periods []period) {
	var ticks, deliveries [2][]time.Duration
	var cores, seconds [2]float64
	var p50s, p99s, noise []float64
	var quiet, before []time.Duration
	for i := range periods {
		p, k := &periods[i], 0
		if p.loud {
			k = 1
		}
		ds := w.of(p, false)
		ticks[k] = append(ticks[k], w.of(p, true)...)
		deliveries[k] = append(deliveries[k], ds...)
		cores[k] += p.cpu.Seconds()
		seconds[k] += p.to.Sub(p.from).Seconds()
		if !p.loud {
			before, quiet = quiet, ds
			if len(before) > 0 {
				a, b := quantile(before, 0.99), quantile(quiet, 0.99)
				noise = append(noise, max(a, b)/max(min(a, b), 1e-9))
			}
			continue
		}
		p50s = append(p50s, quantile(ds, 0.5)/max(quantile(quiet, 0.5), 1e-9))
		p99s = append(p99s, quantile(ds, 0.99)/max(quantile(quiet, 0.99), 1e-9))
	}
	for k, b := range []*Between{&r.Alone, &r.Beside} {
		b.Tick, b.Delivery = exactly(ticks[k]), exactly(deliveries[k])
		b.Cores = cores[k] / max(seconds[k], 1e-9)
	}
	r.P99All = r.Beside.Delivery.P99 / max(r.Alone.Delivery.P99, 1e-9)
	r.P50, r.P99, r.Noise = median(p50s), median(p99s), median(noise)
	r.P99Low, r.P99High = confidence(p99s)
	r.Rate = float64(min(len(ticks[0])+len(ticks[1]), len(deliveries[0])+len(deliveries[1]))) / max(seconds[0]+seconds[1], 1e-9)
}

// crowdProcess is the room's load, a process.
type crowdProcess struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	errs strings.Builder
	done bool
}

func startCrowd(command []string, w *Watch) (c *crowdProcess, err error) {
	cmd := exec.Command(command[0], command[1:]...) //nolint:gosec // it is what the caller wants to run
	c = &crowdProcess{cmd: cmd}
	if c.in, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.out = bufio.NewReader(out)
	cmd.Stderr = &c.errs
	w.tell("starting the room's load")
	return c, cmd.Start()
}

func (c *crowdProcess) kill() {
	if !c.done {
		_ = c.cmd.Process.Kill()
		_ = c.cmd.Wait()
	}
}

// ready waits until everybody is in the room.
func (c *crowdProcess) ready(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = c.cmd.Process.Kill() })
	defer stop()
	line, err := c.out.ReadString('\n')
	if err == nil && strings.TrimSpace(line) == wordReady {
		return nil
	}
	c.done = true
	return fmt.Errorf("the room's load did not get ready: %w\n%s", errors.Join(err, c.cmd.Wait()), &c.errs)
}

func (c *crowdProcess) tell(speak bool) error {
	word := wordHush
	if speak {
		word = wordSpeak
	}
	if _, err := io.WriteString(c.in, word+"\n"); err != nil {
		return fmt.Errorf("the room's load: %w", err)
	}
	return nil
}

// report ends the load and reads what it has to say.
func (c *crowdProcess) report(r *RoomReport, periods []period) error {
	_ = c.in.Close()
	err := json.NewDecoder(c.out).Decode(r)
	c.done = true
	if ended := c.cmd.Wait(); err != nil {
		return fmt.Errorf("the room's load: %w\n%s", errors.Join(err, ended), &c.errs)
	}
	loud := 0.0
	for _, p := range periods {
		if p.loud {
			loud += (p.to.Sub(p.from) + settling).Seconds()
		}
	}
	r.Rate = float64(r.Delivery.Count) / max(loud, 1e-9)
	return nil
}

// told has a crowd speak and hush as it is told; the end of what it is told
// ends the measurement.
func (r *crowd) told(in io.Reader, end func()) {
	defer end()
	for lines := bufio.NewScanner(in); lines.Scan(); {
		r.speaking.Store(lines.Text() == wordSpeak)
		select {
		case r.stir <- struct{}{}:
		default:
		}
	}
}

// give gives turns to speak: so many per second, and none while the crowd is
// told to hush.
func (r *crowd) give(ctx context.Context) {
	every := time.Duration(0)
	if r.cfg.Rate > 0 {
		every = time.Second / time.Duration(r.cfg.Rate)
	}
	for next := time.Now(); ; next = next.Add(every) {
		for !r.speaking.Load() {
			select {
			case <-r.stir:
			case <-ctx.Done():
				return
			}
		}
		if now := time.Now(); next.Before(now.Add(-time.Second)) {
			next = now // it was quiet meanwhile
		}
		if wait(ctx, time.Until(next)) != nil {
			return
		}
		select {
		case r.turns <- struct{}{}:
		case <-ctx.Done():
			return
		}
	}
}
