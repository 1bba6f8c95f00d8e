// SPDX-License-Identifier: Apache-2.0

package xmlstream

import (
	"errors"
	"io"
	"sync"
)

// Reader reads an XML stream element by element. It keeps no more of the input
// than the token that it waits for, and returns an element as soon as its last
// byte has arrived. It is not safe for concurrent use.
//
// An error of the source, such as a timeout, leaves the Reader as it was:
// the call may be repeated. A *SyntaxError and the end of the stream are final.
type Reader struct {
	src    io.Reader
	lim    Limits
	pool   *Pool
	srcErr error // came with the last bytes and is told after them
	final  error // told by every further call
	fresh  bool  // nothing of the stream header has been consumed

	// What the stream header leaves behind, while work is nil.
	rest struct {
		rooted bool
		root   frame
		binds  []binding
	}
	*work // nil while the Reader rests
}

// work is what a Reader needs while something is being read.
type work struct {
	buf  []byte // buf[r:w] has been read and not consumed
	r, w int

	// The token that starts at buf[r], as far as it has been scanned.
	scanned int
	quote   byte // the quote of the attribute value that it ends in, or 0

	used int // bytes consumed of the top-level element
	builder
}

// Pool holds the memory that Readers have given back by Rest, for the next that
// has something to read. The zero Pool is ready. It is safe for concurrent use.
type Pool struct{ works sync.Pool }

// get gives memory that is ready for use; p may be nil.
func (p *Pool) get() *work {
	if p != nil {
		if w, ok := p.works.Get().(*work); ok {
			return w
		}
	}
	w := &work{}
	w.reset()
	return w
}

const (
	minBuffer  = 1 << 10
	emptyReads = 100 // reads of nothing in a row before the source is given up
)

// NewReader makes a Reader of a stream, which first is to ReadOpen.
func NewReader(src io.Reader, lim Limits) *Reader { return NewPooledReader(src, lim, nil) }

// NewPooledReader is NewReader with a pool for what Rest gives back.
func NewPooledReader(src io.Reader, lim Limits, pool *Pool) *Reader {
	r := &Reader{lim: lim.withDefaults(), pool: pool}
	r.Reset(src)
	return r
}

// Reset starts a new stream on src, as after STARTTLS and SASL (RFC 6120
// §4.3.3): what has been read and not consumed is discarded, whatever it is;
// see Buffered. The limits stay.
func (r *Reader) Reset(src io.Reader) {
	w := r.work
	if w == nil {
		w = r.pool.get()
	} else {
		*w = work{buf: usual(w.buf)}
		w.reset()
	}
	*r = Reader{src: src, lim: r.lim, pool: r.pool, fresh: true, work: w}
}

// Rest gives back the memory that is of no use until more arrives: nearly all
// when nothing of an element has been read. The next call takes what it needs.
func (r *Reader) Rest() {
	w := r.work
	if w == nil || r.final != nil || !r.rooted || !r.atTop() || r.r < r.w || r.used > 0 || r.scanned > 0 {
		return
	}
	r.rest.rooted, r.rest.root, r.rest.binds = true, w.open[0], w.binds
	r.work = nil
	if r.pool == nil {
		return
	}
	w.rooted, w.open, w.binds = false, nil, nil
	w.reset()
	w.firstOpen[0] = frame{}
	w.buf, w.r, w.w = usual(w.buf), 0, 0
	r.pool.works.Put(w)
}

// usual gives a buffer that is worth keeping, nil when it is too large.
func usual(buf []byte) []byte {
	if len(buf) > minBuffer {
		return nil
	}
	return buf
}

// wake undoes Rest.
func (r *Reader) wake() {
	if r.work != nil {
		return
	}
	r.work = r.pool.get()
	if r.rest.rooted {
		r.rooted, r.binds = true, r.rest.binds
		r.open = append(r.open, r.rest.root)
	}
}

// SetLimits sets the limits of the elements that are read from now on.
func (r *Reader) SetLimits(lim Limits) { r.lim = lim.withDefaults() }

// Buffered returns the number of bytes that have been read from the source and
// not been consumed, white space at their start left out. After <starttls/>
// there must be none: they came in plain text and could have been injected
// (RFC 6120 §5.3.1). White space says nothing, and some clients send a line end.
func (r *Reader) Buffered() int {
	if r.work == nil {
		return 0
	}
	for i := r.r; i < r.w; i++ {
		if !isSpace(r.buf[i]) {
			return r.w - i
		}
	}
	return 0
}

// ReadOpen reads the XML declaration, if there is one, and the start tag of the
// stream, which it returns as an element without children (RFC 6120 §4.2). It
// does not look at the element's name.
func (r *Reader) ReadOpen() (*Element, error) {
	if r.final != nil {
		return nil, r.final
	}
	r.wake()
	if len(r.open) > 0 {
		return nil, errors.New("xmlstream: ReadOpen in an open stream")
	}
	for {
		if err := r.space(); err != nil {
			return nil, r.fail(err)
		}
		kind, tok, err := r.token(r.fresh)
		if err != nil {
			return nil, r.fail(err)
		}
		r.fresh = false
		if kind == declaration {
			if err := checkDeclaration(tok); err != nil {
				return nil, r.fail(err)
			}
			continue
		}
		if kind != startTag {
			return nil, r.fail(malformed("the stream does not begin with a start tag"))
		}
		e, err := r.start(tok, true, r.lim)
		if err != nil {
			return nil, r.fail(err)
		}
		r.rooted = true
		if selfClosing(tok) {
			r.open = r.open[:0]
			r.final = io.EOF
		} else {
			r.open[0].outlives()
		}
		r.done()
		return e, nil
	}
}

// DefaultNamespace is what the start tag of the stream declared for elements
// without a prefix (RFC 6120 §4.8.2), "" for nothing; it is known once ReadOpen
// has returned, before the first Read.
func (r *Reader) DefaultNamespace() string {
	if r.work == nil || len(r.open) == 0 {
		return ""
	}
	return r.open[0].def
}

// Read returns the next complete child of the stream. White space between
// children, which keeps connections alive (RFC 6120 §4.6.1), is skipped. At the
// end tag of the stream the error is io.EOF; where the input ends without it,
// io.ErrUnexpectedEOF.
func (r *Reader) Read() (*Element, error) {
	if r.final != nil {
		return nil, r.final
	}
	r.wake()
	if !r.rooted {
		return nil, errors.New("xmlstream: Read before ReadOpen")
	}
	return r.element()
}

// element reads until a top-level element is complete.
func (r *Reader) element() (*Element, error) {
	for {
		if r.atTop() {
			if err := r.space(); err != nil {
				return nil, r.fail(err)
			}
		}
		kind, tok, err := r.token(false)
		if err != nil {
			return nil, r.fail(err)
		}
		if kind == endTag && r.atTop() {
			return nil, r.fail(r.closeStream(tok))
		}
		e, err := r.build(kind, tok, r.lim)
		if err != nil {
			return nil, r.fail(err)
		}
		if e != nil {
			r.done()
			return e, nil
		}
	}
}

// done forgets what counted for the top-level element that is complete.
func (r *Reader) done() {
	r.used = 0
	r.reset()
}

// fail keeps the errors after which there is nothing to read.
func (r *Reader) fail(err error) error {
	var syntax *SyntaxError
	if errors.As(err, &syntax) || err == io.EOF || err == io.ErrUnexpectedEOF {
		r.final = err
		r.release()
	}
	return err
}

// release drops the memory of a Reader that has failed.
func (r *Reader) release() { r.builder = builder{rooted: r.rooted} }

// space skips white space between top-level elements and makes sure that a
// byte follows, which must be '<'.
func (r *Reader) space() error {
	for {
		r.r = skipSpace(r.buf[:r.w], r.r)
		if r.r < r.w {
			break
		}
		if err := r.fill(r.lim.MaxBytes); err != nil {
			return err
		}
	}
	switch c := r.buf[r.r]; {
	case c == '<':
		return nil
	case r.rooted:
		return &SyntaxError{BadFormat, "text between stanzas"}
	case c >= 0xfe: // the byte order mark of UTF-16
		return errUTF8()
	}
	return malformed("text before the stream's start")
}

// token returns the next token, which stays valid until the next call.
func (r *Reader) token(mayDeclare bool) (tokenKind, []byte, error) {
	left := max(min(r.lim.MaxBytes, r.lim.MaxMemory-r.count*nodeCost)-r.used, 0)
	for {
		// What lies beyond the limit is not looked at, so that the answer does
		// not depend on how much has arrived.
		pending := r.buf[r.r:r.w]
		over := len(pending) > left
		if over {
			pending = pending[:left+1]
		}
		r.scanned = min(r.scanned, len(pending))
		kind, n, err := r.scan(pending, mayDeclare)
		if err != nil {
			return 0, nil, err
		}
		if n > left || n == 0 && over {
			return 0, nil, tooMuch("the element is too large")
		}
		if n > 0 {
			tok := r.buf[r.r : r.r+n]
			r.r += n
			r.used += n
			r.scanned, r.quote = 0, 0
			return kind, tok, nil
		}
		if err := r.fill(left); err != nil {
			return 0, nil, err
		}
	}
}

// fill reads from the source into the buffer; see room for left.
func (r *Reader) fill(left int) error {
	if r.src == nil {
		return io.ErrUnexpectedEOF
	}
	if r.srcErr == nil {
		r.room(left)
		for range emptyReads {
			n, err := r.src.Read(r.buf[r.w:])
			if n < 0 || n > len(r.buf)-r.w {
				return errors.New("xmlstream: the source reports an impossible count")
			}
			r.w += n
			r.srcErr = err
			if n > 0 {
				return nil
			}
			if err != nil {
				break
			}
		}
		if r.srcErr == nil {
			return io.ErrNoProgress
		}
	}
	err := r.srcErr
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	r.srcErr = nil
	return err
}

// room makes room for at least one byte. The buffer is doubled when it is full,
// but never made larger than the element may become: left is what it may still
// take, pending bytes included. It is shrunk when most of it lies idle.
func (r *Reader) room(left int) {
	pending := r.w - r.r
	size := len(r.buf)
	most := max(left+1, minBuffer, pending+1)
	switch {
	case size == 0:
		size = minBuffer
	case size > minBuffer && pending <= size/4:
		size = max(2*pending, minBuffer)
	case size > most+r.lim.MaxBytes/8:
		size = most
	case r.w < size:
		return
	case r.r >= size/2 || size >= most && r.r > 0:
		r.w = copy(r.buf, r.buf[r.r:r.w])
		r.r = 0
		return
	default:
		size = min(2*size, most)
	}
	buf := make([]byte, size)
	r.w = copy(buf, r.buf[r.r:r.w])
	r.buf, r.r = buf, 0
}

// ParseElement parses one element that makes up all of b, as a WebSocket
// message does (RFC 7395 §3.3). b is not kept.
func ParseElement(b []byte, lim Limits) (*Element, error) {
	var p Parser
	return p.Parse(b, lim)
}

// Parser parses elements one by one as ParseElement does, with memory that it
// keeps: little more than 1 KiB. The zero Parser is ready. It must not be
// copied, and is not safe for concurrent use.
type Parser struct{ r Reader }

// Parse parses one element that makes up all of b, which is not kept.
func (p *Parser) Parse(b []byte, lim Limits) (*Element, error) {
	if len(b) == 0 || b[0] != '<' {
		return nil, malformed("a message begins with '<'")
	}
	r := &p.r
	r.wake()
	r.lim, r.buf, r.r, r.w = lim.withDefaults(), b, 0, len(b)
	defer r.forget()
	e, err := r.element()
	if err == io.ErrUnexpectedEOF {
		return nil, malformed("the element is not complete")
	}
	if err != nil {
		return nil, err
	}
	if r.r = skipSpace(b, r.r); r.r < len(b) {
		return nil, malformed("something follows the element")
	}
	return e, nil
}

// forget readies a Parser's Reader for the next message.
func (r *Reader) forget() {
	r.buf, r.r, r.w = nil, 0, 0
	r.scanned, r.quote, r.used = 0, 0, 0
	r.final = nil
	r.abandon()
}
