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

	"bavard/drill/await"
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
	// Nodes is how many nodes the server has: 1, or a cell of 3, 5 or 7 on this
	// machine; 0 means 1.
	Nodes int
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

// Server is a server of ours: one node, or the nodes of a cell.
type Server struct {
	o     ServeOptions
	nodes []*served
	// Sync is how long a write to the disk under the data directory took to be
	// safe, the median of some.
	Sync time.Duration
	temp string
}

// served is one of its nodes.
type served struct {
	options   node.Options
	node      *node.Node
	pid       atomic.Int64
	addresses node.Addresses
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
	orElse(&s.o.Nodes, 1)
	if have := o.Accounts.Len(); have >= 0 && have < o.Users {
		return nil, fmt.Errorf("%d accounts are needed, --users-file has %d", o.Users, have)
	}
	if err = os.MkdirAll(s.o.Data, 0o700); err != nil {
		return nil, err
	}
	if s.Sync, err = syncTime(s.o.Data); err != nil {
		return nil, err
	}
	if err = s.configure(ctx); err != nil {
		return nil, err
	}
	if s.o.Nodes == 1 {
		if err = s.users(ctx, w); err != nil {
			return nil, err
		}
		return s, s.Start(ctx)
	}
	// Accounts of a cell are made while it runs.
	if err = s.Start(ctx); err != nil {
		return nil, err
	}
	return s, s.elected(ctx, w)
}

// electedWithin bounds how long a cell may take until it makes accounts.
const electedWithin = time.Minute

// elected waits until a cell that has just been started has made the accounts.
func (s *Server) elected(ctx context.Context, w *Watch) error {
	ctx, cancel := context.WithTimeout(ctx, electedWithin)
	defer cancel()
	return await.Until(ctx, func(ctx context.Context) error { return s.users(ctx, w) })
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
	for from := 0; from < s.o.Users; from += part {
		w.tell("making accounts: %d of %d", from, s.o.Users)
		var users []node.User
		for n := from; n < min(from+part, s.o.Users); n++ {
			local, password := s.o.Accounts.User(n)
			users = append(users, node.User{Local: local, Password: password})
		}
		if err := node.Import(ctx, s.o.Binary, s.nodes[0].options.Data, users, "--domain", s.o.Domain); err != nil {
			return err
		}
	}
	return nil
}

// configure writes the configurations: the defaults, but for what would stop the
// load; and founds the cell if there are several nodes.
func (s *Server) configure(ctx context.Context) error {
	// Ports that no client's own end takes while the server is down.
	const each = 4
	ports, err := node.FreePorts(each*s.o.Nodes, rand.IntN)
	if err != nil {
		return err
	}
	var wrap []string
	if s.o.CPU != "" {
		if _, err := exec.LookPath("taskset"); err != nil {
			return fmt.Errorf("--cpu: %w: it pins the server to processors, on Linux", err)
		}
		wrap = []string{"taskset", "-c", s.o.CPU}
	}
	var seats []node.Seat
	for i := range s.o.Nodes {
		at := ports[each*i : each*(i+1)]
		seat := node.Seat{Name: string(rune('a' + i)), Peer: at[3], Data: s.o.Data}
		if s.o.Nodes > 1 {
			seat.Data = filepath.Join(s.o.Data, seat.Name)
		}
		seats = append(seats, seat)
		s.nodes = append(s.nodes, &served{options: node.Options{
			Binary: s.o.Binary, Data: seat.Data, C2S: at[0], C2STLS: at[1], HTTP: at[2], Plain: true, Log: s.o.Log, Env: s.o.Env, Wrap: wrap,
		}})
	}
	if s.o.Nodes > 1 {
		if err := node.Found(ctx, s.o.Binary, s.o.Data, seats); err != nil {
			return err
		}
	}
	for i, n := range s.nodes {
		file := filepath.Join(s.o.Data, "bench-"+seats[i].Name+".toml")
		if err := os.WriteFile(file, []byte(s.settings(seats[i].Data)), 0o600); err != nil {
			return err
		}
		n.options.Args = []string{"--config", file}
		if s.o.Nodes > 1 {
			n.options.Args = append(n.options.Args, seats[i].Arguments(seats)...)
		}
	}
	return nil
}

// settings are the configuration of a node.
func (s *Server) settings(data string) string {
	text := fmt.Sprintf("domain = %q\ndata = %q\n[log]\nlevel = \"warn\"\n", s.o.Domain, data)
	if s.o.Connections+spare > 15_000 {
		text += fmt.Sprintf("[limits]\nconnections = %d\n", s.o.Connections+spare)
	}
	return text
}

// Start starts the server, again on the addresses that it had.
func (s *Server) Start(ctx context.Context) error {
	for _, n := range s.nodes {
		_ = os.Remove(filepath.Join(n.options.Data, "addresses.json")) // a killed server leaves it
		started, err := node.Start(n.options)
		if err != nil {
			return err
		}
		n.node = started
		n.pid.Store(int64(started.PID()))
	}
	for _, n := range s.nodes {
		var err error
		if n.addresses, err = n.node.Ready(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Kill ends the server with SIGKILL; Start may follow.
func (s *Server) Kill() {
	for _, n := range s.nodes {
		if n.node != nil {
			n.node.Kill()
		}
	}
}

// Stop kills the server and removes its data if it is temporary.
func (s *Server) Stop() {
	s.Kill()
	if s.temp != "" {
		_ = os.RemoveAll(s.temp) // the operating system removes it some day
	}
}

// Processes are those of the server, followed through restarts.
func (s *Server) Processes() *Processes {
	p := &Processes{}
	for _, n := range s.nodes {
		p.roots = append(p.roots, func() (int, error) { return int(n.pid.Load()), nil })
	}
	return p
}

// Target sets where the server is reached by a transport.
func (s *Server) Target(t *Target) error {
	t.Domain, t.Places = s.o.Domain, nil
	for _, n := range s.nodes {
		var at Place
		switch t.Transport {
		case Plain, StartTLS:
			at.Addr = n.addresses.C2S
		case DirectTLS:
			at.Addr = n.addresses.C2STLS
		case WebSocket:
			at.Addr, at.URL = n.addresses.HTTP, "ws://"+n.addresses.HTTP+"/xmpp-websocket"
		}
		if at.Addr == "" {
			return errors.New("the server does not listen for " + t.Transport)
		}
		t.Places = append(t.Places, at)
	}
	if t.Transport == StartTLS || t.Transport == DirectTLS {
		var err error
		t.TLS, err = Trust(t.Domain, filepath.Join(s.nodes[0].options.Data, "tls", "ca.crt"), false)
		return err
	}
	return nil
}
