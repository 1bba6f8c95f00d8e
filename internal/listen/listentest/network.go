// SPDX-License-Identifier: Apache-2.0

// Package listentest offers connections in memory, so that what stands on
// package listen can be tested on fake time (testing/synctest).
package listentest

import (
	"net"
	"net/netip"
	"sync"
)

// Network is a listener whose connections are pipes: a write waits until the
// other side reads.
type Network struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

// New makes a Network.
func New() *Network {
	return &Network{conns: make(chan net.Conn), closed: make(chan struct{})}
}

// Dial connects from 127.0.0.1.
func (n *Network) Dial() (net.Conn, error) {
	return n.DialFrom(netip.MustParseAddrPort("127.0.0.1:40000"))
}

// DialFrom connects from any address.
func (n *Network) DialFrom(from netip.AddrPort) (net.Conn, error) {
	client, server := net.Pipe()
	addr := net.TCPAddrFromAddrPort(from)
	select {
	case n.conns <- conn{server, n.Addr(), addr}:
		return conn{client, addr, n.Addr()}, nil
	case <-n.closed:
		return nil, net.ErrClosed
	}
}

// Accept implements net.Listener.
func (n *Network) Accept() (net.Conn, error) {
	select {
	case c := <-n.conns:
		return c, nil
	case <-n.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (n *Network) Close() error {
	n.once.Do(func() { close(n.closed) })
	return nil
}

// Addr implements net.Listener.
func (n *Network) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 5222} }

type conn struct {
	net.Conn
	local, remote net.Addr
}

func (c conn) LocalAddr() net.Addr  { return c.local }
func (c conn) RemoteAddr() net.Addr { return c.remote }
