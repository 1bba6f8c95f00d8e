// SPDX-License-Identifier: Apache-2.0

// Package bench loads an XMPP server, ours or another, and measures it from
// the clients' side.
package bench

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"bavard/drill/client"
	"bavard/internal/stanza"
)

// PairsConfig describes pairs of people of whom one writes to the other, in a
// closed loop: a message is sent when an earlier one was acknowledged by the
// server and has been delivered.
type PairsConfig struct {
	// Addr is the server's host:port, Domain its XMPP domain.
	Addr, Domain string
	// TLS makes STARTTLS mandatory; nil means plaintext.
	TLS *tls.Config
	// Mechanism is the SASL mechanism; "" means SCRAM-SHA-1, which all servers have.
	Mechanism string
	// User names the nth account's localpart and password.
	User func(n int) (local, password string)
	// Pairs, Window (messages under way per pair) and Body (bytes) default to 50,
	// 8 and 100.
	Pairs, Window, Body int
	// Warmup and Duration default to 2 s and 10 s.
	Warmup, Duration time.Duration
	// Logins is how many log in at the same time; 0 means 32.
	Logins int
	// Cost, when set, is read at the beginning and end of the measurement.
	Cost func() Cost
}

// Cost is what the server has used so far.
type Cost struct {
	CPU    time.Duration
	Memory int64 // bytes, resident
}

func (c *PairsConfig) defaults() {
	set := func(n *int, v int) {
		if *n == 0 {
			*n = v
		}
	}
	set(&c.Pairs, 50)
	set(&c.Window, 8)
	set(&c.Body, 100)
	set(&c.Logins, 32)
	if c.Warmup == 0 {
		c.Warmup = 2 * time.Second
	}
	if c.Duration == 0 {
		c.Duration = 10 * time.Second
	}
	if c.Mechanism == "" {
		c.Mechanism = "SCRAM-SHA-1"
	}
}

// PairsReport is what was measured.
type PairsReport struct {
	Pairs, Window, Body int
	Elapsed             time.Duration
	// Ticked and Delivered count messages within the measurement, Refused errors
	// in all of the run.
	Ticked, Delivered, Refused uint64
	// TickP50 … are from sending to the server's acknowledgement, DeliveryP50 … to
	// the arrival at the recipient. They are exact to an eighth.
	TickP50, TickP99, DeliveryP50, DeliveryP99 time.Duration
	// LoginRate is logins per second, with roster and presence.
	LoginRate float64
	// CPU and Memory are the server's, when Cost was given.
	CPU    time.Duration
	Memory int64
	// Own is the CPU time of this process in the measurement: when it is near to
	// Elapsed times the cores it has, it is the generator that is measured.
	Own time.Duration
}

// Rate is how many messages per second were ticked and delivered.
func (r *PairsReport) Rate() float64 {
	return float64(min(r.Ticked, r.Delivered)) / r.Elapsed.Seconds()
}

func (r *PairsReport) String() string {
	s := fmt.Sprintf("%d pairs, window %d, %d-byte bodies, %.1f s: %.0f messages/s ticked and delivered; tick p50 %v p99 %v; delivery p50 %v p99 %v; refused %d; %.0f logins/s",
		r.Pairs, r.Window, r.Body, r.Elapsed.Seconds(), r.Rate(), round(r.TickP50), round(r.TickP99), round(r.DeliveryP50), round(r.DeliveryP99), r.Refused, r.LoginRate)
	if r.CPU > 0 && r.Delivered > 0 {
		s += fmt.Sprintf("; server CPU %.3f ms per message, %.2f cores, %d MiB",
			r.CPU.Seconds()*1000/float64(r.Delivered), r.CPU.Seconds()/r.Elapsed.Seconds(), r.Memory>>20)
	}
	return s + fmt.Sprintf("; generator %.2f cores", r.Own.Seconds()/r.Elapsed.Seconds())
}

func round(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }

// Pairs runs the scenario. ctx bounds all of it.
func Pairs(ctx context.Context, cfg PairsConfig) (*PairsReport, error) {
	cfg.defaults()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	run := &pairsRun{cfg: cfg, name: rand.Text() + "-", text: text(cfg.Body)}
	began := time.Now()
	if err := run.login(ctx); err != nil {
		run.cut()
		return nil, err
	}
	report := &PairsReport{Pairs: cfg.Pairs, Window: cfg.Window, Body: cfg.Body}
	report.LoginRate = float64(2*cfg.Pairs) / time.Since(began).Seconds()
	defer run.cut()

	senders, stop := context.WithCancel(ctx)
	group, senders := errgroup.WithContext(senders)
	for _, p := range run.pairs {
		group.Go(func() error { return p.send(senders) })
	}
	err := run.measure(senders, report)
	stop()
	if sendErr := group.Wait(); sendErr != nil {
		return nil, sendErr
	}
	if err != nil {
		return nil, err
	}
	return report, nil
}

type pairsRun struct {
	cfg       PairsConfig
	name      string // begins the ids of this run
	text      string // bodies are parts of it
	pairs     []*pair
	measuring atomic.Bool
}

// pair is one conversation. a's reader counts ticks, b's deliveries.
type pair struct {
	run   *pairsRun
	a, b  *client.Session
	to    string
	free  chan struct{} // one token per message that may be under way
	sent  []atomic.Int64
	slots []atomic.Uint32 // what a message still waits for: tick and delivery

	ticks, deliveries struct {
		sync.Mutex
		histogram
	}
	refused atomic.Uint64
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

func (r *pairsRun) body(n int) string {
	from := n * 97 & (1<<16 - 1)
	return r.text[from : from+r.cfg.Body]
}

func (r *pairsRun) login(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(r.cfg.Logins)
	for n := range r.cfg.Pairs {
		p := &pair{run: r, free: make(chan struct{}, r.cfg.Window)}
		// A message's slot is taken again only when a token came free, so that twice
		// the window is room enough.
		p.sent = make([]atomic.Int64, 2*r.cfg.Window)
		p.slots = make([]atomic.Uint32, 2*r.cfg.Window)
		for range r.cfg.Window {
			p.free <- struct{}{}
		}
		r.pairs = append(r.pairs, p)
		group.Go(func() (err error) {
			p.a, err = p.join(ctx, 2*n, client.Handler{Ticked: p.ticked, Refused: p.refusedMessage})
			return err
		})
		group.Go(func() (err error) {
			local, _ := r.cfg.User(2*n + 1)
			p.to = local + "@" + r.cfg.Domain
			p.b, err = p.join(ctx, 2*n+1, client.Handler{Message: p.delivered})
			return err
		})
	}
	return group.Wait()
}

// join logs in like a usual client: roster, carbons, presence.
func (p *pair) join(ctx context.Context, n int, h client.Handler) (*client.Session, error) {
	cfg := &p.run.cfg
	local, password := cfg.User(n)
	s, err := client.Dial(ctx, client.Config{
		JID: local + "@" + cfg.Domain, Password: password, Resource: "bench", Mechanism: cfg.Mechanism,
		Addr: cfg.Addr, TLS: cfg.TLS, Carbons: true, Handler: h,
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", local, err)
	}
	if _, err = s.Roster(ctx); err == nil {
		err = s.Available(ctx, 0)
	}
	if err == nil {
		err = s.Ping(ctx) // by then it is available
	}
	if err != nil {
		s.Cut()
		return nil, fmt.Errorf("%s: %w", local, err)
	}
	return s, nil
}

func (r *pairsRun) cut() {
	for _, p := range r.pairs {
		for _, s := range []*client.Session{p.a, p.b} {
			if s != nil {
				s.Cut()
			}
		}
	}
}

const (
	waitsForTick     = 1
	waitsForDelivery = 2
)

func (p *pair) send(ctx context.Context) error {
	for n := 0; ; n++ {
		select {
		case <-p.free:
		case <-p.a.Done():
			return fmt.Errorf("%s ended: %w", p.a.JID(), p.a.Err())
		case <-p.b.Done():
			return fmt.Errorf("%s ended: %w", p.b.JID(), p.b.Err())
		case <-ctx.Done():
			return nil
		}
		// A slot whose message was ticked long ago, but is not yet delivered, or the
		// other way round, is skipped.
		for p.slots[n%len(p.slots)].Load() != 0 {
			n++
		}
		slot := n % len(p.slots)
		p.slots[slot].Store(waitsForTick | waitsForDelivery)
		p.sent[slot].Store(int64(time.Since(epoch)))
		o := &client.Outgoing{ID: p.run.name + strconv.Itoa(n), To: p.to, Type: "chat", Body: p.run.body(n)}
		if err := p.a.Send(ctx, o); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("%s: %w", p.a.JID(), err)
		}
	}
}

// epoch makes monotonic times small numbers. It is immutable.
var epoch = time.Now()

func (p *pair) slot(id string) int {
	n, err := strconv.Atoi(id[strings.LastIndexByte(id, '-')+1:])
	if err != nil || n < 0 {
		return 0
	}
	return n % len(p.slots)
}

func (p *pair) done(slot int, what uint32, h *histogram, mu *sync.Mutex) {
	took := time.Since(epoch) - time.Duration(p.sent[slot].Load())
	before := p.slots[slot].And(^what)
	if before&what == 0 {
		return // a repetition
	}
	if p.run.measuring.Load() {
		mu.Lock()
		h.add(took)
		mu.Unlock()
	}
	if before == what {
		p.free <- struct{}{} // there is room: as many as were taken
	}
}

func (p *pair) ticked(o *client.Outgoing) {
	p.done(p.slot(o.ID), waitsForTick, &p.ticks.histogram, &p.ticks.Mutex)
}

func (p *pair) delivered(in *client.Inbound) {
	if in.Carbon != client.Direct || !strings.HasPrefix(in.OriginID, p.run.name) {
		return // from an earlier run
	}
	p.done(p.slot(in.OriginID), waitsForDelivery, &p.deliveries.histogram, &p.deliveries.Mutex)
}

func (p *pair) refusedMessage(id string, _ stanza.Condition) {
	p.refused.Add(1)
	p.slots[p.slot(id)].Store(0)
	p.free <- struct{}{}
}

// measure waits for the warm-up and the duration.
func (r *pairsRun) measure(ctx context.Context, report *PairsReport) error {
	if err := wait(ctx, r.cfg.Warmup); err != nil {
		return err
	}
	var before, after Cost
	if r.cfg.Cost != nil {
		before = r.cfg.Cost()
	}
	began, own := time.Now(), ownCPU()
	r.measuring.Store(true)
	err := wait(ctx, r.cfg.Duration)
	r.measuring.Store(false)
	report.Elapsed, report.Own = time.Since(began), ownCPU()-own
	if r.cfg.Cost != nil {
		after = r.cfg.Cost()
		report.CPU, report.Memory = after.CPU-before.CPU, after.Memory
	}
	var ticks, deliveries histogram
	for _, p := range r.pairs {
		p.ticks.Lock()
		ticks.merge(&p.ticks.histogram)
		p.ticks.Unlock()
		p.deliveries.Lock()
		deliveries.merge(&p.deliveries.histogram)
		p.deliveries.Unlock()
		report.Refused += p.refused.Load()
	}
	report.Ticked, report.Delivered = ticks.total, deliveries.total
	report.TickP50, report.TickP99 = ticks.at(0.5), ticks.at(0.99)
	report.DeliveryP50, report.DeliveryP99 = deliveries.at(0.5), deliveries.at(0.99)
	return err
}

// ownCPU is the CPU time of this process.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return errors.New("bench: the load ended early")
	}
}
