// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bavard/internal/admin"
	"bavard/internal/config"
	"bavard/internal/datadir"
	"bavard/internal/server"
)

const domain = "chat.example.org"

// issuer is an authority that the examined machine trusts.
type issuer struct {
	t     *testing.T
	dir   string
	roots *x509.CertPool
	cert  *x509.Certificate
	key   *ecdsa.PrivateKey
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	i := &issuer{t: t, dir: t.TempDir(), roots: x509.NewCertPool()}
	i.key, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	i.cert = i.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "Test Root"}, IsCA: true, BasicConstraintsValid: true}, nil, i.key, nil)
	i.roots.AddCert(i.cert)
	return i
}

func (i *issuer) sign(c, parent *x509.Certificate, key, by *ecdsa.PrivateKey) *x509.Certificate {
	i.t.Helper()
	if parent == nil {
		parent, by = c, key
	}
	if c.NotAfter.IsZero() {
		c.NotAfter = time.Now().Add(60 * 24 * time.Hour)
	}
	c.NotBefore, c.SerialNumber = time.Now().Add(-100*24*time.Hour), big.NewInt(time.Now().UnixNano())
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, by)
	if err != nil {
		i.t.Fatal(err)
	}
	signed, err := x509.ParseCertificate(der)
	if err != nil {
		i.t.Fatal(err)
	}
	return signed
}

// issue writes a certificate for name, through an intermediate authority that
// is in the file if chain.
func (i *issuer) issue(name string, until time.Time, chain bool) config.TLS {
	i.t.Helper()
	between, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ca := i.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "Test R1"}, IsCA: true, BasicConstraintsValid: true}, i.cert, between, i.key)
	leaf := i.sign(&x509.Certificate{DNSNames: []string{name}, NotAfter: until}, ca, key, between)
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw})
	if chain {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw})...)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		i.t.Fatal(err)
	}
	base := filepath.Join(i.dir, rand.Text())
	t := config.TLS{Certificate: base + ".pem", Key: base + ".key"}
	err = errors.Join(os.WriteFile(t.Certificate, text, 0o600),
		os.WriteFile(t.Key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
	if err != nil {
		i.t.Fatal(err)
	}
	return t
}

// zone answers as DNS would.
type zone struct {
	hosts map[string]string
	srv   map[string][]*net.SRV
	fail  error
}

func (z *zone) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	if z.fail != nil {
		return nil, z.fail
	}
	ip, ok := z.hosts[host]
	if !ok {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return []netip.Addr{netip.MustParseAddr(ip)}, nil
}

func (z *zone) LookupSRV(_ context.Context, service, proto, name string) (string, []*net.SRV, error) {
	if z.fail != nil {
		return "", nil, z.fail
	}
	all, ok := z.srv["_"+service+"._"+proto+"."+name]
	if !ok {
		return "", nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	return name, all, nil
}

// installation is what is examined: a real server, if it was started.
type installation struct {
	Options
	t      *testing.T
	zone   *zone
	issuer *issuer
	routes map[string]string // from the address that is dialled
}

func install(t *testing.T) *installation {
	t.Helper()
	x := &installation{t: t, zone: &zone{hosts: map[string]string{}, srv: map[string][]*net.SRV{}}, issuer: newIssuer(t), routes: map[string]string{}}
	x.Config = config.Default()
	x.Config.Domain, x.Config.Data = domain, filepath.Join(t.TempDir(), "data")
	x.Config.Listen = config.Listen{C2S: free(t), C2STLS: free(t), HTTPS: free(t)}
	x.Config.TLS = x.issuer.issue(domain, time.Time{}, true)
	x.Config.PublicURL = "https://" + domain
	x.Resolver, x.Roots = x.zone, x.issuer.roots
	x.zone.hosts[domain] = "203.0.113.5"
	x.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		if to, ok := x.routes[address]; ok {
			address = to
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	return x
}

// free gives an address of this machine that nothing listens on.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// start runs a server, and makes the records that lead to it.
func (x *installation) start() {
	x.t.Helper()
	ctx, cancel := context.WithCancel(x.t.Context())
	ready, ended := make(chan server.Running, 1), make(chan error, 1)
	cfg := x.Config
	cfg.Journal.MinFreeMiB = 64
	go func() {
		ended <- server.Run(ctx, server.Options{Config: cfg, Logger: slog.New(slog.DiscardHandler), Version: "test", Ready: func(r server.Running) { ready <- r }})
	}()
	select {
	case r := <-ready:
		x.Status = r.Admin.Status
	case err := <-ended:
		x.t.Fatal(err)
	}
	x.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			x.t.Error(err)
		}
	})
	x.routes[domain+":5222"], x.routes[domain+":5223"], x.routes[domain+":443"] = cfg.Listen.C2S, cfg.Listen.C2STLS, cfg.Listen.HTTPS
	x.zone.srv["_xmpp-client._tcp."+domain] = []*net.SRV{{Target: domain + ".", Port: 5222}}
	x.zone.srv["_xmpps-client._tcp."+domain] = []*net.SRV{{Target: domain + ".", Port: 5223}}
}

// want fails the test unless a finding is of this level and has this text; all
// but OK have to say what to do.
func (x *installation) want(level Level, about, text string) {
	x.t.Helper()
	x.wantAmong(Examine(x.t.Context(), x.Options), level, about, text)
}

func (x *installation) wantAmong(found []Finding, level Level, about, text string) {
	x.t.Helper()
	var all strings.Builder
	ok := false
	for _, f := range found {
		fmt.Fprintf(&all, "%s | %s | %s | %s\n", f.Level, f.About, f.Text, f.Hint)
		if f.Level == level && f.About == about && strings.Contains(f.Text, text) {
			ok = true
			if f.Hint == "" && (level == Warning || level == Problem) {
				x.t.Errorf("no hint: %+v", f)
			}
		}
	}
	if !ok {
		x.t.Errorf("no %s of %s with %q in\n%s", level, about, text, all.String())
	}
}

func TestAGoodInstallation(t *testing.T) {
	x := install(t)
	x.start()
	for _, f := range Examine(t.Context(), x.Options) {
		if slow := strings.HasPrefix(f.Text, "fsync takes "); f.Level == Problem && !slow || f.Level == Unchecked && f.About != "clock" { // slow is the machine of the test
			t.Errorf("%+v", f)
		}
	}
	x.want(OK, "reachable", domain+":5222 answers by STARTTLS with a certificate that clients trust")
	x.want(OK, "reachable", domain+":5223 answers by direct TLS")
	x.want(OK, "app", "https://chat.example.org answers")
	x.want(OK, "host-meta", "wss://chat.example.org/xmpp-websocket")
	x.want(OK, "certificate", "for chat.example.org, by Test R1, until ")
	x.want(OK, "data directory", "who alone may read it")
	x.want(OK, "ports", "listen.https: the running server answers")
	x.want(OK, "server", "is well")
	x.want(OK, "server", "journal: revision")
	x.want(Warning, "DNS", "none of these is an address of this machine")
	x.want(Warning, "ports", "nobody else gets through")
}

func TestNamesAndWhatTheyLeadTo(t *testing.T) {
	x := install(t)
	x.start()
	client, direct := "_xmpp-client._tcp."+domain, "_xmpps-client._tcp."+domain
	good := x.zone.srv[client]

	x.zone.srv[client] = []*net.SRV{{Target: "."}}
	x.want(Problem, "DNS", "says that there is no such service")
	x.zone.srv[client] = []*net.SRV{{Target: "gone.example.org.", Port: 5222}}
	x.want(Problem, "DNS", "gone.example.org has no address")
	delete(x.zone.srv, client)
	x.want(Problem, "DNS", "clients would look at port 5222")
	delete(x.zone.srv, direct)
	x.want(Warning, "DNS", "there is no "+direct)
	x.zone.srv[client] = good

	x.routes[domain+":5222"] = x.Config.Listen.HTTPS
	x.want(Problem, "reachable", "it is no XMPP server with STARTTLS")
	x.routes[domain+":5222"] = free(t)
	x.want(Warning, "reachable", "chat.example.org:5222 does not answer")
	x.routes[domain+":443"] = x.Config.Listen.C2STLS
	x.want(Warning, "app", "https://chat.example.org: ")
	x.zone.fail = &net.DNSError{Err: "timeout", IsTimeout: true}
	x.want(Unchecked, "DNS", "the addresses of chat.example.org")
	x.Roots = x509.NewCertPool()
	x.zone.fail, x.routes[domain+":5222"] = nil, x.Config.Listen.C2S
	x.want(Problem, "reachable", "clients refuse its certificate")
	x.Local = true
	x.want(Unchecked, "DNS", "left out")
}

func TestNoServer(t *testing.T) {
	x := install(t)
	x.Status = func(context.Context) (admin.Status, error) { return admin.Status{}, admin.ErrNotRunning }
	x.zone.srv["_xmpp-client._tcp."+domain] = []*net.SRV{{Target: domain + ".", Port: 5222}}
	x.want(Warning, "server", "none runs on")
	x.want(OK, "ports", "listen.c2s: "+x.Config.Listen.C2S+" is free")
	x.want(Unchecked, "reachable", "no server runs here")
	x.want(OK, "data directory", "it is made when the server first starts")
	other, err := net.Listen("tcp", x.Config.Listen.C2S)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	x.want(Problem, "ports", "listen.c2s: another process has")
	x.Config.Listen.C2STLS = "192.0.2.1:5223"
	x.want(Problem, "ports", "this machine does not have the address of 192.0.2.1:5223")
	x.Status = func(context.Context) (admin.Status, error) { return admin.Status{}, os.ErrPermission }
	x.want(Unchecked, "server", "permission denied")
}

func TestJournalOfOnesOwn(t *testing.T) {
	x := install(t)
	x.Local = true
	there, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	gone := free(t)
	x.Config.Journal.Endpoints = []string{"https://" + there.Addr().String(), "https://" + gone}
	x.want(OK, "journal", "something answers at "+there.Addr().String())
	x.want(Problem, "journal", "etcd at "+gone+" does not answer")
}

func TestWhatTheServerSays(t *testing.T) {
	x := install(t)
	x.Status = func(context.Context) (admin.Status, error) {
		return admin.Status{Domain: "elsewhere.example.org", Failing: []string{"view: it is 200 batches behind"}}, nil
	}
	x.want(Problem, "server", "it is not ready: view: it is 200 batches behind")
	x.want(Warning, "server", "it serves elsewhere.example.org")
	x.want(Warning, "ports", "listen.c2s: the running server does not listen on")
}

func TestCertificates(t *testing.T) {
	x := install(t)
	x.Local = true
	day := 24 * time.Hour
	other := x.issuer.issue(domain, time.Time{}, true)
	open := x.issuer.issue(domain, time.Time{}, true)
	if err := os.Chmod(open.Key, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		tls   config.TLS
		level Level
		text  string
	}{
		{x.issuer.issue(domain, time.Time{}, true), OK, "by Test R1"},
		{x.issuer.issue("*.example.org", time.Time{}, true), OK, "*.example.org"},
		{x.issuer.issue("example.org", time.Time{}, true), Problem, "it is for example.org, not for chat.example.org"},
		{x.issuer.issue(domain, time.Now().Add(-day), true), Problem, "it ended on"},
		{x.issuer.issue(domain, time.Now().Add(3*day), true), Warning, "it ends on"},
		{x.issuer.issue(domain, time.Time{}, false), Problem, "clients will not trust it"},
		{config.TLS{Certificate: other.Certificate, Key: x.Config.TLS.Key}, Problem, "do not go together"},
		{config.TLS{Certificate: "nowhere.pem", Key: other.Key}, Problem, "no such file"},
		{open, Warning, "everybody on this machine can read the key"},
		{config.TLS{}, Warning, "self-made"},
	} {
		x.Config.TLS = tc.tls
		x.want(tc.level, "certificate", tc.text)
	}
	// By ACME the server keeps it, key and chain in one file.
	x.Config.TLS = config.TLS{ACME: config.ACME{Directory: "https://ca.example:14000/dir", Agree: true, Challenge: "tls-alpn-01"}}
	x.want(OK, "certificate", "will be asked for one when the server runs")
	dir, err := datadir.ACMEDir(filepath.Join(x.Config.Data, "tls"), x.Config.TLS.ACME.Directory)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	pair := x.issuer.issue(domain, time.Time{}, true)
	var both []byte
	for _, name := range []string{pair.Key, pair.Certificate} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		both = append(both, text...)
	}
	for text, want := range map[string]struct {
		level Level
		text  string
	}{string(both): {OK, "by Test R1"}, "x": {Problem, datadir.ACMECertificate}} {
		if err := os.WriteFile(filepath.Join(dir, datadir.ACMECertificate), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		x.want(want.level, "certificate", want.text)
	}
}

func TestData(t *testing.T) {
	x := install(t)
	x.Local = true
	if err := os.Mkdir(x.Config.Data, 0o755); err != nil {
		t.Fatal(err)
	}
	x.want(Problem, "data directory", "(mode 0755): it holds keys and messages")
	// How fast the disk is that the test has is not the test's business: see TestFsyncs.
	if found := Examine(t.Context(), x.Options); !slices.ContainsFunc(found, func(f Finding) bool { return f.About == "disk" && strings.HasPrefix(f.Text, "fsync takes ") }) {
		t.Errorf("nothing is said of fsync: %+v", found)
	}
	x.Config.Journal.MinFreeMiB = 1 << 40
	x.want(Problem, "disk", "under 1099511627776 MiB (journal.min_free_mib) nothing new is accepted")
	x.Config.Limits.Connections = 1 << 40
	x.want(Warning, "open files", "may open")
	x.want(Warning, "memory", "may take")
	if left, err := os.ReadDir(x.Config.Data); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	file := filepath.Join(x.Config.Data, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if all, err := foreigners(x.Config.Data, os.Geteuid()+1); err != nil || len(all) != 2 {
		t.Errorf("%v, %v", all, err)
	}
	if where, ok := may(file, os.Geteuid()+1, nil); ok || where != file {
		t.Errorf("a stranger may read it: %v at %s", ok, where)
	}
	x.Config.Data = file
	x.want(Problem, "data directory", "is a file")
	x.Config.Data = "/dev/shm"
	x.want(Problem, "disk", "a file system in memory")
}

// TestFsyncs: the operator is told what a disk is worth.
func TestFsyncs(t *testing.T) {
	for text, c := range map[string]struct {
		usual, worst time.Duration
		level        Level
	}{
		"fsync takes 2.0 ms":        {2 * time.Millisecond, 30 * time.Millisecond, OK},
		"people wait for":           {2 * time.Millisecond, 150 * time.Millisecond, Warning},
		"the journal stumbles":      {2 * time.Millisecond, 500 * time.Millisecond, Problem},
		"that is faster than disks": {time.Microsecond, time.Millisecond, Warning},
	} {
		times := slices.Repeat([]time.Duration{c.usual}, 200)
		times[7], times[50], times[90] = c.worst, c.worst, c.worst
		e := &examination{}
		e.judgeFsyncs(times)
		if len(e.findings) != 1 || e.findings[0].Level != c.level || !strings.Contains(e.findings[0].Text, text) {
			t.Errorf("%q: %+v", text, e.findings)
		}
	}
}

func TestConfigurationAndClock(t *testing.T) {
	x := install(t)
	x.Local = true
	x.Now = func() time.Time { return time.Unix(0, 0) }
	x.want(Problem, "clock", "1970-01-01")
	x.Config.InsecureLoopback = true
	x.want(Warning, "configuration", "passwords may pass")
	x.Mistakes = errors.Join(errors.New("c.toml:1: one"), errors.New("c.toml:2: two"))
	x.want(Problem, "configuration", "c.toml:2: two")
}

func TestPublic(t *testing.T) {
	for name, want := range map[string]bool{
		"example.org": true, "chat.example.org": true, "müller.example.com": true,
		"localhost": false, "chat": false, "a.localhost": false, "printer.local": false, "192.0.2.1": false, "[2001:db8::1]": false,
		"chat.lan": false, "x.test": false, "": false, "1.home.arpa": false,
	} {
		if Public(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
}
