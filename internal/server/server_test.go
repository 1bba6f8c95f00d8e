// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"bavard/internal/admin"
	"bavard/internal/config"
	"bavard/internal/mesh"
)

func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// testServer is a real server of its own data directory on free ports.
type testServer struct {
	t       *testing.T
	cfg     config.Config
	running Running
	cancel  context.CancelFunc
	done    chan error
	made    map[string]bool
	meshed  func(*mesh.Options)
	window  int64
	level   uint32  // Options.UnsafeLevel
	server  *server // once ready
}

func startServer(t *testing.T) *testServer {
	t.Helper()
	cfg := config.Default()
	cfg.Data = t.TempDir()
	cfg.InsecureLoopback = true
	cfg.Admins = []string{"chief@localhost"}
	cfg.Contact.Abuse = []string{"mailto:abuse@localhost", "xmpp:chief@localhost"}
	cfg.Contact.Security = []string{"mailto:security@localhost"}
	cfg.Contact.ExternalStatus = []string{"https://status.example.net/localhost.json"}
	cfg.Upload.AccountFiles = 4
	cfg.Calls.Servers = []string{"stun:turn.example.org", "turn:turn.example.org?transport=udp", "turn:turn.example.org:3479?transport=tcp", "turns:[2001:db8::1]"}
	cfg.Calls.SecretFile = filepath.Join(t.TempDir(), "turn.secret")
	if err := os.WriteFile(cfg.Calls.SecretFile, []byte("a secret of the relays\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg.Listen = config.Listen{C2S: "127.0.0.1:0", HTTP: "127.0.0.1:0"}
	s := &testServer{t: t, cfg: cfg, made: map[string]bool{}}
	s.start()
	t.Cleanup(s.stop)
	return s
}

func (s *testServer) start() {
	s.t.Helper()
	if err := s.tryStart(); err != nil {
		s.t.Fatalf("the server did not start: %v", err)
	}
}

func (s *testServer) tryStart() error {
	ctx, cancel := context.WithCancel(context.Background())
	ready := make(chan Running, 1)
	s.cancel, s.done = cancel, make(chan error, 1)
	go func() {
		s.done <- Run(ctx, Options{
			Config: s.cfg, Version: "test", Logger: slog.New(slog.NewTextHandler(s.t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
			Ready: func(r Running) { ready <- r }, meshed: s.meshed, window: s.window, noMajority: time.Minute, UnsafeLevel: s.level, started: func(r *server) { s.server = r },
		})
	}()
	select {
	case s.running = <-ready:
		return nil
	case err := <-s.done:
		s.done <- nil // there is nothing to stop
		return fmt.Errorf("it ended: %w", err)
	}
}

func (s *testServer) stop() {
	s.cancel()
	if err := <-s.done; err != nil {
		s.t.Errorf("the server did not stop cleanly: %v", err)
	}
	s.done <- nil // stopping twice is fine
}

func (s *testServer) restart() {
	s.t.Helper()
	s.stop()
	<-s.done
	s.start()
}

func (s *testServer) dial(ws bool) func() (pipe, error) {
	return func() (pipe, error) {
		if ws {
			return dialWebSocket(s.running.Addresses.HTTP)
		}
		return dialTCP(s.running.Addresses.C2S)
	}
}

func userNamed(local string) admin.User {
	return admin.User{Localpart: local, Password: password}
}
