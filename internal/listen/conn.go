// SPDX-License-Identifier: Apache-2.0

package listen

import (
	"net"
	"sync"
	"time"
)

// timedConn gives each read and write of a connection its deadline, the
// nearest of those that apply, and can gather small writes into one.
type timedConn struct {
	net.Conn

	mu       sync.Mutex
	end      time.Time     // of everything; zero: none
	idle     time.Duration // longest wait for bytes; 0: none
	writeEnd time.Time     // of the write under way; zero: none
	frozen   bool          // closing: deadlines stay as freeze set them
	armed    bool          // a read deadline may be set

	corked bool
	held   []byte
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
	c.idle = d
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

// armRead is called with mu held.
func (c *timedConn) armRead() {
	if c.frozen {
		return
	}
	t := c.end
	if c.idle > 0 {
		if i := time.Now().Add(c.idle); t.IsZero() || i.Before(t) {
			t = i
		}
	}
	if t.IsZero() && !c.armed {
		return
	}
	c.armed = !t.IsZero()
	_ = c.Conn.SetReadDeadline(t)
}

func (c *timedConn) Read(p []byte) (int, error) {
	c.mu.Lock()
	c.armRead()
	c.mu.Unlock()
	return c.Conn.Read(p)
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
