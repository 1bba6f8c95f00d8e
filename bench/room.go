// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"bavard/drill/client"
	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// RoomConfig describes a room in which some occupants speak in a closed loop:
// each says the next thing when an earlier one was acknowledged and everybody
// in the room has got it.
type RoomConfig struct {
	// Occupants, Speakers among them, Window (messages under way per speaker) and
	// Body (bytes) default to 100, 10, 1 and 100.
	Occupants, Speakers, Window, Body int
	// Service is the domain of the rooms, "" for "rooms." and the domain.
	Service string
	// Rate bounds what is said per second in all, 0 does not.
	Rate int
	// Told, if it is not nil, has lines "speak" and "hush", which begin and interrupt
	// the speaking, and its end ends the measurement, instead of Duration. Ready is
	// called when all are in; it may be nil.
	Told  io.Reader
	Ready func()
	// Warmup is the time before the measurement; Duration defaults to 10 s, Drain,
	// how long is waited at the end for what was said, as well.
	Warmup, Duration, Drain time.Duration
}

func (c *RoomConfig) defaults(domain string) {
	orElse(&c.Occupants, 100)
	orElse(&c.Speakers, 10)
	orElse(&c.Window, 1)
	orElse(&c.Body, 100)
	orElse(&c.Duration, 10*time.Second)
	orElse(&c.Drain, 10*time.Second)
	if c.Told != nil {
		c.Duration = 24 * time.Hour // it is told when to end
	}
	c.Speakers = min(c.Speakers, c.Occupants)
	if c.Service == "" {
		c.Service = "rooms." + domain
	}
}

// RoomReport is what was measured.
type RoomReport struct {
	Conditions
	Occupants int `json:"occupants"`
	Speakers  int `json:"speakers"`
	Window    int `json:"window"`
	Body      int `json:"body_bytes"`
	// Entering is how long it took until all were in.
	Entering float64 `json:"entering_s"`
	// Rate counts deliveries per second: one thing said is one for each occupant.
	Rate float64 `json:"deliveries_per_s"`
	// Tick is from speaking to the server's acknowledgement, Delivery to the
	// arrival at each occupant.
	Tick     Latency `json:"tick"`
	Delivery Latency `json:"delivery"`
	// CPU is the server's per delivery, in milliseconds.
	CPU float64 `json:"server_cpu_ms_per_delivery"`
	// Verdict counts what was said; what was lost, doubled or out of order, for
	// each occupant.
	Verdict
	// Orders counts the different orders in which occupants got what was said:
	// it is to be 1.
	Orders int `json:"orders"`
}

// Rows implements Report.
func (r *RoomReport) Rows() [][2]string {
	return [][2]string{
		{"load", fmt.Sprintf("room of %d, %d speak, window %d, %d-byte bodies, %.1f s", r.Occupants, r.Speakers, r.Window, r.Body, r.Seconds)},
		{"entering", fmt.Sprintf("%.1f s until all were in", r.Entering)},
		{"deliveries", fmt.Sprintf("%s/s", counted(r.Rate))},
		{"tick", r.Tick.String()},
		{"delivery", r.Delivery.String()},
		{"verdict", r.Verdict.String()},
		{"orders", fmt.Sprintf("%d", r.Orders)},
		{"cost", fmt.Sprintf("%.4f ms of server CPU per delivery", r.CPU)},
	}
}

// Correct reports whether the server kept its word.
func (r *RoomReport) Correct() bool { return r.Verdict.Correct() && r.Orders <= 1 }

// crowd is the state of a run.
type crowd struct {
	*pairs    // names, bodies, progress
	cfg       RoomConfig
	room      string
	occupants []*occupant
	speakers  []*speaker
	turns     chan struct{} // to speak; nil when everybody speaks as they can
	speaking  atomic.Bool   // turns are given
	stir      chan struct{} // speaking has changed
}

// occupant is one in the room.
type occupant struct {
	crowd   *crowd
	n       int
	session *client.Session
	in      chan struct{} // closed when it is in

	// Of the goroutine that reads; mu is for who sums up.
	mu         sync.Mutex
	entered    bool
	highest    []int // by speaker
	got        uint64
	order      uint64 // a hash of what came, in order
	deliveries histogram
	verdict    Verdict
}

// speaker is one that speaks.
type speaker struct {
	crowd *crowd
	n     int
	free  chan struct{}

	mu      sync.Mutex
	open    map[int]*said
	ticks   histogram
	verdict Verdict
}

// said is something under way.
type said struct {
	at     time.Time
	ticked bool
	left   int // occupants who have not got it
}

// Room runs the scenario.
func Room(ctx context.Context, t *Target, cfg RoomConfig, w *Watch) (*RoomReport, error) {
	cfg.defaults(t.Domain)
	report := &RoomReport{Conditions: t.conditions("room"), Occupants: cfg.Occupants, Speakers: cfg.Speakers, Window: cfg.Window, Body: cfg.Body}
	run := newCrowd(cfg)
	sessions, err := t.all(ctx, cfg.Occupants, w, run.prepare)
	defer func() { leave(sessions) }()
	if err != nil {
		return nil, err
	}
	report.Server = version(ctx, sessions[0], t.Domain)
	began := time.Now()
	if err := run.enter(ctx, sessions, w); err != nil {
		return nil, err
	}
	report.Entering = time.Since(began).Seconds()

	if cfg.Ready != nil {
		cfg.Ready()
	}
	talk, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	group, talk := errgroup.WithContext(talk)
	for _, s := range run.speakers {
		group.Go(func() error { return s.speak(talk) })
	}
	if run.turns != nil {
		group.Go(func() error { run.give(talk); return nil })
	}
	measured, done := context.WithCancel(ctx)
	defer done()
	context.AfterFunc(talk, done)
	if cfg.Told != nil {
		go run.told(cfg.Told, done)
	}
	report.Interrupted = run.watch(measured, w, report) != nil && (cfg.Told == nil || ctx.Err() != nil)
	stop()
	err = group.Wait()
	run.settled(ctx)
	run.sum(report)
	return report, err
}

func newCrowd(cfg RoomConfig) *crowd {
	r := &crowd{pairs: &pairs{name: rand.Text() + "-", text: text(cfg.Body), body: cfg.Body}, cfg: cfg, stir: make(chan struct{}, 1)}
	if r.speaking.Store(cfg.Told == nil); cfg.Told != nil || cfg.Rate > 0 {
		r.turns = make(chan struct{})
	}
	r.room = "bench-" + strings.ToLower(r.name[:10]) + "@" + cfg.Service
	for n := range cfg.Occupants {
		o := &occupant{crowd: r, n: n, in: make(chan struct{}), highest: make([]int, cfg.Speakers)}
		for i := range o.highest {
			o.highest[i] = -1
		}
		r.occupants = append(r.occupants, o)
	}
	for n := range cfg.Speakers {
		s := &speaker{crowd: r, n: n, free: make(chan struct{}, cfg.Window), open: map[int]*said{}}
		for range cfg.Window {
			s.free <- struct{}{}
		}
		r.speakers = append(r.speakers, s)
	}
	return r
}

func (r *crowd) prepare(n int, cfg *client.Config) {
	o := r.occupants[n]
	cfg.Handler = client.Handler{Message: o.message, Presence: o.presence}
	if n < len(r.speakers) {
		cfg.Handler.Ticked, cfg.Handler.Refused = r.speakers[n].ticked, r.speakers[n].refused
	}
}

// enter makes the room, open to all, and has everybody enter it (XEP-0045
// §createroom @1.35.5, §enter @1.35.5).
func (r *crowd) enter(ctx context.Context, sessions []*client.Session, w *Watch) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	for n, o := range r.occupants {
		o.session = sessions[n]
	}
	if err := r.occupants[0].enter(ctx); err != nil {
		return err
	}
	field := func(name, value string) *xmlstream.Element {
		return xmlstream.New(stanza.NSData, "field", "var", name).Add(xmlstream.NewText(stanza.NSData, "value", value))
	}
	form := xmlstream.New(stanza.NSData, "x", "type", "submit").Add(
		field("FORM_TYPE", "http://jabber.org/protocol/muc#roomconfig"), field("muc#roomconfig_membersonly", "0"), field("muc#roomconfig_persistentroom", "0"))
	iq := xmlstream.New(stanza.NSClient, "iq", "type", "set", "to", r.room).Add(xmlstream.New(stanza.NSMUCOwner, "query").Add(form))
	if _, err := sessions[0].IQ(ctx, iq); err != nil {
		return fmt.Errorf("configure the room %s (is %s the service of rooms?): %w", r.room, r.cfg.Service, err)
	}
	done := w.counting("in the room", len(sessions))
	done(1)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for _, o := range r.occupants[1:] {
		group.Go(func() error {
			defer done(1)
			return o.enter(ctx)
		})
	}
	return group.Wait()
}

func (o *occupant) enter(ctx context.Context) error {
	x := xmlstream.New(stanza.NSMUC, "x").Add(xmlstream.New(stanza.NSMUC, "history", "maxstanzas", "0"))
	err := o.session.SendStanza(ctx, xmlstream.New(stanza.NSClient, "presence", "to", o.crowd.room+"/n"+itoa(o.n)).Add(x))
	if err != nil {
		return err
	}
	select {
	case <-o.in:
		return nil
	case <-o.session.Done():
		return fmt.Errorf("%s: the session ended: %w", o.session.JID(), o.session.Err())
	case <-ctx.Done():
		return fmt.Errorf("%s did not get into %s: %w", o.session.JID(), o.crowd.room, ctx.Err())
	}
}

func (o *occupant) presence(e *xmlstream.Element) {
	if o.entered || e.Get("type") != "" || e.Get("from") != o.crowd.room+"/n"+itoa(o.n) {
		return
	}
	o.entered = true
	close(o.in)
}

// speak speaks until ctx ends, where there are turns in its turn.
func (s *speaker) speak(ctx context.Context) error {
	session := s.crowd.occupants[s.n].session
	for n := 0; ; n++ {
		select {
		case <-s.free:
		case <-session.Done():
			return fmt.Errorf("%s: the session ended: %w", session.JID(), session.Err())
		case <-ctx.Done():
			return nil
		}
		if s.crowd.turns != nil {
			select {
			case <-s.crowd.turns:
			case <-ctx.Done():
				return nil
			}
		}
		s.mu.Lock()
		s.open[n] = &said{at: time.Now(), left: len(s.crowd.occupants)}
		s.verdict.Sent++
		s.mu.Unlock()
		id := s.crowd.name + itoa(n*len(s.crowd.speakers)+s.n)
		if err := session.Send(ctx, &client.Outgoing{ID: id, To: s.crowd.room, Type: "groupchat", Body: s.crowd.bodyOf(n)}); err != nil {
			s.mu.Lock()
			delete(s.open, n)
			s.verdict.Sent--
			s.mu.Unlock()
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("%s: %w", session.JID(), err)
		}
	}
}

func (s *speaker) ticked(out *client.Outgoing) {
	n, now := s.crowd.number(out.ID), time.Now()
	if n < 0 {
		return
	}
	n /= len(s.crowd.speakers)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.verdict.Ticked++
	f := s.open[n]
	if f == nil {
		return
	}
	f.ticked = true
	if s.crowd.measuring.Load() {
		s.ticks.add(now.Sub(f.at))
	}
	s.settle(n, f)
}

// settle lets the speaker go on when everybody has got it; s.mu is held.
func (s *speaker) settle(n int, f *said) {
	if f.ticked && f.left == 0 {
		delete(s.open, n)
		s.free <- struct{}{}
	}
}

func (s *speaker) refused(id string, _ stanza.Condition) {
	n := s.crowd.number(id)
	if n < 0 {
		return
	}
	n /= len(s.crowd.speakers)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[n] != nil {
		s.verdict.Refused++
		delete(s.open, n)
		s.free <- struct{}{}
	}
}

// message is something that came to an occupant.
func (o *occupant) message(in *client.Inbound) {
	number, now := o.crowd.number(in.ID), time.Now()
	if number < 0 || in.Body == "" {
		return // subjects and the like
	}
	speakers := len(o.crowd.speakers)
	who, n := number%speakers, number/speakers
	o.mu.Lock()
	defer o.mu.Unlock()
	if n <= o.highest[who] {
		o.verdict.Doubled++
		return
	}
	if n != o.highest[who]+1 {
		o.verdict.Disordered++ // or lost: what is missing is counted at the end
	}
	o.highest[who] = n
	o.got++
	o.order = (o.order ^ uint64(number)) * 0x100000001b3
	s := o.crowd.speakers[who]
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.open[n]
	if f == nil {
		return // refused
	}
	f.left--
	if o.crowd.measuring.Load() {
		o.deliveries.add(now.Sub(f.at))
	}
	o.crowd.moved.Add(1)
	s.settle(n, f)
}

// watch waits for the warm-up and the duration; its error is ctx's.
func (r *crowd) watch(ctx context.Context, w *Watch, report *RoomReport) error {
	last := uint64(0)
	rate := func(phase string) func(time.Duration) {
		return func(at time.Duration) {
			now := r.moved.Load()
			w.tell("%s %.0f s: %s deliveries/s", phase, at.Seconds(), counted(float64(now-last)))
			last = now
		}
	}
	if err := during(ctx, r.cfg.Warmup, rate("warm-up")); err != nil {
		return err
	}
	report.start(w)
	r.measuring.Store(true)
	err := during(ctx, r.cfg.Duration, rate("measuring"))
	r.measuring.Store(false)
	report.stop(w)
	return err
}

// settled waits until nothing is under way any more, or as long as is waited.
func (r *crowd) settled(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.cfg.Drain)
	defer cancel()
	for {
		open := 0
		for _, s := range r.speakers {
			s.mu.Lock()
			open += len(s.open)
			s.mu.Unlock()
		}
		if open == 0 || wait(ctx, 5*time.Millisecond) != nil {
			return
		}
	}
}

func (r *crowd) sum(report *RoomReport) {
	var ticks, deliveries histogram
	v := &report.Verdict
	for _, s := range r.speakers {
		s.mu.Lock()
		ticks.merge(&s.ticks)
		v.Sent += s.verdict.Sent
		v.Ticked += s.verdict.Ticked
		v.Refused += s.verdict.Refused
		for _, f := range s.open {
			if f.ticked {
				v.Lost += uint64(f.left)
			} else {
				v.Unticked++
			}
		}
		s.mu.Unlock()
	}
	orders := map[[2]uint64]bool{}
	for _, o := range r.occupants {
		o.mu.Lock()
		deliveries.merge(&o.deliveries)
		v.Doubled += o.verdict.Doubled
		v.Disordered += o.verdict.Disordered
		orders[[2]uint64{o.got, o.order}] = true
		o.mu.Unlock()
		if err := o.session.Err(); err != nil && !errors.Is(err, context.Canceled) && len(report.Notes) < 5 {
			report.Notes = append(report.Notes, fmt.Sprintf("%s: the session ended: %v", o.session.JID(), err))
		}
	}
	report.Orders = len(orders)
	report.Tick, report.Delivery = ticks.latency(), deliveries.latency()
	report.Rate = float64(deliveries.total) / report.Seconds
	report.CPU = report.per(deliveries.total)
	if !report.Correct() {
		report.Notes = append(report.Notes, "the server did NOT keep its word: "+v.String())
	}
}
