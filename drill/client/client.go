// SPDX-License-Identifier: Apache-2.0

// Package client is a small XMPP client for tests, drills and load: one
// account's stream over TCP (plain or STARTTLS) or WebSocket, with SCRAM, stream
// management and its resumption, messages that know when they are ticked,
// roster, presence, carbons and archive pages.
//
// A session costs two goroutines and a read buffer, so that thousands fit in
// one process. Every wait ends with its context. Callbacks run on the session's
// reader, one at a time and in the order of the stream: they must not wait for
// anything that the same session has yet to read.
package client

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// Errors that callers tell apart.
var (
	// ErrClosed: the session has ended.
	ErrClosed = errors.New("client: session has ended")
	// ErrProtocol: the server broke the protocol.
	ErrProtocol = errors.New("client: the server broke the protocol")
	// ErrAuth: the server refused the credentials.
	ErrAuth = errors.New("client: not authorised")
	// ErrSilent: the server answered nothing for as long as the session is patient.
	ErrSilent = errors.New("client: the server does not answer")
	// ErrBacklog: too many stanzas wait for the server's acknowledgement.
	ErrBacklog = errors.New("client: too many stanzas unacknowledged")
)

// Config says where and as whom to connect.
type Config struct {
	// JID is the account's bare JID, normalised.
	JID      string
	Password string
	// Resource to ask for, "" to let the server choose.
	Resource string
	// Mechanism is the SASL mechanism to use, "" for the best SCRAM on offer,
	// bound to the channel (-PLUS) where there is TLS.
	Mechanism string
	// Binding is the type of channel binding for a -PLUS mechanism, "" for
	// tls-exporter.
	Binding string
	// Token has the session log in by SASL2, with the token that it holds or else by
	// the password, and bind or resume in the same request; Resource is then the tag
	// of it. nil takes the SASL of RFC 6120.
	Token *Token
	// Keys caches what SCRAM derives from the password (RFC 5802 §5.1); may be nil.
	Keys *Keys

	// Addr is the host:port of the TCP listener. Ignored with WebSocket.
	Addr string
	// DialContext replaces net.Dialer's for TCP; may be nil.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)
	// WebSocket is the ws: or wss: address (RFC 7395), "" for TCP.
	WebSocket string
	// TLS makes STARTTLS mandatory over TCP and configures wss. Without it TCP
	// stays plain. ServerName defaults to the domain of JID.
	TLS *tls.Config
	// DirectTLS begins with TLS instead of STARTTLS (XEP-0368); TLS must be set.
	DirectTLS bool

	// NoStreamManagement leaves XEP-0198 off: nothing will be ticked.
	NoStreamManagement bool
	// AckEvery asks for an acknowledgement after that many messages; 0 means 1,
	// below 0 only when RequestAck is called.
	AckEvery int
	// MaxUnacked bounds the stanzas waiting for acknowledgement; 0 means 1,024.
	MaxUnacked int
	// Resume is what an earlier session of the account left behind. When the
	// server refuses it, a fresh session is made.
	Resume *Resumption
	// Carbons enables message carbons (XEP-0280) on a fresh session.
	Carbons bool

	// WriteTimeout bounds each write to the network; 0 means 30 s.
	WriteTimeout time.Duration
	// Patience bounds for how long nothing is heard while something waits for an answer, which is asked for
	// anew after half of it; then the session ends with ErrSilent. 0 waits for ever.
	Patience time.Duration
	// HearWithin bounds connecting until the server has said what it offers, as one does at once that is not
	// too busy to log in: then Dial fails with ErrSilent. 0 leaves it to the context.
	HearWithin time.Duration

	Handler Handler
}

// Handler is told what a session meets; any field may be nil.
type Handler struct {
	// Message is handed each message that is neither an error nor a page of the
	// archive. It counts as handled (XEP-0198) once the callback returns.
	Message func(*Inbound)
	// Presence is handed each presence stanza.
	Presence func(*xmlstream.Element)
	// RosterPush is handed each roster item pushed.
	RosterPush func(RosterItem)
	// Ticked: the server's h passed the message and no error came before.
	Ticked func(*Outgoing)
	// Refused: an error answered the message of this id. An error that comes
	// after the tick is told as well.
	Refused func(id string, condition stanza.Condition)
}

func (c *Config) domain() string {
	_, domain, _ := strings.Cut(c.JID, "@")
	return domain
}

func (c *Config) local() string {
	local, _, _ := strings.Cut(c.JID, "@")
	return local
}

// Bare strips the resource of a JID.
func Bare(jid string) string {
	bare, _, _ := strings.Cut(jid, "/")
	return bare
}

// Session is one authenticated and bound stream. Its methods may be called
// from any goroutine.
type Session struct {
	cfg      Config
	wire     wire
	jid      string // full JID
	stream   string // names the stream; survives resumption
	resumed  bool
	loggedIn time.Duration

	mu      sync.Mutex
	out     frames        // waits for the writer
	writing bool          // the writer is at work on what it took
	blocked bool          // somebody waits for drained
	drained chan struct{} // closed and replaced when the writer took out or has written
	ackDue  bool
	sm      *management // nil without stream management
	since   int         // messages since the last <r/>
	waiting map[string]chan *xmlstream.Element
	pages   map[string]*Page
	seq     uint64
	err     error
	ended   bool
	// idleAt is when watch saw last that nothing was waited for.
	idleAt time.Time

	heard   atomic.Int64 // when the server was last heard, in ns since the epoch
	unheard *time.Timer  // of Config.HearWithin; nil without
	wake    chan struct{}
	done    chan struct{} // closed when the reader has ended
	quit    chan struct{} // closed when the session is to end
	idle    chan struct{} // closed when the writer has ended
	// unwatched is closed when nobody looks whether the server answers.
	unwatched chan struct{}
}

// Dial connects, authenticates and resumes or binds. ctx bounds all of it; the
// session outlives it.
func Dial(ctx context.Context, cfg Config) (*Session, error) {
	s, start := newSession(cfg), time.Now()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if cfg.HearWithin > 0 {
		s.unheard = time.AfterFunc(cfg.HearWithin, func() { cancel(ErrSilent) })
		defer s.unheard.Stop()
	}
	if err := s.connect(ctx); err != nil {
		return nil, err
	}
	if err := s.negotiate(ctx); err != nil {
		s.wire.close()
		return nil, err
	}
	s.loggedIn = time.Since(start)
	s.heard.Store(time.Now().UnixNano())
	go s.write()
	go s.read()
	if cfg.Patience > 0 {
		go s.watch()
	} else {
		close(s.unwatched)
	}
	if s.resumed {
		s.resend()
	} else if cfg.Carbons && cfg.Token == nil {
		iq := xmlstream.New(stanza.NSClient, "iq", "type", "set").Add(xmlstream.New(stanza.NSCarbons, "enable"))
		if _, err := s.IQ(ctx, iq); err != nil {
			s.Cut()
			return nil, fmt.Errorf("client: carbons: %w", err)
		}
	}
	return s, nil
}

func newSession(cfg Config) *Session {
	if cfg.MaxUnacked == 0 {
		cfg.MaxUnacked = 1024
	}
	if cfg.AckEvery == 0 {
		cfg.AckEvery = 1
	}
	if cfg.WriteTimeout == 0 {
		cfg.WriteTimeout = 30 * time.Second
	}
	return &Session{
		cfg:     cfg,
		drained: make(chan struct{}),
		waiting: map[string]chan *xmlstream.Element{},
		pages:   map[string]*Page{},
		wake:    make(chan struct{}, 1),
		done:    make(chan struct{}), quit: make(chan struct{}), idle: make(chan struct{}), unwatched: make(chan struct{}),
	}
}

func (s *Session) connect(ctx context.Context) (err error) {
	if s.cfg.WebSocket != "" {
		s.wire, err = dialWebSocket(ctx, &s.cfg)
	} else {
		s.wire, err = dialTCP(ctx, &s.cfg)
	}
	if err != nil {
		return fmt.Errorf("client: connect: %w", cmp.Or(context.Cause(ctx), err))
	}
	return nil
}

// JID is the full JID that the server bound.
func (s *Session) JID() string { return s.jid }

// Stream names the stream: equal for a session and its resumptions.
func (s *Session) Stream() string { return s.stream }

// Resumed tells whether Config.Resume succeeded.
func (s *Session) Resumed() bool { return s.resumed }

// LoginTime is how long connecting, authenticating and binding took.
func (s *Session) LoginTime() time.Duration { return s.loggedIn }

// Done is closed when the session has ended and no callback runs any more.
func (s *Session) Done() <-chan struct{} { return s.done }

// Err tells why the session ended; nil while it lives.
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Cut ends the session without a word, as when the network fails, and waits
// for its goroutines. What it leaves can be resumed. Not to be called from a
// callback.
func (s *Session) Cut() {
	s.fail(ErrClosed)
	s.wait()
}

// wait waits until the session has ended and nothing of it is left that works.
func (s *Session) wait() {
	<-s.done
	<-s.idle
	<-s.unwatched
}

// Close ends the stream in order: it acknowledges what was handled, closes the
// stream and waits for the server to do the same, until ctx ends at the latest.
// Not to be called from a callback.
func (s *Session) Close(ctx context.Context) error {
	s.mu.Lock()
	if s.err == nil {
		if s.sm != nil {
			s.out.add(s.wire, s.sm.answer())
		}
		s.out.raw(s.wire.closing())
		s.ended = true
	}
	s.mu.Unlock()
	s.poke()
	select {
	case <-s.done:
	case <-ctx.Done():
	}
	s.Cut()
	return ctx.Err()
}

// fail ends the session; the first reason is kept.
func (s *Session) fail(err error) {
	s.mu.Lock()
	if s.err == nil {
		s.err = err
		close(s.quit)
	}
	s.mu.Unlock()
	s.wire.close()
}

func (s *Session) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// nextID makes an id for an IQ; s.mu is held. A resumed stream goes on
// counting: it may still bring answers to what was asked before the cut.
func (s *Session) nextID() string {
	s.seq++
	if s.sm != nil {
		s.sm.seq = s.seq
	}
	return fmt.Sprintf("q%d", s.seq)
}
