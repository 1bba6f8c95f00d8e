// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"bavard/drill/client"
	"bavard/drill/node"
)

// patience is how long anything may take on a busy machine.
const patience = 60 * time.Second

var buildDir string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "bavard-interop-*")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	buildDir = dir
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// binary is the server, built once for all tests unless $BAVARD names one.
var binary = sync.OnceValues(func() (string, error) {
	if built := os.Getenv("BAVARD"); built != "" {
		return built, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	return node.Build(ctx, buildDir)
})

// need leaves the test out when a program or file is missing.
func need(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		_, err := exec.LookPath(name)
		if err == nil {
			continue
		}
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is missing, and CI leaves nothing out", name)
		}
		t.Skipf("LEFT OUT: %s is not installed", name)
	}
}

// needModule is need for a Python module of Debian's interpreter.
func needModule(t *testing.T, name string) {
	t.Helper()
	need(t, python)
	if err := exec.Command(python, "-c", "import "+name).Run(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("Python's %s is missing, and CI leaves nothing out", name)
		}
		t.Skipf("LEFT OUT: Python's %s is not installed", name)
	}
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// server is a running server with the accounts ann, bob, carl, eve and kim.
type server struct {
	*node.Node
	node.Addresses
	domain     string
	host, port string // of the STARTTLS listener
	data, ca   string // directory, file of the authority
	options    node.Options
	log        *node.Tail

	mu  sync.Mutex
	now node.Addresses // of its listeners, none while it does not run
}

const password = "correct horse"

func startServer(t *testing.T) *server {
	t.Helper()
	return startServerWith(t, "")
}

// startServerWith starts a server with some configuration of its own.
func startServerWith(t *testing.T, configuration string) *server {
	t.Helper()
	return startServerOf(t, "localhost", configuration)
}

// startServerOf starts a server of another domain.
func startServerOf(t *testing.T, domain, configuration string) *server {
	t.Helper()
	if testing.Short() {
		t.Skip("real clients take their time: not with -short")
	}
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	data, file := filepath.Join(dir, "data"), filepath.Join(dir, "bavard.toml")
	if err := os.WriteFile(file, []byte(configuration), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"--config", file, "--domain", domain}
	var users []node.User
	for _, local := range []string{"ann", "bob", "carl", "eve", "kim"} {
		users = append(users, node.User{Local: local, Password: password})
	}
	if err := node.Import(testContext(t), bin, data, users, args...); err != nil {
		t.Fatal(err)
	}
	s := &server{domain: domain, data: data, ca: filepath.Join(data, "tls", "ca.crt"), log: &node.Tail{}}
	s.options = node.Options{Binary: bin, Data: data, Plain: true, Log: s.log, Args: args}
	t.Cleanup(func() {
		if s.Node != nil {
			s.Kill()
		}
		for _, line := range s.log.Trouble() {
			t.Errorf("the server logged: %s", line)
		}
		if t.Failed() {
			t.Logf("server:\n%s", s.log)
		}
	})
	s.start(t)
	return s
}

// start starts the server's process.
func (s *server) start(t *testing.T) {
	t.Helper()
	n, err := node.Start(s.options)
	if err != nil {
		t.Fatal(err)
	}
	s.Node = n
	if s.Addresses, err = n.Ready(testContext(t)); err != nil {
		t.Fatalf("%v\n%s", err, s.log)
	}
	if s.host, s.port, err = net.SplitHostPort(s.C2S); err != nil {
		t.Fatal(err)
	}
	s.listens(s.Addresses)
}

// kill ends the server's process with SIGKILL. After start it has other ports:
// clients that are to find it again go by a line.
func (s *server) kill(t *testing.T) {
	t.Helper()
	s.listens(node.Addresses{})
	s.Kill()
	if err := os.Remove(filepath.Join(s.data, "addresses.json")); err != nil {
		t.Fatal(err)
	}
}

func (s *server) listens(addresses node.Addresses) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = addresses
}

// address is where the server listens, "" while it does not run.
func (s *server) address() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now.C2S
}

// web is where the server listens for browsers, "" while it does not run.
func (s *server) web() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now.HTTPS
}

// login connects our own client over WebSocket, as the app does, and makes it
// available. What it receives goes to the channel.
func (s *server) login(t *testing.T, local string) (*client.Session, <-chan *client.Inbound) {
	t.Helper()
	got := make(chan *client.Inbound, 64)
	c, err := client.Dial(testContext(t), client.Config{
		JID: local + "@" + s.domain, Password: password, Resource: "app", WebSocket: "ws://" + s.HTTP + "/xmpp-websocket", Carbons: true,
		Handler: client.Handler{Message: func(m *client.Inbound) {
			if m.Body != "" {
				got <- m
			}
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Cut)
	if err := c.Available(testContext(t), 0); err != nil {
		t.Fatal(err)
	}
	return c, got
}

// receive waits for a message with this body.
func receive(t *testing.T, got <-chan *client.Inbound, body string) *client.Inbound {
	t.Helper()
	ctx := testContext(t)
	for {
		select {
		case m := <-got:
			if strings.TrimSpace(m.Body) == body {
				return m
			}
		case <-ctx.Done():
			t.Fatalf("%q does not arrive", body)
		}
	}
}

// invite makes an invite for one account and returns its token.
func (s *server) invite(t *testing.T) string {
	t.Helper()
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(testContext(t), bin, "invite", "--data", s.data).Output()
	if err != nil {
		t.Fatalf("invite: %v", err)
	}
	_, token, ok := strings.Cut(strings.TrimSpace(string(out)), "/i/")
	if !ok {
		t.Fatalf("no token in %s", out)
	}
	return token
}
