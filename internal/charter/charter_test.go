// SPDX-License-Identifier: Apache-2.0

package charter_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bavard/internal/charter"
	"bavard/internal/datadir"
)

const domain = "chat.example.org"

func common() map[string][]byte {
	files := map[string][]byte{}
	for _, path := range charter.Common() {
		files[path] = []byte("secret of " + path)
	}
	return files
}

func found(t testing.TB) []*charter.Bundle {
	t.Helper()
	now := time.Now()
	all, err := charter.Found(domain, []string{"b", "c", "a"}, common(), now, now.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func encode(t testing.TB, b *charter.Bundle) []byte {
	t.Helper()
	text, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// join makes a data directory a node's.
func join(t testing.TB, b *charter.Bundle) (string, *charter.Member) {
	t.Helper()
	dir := t.TempDir()
	if err := charter.Join(dir, b, time.Now()); err != nil {
		t.Fatal(err)
	}
	m, err := charter.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	return dir, m
}

// TestJoin: a bundle that was written and read again makes a data directory that
// of its node, once, with what all nodes have in common, readable by nobody else.
func TestJoin(t *testing.T) {
	for i, b := range found(t) {
		read, err := charter.Decode(encode(t, b))
		if err != nil {
			t.Fatal(err)
		}
		dir, m := join(t, read)
		want := []string{"a", "b", "c"}
		if m.Node != want[i] || !slices.Equal(m.Nodes, want) || m.Domain != domain || m.Cell != b.Cell {
			t.Errorf("it is %+v", m)
		}
		if err := m.Is(domain, want[i], []string{"c", "b", "a"}); err != nil {
			t.Error(err)
		}
		for what, err := range map[string]error{
			"another domain": m.Is("example.net", want[i], want), "another node": m.Is(domain, "x", want), "other nodes": m.Is(domain, want[i], want[:2]),
		} {
			if err == nil {
				t.Errorf("%s is taken for it", what)
			}
		}
		for path, text := range common() {
			if got, err := os.ReadFile(filepath.Join(dir, path)); err != nil || !bytes.Equal(got, text) {
				t.Errorf("%s: %q, %v", path, got, err)
			}
		}
		err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err == nil && path != dir && info.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s: others may read it", path)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
		if err := charter.Join(dir, read, time.Now()); !errors.Is(err, charter.ErrUsed) {
			t.Errorf("joining twice: %v", err)
		}
		if !m.New() {
			t.Error("it has begun")
		}
		if err := errors.Join(m.Begun(), m.Begun()); err != nil || m.New() {
			t.Errorf("it has not begun: %v", err)
		}
	}
}

// TestJoinIsRefused: where there is something already, and when the time is over.
func TestJoinIsRefused(t *testing.T) {
	b := found(t)[0]
	if err := charter.Join(t.TempDir(), b, b.Until.Add(time.Second)); !errors.Is(err, charter.ErrOver) {
		t.Errorf("after its time: %v", err)
	}
	for _, taken := range []string{"journal", "view", "spool"} {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, taken), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := charter.Join(dir, b, time.Now()); !errors.Is(err, charter.ErrUsed) {
			t.Errorf("with a %s: %v", taken, err)
		}
		if _, err := charter.Read(dir); !errors.Is(err, charter.ErrNoMember) {
			t.Errorf("with a %s it is a node: %v", taken, err)
		}
	}
}

// TestGrow: the directory of one server becomes that of the first node and keeps what it has; the others begin
// with nothing, and no node may begin a cell.
func TestGrow(t *testing.T) {
	now := time.Now()
	all, err := charter.Grow(domain, []string{"a", "b", "c"}, "b", 7, common(), now, now.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	server := t.TempDir()
	put := func(path, text string) {
		t.Helper()
		path = filepath.Join(server, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	joined := func(dir string, i int) error {
		t.Helper()
		b, err := charter.Decode(encode(t, all[i]))
		if err != nil {
			t.Fatal(err)
		}
		return charter.Join(dir, b, now)
	}
	if err := joined(server, 1); !errors.Is(err, charter.ErrOtherServer) {
		t.Errorf("without a journal: %v", err)
	}
	put("journal/owner", "")
	put("keys/login.key", "another")
	if err := joined(server, 1); !errors.Is(err, charter.ErrOtherServer) {
		t.Errorf("with other keys: %v", err)
	}
	if err := joined(server, 0); !errors.Is(err, charter.ErrUsed) {
		t.Errorf("another node: %v", err)
	}
	put("keys/login.key", "secret of keys/login.key")
	if err := joined(server, 1); err != nil {
		t.Fatal(err)
	}
	if err := joined(server, 1); !errors.Is(err, charter.ErrUsed) {
		t.Errorf("twice: %v", err)
	}
	other := t.TempDir()
	if err := joined(other, 2); err != nil {
		t.Fatal(err)
	}
	if epoch, err := datadir.Epoch(other); epoch != 7 || err != nil {
		t.Errorf("epoch %d, %v", epoch, err)
	}
	for dir, node := range map[string]string{server: "b", other: "c"} {
		m, err := charter.Read(dir)
		if err != nil || m.Node != node || m.New() {
			t.Errorf("%+v, %v", m, err)
		}
		for _, path := range charter.Common() {
			if text, err := os.ReadFile(filepath.Join(dir, path)); string(text) != "secret of "+path {
				t.Errorf("%s of %s: %q, %v", path, node, text, err)
			}
		}
	}
	if _, err := charter.Grow(domain, []string{"a", "b", "c"}, "d", 0, common(), now, now); err == nil {
		t.Error("a node that is none was the first")
	}
	text := bytes.Replace(encode(t, all[1]), []byte("First: b"), []byte("First: d"), 1)
	if _, err := charter.Decode(text); !errors.Is(err, charter.ErrBundle) {
		t.Errorf("with another first node: %v", err)
	}
}

// TestDamagedBundle: what was cut or changed on the way is not taken.
func TestDamagedBundle(t *testing.T) {
	all := found(t)
	text := encode(t, all[0])
	for n := 0; n < len(text)-1; n += 7 {
		if _, err := charter.Decode(text[:n]); !errors.Is(err, charter.ErrBundle) {
			t.Fatalf("cut after %d bytes: %v", n, err)
		}
	}
	other := found(t)[0]
	for what, damaged := range map[string]string{
		"another node":            strings.Replace(string(text), "Node: a", "Node: b", 1),
		"a node that is not one":  strings.Replace(string(text), "Node: a", "Node: d", 1),
		"two nodes":               strings.Replace(string(text), "Nodes: a b c", "Nodes: a b", 1),
		"another format":          strings.Replace(string(text), "Format: 1", "Format: 2", 1),
		"no time":                 strings.Replace(string(text), "Until: 2", "Until: x", 1),
		"no domain":               strings.Replace(string(text), "Domain: "+domain, "Domain: ", 1),
		"another file":            strings.Replace(string(text), "Path: keys/login.key", "Path: keys/../login", 1),
		"the key of another node": swapped(string(text), string(encode(t, all[1])), "PRIVATE KEY"),
		"another authority":       swapped(string(text), string(encode(t, other)), "CERTIFICATE"),
	} {
		if damaged == string(text) {
			t.Errorf("%s: nothing is changed", what)
		}
		if _, err := charter.Decode([]byte(damaged)); !errors.Is(err, charter.ErrBundle) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// swapped puts the last block of a kind of one bundle into another.
func swapped(text, other, kind string) string {
	cut := func(s string) (before, block, after string) {
		end := "-----END " + kind + "-----\n"
		from, to := strings.LastIndex(s, "-----BEGIN "+kind), strings.LastIndex(s, end)+len(end)
		return s[:from], s[from:to], s[to:]
	}
	before, _, after := cut(text)
	_, block, _ := cut(other)
	return before + block + after
}

func TestNames(t *testing.T) {
	for names, good := range map[string]bool{
		"a b c": true, "a b c d e": true, "node-1 node-2 node-3": true, "a b": false, "a b c d": false, "a": false, "": false, "a a b": false,
		"A b c": false, "a/b b c": false, "-a b c": false, "a b " + strings.Repeat("c", charter.NameMost+1): false, "a b c d e f g h i": false,
	} {
		if err := charter.CheckNames(strings.Fields(names)); (err == nil) != good {
			t.Errorf("%q: %v", names, err)
		}
	}
	now := time.Now()
	short := common()
	delete(short, "tls/ca.key")
	if _, err := charter.Found(domain, []string{"a", "b", "c"}, short, now, now); err == nil {
		t.Error("a cell without what is common")
	}
}

// TestNodesKnowEachOther: nodes of one cell get through to each other, wherever
// they are, and nobody else does: not without a certificate, and not with that of
// another cell.
func TestNodesKnowEachOther(t *testing.T) {
	cell, others := found(t), found(t)
	_, a := join(t, cell[0])
	_, b := join(t, cell[1])
	_, stranger := join(t, others[1])
	for what, c := range map[string]struct {
		client *charter.Member
		shows  bool
		good   bool
	}{
		"a node of the cell": {b, true, true}, "nobody": {b, false, false}, "a node of another cell": {stranger, true, false},
	} {
		if err := handshake(t, a, c.client, c.shows); (err == nil) != c.good {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// handshake is TLS between two nodes; the client shows its certificate or not.
func handshake(t *testing.T, server, client *charter.Member, shows bool) error {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	own, pool := material(t, server)
	served := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			err = tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{own}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}).Handshake()
			err = errors.Join(err, conn.Close())
		}
		served <- err
	}()
	theirs, roots := material(t, client)
	cfg := &tls.Config{RootCAs: roots, ServerName: charter.ServerName}
	if shows {
		cfg.Certificates = []tls.Certificate{theirs}
	}
	conn, err := tls.Dial("tcp", l.Addr().String(), cfg)
	if err == nil {
		_ = conn.Close()
	}
	return errors.Join(err, <-served)
}

func material(t *testing.T, m *charter.Member) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	own, err := tls.LoadX509KeyPair(m.Certificate(), m.Key())
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(m.CA())
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		t.Fatal("no authority")
	}
	return own, pool
}

func FuzzDecode(f *testing.F) {
	f.Add(encode(f, found(f)[0]))
	f.Add([]byte("-----BEGIN BAVARD CELL NODE-----\nFormat: 1\n\nAAAA\n-----END BAVARD CELL NODE-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		b, err := charter.Decode(text)
		if err != nil {
			return
		}
		again, err := charter.Decode(encode(t, b))
		if err != nil || again.Node != b.Node || again.Cell != b.Cell || !again.Until.Equal(b.Until) {
			t.Errorf("%+v is read as %+v: %v", b, again, err)
		}
	})
}
