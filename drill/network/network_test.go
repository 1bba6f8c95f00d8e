// SPDX-License-Identifier: Apache-2.0

package network

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// cell is a network of two nodes: this process dials as node 0, what it reaches is node 1.
func cell(t *testing.T) (w *Network, dial func() net.Conn, accept func() net.Conn) {
	t.Helper()
	w, err := New(2, func() []int { return []int{os.Getpid(), 0} }, rand.Int64N)
	if runtime.GOOS != "linux" {
		if err == nil {
			t.Fatal("it cannot know who dials here")
		}
		return nil, nil, nil
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	node, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { node.Close() })
	at := freeAddress(t)
	if err := w.Serve(1, at, node.Addr().String()); err != nil {
		t.Fatal(err)
	}
	opened := func(c net.Conn, err error) net.Conn {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	dial = func() net.Conn { t.Helper(); return opened(net.Dial("tcp", at)) }
	accept = func() net.Conn { t.Helper(); return opened(node.Accept()) }
	return w, dial, accept
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func say(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

func hears(t *testing.T, c net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Fatalf("heard %q, %v; want %q", got, err, want)
	}
}

// silent looks that nothing comes, not even the end.
func silent(t *testing.T, c net.Conn) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if n, err := c.Read(make([]byte, 1)); n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("%d bytes came, and %v", n, err)
	}
}

// TestCut: one way nothing passes, not even the end of a connection, while the other way
// goes on; healed, all of it arrives in order.
func TestCut(t *testing.T) {
	t.Parallel()
	w, dial, accept := cell(t)
	if w == nil {
		return
	}
	near := dial()
	say(t, near, "one ")
	far := accept()
	hears(t, far, "one ")

	w.Set(0, 1, Way{Cut: true})
	say(t, near, "two ")
	say(t, far, "back")
	hears(t, near, "back")
	say(t, near, "three")
	near.Close()
	silent(t, far)

	w.Heal()
	hears(t, far, "two three")
	if _, err := far.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the end did not arrive: %v", err)
	}
}

// TestCutBeforeDialling: a new connection hangs, and goes on when it is healed; one that was
// given up meanwhile never gets there.
func TestCutBeforeDialling(t *testing.T) {
	t.Parallel()
	w, dial, accept := cell(t)
	if w == nil {
		return
	}
	w.Set(1, 0, Way{Cut: true})
	givenUp := dial()
	givenUp.Close()
	near := dial()
	say(t, near, "hello")
	silent(t, near)
	w.Heal()
	far := accept()
	hears(t, far, "hello")
	say(t, far, "welcome")
	hears(t, near, "welcome")
}

// TestLoss: what is lost is sent again, all of it in order, and takes as long as that does.
func TestLoss(t *testing.T) {
	t.Parallel()
	w, dial, accept := cell(t)
	if w == nil {
		return
	}
	var drawn atomic.Int64
	w.random = func(n int64) int64 { // twice less than half, then more
		if drawn.Add(1)%3 != 0 {
			return 0
		}
		return n - 1
	}
	near := dial()
	far := accept()
	w.Set(0, 1, Way{Loss: 0.5})
	began := time.Now()
	for i, word := range []string{"once", "again"} {
		say(t, near, word)
		hears(t, far, word)
		if took, least := time.Since(began), time.Duration(i+1)*(retransmit+2*retransmit); took < least {
			t.Errorf("%s took %v, at least %v", word, took, least)
		}
	}
}

// TestDelay: what goes there and back is late by both ways.
func TestDelay(t *testing.T) {
	t.Parallel()
	w, dial, accept := cell(t)
	if w == nil {
		return
	}
	near := dial()
	far := accept()
	w.Set(0, 1, Way{Delay: 100 * time.Millisecond, Jitter: 50 * time.Millisecond})
	w.Set(1, 0, Way{Delay: 100 * time.Millisecond, Jitter: 50 * time.Millisecond})
	began := time.Now()
	say(t, near, "there")
	hears(t, far, "there")
	say(t, far, "back")
	hears(t, near, "back")
	if took := time.Since(began); took < 100*time.Millisecond {
		t.Errorf("it took %v", took)
	}
}
