// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"

	"bavard/drill/node"
)

// server is an etcd of its own, in this process.
type server struct {
	t        testing.TB
	dir      string
	endpoint string
	files    *testFiles // for https; nil: http
	etcd     *embed.Etcd
}

func newServer(t testing.TB, files *testFiles) *server {
	scheme := "http"
	if files != nil {
		scheme = "https"
	}
	s := &server{t: t, dir: t.TempDir(), endpoint: scheme + "://" + freePort(t), files: files}
	s.start()
	t.Cleanup(s.stop)
	return s
}

// freePort is an address that nobody else takes while a server that is to be there is down.
func freePort(t testing.TB) string {
	t.Helper()
	found, err := node.FreePorts(1, mathrand.IntN)
	if err != nil {
		t.Fatal(err)
	}
	return found[0]
}

func (s *server) start() {
	s.t.Helper()
	cfg := embed.NewConfig()
	cfg.Dir, cfg.LogLevel, cfg.UnsafeNoFsync = s.dir, "fatal", true
	client, err := url.Parse(s.endpoint)
	if err != nil {
		s.t.Fatal(err)
	}
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{*client}, []url.URL{*client}
	peer := url.URL{Scheme: "unix", Host: filepath.Base(s.dir) + strconv.Itoa(os.Getpid())}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = nil, []url.URL{peer}
	cfg.InitialCluster = cfg.Name + "=" + peer.String()
	cfg.TickMs, cfg.ElectionMs = tickMs, electionMs
	if f := s.files; f != nil {
		cfg.ClientTLSInfo = transport.TLSInfo{CertFile: f.cert, KeyFile: f.key, TrustedCAFile: f.ca, ClientCertAuth: true}
	}
	if s.etcd, err = embed.StartEtcd(cfg); err != nil {
		s.t.Fatal(err)
	}
	select {
	case <-s.etcd.Server.ReadyNotify():
	case <-time.After(patience):
		s.t.Fatal("etcd is not ready")
	}
}

func (s *server) stop() {
	if s.etcd != nil {
		s.etcd.Close()
		s.etcd = nil
	}
}

func (s *server) options(t testing.TB) Options {
	dir := t.TempDir()
	return Options{
		Name: "a", Dir: filepath.Join(dir, "journal"), SpoolDir: filepath.Join(dir, "spool"), MinFree: 1, Log: testLog(t),
		Remote: &Remote{Endpoints: []string{s.endpoint}},
	}
}

// client of the server, for what a test does behind the journal's back.
func (s *server) client() *clientv3.Client {
	s.t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{s.endpoint}, DialTimeout: dialTimeout})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.Close() })
	return c
}

func open(t testing.TB, opts Options) Journal {
	t.Helper()
	j, err := OpenEtcd(testContext(t), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeJournal(t, j) })
	return j
}

func remoteEngine(t *testing.T, opts Options) *engine {
	s := newServer(t, nil)
	return etcdEngineOn(t, opts, s)
}

// TestRemoteComesBack: while etcd is away commands wait, and none is lost, doubled or
// reordered when it is back.
func TestRemoteComesBack(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	j := open(t, s.options(t))
	tl := tail(t, j, 0)
	r := newRecorder(t)
	want := numbered(200)
	r.submit(j, want[:100]...)
	r.wait(100)
	s.stop()
	until(t, "the loss of the majority is seen", func() bool { return !j.Stats().HasLeader })
	r.submit(j, want[100:]...)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := j.Latest(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a read without a majority: %v", err)
	}
	s.start()
	settled := r.wait(200)
	for i, o := range settled {
		if o.err != nil || o.cmd != want[i] {
			t.Fatalf("outcome %d is of %q: %v", i, o.cmd, o.err)
		}
	}
	same(t, read(t, tl, 200), settled)
	until(t, "there is a majority", func() bool { return j.Stats().HasLeader })
}

// TestRemoteIsLookedForAgain: an endpoint that is away is tried again soon, however long it has been
// away: an outage ends when it ends there.
func TestRemoteIsLookedForAgain(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	const within = 20 * time.Second
	ctx, cancel := context.WithTimeout(testContext(t), within)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer l.Close()
	tried := 0
	wg.Go(func() {
		for tried < 9 { // with gRPC's own pauses the last comes after about a minute
			conn, err := l.Accept()
			if err != nil {
				return
			}
			tried++
			conn.Close()
		}
		cancel()
	})
	c, err := (&Remote{Endpoints: []string{"http://" + l.Addr().String()}}).dial(testLog(t))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for ctx.Err() == nil { // it connects when it is asked
		if _, err := c.Get(ctx, "x"); err == nil {
			t.Fatal("an answer from nothing")
		}
	}
	l.Close()
	wg.Wait()
	if tried < 9 {
		t.Errorf("tried %d times in %v", tried, within)
	}
}

// TestRemoteIsOurs: a cluster that others use is refused, and one that others
// begin to use is told.
func TestRemoteIsOurs(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	c := s.client()
	if _, err := c.Put(testContext(t), "somebody/else", "x"); err != nil {
		t.Fatal(err)
	}
	if j, err := OpenEtcd(testContext(t), s.options(t)); !errors.Is(err, ErrShared) {
		t.Fatalf("opened %v: %v", j, err)
	}
	if _, err := c.Delete(testContext(t), "somebody/else"); err != nil {
		t.Fatal(err)
	}
	j := open(t, s.options(t)).(*etcdJournal)
	if h := j.Stats().Host; h.Version == "" || len(h.Endpoints) != 1 || h.Trouble != "" {
		t.Errorf("host %+v", h)
	}
	if _, err := c.Put(testContext(t), "a", "x"); err != nil {
		t.Fatal(err)
	}
	if err := j.host.(*cluster).alone(testContext(t)); !errors.Is(err, ErrShared) {
		t.Errorf("alone: %v", err)
	}
}

// TestRemoteHasOneOwner: a second data directory does not take the journal.
func TestRemoteHasOneOwner(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	opts := s.options(t)
	closeJournal(t, open(t, opts))
	if j, err := OpenEtcd(testContext(t), s.options(t)); !errors.Is(err, ErrOwner) {
		t.Fatalf("opened %v: %v", j, err)
	}
	open(t, opts)
}

// TestRemoteWithCertificatesAndPassword: mutual TLS, a user and a prefix, and what the wrong ones are told.
func TestRemoteWithCertificatesAndPassword(t *testing.T) {
	t.Parallel()
	files := newTestFiles(t)
	s := newServer(t, files)
	opts := s.options(t)
	opts.Remote.CA, opts.Remote.Certificate, opts.Remote.Key = files.ca, files.cert, files.key
	security, err := opts.Remote.tls()
	if err != nil {
		t.Fatal(err)
	}
	root, err := clientv3.New(clientv3.Config{Endpoints: []string{s.endpoint}, TLS: security, DialTimeout: dialTimeout})
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	ctx := testContext(t)
	const prefix = "chat/"
	for _, err := range []error{
		second(root.UserAdd(ctx, "root", "r")), second(root.UserGrantRole(ctx, "root", "root")),
		second(root.RoleAdd(ctx, "bavard")),
		second(root.RoleGrantPermission(ctx, "bavard", prefix, clientv3.GetPrefixRangeEnd(prefix), clientv3.PermissionType(clientv3.PermReadWrite))),
		second(root.UserAdd(ctx, "bavard", "secret")), second(root.UserGrantRole(ctx, "bavard", "bavard")),
		second(root.AuthEnable(ctx)),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	opts.Remote.Username, opts.Remote.Password, opts.Remote.Prefix = "bavard", "wrong", prefix
	if _, err := OpenEtcd(ctx, opts); err == nil || !strings.Contains(err.Error(), "authentication failed") {
		t.Errorf("a wrong password: %v", err)
	}
	opts.Remote.Password = "secret"
	if _, err := OpenEtcd(ctx, opts); err == nil || !strings.Contains(err.Error(), "the role root") {
		t.Errorf("without the right to compact: %v", err)
	}
	admin, err := clientv3.New(clientv3.Config{Endpoints: []string{s.endpoint}, TLS: security, Username: "root", Password: "r"})
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	if _, err := admin.UserGrantRole(ctx, "bavard", "root"); err != nil {
		t.Fatal(err)
	}
	j := open(t, opts)
	revisions := commit(t, j, numbered(20)...)
	read(t, tail(t, j, 0), 20)
	if err := j.(*etcdJournal).compact(ctx, revisions[9], true); err != nil {
		t.Errorf("compaction: %v", err)
	}
	if resp, err := admin.Get(ctx, prefix+batchPrefix+"a", clientv3.WithCountOnly()); err != nil || resp.Count != 1 {
		t.Errorf("under the prefix: %v, %v", resp, err)
	}
	opts.Remote.Certificate, opts.Remote.Key = "", ""
	opts.Dir += "2"
	short, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if _, err := OpenEtcd(short, opts); err == nil {
		t.Error("opened without a certificate")
	}
}

func second[T any](_ T, err error) error { return err }

func TestUsableVersions(t *testing.T) {
	for version, want := range map[string]bool{
		"3.7.3": true, "3.6.0": true, "3.5.3": true, "3.5.21": true, "3.5.2": false, "3.4.30": false, "4.0.0": false, "": false, "x.y.z": false, "3.6.0-rc.1": true,
	} {
		if got := usable(version) == nil; got != want {
			t.Errorf("%q usable: %v", version, got)
		}
	}
}

// TestRemoteKilled: the server is killed again and again under load; what was
// settled is there once, in order.
func TestRemoteKilled(t *testing.T) {
	t.Parallel()
	kills := 3
	if os.Getenv("BAVARD_LONG") != "" {
		kills = 30
	}
	binary := filepath.Join(t.TempDir(), "member")
	if out, err := exec.Command("go", "build", "-o", binary, "bavard/internal/journal/member").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	dir, client, peer := t.TempDir(), "http://"+freePort(t), "http://"+freePort(t)
	start := func() *exec.Cmd {
		cmd := exec.Command(binary, "-dir", dir, "-client", client, "-peer", peer)
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if line, _ := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
			t.Fatalf("the member says %q", line)
		}
		return cmd
	}
	member := start()
	defer func() { _ = member.Process.Kill(); _ = member.Wait() }()
	s := &server{t: t, endpoint: client}
	j := open(t, s.options(t))
	tl := tail(t, j, 0)
	r := newRecorder(t)
	n := 0
	for range kills {
		for range 300 {
			r.submit(j, fmt.Sprintf("command %d", n))
			n++
		}
		_ = member.Process.Kill()
		_ = member.Wait() // killed
		for range 50 {
			r.submit(j, fmt.Sprintf("command %d", n))
			n++
		}
		member = start()
	}
	settled := r.wait(n)
	for i, o := range settled {
		if o.err != nil || o.cmd != fmt.Sprintf("command %d", i) {
			t.Fatalf("outcome %d is of %q: %v", i, o.cmd, o.err)
		}
	}
	same(t, read(t, tl, n), settled)
	t.Logf("%d commands, %d kills", n, kills)
}

// testFiles are an authority and a certificate for both sides.
type testFiles struct{ ca, cert, key string }

func newTestFiles(t testing.TB) *testFiles {
	t.Helper()
	dir := t.TempDir()
	f := &testFiles{filepath.Join(dir, "ca.pem"), filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bavard"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{
		f.ca: {Type: "CERTIFICATE", Bytes: der}, f.cert: {Type: "CERTIFICATE", Bytes: der}, f.key: {Type: "EC PRIVATE KEY", Bytes: keyDER},
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return f
}
