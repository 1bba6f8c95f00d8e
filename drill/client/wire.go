// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"

	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// wire is a transport that carries elements: TCP or WebSocket.
type wire interface {
	// open starts the stream, or starts it anew after TLS or SASL, and reads the
	// server's answer.
	open() error
	// startTLS secures the connection after <proceed/>.
	startTLS(ctx context.Context) error
	// secure reports whether STARTTLS has nothing to add.
	secure() bool
	// state is TLS's, false when there is none.
	state() (tls.ConnectionState, bool)
	// frame appends an element as this wire writes it.
	frame(dst []byte, e *xmlstream.Element) []byte
	// closing is what ends the stream in order.
	closing() []byte
	write(f frames, deadline time.Time) error
	// read returns the next element; io.EOF when the server closed the stream.
	read() (*xmlstream.Element, error)
	// close ends the connection at once; it may be called at any time, by any
	// goroutine, and again.
	close()
}

// limits are lenient: the client is there to find faults of the server, not to
// withstand them, but stays bounded. They are immutable.
var limits = xmlstream.Limits{MaxBytes: 1 << 20, MaxDepth: 64, MaxAttrs: 128, MaxNodes: 1 << 14, MaxName: 256}

// tcpWire is a stream over TCP (RFC 6120 §4).
type tcpWire struct {
	domain string
	tls    *tls.Config

	mu     sync.Mutex // guards conn's replacement by STARTTLS
	conn   net.Conn
	closed bool
	reader *xmlstream.Reader
}

func dialTCP(ctx context.Context, cfg *Config) (wire, error) {
	dial := cfg.DialContext
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	conn, err := dial(ctx, "tcp", cfg.Addr)
	if err != nil {
		return nil, err
	}
	w := &tcpWire{domain: cfg.domain(), conn: conn}
	if cfg.TLS != nil {
		w.tls = cfg.TLS.Clone()
		if w.tls.ServerName == "" {
			w.tls.ServerName = cfg.domain()
		}
	}
	if cfg.DirectTLS {
		if w.tls == nil {
			w.close()
			return nil, errors.New("client: direct TLS without a configuration of TLS")
		}
		w.tls.NextProtos = []string{"xmpp-client"} // XEP-0368
		if err := w.handshake(ctx); err != nil {
			w.close()
			return nil, err
		}
	}
	return w, nil
}

func (w *tcpWire) open() error {
	header := []byte("<?xml version='1.0'?><stream:stream")
	header = xmlstream.AppendAttr(header, "to", w.domain)
	header = append(header, " version='1.0' xml:lang='en' xmlns='"+stanza.NSClient+"' xmlns:stream='"+stanza.NSStream+"'>"...)
	if _, err := w.conn.Write(header); err != nil {
		return err
	}
	w.reader = xmlstream.NewReader(w.conn, limits)
	e, err := w.reader.ReadOpen()
	if err != nil {
		return err
	}
	if !e.Is(stanza.NSStream, "stream") {
		return fmt.Errorf("%w: stream header <%s/>", ErrProtocol, e.Name.Local)
	}
	return nil
}

func (w *tcpWire) startTLS(ctx context.Context) error {
	if w.reader.Buffered() > 0 {
		return fmt.Errorf("%w: data behind <proceed/>", ErrProtocol)
	}
	return w.handshake(ctx)
}

// handshake secures what was plain so far.
func (w *tcpWire) handshake(ctx context.Context) error {
	conn := tls.Client(w.conn, w.tls)
	if err := conn.HandshakeContext(ctx); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return net.ErrClosed
	}
	w.conn = conn
	w.tls = nil
	return nil
}

func (w *tcpWire) secure() bool { return w.tls == nil }

func (w *tcpWire) state() (tls.ConnectionState, bool) {
	if c, ok := w.conn.(*tls.Conn); ok {
		return c.ConnectionState(), true
	}
	return tls.ConnectionState{}, false
}

func (w *tcpWire) frame(dst []byte, e *xmlstream.Element) []byte {
	return xmlstream.AppendElement(dst, e, stanza.NSClient)
}

func (w *tcpWire) closing() []byte { return []byte("</stream:stream>") }

func (w *tcpWire) write(f frames, deadline time.Time) error {
	if err := w.conn.SetWriteDeadline(deadline); err != nil {
		return err
	}
	_, err := w.conn.Write(f.data)
	return err
}

func (w *tcpWire) read() (*xmlstream.Element, error) { return w.reader.Read() }

func (w *tcpWire) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed {
		w.closed = true
		w.conn.Close()
	}
}

// webWire is a stream over WebSocket (RFC 7395), one element per frame.
type webWire struct {
	domain string
	conn   *websocket.Conn
	tls    *tls.Conn       // under it; nil without
	ctx    context.Context // ends with close
	cancel context.CancelFunc
}

func dialWebSocket(ctx context.Context, cfg *Config) (wire, error) {
	var secured *tls.Conn
	transport := &http.Transport{DisableKeepAlives: true}
	transport.DialTLSContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := (&tls.Dialer{Config: cfg.TLS}).DialContext(ctx, network, addr)
		if err == nil {
			secured, _ = conn.(*tls.Conn)
		}
		return conn, err
	}
	conn, _, err := websocket.Dial(ctx, cfg.WebSocket, &websocket.DialOptions{
		HTTPClient:   &http.Client{Transport: transport},
		Subprotocols: []string{"xmpp"}, // RFC 7395 §3.1
	})
	if err != nil {
		return nil, err
	}
	if conn.Subprotocol() != "xmpp" {
		conn.CloseNow()
		return nil, fmt.Errorf("%w: WebSocket subprotocol %q", ErrProtocol, conn.Subprotocol())
	}
	conn.SetReadLimit(int64(limits.MaxBytes))
	w := &webWire{domain: cfg.domain(), conn: conn, tls: secured}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	return w, nil
}

func (w *webWire) open() error {
	open := xmlstream.New(stanza.NSFraming, "open", "to", w.domain, "version", "1.0")
	var f frames
	f.add(w, open)
	if err := w.write(f, time.Now().Add(30*time.Second)); err != nil {
		return err
	}
	e, err := w.read()
	if err != nil {
		return err
	}
	if !e.Is(stanza.NSFraming, "open") {
		return fmt.Errorf("%w: <%s/> for <open/>", ErrProtocol, e.Name.Local)
	}
	return nil
}

func (w *webWire) startTLS(context.Context) error {
	return errors.New("client: no STARTTLS over WebSocket")
}

func (w *webWire) secure() bool { return true }

func (w *webWire) state() (tls.ConnectionState, bool) {
	if w.tls == nil {
		return tls.ConnectionState{}, false
	}
	return w.tls.ConnectionState(), true
}

func (w *webWire) frame(dst []byte, e *xmlstream.Element) []byte {
	return xmlstream.AppendElement(dst, e, "")
}

func (w *webWire) closing() []byte {
	return []byte("<close xmlns='" + stanza.NSFraming + "'/>")
}

func (w *webWire) write(f frames, deadline time.Time) error {
	ctx, cancel := context.WithDeadline(w.ctx, deadline)
	defer cancel()
	start := 0
	for _, end := range f.ends {
		if err := w.conn.Write(ctx, websocket.MessageText, f.data[start:end]); err != nil {
			return err
		}
		start = end
	}
	return nil
}

func (w *webWire) read() (*xmlstream.Element, error) {
	kind, data, err := w.conn.Read(w.ctx)
	if err != nil {
		if websocket.CloseStatus(err) != -1 {
			return nil, io.ErrUnexpectedEOF
		}
		return nil, err
	}
	if kind != websocket.MessageText {
		return nil, fmt.Errorf("%w: binary frame", ErrProtocol)
	}
	e, err := xmlstream.ParseElement(data, limits)
	if err != nil {
		return nil, err
	}
	if e.Is(stanza.NSFraming, "close") {
		return nil, io.EOF
	}
	return e, nil
}

func (w *webWire) close() {
	w.cancel()
	w.conn.CloseNow()
}
