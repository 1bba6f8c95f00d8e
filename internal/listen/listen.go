// SPDX-License-Identifier: Apache-2.0

// Package listen accepts connections, over TCP with STARTTLS, direct TLS and
// WebSocket, counts them against hard limits before anything of theirs is
// parsed, and hands each out as a Stream, which hides how it is framed.
package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"path"
	"sync"
	"sync/atomic"
	"time"

	"bavard/internal/xmlstream"
)

// Times that bound a connection.
const (
	// handshakeTimeout bounds a direct TLS handshake.
	handshakeTimeout = 10 * time.Second
	// writeTimeout bounds one Write: a peer that does not read is cut.
	writeTimeout = 20 * time.Second
	// closeTimeout bounds saying goodbye.
	closeTimeout = 3 * time.Second
	// lingerTimeout is how long a peer may take to notice the goodbye.
	lingerTimeout = time.Second
	// replacedTimeout is that for one that another stream has taken over from.
	replacedTimeout = 50 * time.Millisecond
	// restAfter nothing has come, a connection is taken for idle.
	restAfter = 10 * time.Second
	// backoff of the accept loop when the process is short of something.
	backoffMin = 5 * time.Millisecond
	backoffMax = time.Second
)

// Limits on the number of connections of a Server, all transports together.
type Limits struct {
	Connections       int // in total
	Strangers         int // that have not authenticated yet
	StrangersPerBlock int // of these, per IPv4 address or IPv6 /64; loopback is exempt
}

// DefaultLimits suit one machine.
func DefaultLimits() Limits {
	return Limits{Connections: 100_000, Strangers: 10_000, StrangersPerBlock: 128}
}

// Config of a Server.
type Config struct {
	// Domain that the streams belong to: the from of a header that is sent
	// before the peer's was understood.
	Domain string
	// Handle serves one stream, in its own goroutine; when it returns the stream
	// is closed, unless Receive was called. It is called with the limits before
	// authentication in force, after the handshake when the listener is one of
	// direct TLS.
	Handle func(*Stream)
	// TLS gives the configuration for a new connection of ServeTLS and Encrypt:
	// one certificate, and the same configuration for as long as that stays.
	TLS func() *tls.Config
	// Limits; zero takes DefaultLimits.
	Limits Limits
	// Origins, patterns as "https://chat.example.org", whose pages may open a
	// WebSocket, besides those of the same host (path.Match).
	Origins []string
	// Proxies are the reverse proxies whose X-Forwarded-For and
	// X-Forwarded-Proto are believed.
	Proxies []netip.Prefix
	// Turns is how many negotiations work at the same time; 16 for each processor
	// when it is 0.
	Turns int
	// Log, slog.Default when nil.
	Log *slog.Logger
}

// Stats of a Server; the counters only grow.
type Stats struct {
	Open             int // connections
	Idle             int // of these, nothing has come for a while: they hold no buffer
	Strangers        int // of these, not authenticated
	Waiting          int // of these, for their turn
	WaitingBehind    int // the same, of those that give way to others
	Accepted         uint64
	RefusedFull      uint64 // over Limits.Connections
	RefusedStrangers uint64 // over Limits.Strangers
	RefusedBlock     uint64 // over Limits.StrangersPerBlock
	RefusedBehind    uint64 // of those that gave way: there was no turn in time
	AcceptErrors     uint64
}

// ErrStopped is what the accept loops return after Stop.
var ErrStopped = errors.New("listen: stopped")

// Server accepts connections. It is safe for concurrent use.
type Server struct {
	cfg    Config
	log    *slog.Logger
	gate   *gate
	lastID atomic.Uint64

	acceptErrors atomic.Uint64
	idling       atomic.Int64
	pools        pools
	configs      configs

	mu        sync.Mutex
	stopped   chan struct{} // closed by Stop
	listeners map[net.Listener]struct{}
	streams   map[*Stream]struct{}
	idle      chan struct{} // closed after Stop when the last stream has gone and nothing is being accepted
}

// New makes a Server; it errs when the configuration cannot work.
func New(cfg Config) (*Server, error) {
	if cfg.Handle == nil {
		return nil, errors.New("listen: no handler")
	}
	if cfg.Limits == (Limits{}) {
		cfg.Limits = DefaultLimits()
	}
	for _, o := range cfg.Origins {
		if _, err := path.Match(o, ""); err != nil {
			return nil, fmt.Errorf("listen: origin %q: %w", o, err)
		}
	}
	log := cfg.Log
	if log == nil {
		log = slog.Default()
	}
	return &Server{
		cfg: cfg, log: log, gate: newGate(cfg.Limits),
		pools:     pools{restAfter: restAfter, turns: newTurns(cfg.Turns)},
		stopped:   make(chan struct{}),
		listeners: make(map[net.Listener]struct{}),
		streams:   make(map[*Stream]struct{}),
		idle:      make(chan struct{}),
	}, nil
}

// ServeTCP accepts streams that begin in the clear and may upgrade (RFC 6120
// §5). It returns ErrStopped after Stop and owns l.
func (s *Server) ServeTCP(l net.Listener) error { return s.serve(l, false) }

// ServeTLS accepts streams within TLS (XEP-0368 §reqs @1.1.0). A client that
// offers ALPN must offer xmpp-client (RFC 7301 §3.2). Whatever name it indicates
// (SNI), it gets the one certificate: the stream header says which domain it
// means.
func (s *Server) ServeTLS(l net.Listener) error {
	if s.cfg.TLS == nil {
		_ = l.Close()
		return errors.New("listen: direct TLS without a certificate")
	}
	return s.serve(l, true)
}

func (s *Server) serve(l net.Listener, direct bool) error {
	if !s.watch(l) {
		_ = l.Close()
		return ErrStopped
	}
	defer func() {
		_ = l.Close()
		s.mu.Lock()
		delete(s.listeners, l)
		s.checkIdle()
		s.mu.Unlock()
	}()
	var wait time.Duration
	for {
		conn, err := l.Accept()
		if err == nil {
			wait = 0
			s.admit(conn, direct)
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			select {
			case <-s.stopped:
				return ErrStopped
			default:
				return err
			}
		}
		// Out of file descriptors or memory, or the peer has gone: all pass.
		s.acceptErrors.Add(1)
		wait = min(max(2*wait, backoffMin), backoffMax)
		s.log.Warn("cannot accept a connection; trying again", "err", err, "wait", wait)
		select {
		case <-time.After(wait):
		case <-s.stopped:
			return ErrStopped
		}
	}
}

func (s *Server) watch(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.stopped:
		return false
	default:
	}
	s.listeners[l] = struct{}{}
	return true
}

// admit gives an accepted connection its stream, or closes it at once.
func (s *Server) admit(conn net.Conn, direct bool) {
	p := s.gate.enterSoon(addrOf(conn.RemoteAddr()), s.stopped)
	if p == nil {
		_ = conn.Close()
		return
	}
	timed := newTimedConn(conn, &s.pools)
	timed.bePatient(!direct)
	st := s.newStream(timed, p, conn.RemoteAddr())
	f := &tcpFramer{timed: timed, conn: timed, limits: xmlstream.BeforeAuth, pools: &s.pools}
	st.framer = f
	if !direct {
		f.restart()
		s.start(st, nil)
		return
	}
	cfg := s.configs.get(s.cfg.TLS(), protocolXMPP)
	f.overTLS(cfg)
	f.restart()
	st.secure, st.served = true, certificateOf(cfg)
	s.start(st, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), handshakeTimeout)
		defer cancel()
		if err := f.handshake(ctx); err != nil {
			return err
		}
		if f.tls.ConnectionState().NegotiatedProtocol == protocolACME {
			return errChallenge // RFC 8737 §3: nothing follows the handshake
		}
		return nil
	})
}

// start runs a stream in its own goroutine.
func (s *Server) start(st *Stream, handshake func() error) {
	s.mu.Lock()
	select {
	case <-s.stopped:
		s.mu.Unlock()
		st.Abort()
		return
	default:
	}
	s.streams[st] = struct{}{}
	s.mu.Unlock()
	go func() {
		if handshake != nil {
			if err := handshake(); err != nil {
				st.conn.negotiated()
				s.log.Debug("TLS handshake failed", "conn", st, "err", err)
				s.gone(st)
				return
			}
		}
		s.cfg.Handle(st)
		st.conn.negotiated()
		go s.receive(st) // not on the stack that a TLS handshake and a login have taken
	}()
}

// receive hands out the elements of a stream to whom Receive has named; then,
// or when there is nobody, it closes the stream. While nothing comes for a
// while it goes on in another goroutine, which has hardly a stack.
func (s *Server) receive(st *Stream) {
	more := st.take != nil
	st.conn.mayRest(more)
	for more {
		e, err := st.framer.read()
		if err == errRest {
			go s.doze(st)
			return
		}
		more = st.take(e, err) && err == nil
	}
	st.Close(nil)
	s.gone(st)
}

// doze waits until something arrives: it is where most connections spend their
// life. An error is told by the next read.
func (s *Server) doze(st *Stream) {
	s.idling.Add(1)
	st.framer.doze()
	s.idling.Add(-1)
	s.receive(st)
}

func (s *Server) gone(st *Stream) {
	st.Abort()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.streams, st)
	s.checkIdle()
}

// checkIdle is called with mu held.
func (s *Server) checkIdle() {
	select {
	case <-s.stopped:
	default:
		return
	}
	if len(s.streams) > 0 || len(s.listeners) > 0 {
		return
	}
	select {
	case <-s.idle:
	default:
		close(s.idle)
	}
}

// Stop makes the server accept nothing more. Streams go on.
func (s *Server) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.stopped:
		return
	default:
	}
	close(s.stopped)
	for l := range s.listeners {
		_ = l.Close()
	}
	s.checkIdle()
}

// Shutdown stops accepting, closes the streams that have not authenticated
// yet, and waits for the others, which their sessions close. When ctx ends it
// cuts what is left and gives ctx's error.
func (s *Server) Shutdown(ctx context.Context) error {
	s.Stop()
	s.mu.Lock()
	for st := range s.streams {
		if st.pass.isStranger() {
			go st.Close(shutdownError())
		}
	}
	s.mu.Unlock()
	select {
	case <-s.idle:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	for st := range s.streams {
		st.Abort()
	}
	s.mu.Unlock()
	return ctx.Err()
}

// Stats gives the counts of now.
func (s *Server) Stats() Stats {
	st := s.gate.snapshot()
	st.AcceptErrors = s.acceptErrors.Load()
	st.Idle = int(s.idling.Load())
	s.pools.turns.tell(&st)
	return st
}

// addrOf gives the address without the port, invalid when there is none.
func addrOf(a net.Addr) netip.Addr {
	if a == nil {
		return netip.Addr{}
	}
	if t, ok := a.(*net.TCPAddr); ok {
		return t.AddrPort().Addr().Unmap()
	}
	return parseAddr(a.String())
}
