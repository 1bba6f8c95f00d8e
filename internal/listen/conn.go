// SPDX-License-Identifier: Apache-2.0

package listen

import (
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// timedConn gives each read and write of a connection its deadline, the
// nearest of those that apply, and can gather small writes into one. Where the
// system allows it, it waits for what comes next without a buffer.
type timedConn struct {
	net.Conn

	mu       sync.Mutex
	end      time.Time     // of everything; zero: none
	idle     time.Duration // longest wait for bytes; 0: none
	writeEnd time.Time     // of the write under way; zero: none
	frozen   bool          // closing: deadlines stay as freeze set them
	armed    bool          // a read deadline may be set
	rests    bool          // wait gives errRest when nothing comes for restAfter
	resting  bool          // the read deadline set is that
	since    time.Time     // when the wait for bytes began

	corked bool
	held   []byte

	share share // of what negotiations may do at the same time
	in    inbox
}

// inbox is what has arrived and has not been read. It belongs to the goroutine
// that reads.
type inbox struct {
	raw     syscall.RawConn // nil: reads block, wait does nothing
	try     func(fd uintptr) bool
	shared  *pools
	buf     *[readSize]byte // lent by shared while there is something in it
	from    int             // buf[from:to] is what is there
	to      int
	err     error // of the last attempt, told after what is there
	patient bool  // Read gives errWait instead of blocking
}

// readSize is what is read at once, in bytes: a TLS record.
const readSize = 16 << 10

// readPool lends connections the buffers that they need between the arrival of
// bytes and their being read.
type readPool struct{ sync.Pool }

func (p *readPool) get() *[readSize]byte {
	if b, ok := p.Get().(*[readSize]byte); ok {
		return b
	}
	return new([readSize]byte)
}

// errWait is what Read gives when nothing has arrived: wait, and read again. It
// says that it is temporary so that a tls.Conn goes on after it.
var errWait error = waitError{} // immutable

type waitError struct{}

func (waitError) Error() string   { return "listen: nothing has arrived" }
func (waitError) Timeout() bool   { return false }
func (waitError) Temporary() bool { return true }

// newTimedConn makes a connection whose buffers come from shared.
func newTimedConn(conn net.Conn, shared *pools) *timedConn {
	c := &timedConn{Conn: conn, share: share{turns: shared.turns}}
	sc, ok := conn.(syscall.Conn)
	if !ok || !canTry {
		return c
	}
	if raw, err := sc.SyscallConn(); err == nil {
		c.in.raw, c.in.shared = raw, shared
		c.in.try = c.in.attempt
	}
	return c
}

// bePatient has Read give errWait rather than to block, where that is possible.
func (c *timedConn) bePatient(yes bool) { c.in.patient = yes && c.in.raw != nil }

// errRest is what wait gives then: go on with doze.
var errRest = errors.New("listen: idle") // immutable

// mayRest has wait give errRest, where that is possible.
func (c *timedConn) mayRest(yes bool) {
	c.mu.Lock()
	c.rests = yes && c.in.raw != nil
	c.mu.Unlock()
}

// wait returns when Read has something to give. No buffer is held meanwhile.
func (c *timedConn) wait() error {
	if c.in.raw == nil || c.in.filled() {
		return nil
	}
	c.yield()
	c.mu.Lock()
	c.since = time.Now()
	c.armRead()
	c.mu.Unlock()
	err := c.in.raw.Read(c.in.try)
	if err == nil {
		c.proceed()
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.resting && !c.frozen && errors.Is(err, os.ErrDeadlineExceeded) {
		return errRest
	}
	return err
}

// doze is wait that does not end before there is something to read, be it an
// error. It needs hardly a stack.
func (c *timedConn) doze() {
	c.mu.Lock()
	c.rests = false
	c.armRead()
	c.mu.Unlock()
	err := c.in.raw.Read(c.in.try)
	if err == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.frozen { // else the next wait fails as well
		c.in.err = err
	}
}

// filled reports whether Read would not have to wait.
func (in *inbox) filled() bool { return in.buf != nil || in.err != nil }

// attempt reads what is there, false when nothing is.
func (in *inbox) attempt(fd uintptr) bool {
	buf := in.shared.read.get()
	n, again, err := tryRead(fd, buf[:])
	if again {
		in.shared.read.Put(buf)
		return false
	}
	in.err = err
	if n > 0 {
		in.buf, in.from, in.to = buf, 0, n
	} else {
		in.shared.read.Put(buf)
	}
	return true
}

// take gives what is there.
func (in *inbox) take(p []byte) int {
	n := copy(p, in.buf[in.from:in.to])
	if in.from += n; in.from == in.to {
		in.drop()
	}
	return n
}

// drop forgets what is there.
func (in *inbox) drop() {
	if in.buf != nil {
		in.shared.read.Put(in.buf)
		in.buf = nil
	}
}

// waiting gives what has arrived and has not been read.
func (in *inbox) waiting() []byte {
	if in.buf == nil {
		return nil
	}
	return in.buf[in.from:in.to]
}

// setEnd bounds everything until t; a zero t lifts the bound.
func (c *timedConn) setEnd(t time.Time) {
	c.mu.Lock()
	c.end = t
	c.armRead()
	c.mu.Unlock()
}

// setIdle bounds the wait for the next bytes, whatever they are.
func (c *timedConn) setIdle(d time.Duration) {
	c.mu.Lock()
	c.idle, c.since = d, time.Now()
	c.armRead()
	c.mu.Unlock()
}

// freeze bounds everything, what is under way included, until t, for good.
func (c *timedConn) freeze(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.frozen {
		return
	}
	c.frozen = true
	if !c.end.IsZero() && c.end.After(time.Now()) && c.end.Before(t) {
		t = c.end
	}
	_ = c.Conn.SetDeadline(t) // an error means that it is closed already
}

// interrupt ends a wait under way, until resume; for a connection that was
// frozen.
func (c *timedConn) interrupt() { _ = c.Conn.SetReadDeadline(time.Unix(1, 0)) }

func (c *timedConn) resume(within time.Duration) { _ = c.Conn.SetReadDeadline(time.Now().Add(within)) }

// armRead is called with mu held.
func (c *timedConn) armRead() {
	if c.frozen {
		return
	}
	t := c.end
	if c.idle > 0 {
		t = earlier(t, c.since.Add(c.idle))
	}
	if c.resting = false; c.rests {
		rest := c.since.Add(c.in.shared.restAfter)
		c.resting = earlier(t, rest) != t
		t = earlier(t, rest)
	}
	if t.IsZero() && !c.armed {
		return
	}
	c.armed = !t.IsZero()
	_ = c.Conn.SetReadDeadline(t)
}

// earlier of two times, of which a may be zero.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

func (c *timedConn) Read(p []byte) (int, error) {
	in := &c.in
	switch {
	case len(p) == 0:
		return 0, nil
	case in.buf != nil:
		return in.take(p), nil
	case in.err != nil:
		return 0, in.err
	case in.patient:
		return 0, errWait
	}
	c.yield()
	c.mu.Lock()
	c.since = time.Now()
	c.armRead()
	c.mu.Unlock()
	n, err := c.Conn.Read(p)
	if err == nil {
		c.proceed()
	}
	return n, err
}

func (c *timedConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	if c.corked {
		c.held = append(c.held, p...)
		c.mu.Unlock()
		return len(p), nil
	}
	c.armWrite()
	c.mu.Unlock()
	return c.Conn.Write(p)
}

// armWrite is called with mu held.
func (c *timedConn) armWrite() {
	if c.frozen {
		return
	}
	t := c.writeEnd
	if t.IsZero() {
		t = time.Now().Add(writeTimeout)
	}
	if !c.end.IsZero() && c.end.Before(t) {
		t = c.end
	}
	_ = c.Conn.SetWriteDeadline(t)
}

// beginWrite bounds all writes until endWrite together.
func (c *timedConn) beginWrite() {
	c.mu.Lock()
	c.writeEnd = time.Now().Add(writeTimeout)
	c.mu.Unlock()
}

func (c *timedConn) endWrite() {
	c.mu.Lock()
	c.writeEnd = time.Time{}
	c.mu.Unlock()
}

// cork holds writes back in buf until uncork, which sends them as one and
// gives the buffer back.
func (c *timedConn) cork(buf []byte) {
	c.mu.Lock()
	c.corked, c.held = true, buf[:0]
	c.mu.Unlock()
}

func (c *timedConn) uncork() ([]byte, error) {
	c.mu.Lock()
	buf := c.held
	c.corked, c.held = false, nil
	c.armWrite()
	c.mu.Unlock()
	if len(buf) == 0 {
		return buf, nil
	}
	_, err := c.Conn.Write(buf)
	return buf, err
}
