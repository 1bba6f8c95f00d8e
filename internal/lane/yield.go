// SPDX-License-Identifier: Apache-2.0

// Package lane lets goroutines that have much to do for many give way to all
// others, and to what has come in from the network meanwhile.
package lane

import (
	"os"
	"runtime"
	"syscall"
	"time"
)

// Most is how long one yields at most, so that who gives way goes on when the
// machine is never idle.
const Most = time.Millisecond

// Yielder belongs to one goroutine, which gives way by it.
//
// runtime.Gosched does half of that: while any goroutine can run, a processor
// does not look at the network, but for every 10 ms. On a machine with few of
// them, one that yields that way makes everybody who writes something wait for
// so long, several times.
type Yielder struct {
	read, write *os.File
	conn        syscall.RawConn // of read
}

// NewYielder makes a Yielder; it has two descriptors. Where there are none it does
// what runtime.Gosched does.
func NewYielder() *Yielder {
	y := &Yielder{}
	r, w, err := os.Pipe()
	if err != nil {
		return y
	}
	y.read, y.write = r, w
	if y.conn, err = r.SyscallConn(); err != nil {
		y.Close()
	}
	return y
}

// Close gives the descriptors back. Yield may be called all the same.
func (y *Yielder) Close() {
	if y.read != nil {
		_ = y.read.Close() // nothing is in it that somebody needs
		_ = y.write.Close()
	}
	y.read, y.write, y.conn = nil, nil, nil
}

// Yield waits until whatever could run has, and what has come from the network
// by then can: it waits for a byte that comes the same way. It returns after
// Most at the latest, once the system has let its thread go on.
func (y *Yielder) Yield() {
	threads()
	if y.conn == nil || y.read.SetReadDeadline(time.Now().Add(Most)) != nil {
		runtime.Gosched()
		return
	}
	sent := false
	_ = y.conn.Read(func(fd uintptr) bool { // its error is that it took too long
		if !sent {
			sent = true
			_, err := y.write.Write([]byte{0})
			return err != nil
		}
		var b [64]byte // also those of the times when it took too long
		_, _ = syscall.Read(int(fd), b[:])
		return true
	})
}
