// SPDX-License-Identifier: Apache-2.0

// Package quickstart writes down what is needed to run bavard for real under a
// domain: DNS records, configuration, systemd unit, firewall, and the steps.
package quickstart

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"golang.org/x/net/idna"

	"bavard/internal/config"
)

//go:embed templates
var templates embed.FS // immutable

// Plan says for what.
type Plan struct {
	// Domain of the addresses, normalised, and Host, the name of the machine
	// when it has another one; "" means Domain.
	Domain, Host string
	// Addresses of this machine; those that are not public are left out.
	Addresses []netip.Addr
}

// File is one of the results.
type File struct {
	Name  string
	Title string
	Text  string
}

// Files gives all, in the order in which they are read.
func (p Plan) Files() ([]File, error) {
	data, err := p.data()
	if err != nil {
		return nil, err
	}
	all := []File{
		{Name: "steps.txt", Title: "What to do"},
		{Name: "dns.zone", Title: "DNS records"},
		{Name: "firewall.txt", Title: "Firewall"},
		{Name: "bavard.toml", Title: "Configuration, /etc/bavard/bavard.toml"},
		{Name: "bavard.service", Title: "systemd unit, /etc/systemd/system/bavard.service"},
		{Name: "bavard-backup.service", Title: "systemd unit, /etc/systemd/system/bavard-backup.service"},
		{Name: "bavard-backup.timer", Title: "systemd timer, /etc/systemd/system/bavard-backup.timer"},
	}
	set, err := template.ParseFS(templates, "templates/*")
	if err != nil {
		return nil, fmt.Errorf("quickstart: %w", err)
	}
	for i := range all {
		var text strings.Builder
		if err := set.ExecuteTemplate(&text, all[i].Name, data); err != nil {
			return nil, fmt.Errorf("quickstart: %w", err)
		}
		all[i].Text = text.String()
	}
	return all, nil
}

// record is an address record.
type record struct{ Type, Address string }

// values are what the templates speak of. Names that end in a dot are as DNS
// writes them.
type values struct {
	Domain, Host, ASCII  string
	DomainName, HostName string
	Client, Clients      string
	Names                string   // in a sentence
	Certificate          []string // as certbot takes them
	Known, NAT           bool
	Addresses            []record
	Upload               config.Upload // the defaults
	UploadsFree          int           // MiB that uploads leave free
}

func (p Plan) data() (values, error) {
	defaults := config.Default()
	v := values{Domain: p.Domain, Host: p.Host, Upload: defaults.Upload, UploadsFree: 2 * defaults.Journal.MinFreeMiB}
	if v.Host == "" {
		v.Host = v.Domain
	}
	var err error
	if v.ASCII, err = idna.Lookup.ToASCII(v.Domain); err != nil {
		return v, fmt.Errorf("the domain %s: %w", v.Domain, err)
	}
	host, err := idna.Lookup.ToASCII(v.Host)
	if err != nil {
		return v, fmt.Errorf("the host %s: %w", v.Host, err)
	}
	v.DomainName, v.HostName = v.ASCII+".", host+"."
	v.Client, v.Clients = "_xmpp-client._tcp."+v.DomainName, "_xmpps-client._tcp."+v.DomainName
	v.Names, v.Certificate = v.Domain, []string{v.ASCII}
	if host != v.ASCII {
		v.Names, v.Certificate = v.Domain+" and "+v.Host, append(v.Certificate, host)
	}
	for _, a := range p.Addresses {
		switch {
		case !public(a):
			v.NAT = true
		case a.Is4():
			v.Addresses = append(v.Addresses, record{"A   ", a.String()})
		default:
			v.Addresses = append(v.Addresses, record{"AAAA", a.String()})
		}
	}
	if v.Known = len(p.Addresses) > 0; len(v.Addresses) == 0 {
		// Addresses for documentation.
		v.Addresses = []record{{"A   ", "192.0.2.1"}, {"AAAA", "2001:db8::1"}}
	} else {
		v.NAT = false
	}
	return v, nil
}

// public reports whether the Internet knows the way to an address.
func public(a netip.Addr) bool {
	if !a.IsGlobalUnicast() || a.IsPrivate() {
		return false
	}
	for _, p := range []string{
		"100.64.0.0/10",                                     // behind a provider's NAT
		"192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", // for documentation
		"2001:db8::/32", // for documentation
		"198.18.0.0/15", // for benchmarks
	} {
		if netip.MustParsePrefix(p).Contains(a) {
			return false
		}
	}
	return true
}

// Write puts the files into a directory, which it makes if need be. It
// replaces nothing: what is there may have been changed by hand.
func Write(dir string, files []File) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("quickstart: %w", err)
	}
	for _, f := range files {
		name := filepath.Join(dir, f.Name)
		if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s is there already: name another directory, or move it away", name)
		}
	}
	for _, f := range files {
		if err := os.WriteFile(filepath.Join(dir, f.Name), []byte(f.Text), 0o644); err != nil {
			return fmt.Errorf("quickstart: %w", err)
		}
	}
	return nil
}
