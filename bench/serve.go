// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"bavard/drill/node"
)

// ServeOptions are those of a server of ours that is started for a measurement.
type ServeOptions struct {
	// Binary is the program.
	Binary string
	// Data is an empty or missing directory; "" makes a temporary one, which is
	// removed at the end.
	Data string
	// Domain is the server's; "" means localhost.
	Domain string
	// CPU is a list of processors that the server may use, as taskset(1) takes
	// it; "" means all.
	CPU string
	// Connections raises the server's limit where its default is lower.
	Connections int
	// Users is how many of Accounts are made.
	Users    int
	Accounts *Accounts
	// Env is added to the server's environment.
	Env []string
	// Log gets what the server logs.
	Log io.Writer
}

// Server is a server of ours.
type Server struct {
	o       ServeOptions
	options node.Options
	node    *node.Node
	pid     atomic.Int64
	// Addresses are what it listens on.
	Addresses node.Addresses
	// Sync is how long a write to the disk under the data directory took to be
	// safe, the median of some.
	Sync time.Duration
	temp string
}

// spare is how many connections a server may have beyond those of the load.
const spare = 100

// Serve makes the accounts and starts a server. Plain logins are allowed; it
// listens on loopback addresses only.
func Serve(ctx context.Context, o ServeOptions, w *Watch) (s *Server, err error) {
	s = &Server{o: o}
	defer func() {
		if err != nil {
			s.Stop()
		}
	}()
	if o.Data == "" {
		if s.temp, err = os.MkdirTemp("", "bavard-bench-*"); err != nil {
			return nil, err
		}
		s.o.Data = filepath.Join(s.temp, "data")
	}
	if s.o.Domain == "" {
		s.o.Domain = "localhost"
	}
	if err = os.MkdirAll(s.o.Data, 0o700); err != nil {
		return nil, err
	}
	if s.Sync, err = syncTime(s.o.Data); err != nil {
		return nil, err
	}
	if err = s.users(ctx, w); err != nil {
		return nil, err
	}
	if err = s.configure(); err != nil {
		return nil, err
	}
	return s, s.Start(ctx)
}

// syncTime measures what an fsync costs in a directory.
func syncTime(dir string) (time.Duration, error) {
	f, err := os.CreateTemp(dir, "sync-*")
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	var took []time.Duration
	block := make([]byte, 4<<10)
	for range 21 {
		if _, err := f.Write(block); err != nil {
			return 0, err
		}
		began := time.Now()
		if err := f.Sync(); err != nil {
			return 0, err
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}

// users imports the accounts in parts, so that progress can be told.
func (s *Server) users(ctx context.Context, w *Watch) error {
	const part = 1000
	if have := s.o.Accounts.Len(); have >= 0 && have < s.o.Users {
		return fmt.Errorf("%d accounts are needed, --users-file has %d", s.o.Users, have)
	}
	for from := 0; from < s.o.Users; from += part {
		w.tell("making accounts: %d of %d", from, s.o.Users)
		var users []node.User
		for n := from; n < min(from+part, s.o.Users); n++ {
			local, password := s.o.Accounts.User(n)
			users = append(users, node.User{Local: local, Password: password})
		}
		if err := node.Import(ctx, s.o.Binary, s.o.Data, users, "--domain", s.o.Domain); err != nil {
			return err
		}
	}
	return nil
}

// configure writes the server's configuration: the defaults, but for what would
// stop the load.
func (s *Server) configure() error {
	text := fmt.Sprintf("domain = %q\ndata = %q\n[log]\nlevel = \"warn\"\n", s.o.Domain, s.o.Data)
	if s.o.Connections+spare > 15_000 {
		text += fmt.Sprintf("[limits]\nconnections = %d\n", s.o.Connections+spare)
	}
	file := filepath.Join(s.o.Data, "bench.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	// Ports that no client's own end takes while the server is down.
	ports, err := node.FreePorts(3, rand.IntN)
	if err != nil {
		return err
	}
	s.options = node.Options{
		Binary: s.o.Binary, Data: s.o.Data, C2S: ports[0], C2STLS: ports[1], HTTP: ports[2],
		Plain: true, Log: s.o.Log, Args: []string{"--config", file}, Env: s.o.Env,
	}
	if s.o.CPU != "" {
		if _, err := exec.LookPath("taskset"); err != nil {
			return fmt.Errorf("--cpu: %w: it pins the server to processors, on Linux", err)
		}
		s.options.Wrap = []string{"taskset", "-c", s.o.CPU}
	}
	return nil
}

// Start starts the server, again on the addresses that it had.
func (s *Server) Start(ctx context.Context) error {
	_ = os.Remove(filepath.Join(s.o.Data, "addresses.json")) // a killed server leaves it
	n, err := node.Start(s.options)
	if err != nil {
		return err
	}
	s.node = n
	s.pid.Store(int64(n.PID()))
	if s.Addresses, err = n.Ready(ctx); err != nil {
		return err
	}
	return nil
}

// Kill ends the server with SIGKILL; Start may follow.
func (s *Server) Kill() {
	if s.node != nil {
		s.node.Kill()
	}
}

// Stop kills the server and removes its data if it is temporary.
func (s *Server) Stop() {
	s.Kill()
	if s.temp != "" {
		_ = os.RemoveAll(s.temp) // the operating system removes it some day
	}
}

// PID of the process; another one after Start.
func (s *Server) PID() int { return int(s.pid.Load()) }

// Processes are those of the server, followed through restarts.
func (s *Server) Processes() *Processes { return watchedServer(s.PID) }

// Target sets where the server is reached by a transport.
func (s *Server) Target(t *Target) error {
	t.Domain = s.o.Domain
	switch t.Transport {
	case Plain, StartTLS:
		t.Addr = s.Addresses.C2S
	case DirectTLS:
		t.Addr = s.Addresses.C2STLS
	case WebSocket:
		t.Addr, t.URL = s.Addresses.HTTP, "ws://"+s.Addresses.HTTP+"/xmpp-websocket"
	}
	if t.Addr == "" {
		return errors.New("the server does not listen for " + t.Transport)
	}
	if t.Transport == StartTLS || t.Transport == DirectTLS {
		var err error
		t.TLS, err = Trust(t.Domain, filepath.Join(s.o.Data, "tls", "ca.crt"), false)
		return err
	}
	return nil
}
