// SPDX-License-Identifier: Apache-2.0

package lane

import (
	"io"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// spin works for a while.
func spin(d time.Duration) {
	for began := time.Now(); time.Since(began) < d; {
	}
}

// yields counts how often a goroutine that always has something to do yields
// while two others send a byte back and forth, on one processor.
func yields(t *testing.T, yield func()) int {
	t.Helper()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		_, _ = io.Copy(c, c)
	}()
	var done atomic.Bool
	go func() {
		defer done.Store(true)
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		var b [1]byte
		for range 100 {
			if _, err := c.Write(b[:]); err != nil {
				t.Error(err)
				return
			}
			if _, err := io.ReadFull(c, b[:]); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	n := 0
	for ; !done.Load(); n++ {
		spin(100 * time.Microsecond)
		yield()
	}
	return n
}

// What the network brings goes before who yields, however fast the machine is:
// so it is a matter of how often that one has to.
func TestTheNetworkGoesFirst(t *testing.T) {
	y := NewYielder()
	defer y.Close()
	ours, theirs := yields(t, y.Yield), yields(t, runtime.Gosched)
	t.Logf("100 answers took %d yields; %d by runtime.Gosched", ours, theirs)
	if ours > 2000 || ours > theirs {
		t.Errorf("100 answers took %d yields, %d by runtime.Gosched", ours, theirs)
	}
}

// It goes on when the others never rest.
func TestOthersNeverRest(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var stop atomic.Bool
	defer stop.Store(true)
	for range 4 {
		go func() {
			for !stop.Load() {
				runtime.Gosched()
			}
		}()
	}
	y := NewYielder()
	defer y.Close()
	began := time.Now()
	for range 1000 {
		y.Yield()
	}
	if took := time.Since(began); took > time.Minute {
		t.Errorf("1000 yields took %v", took)
	}
	y.Close()
	y.Yield() // and without descriptors
}
