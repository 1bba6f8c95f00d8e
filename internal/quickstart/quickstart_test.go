// SPDX-License-Identifier: Apache-2.0

package quickstart

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"bavard/internal/config"
)

func files(t *testing.T, p Plan) map[string]string {
	t.Helper()
	all, err := p.Files()
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	for _, f := range all {
		texts[f.Name] = f.Text
		if strings.Contains(f.Text, "<no value>") || !strings.HasSuffix(f.Text, "\n") {
			t.Errorf("%s:\n%s", f.Name, f.Text)
		}
		for line := range strings.Lines(f.Text) {
			if len(line) > 81 && f.Name != "dns.zone" {
				t.Errorf("%s has a line of %d: %s", f.Name, len(line)-1, line)
			}
		}
	}
	return texts
}

func addrs(texts ...string) (all []netip.Addr) {
	for _, t := range texts {
		all = append(all, netip.MustParseAddr(t))
	}
	return all
}

func TestDNS(t *testing.T) {
	for _, tc := range []struct {
		name string
		plan Plan
		want []string
		not  string
	}{
		{"known", Plan{Domain: "chat.example.org", Addresses: addrs("10.0.0.1", "9.9.9.9", "2620:fe::fe")}, []string{
			"; The public addresses of this machine.",
			"chat.example.org.                        3600 IN A    9.9.9.9\n",
			"chat.example.org.                        3600 IN AAAA 2620:fe::fe\n",
			"_xmpp-client._tcp.chat.example.org.      3600 IN SRV 0 5 5222 chat.example.org.\n",
			"_xmpps-client._tcp.chat.example.org.     3600 IN SRV 0 5 5223 chat.example.org.\n",
			"bavard answers.",
		}, "10.0.0.1"},
		{"behind NAT", Plan{Domain: "chat.example.org", Addresses: addrs("192.168.1.2", "100.64.0.1", "fd00::1", "203.0.113.9")}, []string{
			"put that of its router here", "IN A    192.0.2.1\n", "IN AAAA 2001:db8::1\n",
		}, "192.168"},
		{"unknown", Plan{Domain: "chat.example.org"}, []string{"PUT THIS MACHINE'S PUBLIC ADDRESSES HERE", "192.0.2.1"}, "router"},
		{"another host", Plan{Domain: "example.org", Host: "chat.example.org"}, []string{
			"chat.example.org.                        3600 IN A",
			"_xmpp-client._tcp.example.org.           3600 IN SRV 0 5 5222 chat.example.org.\n",
			"send it and host-meta.json on to\n; https://chat.example.org.",
		}, "bavard answers"},
		{"not ASCII", Plan{Domain: "müller.example.org"}, []string{"_xmpp-client._tcp.xn--mller-kva.example.org."}, "ü"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			zone := files(t, tc.plan)["dns.zone"]
			for _, w := range tc.want {
				if !strings.Contains(zone, w) {
					t.Errorf("no %q in\n%s", w, zone)
				}
			}
			if strings.Contains(zone, tc.not) {
				t.Errorf("%q in\n%s", tc.not, zone)
			}
		})
	}
}

func TestConfigurationIsGood(t *testing.T) {
	for _, p := range []Plan{{Domain: "chat.example.org"}, {Domain: "example.org", Host: "chat.example.org"}, {Domain: "müller.example.org"}} {
		all := files(t, p)
		c, err := config.Parse("bavard.toml", []byte(all["bavard.toml"]))
		if err != nil {
			t.Fatal(err)
		}
		// Nobody agrees to anything for somebody else.
		if acme := &c.TLS.ACME; p.Host == "" {
			if acme.Directory == "" || acme.Agree || !strings.Contains(all["steps.txt"], "agree = true") {
				t.Errorf("%s: %+v, and the steps say\n%s", p.Domain, acme, all["steps.txt"])
			}
			acme.Agree = true
		} else if acme.Directory != "" || !strings.Contains(all["steps.txt"], "certbot") {
			t.Errorf("%s: an authority cannot come to %s", p.Host, p.Domain)
		}
		if err := c.Validate(); err != nil || c.Domain != p.Domain {
			t.Errorf("%s: %v", c.Domain, err)
		}
		if p.Host != "" && c.PublicURL != "https://"+p.Host {
			t.Errorf("public_url %q", c.PublicURL)
		}
	}
}

// The steps say which limits hold for files unless somebody changes them.
func TestStepsTellOfFiles(t *testing.T) {
	steps, c := files(t, Plan{Domain: "chat.example.org"})["steps.txt"], config.Default()
	for _, want := range []string{
		fmt.Sprintf("each may have %d MiB", c.Upload.MaxSizeMiB), fmt.Sprintf("%d MiB and %d files", c.Upload.AccountMiB, c.Upload.AccountFiles),
		fmt.Sprintf("%d days", c.Upload.MessageDays), fmt.Sprintf("until %d MiB are free", 2*c.Journal.MinFreeMiB),
		"/var/lib/bavard/uploads", "max_size_mib = 0", fmt.Sprintf("client_max_body_size %dm;", c.Upload.MaxSizeMiB),
	} {
		if !strings.Contains(steps, want) {
			t.Errorf("no %q in\n%s", want, steps)
		}
	}
}

func TestWriteReplacesNothing(t *testing.T) {
	all, err := Plan{Domain: "chat.example.org"}.Files()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir() + "/new"
	if err := Write(dir, all); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/steps.txt", []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Write(dir, all); err == nil || !strings.Contains(err.Error(), "is there already") {
		t.Errorf("got %v", err)
	}
	if text, err := os.ReadFile(dir + "/steps.txt"); err != nil || string(text) != "mine" {
		t.Errorf("%q, %v", text, err)
	}
}
