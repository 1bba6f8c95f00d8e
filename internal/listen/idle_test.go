// SPDX-License-Identifier: Apache-2.0

package listen

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"testing"
	"time"

	"bavard/internal/stanza"
)

// BenchmarkIdle tells what a connection costs on which nothing happens: heap
// and stacks of the server, the client's socket included.
func BenchmarkIdle(b *testing.B) {
	const conns = 500
	for _, kind := range []string{"tcp", "tls", "websocket"} {
		b.Run(kind, func(b *testing.B) {
			for b.Loop() {
				idle(b, kind, conns)
			}
		})
	}
}

func idle(b *testing.B, kind string, conns int) {
	ready := make(chan struct{}, conns)
	s, err := New(Config{Domain: "localhost", TLS: always(selfSigned(b)), Log: slog.New(slog.DiscardHandler), Handle: func(s *Stream) {
		_, _ = s.ReadOpen()
		_ = s.WriteOpen(Header{From: "localhost"})
		_, _ = s.Read() // an element, as in a login
		s.Authenticated()
		s.SetIdleTimeout(time.Hour)
		ready <- struct{}{}
		_, _ = s.Read()
	}})
	if err != nil {
		b.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	web := &http.Server{Handler: s.WebSocket()} // in a benchmark
	switch kind {
	case "tcp":
		go func() { _ = s.ServeTCP(l) }()
	case "tls":
		go func() { _ = s.ServeTLS(l) }()
	case "websocket":
		go func() { _ = web.Serve(l) }()
	}
	before := memory()
	clients := make([]net.Conn, conns)
	for i := range clients {
		if clients[i], err = connect(kind, l.Addr().String()); err != nil {
			b.Fatal(err)
		}
		<-ready
	}
	b.ReportMetric(float64(memory()-before)/float64(conns), "B/conn")
	for _, c := range clients {
		_ = c.Close()
	}
	_ = web.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		b.Error(err)
	}
}

func memory() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// connect says enough to be heard and keeps nothing but the socket, but for
// TLS, whose client costs as much as the server.
func connect(kind, addr string) (net.Conn, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	const presence = "<presence xmlns='jabber:client'/>"
	hello := "<stream:stream xmlns='jabber:client' xmlns:stream='" + stanza.NSStream + "' to='localhost' version='1.0'>" + presence
	switch kind {
	case "tls":
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) // in a benchmark
	case "websocket":
		_, err = fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: xmpp\r\n\r\n")
		if err != nil {
			return nil, err
		}
		if _, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil { // none
			return nil, err
		}
		hello = frame("<open xmlns='"+stanza.NSFraming+"' to='localhost' version='1.0'/>") + frame(presence)
	}
	_, err = io.WriteString(conn, hello)
	return conn, err
}

// frame makes a masked text frame with a zero key.
func frame(s string) string {
	return "\x81" + string([]byte{0x80 | byte(len(s))}) + "\x00\x00\x00\x00" + s
}
