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
	target func() string // where the server is, "" while it is nowhere

	mu    sync.Mutex
	conns map[net.Conn]bool // both ends of each connection
	down  bool
	tasks sync.WaitGroup
}

// newLine makes a network to one of the server's addresses.
func newLine(t *testing.T, target string) *line {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return newLineFrom(t, l, func() string { return target })
}

// line makes a network that leads to the server's STARTTLS listener, also when
// the server has been killed and started again.
func (s *server) line(t *testing.T) *line {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return newLineFrom(t, l, s.address)
}

func newLineFrom(t *testing.T, l net.Listener, target func() string) *line {
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

// host that clients connect to.
func (n *line) host() string {
	host, _, _ := net.SplitHostPort(n.listen.Addr().String())
	return host
}

// cut breaks every connection without a farewell, and refuses new ones until
// mend is called.
func (n *line) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down = true
	// RST, not FIN, at both ends, before pass closes the other one as well: at the
	// end of a TLS stream without a farewell Dino 0.4.2 may never try again.
	for conn := range n.conns {
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // it may have ended
		}
	}
	for conn := range n.conns {
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
		target := n.target()
		if target == "" {
			near.Close()
			continue
		}
		far, err := net.Dial("tcp", target)
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
