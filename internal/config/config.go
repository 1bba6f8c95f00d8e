// SPDX-License-Identifier: Apache-2.0

// Package config holds what an operator can set: one struct, its defaults, how
// it is read from TOML and what is refused. bavard.toml at the root is its
// annotated form; a test holds the two together.
package config

import (
	"fmt"
	"time"
)

// Config is the whole configuration of one server. bavard.toml says what each
// key means to an operator.
type Config struct {
	// Domain of all addresses; normalised by Validate.
	Domain string `toml:"domain"`
	// Data directory.
	Data string `toml:"data"`
	// PublicURL is where people reach the app; "" means LinkBase works it out.
	PublicURL string `toml:"public_url"`
	// InsecureLoopback allows passwords over unencrypted connections; only with
	// nothing but loopback listeners.
	InsecureLoopback bool `toml:"insecure_loopback"`

	// Admins are the addresses that manage accounts from their client;
	// normalised by Validate.
	Admins []string `toml:"admins"`

	Cell         Cell         `toml:"cell"`
	Listen       Listen       `toml:"listen"`
	Admin        Admin        `toml:"admin"`
	TLS          TLS          `toml:"tls"`
	Limits       Limits       `toml:"limits"`
	Registration Registration `toml:"registration"`
	Contact      Contact      `toml:"contact"`
	Push         Push         `toml:"push"`
	Log          Log          `toml:"log"`
	Journal      Journal      `toml:"journal"`
	Upload       Upload       `toml:"upload"`
	Calls        Calls        `toml:"calls"`
}

// Listen holds the addresses, as host:port; "" is off.
type Listen struct {
	C2S    string `toml:"c2s"`     // STARTTLS
	C2STLS string `toml:"c2s_tls"` // direct TLS
	HTTP   string `toml:"http"`    // app and WebSocket, plaintext
	HTTPS  string `toml:"https"`   // app and WebSocket, TLS
	// Redirect sends browsers that come without encryption to the app's
	// address, and answers ACME's http-01.
	Redirect string `toml:"redirect"`
	Metrics  string `toml:"metrics"` // Prometheus, plaintext
	// BehindProxy: HTTP is reached through a proxy that encrypts.
	BehindProxy bool `toml:"behind_proxy"`
	// Proxies are the addresses and ranges of that proxy; see ProxyPrefixes.
	Proxies []string `toml:"proxies"`
	// Origins are the sites, besides the app's own, whose pages may use the
	// WebSocket; at most 100.
	Origins []string `toml:"origins"`
}

// Admin is the page that shows operators how the server is.
type Admin struct {
	Listen string `toml:"listen"` // host:port, plaintext on loopback and else TLS; "" is off
}

// TLS says where the certificate comes from: PEM files, or ACME when its
// directory is set, or else the self-made authority in Data/tls.
type TLS struct {
	Certificate string `toml:"certificate"`
	Key         string `toml:"key"`
	ACME        ACME   `toml:"acme"`
}

// ACME names the authority that issues the certificate (RFC 8555).
type ACME struct {
	Directory string `toml:"directory"` // "" is off
	Agree     bool   `toml:"agree"`     // to the authority's terms of service
	Email     string `toml:"email"`
	Challenge string `toml:"challenge"` // tls-alpn-01, http-01
	Roots     string `toml:"roots"`     // PEM file; "" takes the system's
}

// Limits on what strangers and clients can take.
type Limits struct {
	Connections     int      `toml:"connections"`                 // at the same time
	Unauthenticated int      `toml:"unauthenticated"`             // of these, not logged in
	PerAddress      int      `toml:"unauthenticated_per_address"` // of these, from an IPv4 address or IPv6 /64; loopback exempt
	LoginTime       Duration `toml:"login_time"`                  // from accept to bound
	ResumeTime      Duration `toml:"resume_time"`                 // XEP-0198 max
	StanzaKiB       int      `toml:"stanza_kib"`                  // of an authenticated client
	SessionStanzas  int      `toml:"session_stanzas"`             // in a second, of a session; 0 is no limit
	SessionKiB      int      `toml:"session_kib"`                 // likewise
	AccountStanzas  int      `toml:"account_stanzas"`             // of all sessions of an account
	AccountKiB      int      `toml:"account_kib"`
}

// Registration without an invite.
type Registration struct {
	Open          bool `toml:"open"`
	AddressHourly int  `toml:"address_hourly"` // accounts from an IPv4 address or IPv6 /64; loopback exempt
	AddressDaily  int  `toml:"address_daily"`
	Hourly        int  `toml:"hourly"` // accounts in all
	Daily         int  `toml:"daily"`
}

// Contact holds URIs by which who runs the server is reached; Validate looks at
// them.
type Contact struct {
	Abuse    []string `toml:"abuse"`
	Admin    []string `toml:"admin"`
	Feedback []string `toml:"feedback"`
	Sales    []string `toml:"sales"`
	Security []string `toml:"security"`
	Status   []string `toml:"status"`
	Support  []string `toml:"support"`
	// ExternalStatus are files that are kept elsewhere, and tell of outages; the app may
	// connect to their origins.
	ExternalStatus []string `toml:"external_status"`
}

// Push says how people are notified while the app is closed.
type Push struct {
	Enabled bool `toml:"enabled"`
	// Allow are the networks besides the public one that push services may be in;
	// see AllowPrefixes.
	Allow []string `toml:"allow"`
	Roots string   `toml:"roots"` // PEM file; "" takes the system's
}

// Log says what is logged to standard error and how.
type Log struct {
	Level  string `toml:"level"`  // debug, info, warn, error
	Format string `toml:"format"` // text, json
}

// Journal settings.
type Journal struct {
	// MinFreeMiB is the low-water mark of the disk under which appends are
	// refused.
	MinFreeMiB int `toml:"min_free_mib"`
	// Endpoints are URLs of an etcd cluster of the operator's own; none runs etcd
	// in this process. The others belong to it.
	Endpoints    []string `toml:"endpoints"`
	CA           string   `toml:"ca"`            // PEM; "" for the system's
	Certificate  string   `toml:"certificate"`   // PEM, to show who we are; "" for none
	Key          string   `toml:"key"`           // PEM
	Username     string   `toml:"username"`      // etcd's; "" for none
	PasswordFile string   `toml:"password_file"` // its first line
	Prefix       string   `toml:"prefix"`        // before each key
}

// Upload says which files people may share, and for how long they are kept.
type Upload struct {
	MaxSizeMiB    int    `toml:"max_size_mib"`  // of one file; 0 switches uploads off
	AccountMiB    int    `toml:"account_mib"`   // of an account's files together; 0 is no limit
	AccountFiles  int    `toml:"account_files"` // 0 is no limit
	TotalMiB      int    `toml:"total_mib"`     // of all files; 0 is what the disk holds
	MessageDays   int    `toml:"message_days"`  // 0 is for ever
	EphemeralDays int    `toml:"ephemeral_days"`
	URL           string `toml:"url"` // an origin of their own; "" is that of the app
}

// Default is what bavard.toml says.
func Default() Config {
	return Config{
		Domain: "localhost",
		Data:   "data",
		Admins: []string{},
		Cell:   Cell{Nodes: []string{}, Addresses: []string{}},
		Listen: Listen{
			C2S:    "127.0.0.1:5222",
			C2STLS: "127.0.0.1:5223",
			HTTP:   "127.0.0.1:5280",

			Proxies: []string{"127.0.0.1", "::1"},
			Origins: []string{},
		},
		TLS: TLS{ACME: ACME{Challenge: "tls-alpn-01"}},
		Limits: Limits{
			Connections:     15000,
			Unauthenticated: 2000,
			PerAddress:      100,
			LoginTime:       Duration(10 * time.Second),
			ResumeTime:      Duration(5 * time.Minute),
			StanzaKiB:       256,
			SessionStanzas:  2000,
			SessionKiB:      4096,
			AccountStanzas:  3000,
			AccountKiB:      8192,
		},
		Registration: Registration{AddressHourly: 3, AddressDaily: 10, Hourly: 60, Daily: 300},
		Contact: Contact{
			Abuse: []string{}, Admin: []string{}, Feedback: []string{}, Sales: []string{}, Security: []string{},
			Status: []string{}, Support: []string{}, ExternalStatus: []string{},
		},
		Push:    Push{Enabled: true, Allow: []string{}},
		Log:     Log{Level: "info", Format: "text"},
		Journal: Journal{MinFreeMiB: 512, Endpoints: []string{}},
		Upload:  Upload{MaxSizeMiB: 100, AccountMiB: 5120, AccountFiles: 20_000, MessageDays: 365, EphemeralDays: 30},
		Calls:   Calls{Servers: []string{}, CredentialsTime: Duration(12 * time.Hour)},
	}
}

// Duration is a time.Duration that is written like "10s" or "5m".
type Duration time.Duration

// Std gives the time.Duration.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// MarshalText writes it like "5m0s".
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.Std().String()), nil }

// UnmarshalText reads what time.ParseDuration reads.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a duration: write it like \"10s\", \"5m\" or \"1h30m\"", text)
	}
	*d = Duration(v)
	return nil
}
