// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"bavard/internal/command"
	"bavard/internal/dispatch"
	"bavard/internal/jid"
	"bavard/internal/route"
	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// Cell is what sessions need of the cell.
type Cell interface {
	Submit(ctx context.Context, cmd *command.Command, done func(command.Outcome, error)) error
	Do(ctx context.Context, cmd *command.Command) (command.Outcome, error)
	Current(ctx context.Context) error
	// StreamH is the count up to which a stream's stanzas are known to be
	// handled; false when the stream is not known.
	StreamH(id []byte) (uint32, bool)
}

// Options of a Manager.
type Options struct {
	Cell   Cell
	Hub    *dispatch.Hub
	Table  *route.Table
	Logger *slog.Logger
	// ResumeTime is how long a cut-off device may take to resume its stream.
	ResumeTime time.Duration
	// Refusal turns an error of Submit into a stanza error, nil when what
	// became of the command is unknown.
	Refusal func(error) *stanza.Error
	// Answered is told what a device answered to a request of the server. It
	// must not block and must not call the session. nil ignores.
	Answered func(from jid.JID, answer *xmlstream.Element)
	// Gone is told that a session has ended or is unavailable, so that it leaves its rooms. It
	// must not block. nil ignores.
	Gone func(route.Visitor)
	// Missed is told of messages that a device was thought to be getting, and that it has
	// not acknowledged: its stream is broken, or it is silent. It may have read them, and
	// gets what it has not when it resumes. It must not block. nil ignores.
	Missed func(full jid.JID, messages []route.Out)
	// Pace bounds what a device sends, AccountPace what all of an account do: who
	// sends more is read more slowly.
	Pace, AccountPace Pace
	// Crowd is how many devices are in the room of this address, 0 if it is none.
	// nil is never any.
	Crowd func(to string) int
	// NoDedupe is for the drills' negative control; see chat.Options.
	NoDedupe bool
}

// Manager has the sessions of a node.
type Manager struct {
	o      Options
	ctx    context.Context
	cancel context.CancelFunc
	crew   *crew
	wg     sync.WaitGroup // the idle watch
	spared atomic.Uint64
	held   atomic.Uint64

	mu       sync.Mutex
	sessions map[string]*Session // by resumption id
	accounts map[string]*shared  // by bare JID, of those with sessions
	closed   bool
	drained  bool    // no session is taken
	lapses   []lapse // of devices that were sent away, in order
	lapsing  bool    // somebody looks after them
}

// NewManager starts a manager; Shutdown ends it.
func NewManager(o Options) *Manager {
	ctx, cancel := context.WithCancel(context.Background())
	m := &Manager{o: o, ctx: ctx, cancel: cancel, crew: newCrew(ctx.Done()), sessions: map[string]*Session{}, accounts: map[string]*shared{}}
	m.wg.Add(1)
	go m.watch()
	return m
}

func (m *Manager) now() time.Time { return time.Now() }

// errPutOff: a message before this one was put off, and the device may not know.
var errPutOff = errors.New("session: an earlier message was put off")

func (m *Manager) refusal(err error) *stanza.Error {
	if errors.Is(err, errPutOff) {
		return stanza.Err(stanza.Wait, stanza.ResourceConstraint, "an earlier message of yours was not stored; send it first, then this one")
	}
	if m.o.Refusal == nil {
		return nil
	}
	return m.o.Refusal(err)
}

// Serve runs a session for a device that has bound full. It returns as soon as
// the stream's Receive does.
func (m *Manager) Serve(full jid.JID, stream Stream) { m.Start(Start{JID: full}, stream) }

// Start says how a session begins.
type Start struct {
	// JID that the device has bound.
	JID jid.JID
	// Client names the software on its device, the same at each login; a session
	// that it had before ends. "" when that is not known.
	Client string
	// Admitted is asked once the device hears of events of its account, so that
	// what became of that since it logged in is not missed; nil lets it in.
	Admitted func() bool
	// Enable asks for stream management (XEP-0198 §inline-enable @1.6.3), nil does
	// not.
	Enable *xmlstream.Element
	// Carbons switches them on (XEP-0280).
	Carbons bool
	// Inactive: nobody looks at the device (XEP-0352).
	Inactive bool
	// Synced: the device is told where its archive ends and reads it from there,
	// so that nothing waits for it.
	Synced bool
	// Greet gives what is written before all else; it is called once the device
	// hears of events. enabled answers Enable. nil writes nothing.
	Greet func(enabled *xmlstream.Element) []*xmlstream.Element
}

// Start runs a session. It returns as soon as the stream's Receive does.
func (m *Manager) Start(o Start, stream Stream) {
	s := &Session{m: m, jid: o.JID, over: make(chan struct{}), running: make(chan struct{})}
	s.in.init()
	if _, err := rand.Read(s.id[:]); err != nil {
		stream.Close(stanza.StreamErr(stanza.StreamInternalServerError, ""))
		return
	}
	if o.Greet == nil {
		s.out.stream = stream
	}
	s.seen.Store(m.now().UnixNano())
	var displaced []*dispatch.Displaced
	s.res, displaced = m.o.Hub.Register(o.JID, o.Client, s)
	for _, old := range displaced {
		m.farewell(old.JID, old.Available, old.Directed)
	}
	if s.res == nil {
		stream.Close(stanza.StreamErr(stanza.StreamPolicyViolation, "this account has too many devices connected"))
		return
	}
	if o.Admitted != nil && !o.Admitted() {
		m.o.Hub.Unregister(s.res)
		stream.Close(stanza.StreamErr(stanza.StreamNotAuthorized, "log in again"))
		return
	}
	m.mu.Lock()
	if m.closed || m.drained {
		m.mu.Unlock()
		m.o.Hub.Unregister(s.res)
		stream.Close(goneAway())
		return
	}
	m.sessions[s.ID()] = s
	s.account = m.share(s.jid.Bare().String())
	m.mu.Unlock()
	if o.Greet != nil && !s.greet(o, stream) {
		return
	}
	s.run(stream)
}

// greet begins a session with what its device asked for when it logged in. It
// reports whether the session goes on.
func (s *Session) greet(o Start, stream Stream) bool {
	s.m.o.Hub.Update(s.res, func(r *dispatch.Resource) {
		r.SetCarbons(o.Carbons)
		if o.Synced {
			r.SetQueried()
		}
	})
	var enabled *xmlstream.Element
	resumable := false
	if o.Enable != nil {
		s.in.mu.Lock()
		s.in.managed = true
		s.in.mu.Unlock()
		enabled, resumable = s.enabled(o.Enable)
	}
	var first []item
	for _, e := range o.Greet(enabled) {
		first = append(first, item{raw: e})
	}
	out := &s.out
	out.mu.Lock()
	if out.ended {
		out.mu.Unlock()
		stream.Close(nil)
		return false
	}
	// What has come for the device meanwhile follows, and counts.
	out.queue = append(first, out.queue...)
	out.managed, out.resumable, out.inactive = o.Enable != nil, resumable, o.Inactive
	out.stream = stream
	out.kick(s)
	out.mu.Unlock()
	s.m.o.Hub.Noticed(s.res)
	return true
}

// ServeResumed continues a resumed session on its new stream. answer puts what
// tells the device of that into what it expects; nil leaves it as it is.
func (m *Manager) ServeResumed(r *Resumed, stream Stream, answer func(...*xmlstream.Element) *xmlstream.Element) {
	if r.attach(stream, answer) {
		r.s.run(stream)
	}
}

// Resume finds the session that a device of account wants to take over and
// takes it off its old stream. On failure h is the truthful lower bound of what
// was handled, when it is known (XEP-0198 §resumption @1.6.3).
func (m *Manager) Resume(account jid.JID, previd string, h uint32) (r *Resumed, lower uint32, known bool) {
	m.mu.Lock()
	s := m.sessions[previd]
	drained := m.drained
	m.mu.Unlock()
	if drained { // nor is another session of it
		return nil, 0, false
	}
	if s == nil || s.jid.Bare() != account {
		lower, known = m.lowerBound(previd)
		return nil, lower, known && s == nil
	}
	s.out.mu.Lock()
	stream := s.out.stream
	resumable := s.out.resumable && s.out.managed && !s.out.ended
	running := s.running
	s.out.mu.Unlock()
	if !resumable {
		return nil, 0, false
	}
	if stream != nil {
		// The device has noticed before we did.
		s.detach(stream, stanza.StreamErr(stanza.StreamConflict, "the stream was resumed elsewhere"))
	}
	// What the old stream's reader holds must be counted before the count is
	// told, else the device would send it once more.
	t := time.NewTimer(settleWithin)
	defer t.Stop()
	settled := false
	select {
	case <-running:
		settled = s.in.settled(settleWithin, false)
	case <-t.C:
	}
	handled := s.in.handled.Load()
	if bound, cut, known := s.out.truthful(h); cut {
		// The device sends again what comes after, on a stream of its own; what
		// waits for it here is in the archive.
		go s.end(nil)
		return nil, bound, known
	}
	if !settled {
		return nil, handled, true
	}
	return &Resumed{s, h}, 0, false
}

// JID of the resumed session.
func (r *Resumed) JID() jid.JID { return r.s.jid }

func (m *Manager) lowerBound(previd string) (uint32, bool) {
	id, err := base64.RawURLEncoding.DecodeString(previd)
	if err != nil || len(id) != 16 {
		return 0, false
	}
	return m.o.Cell.StreamH(id)
}

func (m *Manager) forget(s *Session) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.sessions[s.ID()] == s {
		delete(m.sessions, s.ID())
		m.unshare(s.jid.Bare().String())
	}
}

// stopping reports whether Shutdown was called.
func (m *Manager) stopping() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.closed
}

// farewell tells who saw the device that it is gone (RFC 6121 §4.5.3).
func (m *Manager) farewell(who jid.JID, wasAvailable bool, directed []jid.JID) {
	gone := xmlstream.New(stanza.NSClient, "presence", "type", "unavailable", "from", who.String())
	for _, to := range directed {
		p := gone.Clone()
		m.o.Hub.Deliver(who, route.Deliver{To: to, Stanza: p.Set("to", to.String())}, nil)
	}
	if !wasAvailable {
		return
	}
	for _, f := range m.o.Table.Decide(who, xmlstream.New(stanza.NSClient, "presence", "type", "unavailable")) {
		r, ok := f.(route.Read)
		if !ok {
			continue
		}
		for _, f := range m.read(r) {
			if d, ok := f.(route.Deliver); ok {
				m.o.Hub.Deliver(who, d, nil)
			}
		}
	}
}

// Idle times: a silent device is asked for a sign of life, and given up when
// it gives none.
const (
	// ProbeAfter is how long a device may be silent until then.
	ProbeAfter = 3 * time.Minute
	probeAfter = ProbeAfter
	deadAfter  = probeAfter + time.Minute
	watchEvery = 15 * time.Second
)

func (m *Manager) watch() {
	defer m.wg.Done()
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-m.ctx.Done():
			return
		case <-tick.C:
			for _, s := range m.all() {
				s.probe(m.now())
			}
		}
	}
}

func (m *Manager) all() []*Session {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := make([]*Session, 0, len(m.sessions))
	for _, s := range m.sessions {
		list = append(list, s)
	}
	return list
}

// probe asks a silent device for a sign of life.
func (s *Session) probe(now time.Time) {
	silent := now.Sub(time.Unix(0, s.seen.Load()))
	o := &s.out
	o.mu.Lock()
	stream, managed := o.stream, o.managed
	missed := o.stall(now)
	o.mu.Unlock()
	s.tellMissed(missed)
	s.m.o.Hub.Noticed(s.res)
	switch {
	case stream == nil || silent < probeAfter:
	case silent >= deadAfter && managed:
		s.detach(stream, stanza.StreamErr(stanza.StreamConnectionTimeout, "no sign of life"))
	case silent >= deadAfter:
		s.end(stanza.StreamErr(stanza.StreamConnectionTimeout, "no sign of life"))
	case managed:
		o.put(s, item{raw: xmlstream.New(stanza.NSSM, "r")})
	default:
		s.Enqueue(route.Serialise(s.question("alive")))
	}
}

// Stats of a manager.
type Stats struct {
	Sessions int
	Detached int // of these: without a stream, waiting for their devices
	Inactive int // of these: whose devices say that nobody looks at them
	// Spared counts the stanzas that inactive devices never got because newer ones
	// took their place.
	Spared uint64
	// Held counts how often a device was read more slowly because it or its
	// account sent more than it may.
	Held uint64
}

// Stats counts sessions.
func (m *Manager) Stats() Stats {
	st := Stats{Spared: m.spared.Load(), Held: m.held.Load()}
	for _, s := range m.all() {
		st.Sessions++
		s.out.mu.Lock()
		if s.out.stream == nil {
			st.Detached++
		}
		if s.out.inactive {
			st.Inactive++
		}
		s.out.mu.Unlock()
	}
	return st
}

// Disconnect cuts every session from its device, which is told why. Those that can be resumed wait
// for it, and what they have under way is settled when it can be. Others end at once: that
// cannot be waited for, and who sends it again is told what came of it.
func (m *Manager) Disconnect(why *stanza.StreamError) {
	for _, s := range m.all() {
		s.out.mu.Lock()
		stream := s.out.stream
		s.out.mu.Unlock()
		if stream != nil {
			s.detachWithin(0, stream, why)
		}
	}
}

// ErrShutdown: not all sessions could be closed in time.
var ErrShutdown = errors.New("session: not all sessions were closed in time")

// Shutdown ends all sessions with system-shutdown, after what they sent is
// settled, and waits at most until ctx ends.
func (m *Manager) Shutdown(ctx context.Context) error {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		var wg sync.WaitGroup
		gate := make(chan struct{}, 256)
		for _, s := range m.all() {
			gate <- struct{}{}
			wg.Go(func() {
				s.end(goneAway())
				<-gate
			})
		}
		wg.Wait()
	}()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		err = ErrShutdown
	}
	m.cancel()
	m.wg.Wait()
	return err
}
