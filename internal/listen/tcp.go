// SPDX-License-Identifier: Apache-2.0

package listen

import (
	"bytes"
	"context"
	"crypto/tls"
	"net"
	"sync"
	"time"

	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// maxJoin bounds what is copied together to be written at once, in bytes.
const maxJoin = 64 << 10

// tcpFramer frames as RFC 6120 §4 does.
type tcpFramer struct {
	timed  *timedConn
	conn   net.Conn // timed, or TLS over it
	tls    *tls.Conn
	reader *xmlstream.Reader
	limits xmlstream.Limits // to begin with
	pools  *pools
}

func (f *tcpFramer) framing() Framing { return TCP }

func (f *tcpFramer) readOpen() (*xmlstream.Element, error) {
	e, err := f.reader.ReadOpen()
	for err == errWait {
		if err = f.timed.wait(); err == nil {
			e, err = f.reader.ReadOpen()
		}
	}
	if err != nil {
		return nil, err
	}
	// RFC 6120 §4.8.1: any other stream namespace is an error.
	if e.Name.Space != stanza.NSStream {
		return nil, stanza.StreamErr(stanza.StreamInvalidNamespace, "expected the namespace "+stanza.NSStream)
	}
	if e.Name.Local != "stream" {
		return nil, stanza.StreamErr(stanza.StreamBadFormat, "expected <stream/>")
	}
	// RFC 6120 §4.8.3: another content namespace, as that of servers, is not served.
	switch f.reader.DefaultNamespace() {
	case "", stanza.NSClient, stanza.NSStream:
		return e, nil
	}
	return nil, stanza.StreamErr(stanza.StreamInvalidNamespace, "expected the namespace "+stanza.NSClient+" for stanzas")
}

// read gives the next element. While there is none the connection keeps next to
// nothing: no buffer, and neither the parser's stack nor that of TLS.
func (f *tcpFramer) read() (*xmlstream.Element, error) {
	for {
		e, err := f.reader.Read()
		if err != errWait {
			return e, err
		}
		f.reader.Rest()
		if err := f.timed.wait(); err != nil {
			return nil, err
		}
	}
}

func (f *tcpFramer) doze() { f.timed.doze() }

func (f *tcpFramer) setLimits(l xmlstream.Limits) { f.reader.SetLimits(l) }

// restart begins a new document on the same connection. What the client sent
// ahead of being told to restart is dropped.
func (f *tcpFramer) restart() {
	if f.reader == nil {
		f.reader = xmlstream.NewPooledReader(f.conn, f.limits, &f.pools.readers)
		return
	}
	if f.tls == nil { // over TLS these are pieces of its records, which it needs to go on
		f.timed.in.drop()
	}
	f.reader.Reset(f.conn)
}

// buffered tells how much of what the client has sent has not been parsed,
// white space left out.
func (f *tcpFramer) buffered() int {
	return f.reader.Buffered() + len(bytes.TrimLeft(f.timed.in.waiting(), " \t\r\n"))
}

// overTLS has the framer read and write over TLS, after a handshake.
func (f *tcpFramer) overTLS(cfg *tls.Config) {
	f.timed.bePatient(false)
	f.tls = tls.Server(f.timed, cfg)
	f.conn = f.tls
}

// handshake of TLS.
func (f *tcpFramer) handshake(ctx context.Context) error {
	err := f.tls.HandshakeContext(ctx)
	f.timed.bePatient(err == nil)
	return err
}

func (f *tcpFramer) appendOpen(dst []byte, h Header) []byte {
	dst = append(dst, "<?xml version='1.0'?><stream:stream xmlns='"+stanza.NSClient+"' xmlns:stream='"+stanza.NSStream+"'"...)
	dst = appendHeader(dst, h)
	return append(dst, '>')
}

func (f *tcpFramer) appendClose(dst []byte) []byte { return append(dst, "</stream:stream>"...) }

// appendHeader writes the attributes of a stream header.
func appendHeader(dst []byte, h Header) []byte {
	for _, a := range [...][2]string{
		{"id", h.ID}, {"from", h.From}, {"to", h.To}, {"version", h.Version}, {"xml:lang", h.Lang},
	} {
		if a[1] != "" {
			dst = xmlstream.AppendAttr(dst, a[0], a[1])
		}
	}
	return dst
}

// pools is what the connections of a Server share, so that none keeps what it
// does not use.
type pools struct {
	joined  bufferPool
	read    readPool
	readers xmlstream.Pool
	turns   *turns
	// restAfter is how long nothing has to come until a connection is taken for
	// idle.
	restAfter time.Duration
}

// bufferPool holds buffers of up to maxJoin bytes, so that no connection keeps
// one of its own.
type bufferPool struct{ sync.Pool }

func (p *bufferPool) get() *[]byte {
	if b, ok := p.Get().(*[]byte); ok {
		return b
	}
	return new([]byte)
}

// put takes buf back as b's content, unless it has grown too large to keep.
func (p *bufferPool) put(b *[]byte, buf []byte) {
	if cap(buf) > 2*maxJoin {
		return
	}
	*b = buf[:0]
	p.Put(b)
}

// write sends the elements joined, up to maxJoin bytes at a time.
func (f *tcpFramer) write(elems [][]byte) error {
	if len(elems) == 1 {
		_, err := f.conn.Write(elems[0])
		return err
	}
	b := f.pools.joined.get()
	buf := (*b)[:0]
	defer func() { f.pools.joined.put(b, buf) }()
	for _, e := range elems {
		if len(buf) > 0 && len(buf)+len(e) > maxJoin {
			if _, err := f.conn.Write(buf); err != nil {
				return err
			}
			buf = buf[:0]
		}
		if len(e) > maxJoin {
			if _, err := f.conn.Write(e); err != nil {
				return err
			}
			continue
		}
		buf = append(buf, e...)
	}
	if len(buf) == 0 {
		return nil
	}
	_, err := f.conn.Write(buf)
	return err
}

// finish closes our direction and waits a little for the peer to close its.
func (f *tcpFramer) finish(within time.Duration) {
	if f.tls != nil {
		_ = f.tls.CloseWrite()
	}
	if c, ok := f.timed.Conn.(interface{ CloseWrite() error }); ok && c.CloseWrite() == nil {
		drain(f.timed.Conn, within)
	}
}
