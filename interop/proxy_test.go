// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// line is a network between clients and the server that a test can cut: it
// passes on bytes, whatever they are.
type line struct {
	t      *testing.T
	listen net.Listener
	target string

	mu    sync.Mutex
	conns map[net.Conn]bool // both ends of each connection
	down  bool
	tasks sync.WaitGroup
}

// line makes a network to one of the server's addresses.
func newLine(t *testing.T, target string) *line {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &line{t: t, listen: l, target: target, conns: map[net.Conn]bool{}}
	n.tasks.Go(n.accept)
	t.Cleanup(func() {
		l.Close()
		n.cut()
		n.tasks.Wait()
	})
	return n
}

// port that clients connect to.
func (n *line) port() string {
	_, port, _ := net.SplitHostPort(n.listen.Addr().String())
	return port
}

// cut breaks every connection without a farewell, and refuses new ones until
// mend is called.
func (n *line) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down = true
	for conn := range n.conns {
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // RST, not FIN; it may have ended
		}
		conn.Close()
	}
}

// mend lets connections through again.
func (n *line) mend() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down = false
}

func (n *line) accept() {
	for {
		near, err := n.listen.Accept()
		if err != nil {
			return // the test ends
		}
		far, err := net.Dial("tcp", n.target)
		if err != nil {
			near.Close()
			continue
		}
		if !n.add(near, far) {
			near.Close()
			far.Close()
			continue
		}
		n.tasks.Go(func() { n.pass(near, far) })
		n.tasks.Go(func() { n.pass(far, near) })
	}
}

func (n *line) add(conns ...net.Conn) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.down {
		return false
	}
	for _, conn := range conns {
		n.conns[conn] = true
	}
	return true
}

// pass copies one direction until it ends, which ends the connection.
func (n *line) pass(from, to net.Conn) {
	_, err := io.Copy(to, from)
	if err != nil && !strings.Contains(err.Error(), "closed") && !strings.Contains(err.Error(), "reset") && !strings.Contains(err.Error(), "broken pipe") {
		n.t.Logf("line: %v", err)
	}
	from.Close()
	to.Close()
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.conns, from)
}
