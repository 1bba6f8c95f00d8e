// SPDX-License-Identifier: Apache-2.0

package listen

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"time"

	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// Framing says how the elements of a stream are set apart.
type Framing uint8

// Framings.
const (
	TCP       Framing = iota + 1 // one XML document per direction (RFC 6120 §4)
	WebSocket                    // one element per frame (RFC 7395 §3.3)
)

// DefaultNS is the namespace that a top-level element is written in: what the
// stream header declares over TCP, nothing over WebSocket.
func (f Framing) DefaultNS() string {
	if f == TCP {
		return stanza.NSClient
	}
	return ""
}

// Append serialises a top-level element for this framing.
func (f Framing) Append(dst []byte, e *xmlstream.Element) []byte {
	return xmlstream.AppendElement(dst, e, f.DefaultNS())
}

func (f Framing) String() string {
	if f == WebSocket {
		return "websocket"
	}
	return "tcp"
}

// Header of a stream: <stream:stream> (RFC 6120 §4.7) or <open/> (RFC 7395
// §3.4).
type Header struct {
	From, To, ID, Version, Lang string
}

// framer is one way of framing. Reads come from one goroutine; writes are
// serialised by the Stream.
type framer interface {
	framing() Framing
	readOpen() (*xmlstream.Element, error)
	read() (*xmlstream.Element, error)
	// doze waits, after read gave errRest, until read is worth calling.
	doze()
	write(elems [][]byte) error
	appendOpen(dst []byte, h Header) []byte
	appendClose(dst []byte) []byte
	setLimits(xmlstream.Limits)
	// restart makes ready for the header of a new stream on the same
	// connection.
	restart()
	// finish ends the transport in an orderly way, within the deadlines of the
	// connection.
	finish(within time.Duration)
}

// Stream is one client connection, framed. Read, ReadOpen, Restart, StartTLS
// and SetLimits belong to one goroutine; everything else may be called from
// any.
type Stream struct {
	id       uint64
	server   *Server
	conn     *timedConn
	framer   framer
	pass     *pass
	remote   net.Addr
	secure   bool
	loopback bool
	proxied  bool             // by a proxy: TLS, if any, is between it and us
	served   *tls.Certificate // by our TLS over TCP; nil when it is not known

	write struct {
		turn         // guards what follows and the writing
		opened bool  // our header of the current stream was sent
		broken error // a write failed: nothing can follow
	}
	take    func(*xmlstream.Element, error) bool // what Receive got
	closing sync.Once
	cut     sync.Once
}

// turn is a mutex of which a wait may be long: a channel, so that fake time
// passes meanwhile in tests.
type turn chan struct{}

func (t turn) Lock()   { t <- struct{}{} }
func (t turn) Unlock() { <-t }

// Errors of a Stream.
var (
	// ErrPipelined: the client sent more than <starttls/> before TLS, which
	// could have been put there by someone in between (RFC 6120 §5.3.3).
	ErrPipelined = errors.New("listen: plaintext after starttls")
	errNoTLS     = errors.New("listen: this stream cannot start TLS")
)

func (s *Server) newStream(conn *timedConn, p *pass, remote net.Addr) *Stream {
	st := &Stream{
		id: s.lastID.Add(1), server: s, conn: conn, pass: p, remote: remote,
		loopback: addrOf(remote).IsLoopback(),
	}
	st.write.turn = make(turn, 1)
	return st
}

// ID names the connection in logs.
func (s *Stream) ID() string { return "c" + strconv.FormatUint(s.id, 10) }

// LogValue makes a stream an attribute of a log line.
func (s *Stream) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("id", s.ID()), slog.String("remote", s.remote.String()),
		slog.String("framing", s.Framing().String()), slog.Bool("tls", s.secure))
}

// Framing of the stream.
func (s *Stream) Framing() Framing { return s.framer.framing() }

// Secure reports whether nobody on the way can read the stream: TLS, or TLS up
// to a trusted proxy.
func (s *Stream) Secure() bool { return s.secure }

// Loopback reports whether the client runs on this machine and is no proxy.
func (s *Stream) Loopback() bool { return s.loopback }

// RemoteAddr is the client's address: behind a trusted proxy, what that says.
func (s *Stream) RemoteAddr() net.Addr { return s.remote }

// Block is the address block that the client's connections are counted in, an
// IPv4 address or an IPv6 /64; invalid for this machine.
func (s *Stream) Block() netip.Prefix { return s.pass.block }

// TLSState gives the state of TLS on this connection, false when it has none
// of its own. At the other end may be a proxy.
func (s *Stream) TLSState() (tls.ConnectionState, bool) {
	if f, ok := s.framer.(*tcpFramer); ok && f.tls != nil {
		return f.tls.ConnectionState(), true
	}
	if c, ok := s.conn.Conn.(*tls.Conn); ok {
		return c.ConnectionState(), true
	}
	return tls.ConnectionState{}, false
}

// CanStartTLS reports whether StartTLS may be tried: TCP, not yet secure.
func (s *Stream) CanStartTLS() bool { return s.Framing() == TCP && !s.secure }

// Authenticated takes the connection off the count of strangers.
func (s *Stream) Authenticated() { s.pass.known() }

// GiveWay lets all other negotiations go first, now and until GoAhead, and waits
// for a turn to work behind them: one of 16 is for those that give way. When
// there is none within most, or too many wait already, it reports false.
func (s *Stream) GiveWay(most time.Duration) bool { return s.conn.giveWay(most) }

// GoAhead ends what GiveWay began.
func (s *Stream) GoAhead() { s.conn.goAhead() }

// SetDeadline bounds all reads and writes until t; zero lifts it. It is for
// negotiation as a whole.
func (s *Stream) SetDeadline(t time.Time) { s.conn.setEnd(t) }

// SetIdleTimeout bounds the wait for the client's next bytes, keepalives
// included; 0 lifts it. It holds for a Read under way.
func (s *Stream) SetIdleTimeout(d time.Duration) { s.conn.setIdle(d) }

// SetLimits replaces the limits on what is read, from the next element on.
func (s *Stream) SetLimits(l xmlstream.Limits) { s.framer.setLimits(l) }

// ReadOpen reads the client's stream header.
func (s *Stream) ReadOpen() (Header, error) {
	e, err := s.framer.readOpen()
	if err != nil {
		return Header{}, err
	}
	s.conn.advance()
	return Header{
		From: e.Get("from"), To: e.Get("to"), ID: e.Get("id"),
		Version: e.Get("version"), Lang: e.Lang(),
	}, nil
}

// WriteOpen sends our stream header, once per stream, and what follows it.
func (s *Stream) WriteOpen(h Header, then ...*xmlstream.Element) error {
	s.write.Lock()
	defer s.write.Unlock()
	if s.write.opened {
		return errors.New("listen: stream header sent twice")
	}
	s.write.opened = true
	elems := make([][]byte, 1, 1+len(then))
	elems[0] = s.framer.appendOpen(nil, h)
	for _, e := range then {
		elems = append(elems, s.Framing().Append(nil, e))
	}
	return s.writeLocked(elems)
}

// Restart makes ready for a new stream on the same connection (RFC 6120
// §4.3.3, RFC 7395 §3.7): ReadOpen and WriteOpen come next.
func (s *Stream) Restart() {
	s.write.Lock()
	s.write.opened = false
	s.write.Unlock()
	s.framer.restart()
}

// Read gives the client's next element. The error is io.EOF when the client
// closed the stream; StreamError tells what to answer to the others.
func (s *Stream) Read() (*xmlstream.Element, error) {
	e, err := s.framer.read()
	if err == nil {
		s.conn.advance()
	}
	return e, err
}

// Receive has take called with each element that comes, or with the error that
// Read would have given, once Handle has returned: one call after the other,
// until one reports false or has got an error. Then the stream is closed. It is
// for the goroutine of Handle, instead of Read: a stream that is idle costs less
// this way.
func (s *Stream) Receive(take func(*xmlstream.Element, error) bool) { s.take = take }

// Write sends top-level elements, each complete and serialised for the
// stream's framing, in as few system calls as possible. After an error the
// stream is broken: some bytes may have been sent.
func (s *Stream) Write(elems ...[]byte) error {
	s.write.Lock()
	defer s.write.Unlock()
	return s.writeLocked(elems)
}

// WriteElement serialises and sends one top-level element.
func (s *Stream) WriteElement(e *xmlstream.Element) error {
	return s.Write(s.Framing().Append(nil, e))
}

func (s *Stream) writeLocked(elems [][]byte) error {
	if s.write.broken != nil {
		return s.write.broken
	}
	s.conn.beginWrite()
	err := s.framer.write(elems)
	s.conn.endWrite()
	if err != nil {
		s.write.broken = err
	}
	return err
}

// StartTLS answers <starttls/> with <proceed/> and shakes hands (RFC 6120
// §5.4.2.3). Whatever the client sent behind <starttls/> in the clear makes it
// fail with ErrPipelined. The caller reads a new stream header next.
func (s *Stream) StartTLS(ctx context.Context, cfg *tls.Config) error {
	f, ok := s.framer.(*tcpFramer)
	if !ok || s.secure || cfg == nil {
		return errNoTLS
	}
	if f.buffered() > 0 {
		return ErrPipelined
	}
	s.write.Lock()
	defer s.write.Unlock()
	if err := s.writeLocked([][]byte{[]byte("<proceed xmlns='" + stanza.NSTLS + "'/>")}); err != nil {
		return err
	}
	s.write.opened = false
	cfg = s.server.configs.get(cfg, "")
	f.overTLS(cfg)
	if err := f.handshake(ctx); err != nil {
		s.write.broken = err
		return err
	}
	s.secure, s.served = true, certificateOf(cfg)
	f.restart()
	return nil
}

// Close says goodbye, with the error unless it is nil, and ends the
// connection. It takes a few seconds at most, whatever the client does, and
// may be called more than once, from any goroutine; a Read under way ends.
func (s *Stream) Close(e *stanza.StreamError) {
	s.closing.Do(func() {
		s.conn.negotiated()
		s.conn.freeze(time.Now().Add(closeTimeout))
		s.write.Lock()
		defer s.write.Unlock()
		if s.write.broken == nil {
			if s.writeGoodbye(e) == nil {
				s.framer.finish(patience(e))
			}
			s.write.broken = net.ErrClosed
		}
		s.Abort()
	})
}

// patience is how long a peer may take to notice the goodbye. Of a stream whose
// device is back on another one, nobody notices, and the new one waits for the
// end of this one (XEP-0198 §resumption @1.6.3).
func patience(e *stanza.StreamError) time.Duration {
	if e != nil && e.Condition == stanza.StreamConflict {
		return replacedTimeout
	}
	return lingerTimeout
}

// writeGoodbye sends the error and the closing tag, after the header if that
// is still due (RFC 6120 §4.9.1.1).
func (s *Stream) writeGoodbye(e *stanza.StreamError) error {
	var elems [][]byte
	if !s.write.opened {
		s.write.opened = true
		elems = append(elems, s.framer.appendOpen(nil, Header{From: s.server.cfg.Domain, ID: NewID(), Version: "1.0"}))
	}
	if e != nil {
		elems = append(elems, s.Framing().Append(nil, e.Element()))
	}
	return s.writeLocked(append(elems, s.framer.appendClose(nil)))
}

// Abort ends the connection without a word.
func (s *Stream) Abort() {
	s.cut.Do(func() {
		_ = s.conn.Close()
		s.pass.leave()
	})
}

// NewID makes an unpredictable stream id (RFC 6120 §4.7.3).
func NewID() string { return rand.Text() }

// StreamError gives the stream error to answer a failed read with, nil when
// the peer closed the stream or cannot be answered any more.
func StreamError(err error) *stanza.StreamError {
	var syntax *xmlstream.SyntaxError
	var stream *stanza.StreamError
	switch {
	case errors.As(err, &stream):
		return stream
	case errors.As(err, &syntax):
		return stanza.StreamErr(stanza.StreamCondition(syntax.Condition), syntax.Reason)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return stanza.StreamErr(stanza.StreamConnectionTimeout, "")
	}
	return nil
}

func shutdownError() *stanza.StreamError {
	return stanza.StreamErr(stanza.StreamSystemShutdown, "")
}

// drain reads what a closing peer still sends, so that the connection is not
// reset before it has read our goodbye.
func drain(conn net.Conn, within time.Duration) {
	_ = conn.SetReadDeadline(time.Now().Add(within))
	_, _ = io.CopyN(io.Discard, conn, 64<<10)
}
