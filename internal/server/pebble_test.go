// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"bavard/internal/cert"
)

// pebbleVersion is the one that the Makefile installs.
const pebbleVersion = "v2.10.1"

// pebbleBinary finds the test authority, or installs it where make does. It is
// left out where that cannot be done.
func pebbleBinary(t *testing.T) string {
	t.Helper()
	tools, err := filepath.Abs("../../bin/tools")
	if err != nil {
		t.Fatal(err)
	}
	binary, err := installPebble(tools)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("pebble cannot be installed, and CI leaves nothing out: %v", err)
		}
		t.Skipf("LEFT OUT: pebble cannot be installed: %v", err)
	}
	return binary
}

var installing sync.Mutex // the tests of this process install it once

func installPebble(tools string) (string, error) {
	installing.Lock()
	defer installing.Unlock()
	binary := filepath.Join(tools, "pebble-"+pebbleVersion)
	if _, err := os.Stat(binary); err == nil {
		return binary, nil
	}
	if err := os.MkdirAll(tools, 0o755); err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp(tools, "pebble-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	cmd := exec.Command("go", "install", "github.com/letsencrypt/pebble/v2/cmd/pebble@"+pebbleVersion)
	cmd.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return binary, os.Rename(filepath.Join(dir, "pebble"), binary)
}

// pebble is a certificate authority that speaks ACME, with real validation. All
// names lead to 127.0.0.1 for it.
type pebble struct {
	t          *testing.T
	config     string // file
	dns        string
	directory  string // address
	management string
	roots      string // PEM file, for the connection to directory
	client     *http.Client
	cmd        *exec.Cmd
	out        bytes.Buffer
}

// newPebble prepares an authority that is not there yet. It issues certificates
// of this life, and looks for servers at these ports.
func newPebble(t *testing.T, life time.Duration, tlsPort, httpPort int) *pebble {
	t.Helper()
	dir := t.TempDir()
	own, err := cert.Open(cert.Options{Domain: "localhost", Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	p := &pebble{t: t, config: filepath.Join(dir, "pebble.json"), dns: nameServer(t), roots: own.CAFile()}
	listen, manage := fmt.Sprintf("127.0.0.1:%d", freePort(t)), fmt.Sprintf("127.0.0.1:%d", freePort(t))
	p.directory, p.management = "https://"+listen+"/dir", "https://"+manage
	text, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": listen, "managementListenAddress": manage,
		"certificate": filepath.Join(dir, "server.crt"), "privateKey": filepath.Join(dir, "server.key"),
		"httpPort": httpPort, "tlsPort": tlsPort, "keyAlgorithm": "ecdsa",
		"retryAfter": map[string]int{"authz": 1, "order": 1},
		"profiles":   map[string]any{"default": map[string]any{"description": "for tests", "validityPeriod": int(life.Seconds())}},
	}})
	if err == nil {
		err = os.WriteFile(p.config, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(readFile(t, p.roots))
	p.client = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	t.Cleanup(p.stop)
	return p
}

func (p *pebble) start(binary string) {
	p.t.Helper()
	p.cmd = exec.Command(binary, "-config", p.config, "-dnsserver", p.dns)
	p.cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_AUTHZREUSE=0")
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	until(p.t, func() error {
		_, err := p.get(p.directory)
		return err
	})
}

func (p *pebble) stop() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
	p.cmd = nil
	if p.t.Failed() {
		p.t.Logf("pebble:\n%s", p.out.String())
	}
}

func (p *pebble) get(url string) ([]byte, error) {
	resp, err := p.client.Get(url)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, errors.New(resp.Status)
	}
	return io.ReadAll(resp.Body)
}

// trust gives the authority's root.
func (p *pebble) trust() *x509.CertPool {
	p.t.Helper()
	text, err := p.get(p.management + "/roots/0")
	if err != nil {
		p.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		p.t.Fatalf("no root in %q", text)
	}
	return pool
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// nameServer answers that every name is at 127.0.0.1; over TCP, by which pebble
// asks.
func nameServer(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				for resolve(conn) == nil {
				}
			}()
		}
	}()
	return l.Addr().String()
}

// resolve answers one question, each message with its length before it
// (RFC 1035 §4.2.2).
func resolve(conn net.Conn) error {
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return err
	}
	b := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(conn, b); err != nil {
		return err
	}
	var m dnsmessage.Message
	if err := m.Unpack(b); err != nil || len(m.Questions) == 0 {
		return errors.Join(err, errors.New("no question"))
	}
	answer := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: m.ID, Response: true, RecursionAvailable: true, RecursionDesired: m.RecursionDesired},
		Questions: m.Questions,
	}
	if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
		answer.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 1},
			Body:   &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}},
		}}
	}
	packed, err := answer.AppendPack(make([]byte, 2))
	if err != nil {
		return err
	}
	binary.BigEndian.PutUint16(packed, uint16(len(packed)-2))
	_, err = conn.Write(packed)
	return err
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// until calls try until it gives no error.
func until(t *testing.T, try func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("waited in vain: %v", err)
		case <-tick.C:
		}
	}
}
