// SPDX-License-Identifier: Apache-2.0

// Package node runs servers as processes, for drills and interoperability
// tests: it builds the binary, imports users, starts it, kills it and makes
// sure that nothing of it outlives the test.
package node

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"bavard/drill/await"
)

// Build compiles the server, as it is released, into dir and returns its path.
func Build(ctx context.Context, dir string) (string, error) {
	return build(ctx, filepath.Join(dir, "bavard"), "bavard")
}

func build(ctx context.Context, binary, pkg string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "build", "-o", binary, pkg)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return binary, nil
}

// Options of a server.
type Options struct {
	Binary, Data string
	// C2S, C2STLS and HTTP are addresses to listen on; "" means 127.0.0.1:0.
	C2S, C2STLS, HTTP string
	// Plain allows logins without TLS on loopback.
	Plain bool
	// Wrap is put before the command line, as with taskset; it must exec.
	Wrap []string
	// Line is the command line of another server than ours: of the others but Env and
	// Log nothing is told to it. nil starts ours.
	Line []string
	// Args are added to those of serve, Env to our environment.
	Args, Env []string
	// Log gets what the server writes; nil discards it.
	Log io.Writer
}

// Node is a running server.
type Node struct {
	process
	o Options
}

// Addresses are what its listeners got, as in addresses.json.
type Addresses struct {
	C2S    string `json:"c2s"`
	C2STLS string `json:"c2s_tls"`
	HTTP   string `json:"http"`
	HTTPS  string `json:"https"`
}

// Start starts a server and does not wait for it to be ready. On Linux the
// process dies with ours.
func Start(o Options) (*Node, error) {
	line := o.Line
	if line == nil {
		line = o.serve()
	}
	n := &Node{o: o}
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Env = append(os.Environ(), o.Env...)
	cmd.Stdout, cmd.Stderr = o.Log, o.Log
	if err := n.launch(cmd); err != nil {
		return nil, err
	}
	return n, nil
}

// serve is the command line of a server of ours.
func (o *Options) serve() []string {
	listen := func(addr string) string {
		if addr == "" {
			return "127.0.0.1:0"
		}
		return addr
	}
	args := []string{"serve", "--data", o.Data, "--c2s", listen(o.C2S), "--c2s-tls", listen(o.C2STLS), "--http", listen(o.HTTP)}
	if o.Plain {
		args = append(args, "--insecure-loopback")
	}
	return slices.Concat(o.Wrap, []string{o.Binary}, args, o.Args)
}

// stopTimeout bounds how long a server may take to end in good order.
const stopTimeout = 30 * time.Second

// Stop asks the process to end, with SIGTERM, and kills it when ctx ends or half a minute is over first.
func (n *Node) Stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	select {
	case <-n.exited:
		return fmt.Errorf("it had ended before: %w", n.err)
	default:
	}
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-n.exited:
		return n.err
	case <-ctx.Done():
		n.Kill()
		return fmt.Errorf("SIGTERM did not end it: %w", ctx.Err())
	}
}

// Ended waits until the process has ended by itself, and errs unless that was in good order.
func (n *Node) Ended(ctx context.Context) error {
	select {
	case <-n.exited:
		return n.err
	case <-ctx.Done():
		return fmt.Errorf("it has not ended: %w", ctx.Err())
	}
}

// Ready waits until the server listens and returns its addresses.
func (n *Node) Ready(ctx context.Context) (Addresses, error) {
	var a Addresses
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-n.exited:
			cancel(fmt.Errorf("the server ended: %w", n.err))
		case <-ctx.Done():
		}
	}()
	err := await.UntilEvery(ctx, 5*time.Millisecond, func(context.Context) error {
		data, err := os.ReadFile(filepath.Join(n.o.Data, "addresses.json"))
		if err != nil {
			return err
		}
		if err := json.Unmarshal(data, &a); err != nil {
			return err
		}
		if a.C2S == "" {
			return errors.New("addresses.json names no listener")
		}
		return nil
	})
	if cause := context.Cause(ctx); err != nil && cause != nil && cause != ctx.Err() {
		err = cause
	}
	return a, err
}

// CA returns what clients need to trust the server's self-made certificate.
func (n *Node) CA() (*tls.Config, error) {
	pem, err := os.ReadFile(filepath.Join(n.o.Data, "tls", "ca.crt"))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("tls/ca.crt holds no certificate")
	}
	return &tls.Config{RootCAs: pool}, nil
}

// User is an account to import.
type User struct{ Local, Password string }

// Import adds users to the server of a data directory, running or not; args are
// added to the command line.
func Import(ctx context.Context, binary, data string, users []User, args ...string) error {
	var lines bytes.Buffer
	for _, u := range users {
		fmt.Fprintf(&lines, "%s\t%s\n", u.Local, u.Password)
	}
	file, err := os.CreateTemp("", "users-*.tsv")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	_, err = file.Write(lines.Bytes())
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, binary, slices.Concat([]string{"user", "import", file.Name(), "--data", data}, args)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("user import: %w\n%s", err, out)
	}
	return nil
}

// FreePorts finds n loopback addresses that nobody listens on. They lie below
// the ephemeral ports, so that no client's own port takes them, or connects to
// itself, while a server is down. The two ports after each are free, too: a node
// of several takes them for what it tells the others. On Linux nobody else who looks for
// ports in this way gets them as long as this process lives, used or not.
func FreePorts(n int, random func(n int) int) ([]string, error) {
	const first, last, apart = 12_000, 31_000, 4
	var found []string
	for range 1000 {
		port := first + apart*random((last-first)/apart)
		addr := loopback(port)
		// First the mark: a port that is somebody's is not listened on even to see whether it is free.
		if slices.Contains(found, addr) || !reserve(port+3) || !free(port) || !free(port+1) || !free(port+2) {
			continue
		}
		if found = append(found, addr); len(found) == n {
			return found, nil
		}
	}
	return nil, errors.New("no free port below the ephemeral ones")
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

func free(port int) bool {
	l, err := net.Listen("tcp", loopback(port))
	if err != nil {
		return false
	}
	return l.Close() == nil
}

// Tail keeps the end of what a server writes, and the lines that tell of
// trouble. It is safe for concurrent use.
type Tail struct {
	mu      sync.Mutex
	end     []byte
	partial []byte
	trouble []string
}

const (
	tailBytes   = 64 << 10
	tailTrouble = 50
)

// Write implements io.Writer.
func (t *Tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.end = append(t.end, p...)
	if len(t.end) > 2*tailBytes {
		t.end = append(t.end[:0], t.end[len(t.end)-tailBytes:]...)
	}
	t.partial = append(t.partial, p...)
	for {
		line, rest, ok := bytes.Cut(t.partial, []byte("\n"))
		if !ok {
			break
		}
		t.partial = rest
		if text := string(line); trouble(text) && len(t.trouble) < tailTrouble {
			t.trouble = append(t.trouble, text)
		}
	}
	if len(t.partial) > tailBytes {
		t.partial = nil
	}
	t.partial = append([]byte(nil), t.partial...)
	return len(p), nil
}

func trouble(line string) bool {
	return strings.HasPrefix(line, "panic:") || strings.HasPrefix(line, "fatal error:") || strings.Contains(line, "DATA RACE") ||
		strings.Contains(line, "level=ERROR") || strings.Contains(line, `"level":"ERROR"`)
}

// Trouble lists the panics and errors that were logged.
func (t *Tail) Trouble() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]string(nil), t.trouble...)
}

func (t *Tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.end)
}
