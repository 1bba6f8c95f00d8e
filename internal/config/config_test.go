// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"bavard/internal/config"
)

func annotated(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile("../../bavard.toml")
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestAnnotatedFileIsTheDefault(t *testing.T) {
	got, err := config.Parse("bavard.toml", annotated(t))
	if err != nil {
		t.Fatal(err)
	}
	if want := config.Default(); !reflect.DeepEqual(got, want) {
		t.Errorf("bavard.toml gives\n%+v\nDefault gives\n%+v", got, want)
	}
	if err := got.Validate(); err != nil {
		t.Errorf("the default is refused: %v", err)
	}
}

// Each key stands in bavard.toml, commented, in the order of the struct.
func TestAnnotatedFileHasEveryKey(t *testing.T) {
	var found []string
	table, commented := "", false
	for line := range strings.Lines(string(annotated(t))) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "#"):
			commented = true
		case line == "":
			commented = false
		case strings.HasPrefix(line, "["):
			table = strings.Trim(line, "[]") + "."
		default:
			key, _, _ := strings.Cut(line, " =")
			if !commented && table+key != "tls.key" && table+key != "limits.unauthenticated_per_address" {
				t.Errorf("%s%s has no comment", table, key)
			}
			found = append(found, table+key)
		}
	}
	if want := config.Keys(); !slices.Equal(found, want) {
		t.Errorf("bavard.toml has\n%v\nthe struct has\n%v", found, want)
	}
}

func TestMistakesNameLineAndRemedy(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"misspelt key", "domain = \"a.example\"\n\n[listen]\nc2s_tsl = \":5223\"", `c.toml:4: unknown key "listen.c2s_tsl": did you mean "listen.c2s_tls"?`},
		{"misspelt table", "[lisen]\nc2s = \":5223\"\nhttp = \"\"", `c.toml:1: unknown table "lisen": did you mean "listen"?`},
		{"wrong table", "[log]\nlevel = \"info\"\n[limits]\nformat = \"json\"", `c.toml:4: unknown key "limits.format": did you mean "log.format"?`},
		{"nothing near", "colour = \"blue\"", "c.toml:1: unknown key \"colour\": `bavard config` prints every key"},
		{"dotted", "log.levle = \"info\"", `c.toml:1: unknown key "log.levle": did you mean "log.level"?`},
		{"inline", "log = { level = \"info\",\n formatt = \"text\" }", `c.toml:2: unknown key "log.formatt": did you mean "log.format"?`},
		{"array of tables", "[[log]]\nlevel = \"info\"", "c.toml:1: log is a list, and has to be a table: write [log], and its keys under it"},
		{"number for text", "[listen]\nc2s = 5222", `c.toml:2: listen.c2s is a number, and has to be a text in quotes, like "127.0.0.1:5222"`},
		{"text for number", "[limits]\nconnections = \"many\"", "c.toml:2: limits.connections is a text, and has to be a whole number without quotes, like 15000"},
		{"fraction", "[limits]\nconnections = 1.5", "c.toml:2: limits.connections is a number with a fraction, and has to be a whole number without quotes, like 15000"},
		{"text for switch", "insecure_loopback = \"yes\"", "c.toml:1: insecure_loopback is a text, and has to be true or false, without quotes"},
		{"text for list", "admins = \"a@b\"", `c.toml:1: admins is a text, and has to be a list of texts, like ["one", "two"]`},
		{"list of numbers", "admins = [1]", `c.toml:1: admins is a list, and has to be a list of texts, like ["one", "two"]`},
		{"key for table", "limits = 3", "c.toml:1: limits is a number, and has to be a table: write [limits], and its keys under it"},
		{"not TOML", "domain localhost", "c.toml:1: "},
		{"bad duration", "[limits]\nlogin_time = \"ten\"", `c.toml:2: limits.login_time: "ten" is not a duration`},
		{"number for duration", "[limits]\nlogin_time = 10", `c.toml:2: limits.login_time is a number, and has to be a time in quotes, like "10s" or "5m"`},
		{"key twice", "data = \"a\"\ndata = \"b\"", "c.toml:2: "},
		{
			"all at once, in order", "domian = \"a\"\n[limits]\nstanza_kib = \"x\"\n[log]\nlevle = \"info\"\nformat = \"json\"\n",
			"c.toml:1: unknown key \"domian\": did you mean \"domain\"?\nc.toml:3: limits.stanza_kib is a text, and has to be a whole number without quotes, like 256\nc.toml:5: unknown key \"log.levle\": did you mean \"log.level\"?",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := config.Parse("c.toml", []byte(tc.text))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v\nwant %s", err, tc.want)
			}
		})
	}
}

// With mistakes, what is right is read all the same, so that it can be checked.
func TestMistakesLeaveTheRest(t *testing.T) {
	c, err := config.Parse("c.toml", []byte("domain = 1\n[log]\nformat = \"json\""))
	if err == nil || c.Log.Format != "json" || c.Domain != "localhost" {
		t.Errorf("%v, %+v", err, c)
	}
}

// Each key can be set in a file: none has a type that Parse does not know.
func TestEveryKeyIsRead(t *testing.T) {
	table := ""
	for line := range strings.Lines(string(annotated(t))) {
		switch {
		case strings.HasPrefix(line, "["):
			table = line
		case !strings.HasPrefix(line, "#"):
			if _, err := config.Parse("c.toml", []byte(table+line)); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "b.toml")
	if _, err := config.Load(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	if err := os.WriteFile(path, []byte("[limits]\nstanza_kib = 64\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	want := config.Default()
	want.Limits.StanzaKiB = 64
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got %+v", c)
	}
}

// acme makes a good configuration of ACME, changed.
func acme(change func(*config.Config)) func(*config.Config) {
	return func(c *config.Config) {
		c.Domain, c.Listen.HTTPS = "chat.example.org", ":443"
		c.TLS.ACME = config.ACME{Directory: "https://ca.example/directory", Agree: true, Challenge: "tls-alpn-01"}
		change(c)
	}
}

// The link leads to where the page was opened; where it is encrypted, by a name that the certificate has.
func TestAdminBase(t *testing.T) {
	for _, tc := range []struct{ listen, got, want string }{
		{"127.0.0.1:0", "127.0.0.1:40001", "http://127.0.0.1:40001"},
		{"[::1]:5281", "[::1]:5281", "http://[::1]:5281"},
		{":5281", "[::]:5281", "https://example.org:5281"},
		{"10.0.0.1:5281", "10.0.0.1:5281", "https://example.org:5281"},
		{"node1.example.org:5281", "10.0.0.1:5281", "https://node1.example.org:5281"},
	} {
		c := config.Config{Domain: "example.org", Admin: config.Admin{Listen: tc.listen}}
		if got := c.AdminBase(tc.got); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.listen, got, tc.want)
		}
	}
}

func TestCertificateNames(t *testing.T) {
	for public, want := range map[string][]string{
		"": nil, "https://example.org": nil, "https://chat.example.org:8443/": {"chat.example.org"},
		"http://localhost:5280": nil, "https://192.0.2.1": nil, "https://[2001:db8::1]:443": nil,
	} {
		c := config.Config{Domain: "example.org", PublicURL: public}
		if got := c.CertificateNames(); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", public, got, want)
		}
	}
}

func TestValidate(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*config.Config)
		key    string // "" is accepted
	}{
		{"capitals", func(c *config.Config) { c.Domain = "Chat.Example.ORG" }, ""},
		{"address as domain", func(c *config.Config) { c.Domain = "alice@example.org" }, "domain"},
		{"no domain", func(c *config.Config) { c.Domain = "" }, "domain"},
		{"no data", func(c *config.Config) { c.Data = "" }, "data"},
		{"public http", func(c *config.Config) { c.Listen.HTTP = ":5280" }, "listen.http"},
		{"public http behind a proxy", func(c *config.Config) { c.Listen.HTTP = ":5280"; c.Listen.BehindProxy = true }, ""},
		{"public https", func(c *config.Config) { c.Listen.HTTPS = ":443" }, ""},
		{"http on a name", func(c *config.Config) { c.Listen.HTTP = "chat.example.org:80" }, "listen.http"},
		{"http on localhost", func(c *config.Config) { c.Listen.HTTP = "localhost:80" }, ""},
		{"http on ::1", func(c *config.Config) { c.Listen.HTTP = "[::1]:0" }, ""},
		{"insecure, loopback", func(c *config.Config) { c.InsecureLoopback = true }, ""},
		{"insecure, public", func(c *config.Config) { c.InsecureLoopback = true; c.Listen.C2S = ":5222" }, "insecure_loopback"},
		{"no port", func(c *config.Config) { c.Listen.C2S = "127.0.0.1" }, "listen.c2s"},
		{"port too high", func(c *config.Config) { c.Listen.Metrics = "127.0.0.1:99999" }, "listen.metrics"},
		{"nothing to listen on", func(c *config.Config) { c.Listen = config.Listen{Metrics: "127.0.0.1:0"} }, "listen"},
		{"certificate without key", func(c *config.Config) { c.TLS.Certificate = "c.pem" }, "tls.certificate"},
		{"acme", acme(func(*config.Config) {}), ""},
		{"acme with e-mail", acme(func(c *config.Config) { c.TLS.ACME.Email = "admin@example.org" }), ""},
		{"acme with half an address", acme(func(c *config.Config) { c.TLS.ACME.Email = "admin" }), "tls.acme.email"},
		{"acme without agreement", acme(func(c *config.Config) { c.TLS.ACME.Agree = false }), "tls.acme.agree"},
		{"acme in the clear", acme(func(c *config.Config) { c.TLS.ACME.Directory = "http://ca.example/directory" }), "tls.acme.directory"},
		{"acme and files", acme(func(c *config.Config) { c.TLS.Certificate, c.TLS.Key = "c.pem", "k.pem" }), "tls.acme.directory"},
		{"acme for localhost", acme(func(c *config.Config) { c.Domain = "localhost" }), "tls.acme.directory"},
		{"acme for an address", acme(func(c *config.Config) { c.Domain = "192.0.2.1" }), "tls.acme.directory"},
		{"acme by an unknown challenge", acme(func(c *config.Config) { c.TLS.ACME.Challenge = "dns-01" }), "tls.acme.challenge"},
		{"tls-alpn-01 without TLS", acme(func(c *config.Config) { c.Listen.HTTPS, c.Listen.C2STLS = "", "" }), "tls.acme.challenge"},
		{"http-01", acme(func(c *config.Config) { c.TLS.ACME.Challenge = "http-01"; c.Listen.Redirect = ":80" }), ""},
		{"http-01 without its listener", acme(func(c *config.Config) { c.TLS.ACME.Challenge = "http-01" }), "tls.acme.challenge"},
		{"http-01 through a proxy", acme(func(c *config.Config) { c.TLS.ACME.Challenge = "http-01"; c.Listen.BehindProxy = true }), ""},
		{"no redirect", func(c *config.Config) { c.Listen.Redirect = "80" }, "listen.redirect"},
		{"public url", func(c *config.Config) { c.PublicURL = "https://chat.example.org/" }, ""},
		{"public url without scheme", func(c *config.Config) { c.PublicURL = "chat.example.org" }, "public_url"},
		{"public url with a path", func(c *config.Config) { c.PublicURL = "https://example.org/chat" }, "public_url"},
		{"public url in clear", func(c *config.Config) { c.PublicURL = "http://chat.example.org" }, "public_url"},
		{"proxies", func(c *config.Config) { c.Listen.Proxies = []string{"10.0.0.0/8", "2001:db8::1"} }, ""},
		{"push.allow", func(c *config.Config) { c.Push.Allow = []string{"10.0.0.0/8", "::1"} }, ""},
		{"push.allow by name", func(c *config.Config) { c.Push.Allow = []string{"push.example.org"} }, "push.allow"},
		{"origins", func(c *config.Config) {
			c.Listen.Origins = []string{"https://webchat.example.org", "http://localhost:3000/"}
		}, ""},
		{"any origin", func(c *config.Config) { c.Listen.Origins = []string{"*"} }, "listen.origins"},
		{"origins by pattern", func(c *config.Config) { c.Listen.Origins = []string{"https://*.example.org"} }, "listen.origins"},
		{"origin that is not encrypted", func(c *config.Config) { c.Listen.Origins = []string{"http://webchat.example.org"} }, "listen.origins"},
		{"too many origins", func(c *config.Config) { c.Listen.Origins = slices.Repeat([]string{"https://webchat.example.org"}, 101) }, "listen.origins"},
		{"proxy by name", func(c *config.Config) { c.Listen.Proxies = []string{"proxy.example.org"} }, "listen.proxies"},
		{"no connections", func(c *config.Config) { c.Limits.Connections = 0 }, "limits.connections"},
		{"endless login", func(c *config.Config) { c.Limits.LoginTime = 0 }, "limits.login_time"},
		{"tiny stanzas", func(c *config.Config) { c.Limits.StanzaKiB = 1 }, "limits.stanza_kib"},
		{"huge stanzas", func(c *config.Config) { c.Limits.StanzaKiB = 1024 }, "limits.stanza_kib"},
		{"log level", func(c *config.Config) { c.Log.Level = "chatty" }, "log.level"},
		{"log format", func(c *config.Config) { c.Log.Format = "xml" }, "log.format"},
		{"contacts", func(c *config.Config) {
			c.Contact.Abuse = []string{"mailto:a@example.org", "xmpp:a@example.org?message", "https://example.org/abuse"}
			c.Contact.ExternalStatus = []string{"https://status.example.net/x.json"}
		}, ""},
		{"contact without scheme", func(c *config.Config) { c.Contact.Support = []string{"help@example.org"} }, "contact.support"},
		{"contact with a blank", func(c *config.Config) { c.Contact.Sales = []string{"https://example.org/a b"} }, "contact.sales"},
		{"empty contact", func(c *config.Config) { c.Contact.Admin = []string{""} }, "contact.admin"},
		{"too many contacts", func(c *config.Config) { c.Contact.Feedback = slices.Repeat([]string{"xmpp:a@example.org"}, 17) }, "contact.feedback"},
		{"status by mail", func(c *config.Config) { c.Contact.ExternalStatus = []string{"mailto:a@example.org"} }, "contact.external_status"},
		{"servers for calls", func(c *config.Config) {
			c.Calls.Servers = []string{"stun:stun.example.org", "stuns:192.0.2.1", "turn:[2001:db8::1]:3478?transport=tcp", "turns:Turn.example.org:443"}
			c.Calls.SecretFile = "turn.secret"
		}, ""},
		{"stun needs no secret", func(c *config.Config) { c.Calls.Servers = []string{"stun:stun.example.org"} }, ""},
		{"turn needs a secret", func(c *config.Config) { c.Calls.Servers = []string{"turn:turn.example.org"} }, "calls.secret_file"},
		{"secret of nobody", func(c *config.Config) { c.Calls.SecretFile = "turn.secret" }, "calls.secret_file"},
		{"server without scheme", func(c *config.Config) { c.Calls.Servers = []string{"stun.example.org:3478"} }, "calls.servers"},
		{"server on a page", func(c *config.Config) { c.Calls.Servers = []string{"stun://stun.example.org"} }, "calls.servers"},
		{"server without host", func(c *config.Config) { c.Calls.Servers = []string{"stun::3478"} }, "calls.servers"},
		{"server without port", func(c *config.Config) { c.Calls.Servers = []string{"stun:example.org:"} }, "calls.servers"},
		{"server on a high port", func(c *config.Config) { c.Calls.Servers = []string{"stun:example.org:70000"} }, "calls.servers"},
		{"server without brackets", func(c *config.Config) { c.Calls.Servers = []string{"stun:2001:db8::1"} }, "calls.servers"},
		{"server by carrier pigeon", func(c *config.Config) { c.Calls.Servers = []string{"stun:example.org?transport=pigeon"} }, "calls.servers"},
		{"too many servers", func(c *config.Config) { c.Calls.Servers = slices.Repeat([]string{"stun:example.org"}, 17) }, "calls.servers"},
		{"endless credentials", func(c *config.Config) { c.Calls.CredentialsTime = config.Duration(8 * 24 * time.Hour) }, "calls.credentials_time"},
		{"cell", cellOf(func(*config.Config) {}), ""},
		{"cell with ports", cellOf(func(c *config.Config) {
			c.Cell.Nodes = []string{"a=10.0.0.1:2400", "b=[2001:db8::2]:2380", "c=2001:db8::3"}
			c.Cell.Bind, c.Cell.Addresses = ":2400", []string{"https://node1.example.org/"}
		}), ""},
		{"cell of two", cellOf(func(c *config.Config) { c.Cell.Nodes = c.Cell.Nodes[:2] }), "cell.nodes"},
		{"node of nothing", func(c *config.Config) { c.Cell.Node = "a" }, "cell.nodes"},
		{"cell without itself", cellOf(func(c *config.Config) { c.Cell.Node = "d" }), "cell.node"},
		{"cell without hosts", cellOf(func(c *config.Config) { c.Cell.Nodes = []string{"a", "b", "c"} }), "cell.nodes"},
		{"one host of a cell", cellOf(func(c *config.Config) { c.Cell.Nodes[1] = "b=node1" }), "cell.nodes"},
		{"one name in a cell", cellOf(func(c *config.Config) { c.Cell.Nodes[1] = "a=node2" }), "cell.nodes"},
		{"cell with a bad port", cellOf(func(c *config.Config) { c.Cell.Nodes[1] = "b=node2:x" }), "cell.nodes"},
		{"cell that listens on a name", cellOf(func(c *config.Config) { c.Cell.Bind = "node1:2380" }), "cell.bind"},
		{"cell in the clear", cellOf(func(c *config.Config) { c.Cell.Addresses = []string{"http://node1.example.org"} }), "cell.addresses"},
		{"cell beside an etcd", cellOf(func(c *config.Config) { c.Journal.Endpoints = []string{"https://etcd:2379"} }), ""},
		{"cell with acme", acme(cellOf(func(*config.Config) {})), "tls.acme.directory"},
		{"keys of no cell", func(c *config.Config) { c.Cell.Bind = ":2380" }, "cell.node"},
		{"no reserve", func(c *config.Config) { c.Journal.MinFreeMiB = 0 }, "journal.min_free_mib"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := config.Default()
			tc.change(&c)
			err := c.Validate()
			if tc.key == "" {
				if err != nil {
					t.Fatalf("refused: %v", err)
				}
				return
			}
			var p *config.Problem
			if !errors.As(err, &p) || p.Key != tc.key || p.Hint == "" {
				t.Fatalf("got %v, want a problem with %s and a hint", err, tc.key)
			}
		})
	}
}

// cellOf changes one of three nodes.
func cellOf(change func(*config.Config)) func(*config.Config) {
	return func(c *config.Config) {
		c.Cell.Node, c.Cell.Nodes = "a", []string{"a=node1", "b=node2", "c=node3"}
		change(c)
	}
}

func TestCellMembers(t *testing.T) {
	c := config.Cell{Node: "a", Nodes: []string{"a=node1", "b=10.0.0.2:2400", "c=::1"}}
	if got, want := c.Members(), map[string]string{"a": "node1:2380", "b": "10.0.0.2:2400", "c": "[::1]:2380"}; !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	for node, want := range map[string]string{"a": "0.0.0.0:2380", "b": "10.0.0.2:2400", "c": "[::1]:2380"} {
		c.Node = node
		if got := c.Binds(); got != want {
			t.Errorf("%s listens on %s, want %s", node, got, want)
		}
	}
	if c.Bind = ":2500"; c.Binds() != "0.0.0.0:2500" {
		t.Errorf("it listens on %s", c.Binds())
	}
}

func TestValidateNormalisesTheDomain(t *testing.T) {
	c := config.Default()
	c.Domain = "Chat.Example.ORG"
	if err := c.Validate(); err != nil || c.Domain != "chat.example.org" {
		t.Errorf("got %q, %v", c.Domain, err)
	}
}

func TestProxiesAreBelievedOnlyBehindOne(t *testing.T) {
	l := config.Listen{Proxies: []string{"10.1.2.3/8", "::1"}}
	if got := l.ProxyPrefixes(); len(got) != 0 {
		t.Errorf("not behind a proxy: %v", got)
	}
	l.BehindProxy = true
	if got := fmt.Sprint(l.ProxyPrefixes()); got != "[10.0.0.0/8 ::1/128]" {
		t.Errorf("got %s", got)
	}
}

func TestLinkBase(t *testing.T) {
	for _, tc := range []struct{ public, https, http, want string }{
		{"https://chat.example.org/", "", "127.0.0.1:5280", "https://chat.example.org"},
		{"", "[::]:443", "", "https://example.org"},
		{"", "[::]:8443", "127.0.0.1:5280", "https://example.org:8443"},
		{"", "", "127.0.0.1:5280", "http://localhost:5280"},
		{"", "", "[::1]:80", "http://localhost"},
		{"", "", "127.0.0.2:5280", "http://127.0.0.2:5280"},
		{"", "", "[::]:5280", "https://example.org"},
		{"", "", "", "https://example.org"},
	} {
		c := config.Default()
		c.Domain, c.PublicURL = "example.org", tc.public
		if got := c.LinkBase(tc.https, tc.http); got != tc.want {
			t.Errorf("public %q, https %q, http %q: %q, want %q", tc.public, tc.https, tc.http, got, tc.want)
		}
	}
}

func TestCallServers(t *testing.T) {
	c := config.Calls{Servers: []string{"stun:stun.example.org", "stuns:192.0.2.1", "turn:[2001:db8::1]:13478?transport=tcp", "turns:Turn.example.org:443"}}
	want := []config.CallServer{
		{Type: "stun", Host: "stun.example.org", Port: 3478, Transport: "udp"},
		{Type: "stuns", Host: "192.0.2.1", Port: 5349, Transport: "tcp"},
		{Type: "turn", Host: "2001:db8::1", Port: 13478, Transport: "tcp"},
		{Type: "turns", Host: "turn.example.org", Port: 443, Transport: "tcp"},
	}
	if got := c.CallServers(); !slices.Equal(got, want) {
		t.Errorf("got %+v", got)
	}
}

func FuzzCallServers(f *testing.F) {
	f.Add("turn:[2001:db8::1]:13478?transport=tcp")
	f.Add("stun:example.org:3478")
	f.Fuzz(func(t *testing.T, text string) {
		c := config.Calls{Servers: []string{text}}
		for _, s := range c.CallServers() {
			if s.Host == "" || s.Port == 0 || s.Transport != "udp" && s.Transport != "tcp" {
				t.Errorf("%q gives %+v", text, s)
			}
		}
	})
}

// TestThousandMistakes: the file that we hand out, with one mistake in one line, is refused, and the line is named.
func TestThousandMistakes(t *testing.T) {
	text, err := os.ReadFile("../../bavard.toml")
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	lines := strings.Split(string(text), "\n")
	var keys []int // lines with a key
	for i, line := range lines {
		if _, _, ok := strings.Cut(line, " = "); ok && !strings.HasPrefix(line, "#") {
			keys = append(keys, i)
		}
	}
	if len(keys) < 40 {
		t.Fatalf("%d keys in the file", len(keys))
	}
	mistakes := map[string]func(key, value string) string{
		"letter": func(key, value string) string {
			at := random.IntN(len(key))
			return key[:at] + "q" + key[at:] + " = " + value
		},
		"kind":     func(key, value string) string { return key + " = 1979-05-27" },
		"table":    func(key, value string) string { return key + " = { a = 1 }" },
		"no value": func(key, value string) string { return key + " =" },
		"no end":   func(key, _ string) string { return key + ` = "x` },
		"twice":    func(key, value string) string { return key + " = " + value + "\n" + key + " = " + value },
		"noise":    func(key, value string) string { return key + " = " + value + " " + string(rune('a'+random.IntN(26))) },
	}
	kinds := slices.Sorted(maps.Keys(mistakes))
	for n := range 1000 {
		at, kind := keys[random.IntN(len(keys))], kinds[n%len(kinds)]
		key, value, _ := strings.Cut(lines[at], " = ")
		wrong := slices.Clone(lines)
		wrong[at] = mistakes[kind](key, value)
		c, err := config.Parse("bavard.toml", []byte(strings.Join(wrong, "\n")))
		if err == nil {
			err = c.Validate()
		}
		line := at + 1
		if kind == "twice" {
			line++
		}
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("bavard.toml:%d:", line)) {
			t.Errorf("%s in line %d, %q: %v", kind, at+1, wrong[at], err)
		}
	}
}

func FuzzParse(f *testing.F) {
	text, err := os.ReadFile("../../bavard.toml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte("[limits]\nlogin_time = 1"))
	f.Fuzz(func(_ *testing.T, text []byte) {
		if c, err := config.Parse("f", text); err == nil {
			_ = c.Validate()
		}
	})
}
