// SPDX-License-Identifier: Apache-2.0

package listen

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// subprotocol of XMPP over WebSocket (RFC 7395 §3.1).
const subprotocol = "xmpp"

// Sizes of the buffers that a WebSocket keeps while it is idle, in bytes.
// Large messages pass them by.
const (
	readBuffer  = 1024
	writeBuffer = 256
)

// WebSocket handles upgrades to XMPP over WebSocket (RFC 7395). Pages of other
// sites are refused unless they are configured. Compression is not offered.
func (s *Server) WebSocket() http.Handler { return http.HandlerFunc(s.serveWebSocket) }

func (s *Server) serveWebSocket(w http.ResponseWriter, r *http.Request) {
	if !offers(r.Header, subprotocol) {
		http.Error(w, "This is XMPP over WebSocket (RFC 7395): offer the subprotocol xmpp.", http.StatusBadRequest)
		return
	}
	client := s.clientOf(r)
	p := s.gate.enter(addrOf(client.remote))
	if p == nil {
		w.Header().Set("Retry-After", "5")
		w.Header().Set("Connection", "close")
		http.Error(w, "Too many connections.", http.StatusServiceUnavailable)
		return
	}
	hijack := &hijacker{ResponseWriter: w, shared: &s.pools}
	ws, err := websocket.Accept(hijack, r, &websocket.AcceptOptions{
		Subprotocols:    []string{subprotocol},
		OriginPatterns:  s.cfg.Origins,
		CompressionMode: websocket.CompressionDisabled,
	})
	if err != nil { // Accept has answered
		p.leave()
		s.log.Debug("WebSocket refused", "remote", client.remote, "err", err)
		return
	}
	ws.SetReadLimit(-1) // the framer has its own
	st := s.newStream(hijack.conn, p, client.remote)
	st.secure, st.loopback, st.proxied = client.secure, client.loopback, client.proxied
	st.framer = &wsFramer{ws: ws, conn: hijack.conn, in: hijack.in, limits: xmlstream.BeforeAuth, buffers: &s.pools.joined}
	s.start(st, nil)
}

// offers reports whether the client offers a subprotocol.
func offers(h http.Header, want string) bool {
	for _, v := range h.Values("Sec-WebSocket-Protocol") {
		for p := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.TrimSpace(p), want) {
				return true
			}
		}
	}
	return false
}

// hijacker gives the WebSocket library our timed connection with small
// buffers, instead of net/http's.
type hijacker struct {
	http.ResponseWriter
	shared *pools
	conn   *timedConn
	in     *bufio.Reader
}

func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	// Data may have come already: the client has seen the response, which
	// Hijack flushed.
	early, _ := rw.Reader.Peek(rw.Reader.Buffered())
	_ = conn.SetDeadline(time.Time{})
	h.conn = newTimedConn(conn, h.shared)
	r := bufio.NewReaderSize(io.MultiReader(bytes.NewReader(bytes.Clone(early)), h.conn), max(readBuffer, len(early)))
	_, _ = r.Peek(len(early)) // where the library looks for it
	h.in = r
	return h.conn, bufio.NewReadWriter(r, bufio.NewWriterSize(h.conn, writeBuffer)), nil
}

// wsFramer frames as RFC 7395 §3.3 does: one element per text message.
type wsFramer struct {
	ws      *websocket.Conn
	conn    *timedConn
	in      *bufio.Reader // what the library reads from
	limits  xmlstream.Limits
	buffers *bufferPool

	// waits is held while we wait, outside of the library, for what comes next.
	// Once closing is set it is the library alone that reads: it waits for the
	// peer's goodbye.
	waits   sync.Mutex
	closing atomic.Bool
}

func (f *wsFramer) framing() Framing { return WebSocket }

func (f *wsFramer) setLimits(l xmlstream.Limits) {
	if l.MaxBytes <= 0 { // as xmlstream does with each field
		l.MaxBytes = xmlstream.AfterAuth.MaxBytes
	}
	f.limits = l
}

func (f *wsFramer) restart() {}

func (f *wsFramer) readOpen() (*xmlstream.Element, error) {
	e, err := f.read()
	if err != nil {
		return nil, err
	}
	if e.Name.Space == stanza.NSFraming && e.Name.Local == "open" {
		return e, nil
	}
	if e.Name.Space != stanza.NSFraming {
		return nil, stanza.StreamErr(stanza.StreamInvalidNamespace, "expected <open/> of RFC 7395")
	}
	return nil, stanza.StreamErr(stanza.StreamBadFormat, "expected <open/>")
}

// read gives the next element; io.EOF for <close/> (RFC 7395 §3.6). Messages
// of white space alone, which some clients send as keepalives, are skipped.
func (f *wsFramer) read() (*xmlstream.Element, error) {
	for {
		if err := f.wait(); err != nil {
			return nil, err
		}
		typ, r, err := f.ws.Reader(context.Background())
		if err != nil {
			return nil, readError(err)
		}
		if typ != websocket.MessageText {
			return nil, stanza.StreamErr(stanza.StreamBadFormat, "binary message")
		}
		e, err := f.message(r)
		if err != nil {
			return nil, err
		}
		if e == nil {
			continue
		}
		if e.Is(stanza.NSFraming, "close") {
			return nil, io.EOF
		}
		return e, nil
	}
}

// wait until the library has something to read.
func (f *wsFramer) wait() error {
	f.waits.Lock()
	defer f.waits.Unlock()
	switch {
	case f.closing.Load():
		return net.ErrClosed
	case f.in.Buffered() > 0:
		return nil
	}
	return f.conn.wait()
}

func (f *wsFramer) doze() {
	f.waits.Lock()
	defer f.waits.Unlock()
	if !f.closing.Load() {
		f.conn.doze()
	}
}

// message reads one message of at most the limit in force and parses it; nil
// when it is all white space. Its buffer goes back at once: an idle connection
// keeps none.
func (f *wsFramer) message(r io.Reader) (*xmlstream.Element, error) {
	b := f.buffers.get()
	buf := bytes.NewBuffer((*b)[:0])
	defer func() { f.buffers.put(b, buf.Bytes()) }()
	if _, err := buf.ReadFrom(io.LimitReader(r, int64(f.limits.MaxBytes)+1)); err != nil {
		return nil, readError(err)
	}
	if buf.Len() > f.limits.MaxBytes {
		return nil, stanza.StreamErr(stanza.StreamPolicyViolation, "the element is too large")
	}
	if len(bytes.TrimLeft(buf.Bytes(), " \t\r\n")) == 0 {
		return nil, nil
	}
	return xmlstream.ParseElement(buf.Bytes(), f.limits)
}

// readError maps the end of the WebSocket to what the other framing says.
func readError(err error) error {
	if websocket.CloseStatus(err) != -1 || errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// write sends one message per element, all with one system call when they are
// small.
func (f *wsFramer) write(elems [][]byte) error {
	total := 0
	for _, e := range elems {
		total += len(e)
	}
	if total > maxJoin {
		return f.send(elems)
	}
	b := f.buffers.get()
	f.conn.cork(*b)
	err := f.send(elems)
	buf, uerr := f.conn.uncork()
	f.buffers.put(b, buf)
	return errors.Join(err, uerr)
}

func (f *wsFramer) send(elems [][]byte) error {
	for _, e := range elems {
		if err := f.ws.Write(context.Background(), websocket.MessageText, e); err != nil {
			return err
		}
	}
	return nil
}

func (f *wsFramer) appendOpen(dst []byte, h Header) []byte {
	dst = append(dst, "<open xmlns='"+stanza.NSFraming+"'"...)
	dst = appendHeader(dst, h)
	return append(dst, "/>"...)
}

func (f *wsFramer) appendClose(dst []byte) []byte {
	return append(dst, "<close xmlns='"+stanza.NSFraming+"'/>"...)
}

// finish does the closing handshake; the connection's deadlines bound it.
func (f *wsFramer) finish(within time.Duration) {
	f.closing.Store(true)
	f.conn.interrupt()
	f.waits.Lock()
	f.conn.resume(within)
	f.waits.Unlock()
	_ = f.ws.Close(websocket.StatusNormalClosure, "")
}
