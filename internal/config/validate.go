// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"bavard/internal/jid"
)

// Problem is one thing that is wrong with a configuration.
type Problem struct {
	Key  string // dotted
	Text string // what is wrong
	Hint string // what to do
}

func (p *Problem) Error() string { return p.Key + ": " + p.Text + ": " + p.Hint }

// Validate normalises c and gives every problem at once, joined; each is a
// *Problem.
func (c *Config) Validate() error {
	var v validator
	c.Domain = v.domain(c.Domain)
	if c.Data == "" {
		v.add("data", "is empty", "name the directory in which everything is kept")
	}
	v.origin("public_url", c.PublicURL)
	v.admins(c)
	v.cell(c)
	v.listen(c)
	v.origins(&c.Listen)
	v.tls(c)
	v.limits(&c.Limits)
	v.registration(&c.Registration)
	v.contact(&c.Contact)
	if _, err := prefixesOf(c.Push.Allow); err != nil {
		v.add("push.allow", err.Error(), "write addresses and ranges, like \"192.0.2.1\" and \"10.0.0.0/8\"")
	}
	v.oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	v.oneOf("log.format", c.Log.Format, "text", "json")
	v.journal(&c.Journal)
	v.upload(c)
	v.calls(&c.Calls)
	return errors.Join(v.problems...)
}

type validator struct{ problems []error }

func (v *validator) add(key, text, hint string) {
	v.problems = append(v.problems, &Problem{Key: key, Text: text, Hint: hint})
}

func (v *validator) oneOf(key, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		v.add(key, fmt.Sprintf("%q is not known", value), "use one of "+strings.Join(allowed, ", "))
	}
}

func (v *validator) between(key string, value, low, high int) {
	if value < low || value > high {
		v.add(key, fmt.Sprintf("%d is out of bounds", value), fmt.Sprintf("use %d to %d", low, high))
	}
}

func (v *validator) lasts(key string, value Duration, low, high time.Duration) {
	if value.Std() < low || value.Std() > high {
		v.add(key, value.Std().String()+" is out of bounds", fmt.Sprintf("use %v to %v", low, high))
	}
}

func (v *validator) domain(domain string) string {
	j, err := jid.Parse(domain)
	if err != nil || j.Local() != "" || j.Resource() != "" {
		v.add("domain", fmt.Sprintf("%q is no domain", domain), "use a name like chat.example.org")
		return domain
	}
	return j.Domain()
}

func (v *validator) admins(c *Config) {
	for i, a := range c.Admins {
		j, err := jid.ParseBare(a)
		if err != nil || j.Local() == "" || j.Domain() != c.Domain {
			v.add("admins", fmt.Sprintf("%q is no account of this server", a), "write it like alice@"+c.Domain)
			continue
		}
		c.Admins[i] = j.String()
	}
}

// origin checks the address that something is at the root of.
func (v *validator) origin(key, s string) {
	if s == "" {
		return
	}
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http"):
		v.add(key, fmt.Sprintf("%q is no web address", s), "write it like https://chat.example.org")
	case u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "":
		v.add(key, "has a path", "it is the root of a host name: https://chat.example.org")
	case u.Scheme == "http" && !loopbackHost(u.Hostname()):
		v.add(key, "is not encrypted", "browsers run the app over https only, except on this machine itself")
	}
}

// origins checks the sites whose pages may use the WebSocket: as browsers name
// them, and no patterns.
func (v *validator) origins(l *Listen) {
	const most = 100
	if len(l.Origins) > most {
		v.add("listen.origins", fmt.Sprintf("has %d sites", len(l.Origins)), fmt.Sprintf("name %d at most", most))
	}
	for i, o := range l.Origins {
		if o == "" || strings.ContainsAny(o, `*?[\`) {
			v.add("listen.origins", fmt.Sprintf("%q is no web address", o), "name each site, like https://webchat.example.org")
			continue
		}
		v.origin("listen.origins", o)
		l.Origins[i] = strings.TrimRight(o, "/")
	}
}

func (v *validator) listen(c *Config) {
	l := &c.Listen
	clients := []struct{ key, address string }{
		{"listen.c2s", l.C2S},
		{"listen.c2s_tls", l.C2STLS},
		{"listen.http", l.HTTP},
		{"listen.https", l.HTTPS},
	}
	off := true
	for _, a := range clients {
		off = off && a.address == ""
		if !v.address(a.key, a.address) {
			continue
		}
		if c.InsecureLoopback && !Loopback(a.address) {
			v.add("insecure_loopback", fmt.Sprintf("passwords would be readable on the way to %s %q", a.key, a.address),
				"switch it off, or listen on 127.0.0.1 only")
		}
	}
	v.address("listen.redirect", l.Redirect)
	v.address("listen.metrics", l.Metrics)
	v.address("admin.listen", c.Admin.Listen)
	if _, err := l.proxyPrefixes(); err != nil {
		v.add("listen.proxies", err.Error(), "write addresses like 192.0.2.1, or ranges like 10.0.0.0/8")
	}
	if off {
		v.add("listen", "every address is switched off", "set at least one of c2s, c2s_tls, http, https")
	}
	if _, _, err := net.SplitHostPort(l.HTTP); err == nil && !Loopback(l.HTTP) && !l.BehindProxy {
		v.add("listen.http", fmt.Sprintf("%q can be reached from outside without encryption", l.HTTP),
			"use listen.https, or put a proxy that encrypts before it and set listen.behind_proxy = true")
	}
}

func (v *validator) tls(c *Config) {
	if (c.TLS.Certificate == "") != (c.TLS.Key == "") {
		v.add("tls.certificate", "goes with tls.key", "set both files, or neither for a certificate made by bavard")
	}
	a, l := c.TLS.ACME, c.Listen
	v.oneOf("tls.acme.challenge", a.Challenge, "tls-alpn-01", "http-01")
	if a.Directory == "" {
		return
	}
	if u, err := url.Parse(a.Directory); err != nil || u.Scheme != "https" || u.Host == "" {
		v.add("tls.acme.directory", fmt.Sprintf("%q is no https address", a.Directory),
			"Let's Encrypt's is https://acme-v02.api.letsencrypt.org/directory")
	}
	if !a.Agree {
		v.add("tls.acme.agree", "is not set: the authority asks for your agreement", "read the authority's terms of service and set it to true, or leave tls.acme.directory empty")
	}
	if c.TLS.Certificate != "" {
		v.add("tls.acme.directory", "stands beside tls.certificate", "leave one of the two empty")
	}
	if a.Email != "" && (!strings.Contains(a.Email, "@") || strings.ContainsAny(a.Email, " \t\r\n,<>?&:")) {
		v.add("tls.acme.email", fmt.Sprintf("%q is no e-mail address", a.Email), "write it like admin@example.org, or leave it empty")
	}
	if _, err := netip.ParseAddr(strings.Trim(c.Domain, "[]")); err == nil || c.Domain == "localhost" {
		v.add("tls.acme.directory", fmt.Sprintf("no authority issues a certificate for %q", c.Domain), "it takes a name of the domain name system")
	}
	switch {
	case a.Challenge == "tls-alpn-01" && l.HTTPS == "" && l.C2STLS == "":
		v.add("tls.acme.challenge", "tls-alpn-01 needs a listener that the authority reaches at port 443", `set listen.https = ":443"`)
	case a.Challenge == "http-01" && l.Redirect == "" && (l.HTTP == "" || !l.BehindProxy):
		v.add("tls.acme.challenge", "http-01 needs a listener that the authority reaches at port 80", `set listen.redirect = ":80"`)
	}
}

// AdminBase gives the start of links to the admin page, without a slash at its end, from the
// address that was got for it.
func (c *Config) AdminBase(got string) string {
	if Loopback(got) {
		return "http://" + got
	}
	// The certificate names the domain, no address of the machine.
	_, port, _ := net.SplitHostPort(got)
	host, _, _ := net.SplitHostPort(c.Admin.Listen)
	if host == "" || net.ParseIP(host) != nil {
		host = c.Domain
	}
	return "https://" + net.JoinHostPort(host, port)
}

// CertificateNames are those that a certificate has to have besides the domain:
// the hosts of public_url and upload.url.
func (c *Config) CertificateNames() []string {
	var names []string
	for _, address := range []string{c.PublicURL, c.Upload.URL} {
		u, err := url.Parse(address)
		if err != nil || u.Hostname() == "" || loopbackHost(u.Hostname()) {
			continue
		}
		name := u.Hostname()
		if _, err := netip.ParseAddr(name); err == nil || name == c.Domain || slices.Contains(names, name) {
			continue
		}
		names = append(names, name)
	}
	return names
}

// address checks one address; it reports whether there is a good one.
func (v *validator) address(key, address string) bool {
	if address == "" {
		return false
	}
	_, port, err := net.SplitHostPort(address)
	good := err == nil && goodPort(port)
	if !good {
		v.add(key, fmt.Sprintf("%q is no address", address), "write it like 127.0.0.1:5222, or :5222 for every interface")
	}
	return good
}

func goodPort(port string) bool {
	_, err := strconv.ParseUint(port, 10, 16)
	return err == nil
}

func (v *validator) journal(j *Journal) {
	v.between("journal.min_free_mib", j.MinFreeMiB, 64, 1<<20)
	encrypted := false
	for _, e := range j.Endpoints {
		u, err := url.Parse(e)
		switch {
		case err != nil || u.Port() == "" || u.Hostname() == "" || (u.Scheme != "https" && u.Scheme != "http") || u.Path != "" || u.RawQuery != "":
			v.add("journal.endpoints", fmt.Sprintf("%q is no address of an etcd", e), "write it like https://etcd1.example.org:2379")
		case u.Scheme == "http" && !loopbackHost(u.Hostname()):
			v.add("journal.endpoints", fmt.Sprintf("%q is not encrypted: it would carry every message in the clear", e),
				"use https and journal.ca, certificate and key; http is for this machine only")
		}
		encrypted = encrypted || err == nil && u.Scheme == "https"
	}
	if len(j.Endpoints) == 0 {
		for key, value := range map[string]string{"ca": j.CA, "certificate": j.Certificate, "key": j.Key, "username": j.Username, "password_file": j.PasswordFile, "prefix": j.Prefix} {
			if value != "" {
				v.add("journal."+key, "has no meaning without journal.endpoints", "name the etcd cluster's endpoints, or delete it")
			}
		}
		return
	}
	if (j.Certificate == "") != (j.Key == "") {
		v.add("journal.certificate", "goes with journal.key", "set both files or neither")
	}
	if !encrypted && (j.CA != "" || j.Certificate != "") {
		v.add("journal.ca", "has no meaning for http", "use https in journal.endpoints")
	}
	if (j.Username == "") != (j.PasswordFile == "") {
		v.add("journal.username", "goes with journal.password_file", "set both or neither")
	}
	if len(j.Prefix) > 200 || strings.ContainsFunc(j.Prefix, func(r rune) bool { return r <= ' ' || r > '~' }) {
		v.add("journal.prefix", "is no prefix of keys", "use up to 200 letters, digits and signs, like cell-a/")
	}
}

func (v *validator) upload(c *Config) {
	u := &c.Upload
	v.between("upload.max_size_mib", u.MaxSizeMiB, 0, 10_240)
	v.between("upload.account_mib", u.AccountMiB, 0, 1<<30)
	v.between("upload.account_files", u.AccountFiles, 0, 1_000_000_000)
	v.between("upload.total_mib", u.TotalMiB, 0, 1<<30)
	v.between("upload.message_days", u.MessageDays, 0, 36_500)
	v.between("upload.ephemeral_days", u.EphemeralDays, 1, 36_500)
	if u.AccountMiB > 0 && u.AccountMiB < u.MaxSizeMiB {
		v.add("upload.account_mib", "is less than one file may have", "set it to upload.max_size_mib or more")
	}
	v.origin("upload.url", u.URL)
	own, err := url.Parse(u.URL)
	if err != nil || u.URL == "" {
		return
	}
	app, err := url.Parse(c.LinkBase(c.Listen.HTTPS, c.Listen.HTTP))
	if err == nil && strings.EqualFold(own.Host, app.Host) {
		v.add("upload.url", "is where the app is", "give uploads a host name of their own, or leave it empty")
	}
}

func (v *validator) limits(l *Limits) {
	v.between("limits.connections", l.Connections, 1, 1_000_000)
	v.between("limits.unauthenticated", l.Unauthenticated, 1, 1_000_000)
	v.between("limits.unauthenticated_per_address", l.PerAddress, 1, 1_000_000)
	v.lasts("limits.login_time", l.LoginTime, time.Second, 5*time.Minute)
	v.lasts("limits.resume_time", l.ResumeTime, 0, time.Hour)
	v.between("limits.stanza_kib", l.StanzaKiB, 16, 256)
	v.between("limits.session_stanzas", l.SessionStanzas, 0, 1_000_000)
	v.between("limits.session_kib", l.SessionKiB, 0, 1<<20)
	v.between("limits.account_stanzas", l.AccountStanzas, 0, 1_000_000)
	v.between("limits.account_kib", l.AccountKiB, 0, 1<<20)
	for _, kind := range []struct {
		key              string
		session, account int
	}{{"limits.account_stanzas", l.SessionStanzas, l.AccountStanzas}, {"limits.account_kib", l.SessionKiB, l.AccountKiB}} {
		if kind.account > 0 && kind.account < kind.session {
			v.add(kind.key, "is less than one session may send", "set it to that or more, or to 0 for no limit")
		}
	}
}

func (v *validator) registration(r *Registration) {
	v.between("registration.address_hourly", r.AddressHourly, 1, 100_000)
	v.between("registration.address_daily", r.AddressDaily, r.AddressHourly, 1_000_000)
	v.between("registration.hourly", r.Hourly, 1, 100_000)
	v.between("registration.daily", r.Daily, r.Hourly, 1_000_000)
}

// contactMost bounds the addresses of one kind.
const contactMost = 16

// contact checks URIs (XEP-0157 §xmpp @1.1.1, XEP-0455 §external-disco @0.4.0).
func (v *validator) contact(c *Contact) {
	for _, kind := range []struct {
		key       string
		addresses []string
	}{
		{"abuse", c.Abuse},
		{"admin", c.Admin},
		{"feedback", c.Feedback},
		{"sales", c.Sales},
		{"security", c.Security},
		{"status", c.Status},
		{"support", c.Support},
		{"external_status", c.ExternalStatus},
	} {
		key := "contact." + kind.key
		if len(kind.addresses) > contactMost {
			v.add(key, "has too many addresses", fmt.Sprintf("name at most %d", contactMost))
		}
		for _, a := range kind.addresses {
			u, err := url.Parse(a)
			switch {
			case err != nil || u.Scheme == "" || u.Opaque == "" && u.Host == "" || strings.ContainsAny(a, " <>\"\n\t") || len(a) > 1024:
				v.add(key, fmt.Sprintf("%q is no address", a), "write it like mailto:help@example.org, xmpp:alice@example.org or https://example.org/help")
			case kind.key == "external_status" && (u.Scheme != "https" && u.Scheme != "http" || u.Host == ""):
				v.add(key, fmt.Sprintf("%q is not on the web", a), "write it like https://status.example.net/chat.json")
			}
		}
	}
}

// ProxyPrefixes gives the proxies that are believed: none unless BehindProxy.
func (l *Listen) ProxyPrefixes() []netip.Prefix {
	if !l.BehindProxy {
		return nil
	}
	all, _ := l.proxyPrefixes() // Validate has seen them
	return all
}

func (l *Listen) proxyPrefixes() ([]netip.Prefix, error) { return prefixesOf(l.Proxies) }

// AllowPrefixes gives the networks of Allow.
func (p *Push) AllowPrefixes() []netip.Prefix {
	all, _ := prefixesOf(p.Allow) // Validate has seen them
	return all
}

func prefixesOf(texts []string) ([]netip.Prefix, error) {
	all := make([]netip.Prefix, 0, len(texts))
	for _, text := range texts {
		if ip, err := netip.ParseAddr(text); err == nil {
			all = append(all, netip.PrefixFrom(ip, ip.BitLen()))
			continue
		}
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("%q is no address", text)
		}
		all = append(all, p.Masked())
	}
	return all, nil
}

// Loopback reports whether address (host:port) can only be reached from this
// machine. A host name other than localhost is taken for reachable.
func Loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	return err == nil && loopbackHost(host)
}

func loopbackHost(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// LinkBase gives the start of the app's links, without a slash at its end, from
// public_url or else from the addresses that were got for https and http
// (host:port, "" for none).
func (c *Config) LinkBase(https, http string) string {
	if c.PublicURL != "" {
		return strings.TrimRight(c.PublicURL, "/")
	}
	if https != "" {
		return "https://" + withPort(c.Domain, https, "443")
	}
	if http == "" || !Loopback(http) {
		return "https://" + c.Domain // a proxy stands before it
	}
	host, _, _ := net.SplitHostPort(http)
	if host == "127.0.0.1" || host == "::1" {
		// Browsers treat both as secure, but passkeys need a name.
		host = "localhost"
	}
	return "http://" + withPort(host, http, "80")
}

// UploadBase gives the start of the addresses of uploads: upload.url or that of the
// app's links; "" when neither is there.
func (c *Config) UploadBase(https, http string) string {
	switch {
	case c.Upload.URL != "":
		return strings.TrimRight(c.Upload.URL, "/")
	case c.PublicURL == "" && https == "" && http == "":
		return ""
	}
	return c.LinkBase(https, http)
}

func withPort(host, address, standard string) string {
	_, port, err := net.SplitHostPort(address)
	if err != nil || port == standard {
		return host
	}
	return net.JoinHostPort(host, port)
}
