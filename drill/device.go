// SPDX-License-Identifier: Apache-2.0

package drill

import (
	"context"
	"errors"
	"fmt"
	randv2 "math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"bavard/drill/client"
	"bavard/drill/oracle"
	"bavard/internal/stanza"
)

// device is one person's client: it sends, is cut off, comes back, and sends
// again, unchanged, what it has no tick for.
type device struct {
	trait
	d              *killing
	account, peer  string
	resource, name string
	random         *randv2.Rand // of the goroutine in live
	keys           client.Keys
	outbox         []entry // invoked and not settled, in order; of the same goroutine
	sent           int
	where          int           // which server it goes to; of the same goroutine
	present        bool          // initial presence is sent, or waits in the stream
	progress       chan struct{} // something was settled
	doubts         chan *client.Outgoing
	ticks          int // of the session's reader
	idle           atomic.Bool
	mu             sync.Mutex
	newest         string // archive id up to which everything was seen
	caughtUp       string // the stream that has caught up, on which all that is newer comes live
	seen           map[string]bool
	connectedAt    time.Time
	stoppedAt      time.Time // of the first kill since its last tick
}

// entry is a message in the outbox and the stream that last took it.
type entry struct {
	o      *client.Outgoing
	stream string
	done   bool // without stream management: a later ping was answered
}

func newDevice(d *killing, n uint64, account, peer, resource string, t trait) *device {
	return &device{
		trait: t, d: d, account: account, peer: peer, resource: resource, name: account + "/" + resource, where: int(n),
		random: generator(d.cfg.Seed, n), progress: make(chan struct{}, 1), doubts: make(chan *client.Outgoing, 1), seen: map[string]bool{},
	}
}

// live runs until ctx ends.
func (v *device) live(ctx context.Context) {
	var old *client.Session
	for failures := 0; ctx.Err() == nil; {
		s, err := v.connect(ctx, old, failures)
		if err != nil {
			failures++
			v.where++
			v.d.count(func(r *Report) { r.FailedLogins++ })
			if v.diligent && len(v.outbox) < v.d.cfg.Window {
				v.compose()
			}
			v.backOff(ctx, failures)
			continue
		}
		failures = 0
		v.use(ctx, s)
		silent := v.leaves() && s.Silent() > suspect
		if s.Cut(); v.told(s.Err()) || silent {
			v.where++
		} else {
			v.where = v.d.elsewhere(v.where, v.random)
		}
		old = s
		if v.sleepy && !v.isDraining() {
			v.away(ctx, time.Duration(v.random.Int64N(int64(time.Second))))
		}
	}
}

// told reports, and counts, that the server ended a session because it could not go on, or that the device
// gave it up; from one that it ended because it goes, it is measured how long the device cannot send.
func (v *device) told(err error) bool {
	if errors.Is(err, client.ErrSilent) {
		v.d.count(func(r *Report) { r.GivenUp++ })
		return true
	}
	var bad *stanza.StreamError
	if errors.As(err, &bad) && bad.Condition == stanza.StreamSystemShutdown {
		v.stopped(time.Now())
	}
	if bad == nil || bad.Condition != stanza.StreamInternalServerError {
		return false
	}
	v.d.count(func(r *Report) { r.Told++ })
	return true
}

// backOff waits with full jitter.
func (v *device) backOff(ctx context.Context, failures int) {
	most := min(20*time.Millisecond<<min(failures, 6), time.Second)
	_ = pause(ctx, time.Duration(v.random.Int64N(int64(most))))
}

// away waits until the drill drains at the latest.
func (v *device) away(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-v.d.draining:
	case <-ctx.Done():
	}
}

func (v *device) isDraining() bool {
	select {
	case <-v.d.draining:
		return true
	default:
		return false
	}
}

func (v *device) config(failures int) client.Config {
	at := v.d.at(v.where)
	cfg := client.Config{
		JID: v.account, Password: v.d.password, Resource: v.resource, Keys: &v.keys, Addr: at.c2s,
		NoStreamManagement: v.unmanaged, Carbons: v.carbons,
		Handler: client.Handler{Message: v.see, Ticked: v.tick, Refused: v.refuse},
	}
	if v.leaves() {
		cfg.Patience = patience
		cfg.HearWithin = hearPatience << min(failures, 3)
	}
	if v.web {
		cfg.WebSocket = "ws://" + at.http + "/xmpp-websocket"
	}
	return cfg
}

const (
	// patience is how long a device waits for a server that answers nothing, where there are others, as the
	// app does; dialPatience is what the first attempt to log in may take there, the next one twice as much,
	// and hearPatience until anything is heard. One that is cut off while its server has been silent for as
	// long as suspect comes back elsewhere.
	patience     = 3500 * time.Millisecond
	dialPatience = 4 * time.Second
	hearPatience = 2 * time.Second
	suspect      = time.Second
)

// leaves: it goes elsewhere when its server does not answer. A sleepy device is not there for long.
func (v *device) leaves() bool { return len(v.d.places) > 1 && !v.sleepy }

func (v *device) connect(ctx context.Context, old *client.Session, failures int) (*client.Session, error) {
	within := requestTimeout
	if v.leaves() {
		within = min(within, time.Duration(failures+1)*dialPatience)
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	cfg := v.config(failures)
	if old != nil && v.resumes && v.random.IntN(5) > 0 {
		cfg.Resume = old.Resumption()
	}
	v.mu.Lock()
	v.connectedAt = time.Now()
	v.mu.Unlock()
	s, err := client.Dial(ctx, cfg)
	if err != nil {
		return nil, err
	}
	v.d.count(func(r *Report) {
		r.Logins++
		if s.Resumed() {
			r.Resumed++
		} else if cfg.Resume != nil {
			r.ResumesRefused++
		}
	})
	if !s.Resumed() {
		v.present = false
	}
	return s, nil
}

// use is a session's life.
func (v *device) use(ctx context.Context, s *client.Session) {
	if err := v.arrive(ctx, s); err != nil {
		v.stalled(ctx, s, "arrive", err)
		return
	}
	if err := v.repeat(ctx, s); err != nil {
		return
	}
	v.chat(ctx, s)
}

// noticeWithin is how long a session may take to know that its connection is broken, after a
// write has failed by it.
const noticeWithin = 5 * time.Second

// stalled counts a request that a living server left unanswered.
func (v *device) stalled(ctx context.Context, s *client.Session, what string, err error) {
	notice := time.NewTimer(noticeWithin)
	defer notice.Stop()
	select {
	case <-s.Done():
		return
	case <-ctx.Done():
		return
	case <-notice.C:
	}
	v.d.count(func(r *Report) { r.Stalls++ })
	v.d.cfg.Logger.Warn("the server leaves a request unanswered", "device", v.name, "what", what, "err", err)
}

// arrive makes the device available and catches up.
func (v *device) arrive(ctx context.Context, s *client.Session) error {
	ctx, cancel := context.WithTimeout(ctx, 2*requestTimeout)
	defer cancel()
	v.mu.Lock()
	behind := v.archive && v.caughtUp != s.Stream()
	v.mu.Unlock()
	if behind {
		// Asked before presence, so that nothing is flushed, and again after it, so
		// that nothing falls between the two.
		if _, err := v.page(ctx, s); err != nil {
			return err
		}
	}
	if !v.present {
		if err := s.Available(ctx, 0); err != nil {
			return err
		}
		v.present = true
	}
	for behind {
		complete, err := v.page(ctx, s)
		if err != nil {
			return err
		}
		behind = !complete
	}
	v.mu.Lock()
	v.caughtUp = s.Stream()
	v.mu.Unlock()
	return nil
}

// repeat sends again, in order, what the stream does not have.
func (v *device) repeat(ctx context.Context, s *client.Session) error {
	v.prune()
	for i := range v.outbox {
		if v.outbox[i].stream == s.Stream() {
			continue
		}
		if err := v.send(ctx, s, &v.outbox[i]); err != nil {
			return err
		}
		v.d.count(func(r *Report) { r.Repeated++ })
	}
	return nil
}

func (v *device) send(ctx context.Context, s *client.Session, e *entry) error {
	if err := s.Send(ctx, e.o); err != nil {
		return err
	}
	e.stream = s.Stream()
	return nil
}

// invoke makes a new message and sends it. It is not called once the drill
// drains: a device that was found idle then stays so.
func (v *device) invoke(ctx context.Context, s *client.Session) error {
	return v.send(ctx, s, v.compose())
}

// compose puts a new message into the outbox.
func (v *device) compose() *entry {
	v.sent++
	id := v.name + "-" + strconv.Itoa(v.sent)
	body := fmt.Sprintf("message %d of %s %s", v.sent, v.name, strings.Repeat("x", v.random.IntN(200)))
	v.d.log.Invoke(oracle.Message{ID: id, Sender: v.name, From: v.account, To: v.peer, Body: body})
	v.outbox = append(v.outbox, entry{o: client.NewMessageID(id, v.peer, body)})
	return &v.outbox[len(v.outbox)-1]
}

// prune drops what is settled from the outbox.
func (v *device) prune() {
	kept := v.outbox[:0]
	for _, e := range v.outbox {
		if e.o.State() == client.Waiting && !e.done {
			kept = append(kept, e)
		}
	}
	clear(v.outbox[len(kept):])
	v.outbox = kept
	v.idle.Store(len(kept) == 0 && v.isDraining())
}

// chat sends with a closed window until the session, the drill or the device's
// luck ends.
func (v *device) chat(ctx context.Context, s *client.Session) {
	think := time.NewTimer(0)
	defer think.Stop()
	cut := time.NewTimer(v.untilCut())
	defer cut.Stop()
	draining := v.d.draining
	for {
		v.prune()
		if v.unmanaged && (len(v.outbox) >= v.d.cfg.Window || draining == nil && len(v.outbox) > 0) {
			if !v.confirm(ctx, s) {
				return
			}
			continue
		}
		var next <-chan time.Time
		if draining != nil && !v.silent && len(v.outbox) < v.d.cfg.Window {
			next = think.C
		}
		select {
		case <-next:
			if !v.isDraining() && v.invoke(ctx, s) != nil {
				return
			}
			think.Reset(time.Duration(v.random.ExpFloat64() * float64(v.d.cfg.Think)))
		case <-v.progress:
		case o := <-v.doubts:
			v.verify(ctx, s, o)
		case <-cut.C:
			if draining != nil {
				v.part(ctx, s)
				return
			}
		case <-draining:
			draining = nil
		case <-s.Done():
			return
		case <-ctx.Done():
			return
		}
	}
}

func (v *device) untilCut() time.Duration {
	mean := v.d.cfg.CutMean
	if v.sleepy {
		mean = 300 * time.Millisecond
	}
	return time.Duration(v.random.ExpFloat64() * float64(mean))
}

// farewell is how long who leaves in order waits for the server to say so, too.
const farewell = time.Second

// part leaves the session: at once, in order, or right behind a full window of
// messages whose ticks it does not wait for.
func (v *device) part(ctx context.Context, s *client.Session) {
	v.d.count(func(r *Report) { r.Cuts++ })
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	switch v.random.IntN(4) {
	case 0:
	case 1:
		ctx, cancel := context.WithTimeout(ctx, farewell)
		defer cancel()
		_ = s.Close(ctx) // it may have been killed meanwhile
	default:
		for !v.silent && !v.isDraining() && len(v.outbox) < v.d.cfg.Window {
			if v.invoke(ctx, s) != nil {
				return
			}
		}
		_ = s.Flush(ctx) // likewise
	}
}

// confirm pings, for want of stream management. It is no tick.
func (v *device) confirm(ctx context.Context, s *client.Session) bool {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if err := s.Ping(ctx); err != nil {
		v.stalled(ctx, s, "ping", err)
		return false
	}
	for i := range v.outbox {
		v.outbox[i].done = true
	}
	return true
}

// doubtEvery is how many ticks pass between two that are verified.
const doubtEvery = 64

// tick records that the server took responsibility for a message.
func (v *device) tick(o *client.Outgoing) {
	v.d.log.Tick(o.ID)
	v.mu.Lock()
	fresh := o.Attempts == 1 && o.SentAt.After(v.connectedAt)
	v.mu.Unlock()
	v.d.ticked(o, fresh)
	v.goesOn(o)
	if v.ticks++; v.ticks%doubtEvery == 0 {
		select {
		case v.doubts <- o:
		default:
		}
	}
	select {
	case v.progress <- struct{}{}:
	default:
	}
}

// stopped notes that a server was killed.
func (v *device) stopped(at time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.stoppedAt.IsZero() {
		v.stoppedAt = at
	}
}

// goesOn measures how long after a kill the device has the tick of a message sent
// since, wherever it is connected. Those that are away by themselves do not count.
func (v *device) goesOn(o *client.Outgoing) {
	v.mu.Lock()
	from := v.stoppedAt
	counts := !from.IsZero() && o.SentAt.After(from)
	if counts {
		v.stoppedAt = time.Time{}
	}
	v.mu.Unlock()
	if counts && !v.sleepy && !v.isDraining() {
		gap := o.SettledAt.Sub(from)
		if gap > switchOver {
			v.d.cfg.Logger.Warn("a device waited long", "device", v.name, "for", gap.Round(time.Millisecond), "at", v.d.at(v.where).c2s)
		}
		v.d.count(func(r *Report) { r.gaps = append(r.gaps, gap) })
	}
}

func (v *device) refuse(id string, condition stanza.Condition) {
	v.d.log.Refuse(id, string(condition))
	select {
	case v.progress <- struct{}{}:
	default:
	}
}
