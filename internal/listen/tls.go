// SPDX-License-Identifier: Apache-2.0

package listen

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"sync"
)

// protocolXMPP is the ALPN name of XMPP from the first byte (XEP-0368 §registrar
// @1.1.0).
const protocolXMPP = "xmpp-client"

// protocolACME is that of an authority which checks who has a name (RFC 8737
// §6.2).
const protocolACME = "acme-tls/1"

var errChallenge = errors.New("listen: the peer came for an ACME challenge, and has its answer")

// configs derives from a configuration what each kind of connection needs, once
// for as long as it stays the same: session tickets are keyed by the derived
// configuration, so a ticket lives as long as its certificate and no longer.
type configs struct {
	mu      sync.Mutex
	derived map[string]derivedConfig // by ALPN protocol
}

type derivedConfig struct{ from, config *tls.Config }

// get gives base with this ALPN protocol ("" for none) and TLS 1.2 at least
// (RFC 7590 §3.1, RFC 9325 §3.1.1).
func (c *configs) get(base *tls.Config, protocol string) *tls.Config {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d := c.derived[protocol]; d.from == base {
		return d.config
	}
	cfg := base.Clone()
	cfg.MinVersion = max(cfg.MinVersion, tls.VersionTLS12)
	cfg.NextProtos = nil
	if protocol != "" {
		cfg.NextProtos = []string{protocol}
	}
	if c.derived == nil {
		c.derived = make(map[string]derivedConfig)
	}
	c.derived[protocol] = derivedConfig{base, cfg}
	return cfg
}

// certificateOf gives the certificate that every connection of a configuration
// is served, nil when there is not exactly one.
func certificateOf(cfg *tls.Config) *tls.Certificate {
	if len(cfg.Certificates) != 1 || cfg.GetCertificate != nil {
		return nil
	}
	return &cfg.Certificates[0]
}

// Encrypt makes a listener of TLS, for HTTP, with the configuration that is
// current when a connection comes. A WebSocket on it knows its certificate.
func (s *Server) Encrypt(l net.Listener, protocol string) net.Listener {
	return &tlsListener{Listener: l, server: s, protocol: protocol}
}

type tlsListener struct {
	net.Listener
	server   *Server
	protocol string
}

func (l *tlsListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	cfg := l.server.configs.get(l.server.cfg.TLS(), l.protocol)
	return tls.Server(&certifiedConn{conn, certificateOf(cfg)}, cfg), nil
}

// certifiedConn is a connection under TLS that knows the certificate.
type certifiedConn struct {
	net.Conn
	certificate *tls.Certificate
}

// Binding is data that names the TLS channel of a stream (RFC 5056 §2): its
// registered type and what both ends know.
type Binding struct {
	Type string
	Data []byte
}

// Bindings gives what the stream's TLS can be bound to, the strongest first;
// none where TLS is not ours, as behind a proxy. It does not change until the
// stream starts TLS.
func (s *Stream) Bindings() []Binding {
	state, ok := s.TLSState()
	if !ok || s.proxied {
		return nil
	}
	var all []Binding
	// RFC 9266 §4: the exporter of TLS 1.3, or of TLS 1.2 where the handshake
	// has an extended master secret (RFC 7627), and no renegotiation: Go's
	// refuses in all other cases. The context is empty, not absent.
	if data, err := state.ExportKeyingMaterial("EXPORTER-Channel-Binding", []byte{}, 32); err == nil {
		all = append(all, Binding{"tls-exporter", data})
	}
	if data := endPoint(s.certificate()); data != nil {
		all = append(all, Binding{"tls-server-end-point", data})
	}
	return all
}

// certificate that this connection was served, or that it had been served when
// the TLS session began that it resumes; nil when that is not known.
func (s *Stream) certificate() *tls.Certificate {
	if s.served != nil {
		return s.served
	}
	if c, ok := s.conn.Conn.(*tls.Conn); ok {
		if under, ok := c.NetConn().(*certifiedConn); ok {
			return under.certificate
		}
	}
	return nil
}

// endPoint hashes a certificate as its signature's algorithm says, with
// SHA-256 instead of MD5 and SHA-1 (RFC 5929 §4.1); nil when the algorithm
// has no hash function, as Ed25519: nothing is defined for it.
func endPoint(c *tls.Certificate) []byte {
	if c == nil || len(c.Certificate) == 0 {
		return nil
	}
	leaf := c.Leaf
	if leaf == nil {
		var err error
		if leaf, err = x509.ParseCertificate(c.Certificate[0]); err != nil {
			return nil
		}
	}
	var hash crypto.Hash
	switch leaf.SignatureAlgorithm {
	case x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1,
		x509.SHA256WithRSA, x509.SHA256WithRSAPSS, x509.ECDSAWithSHA256, x509.DSAWithSHA256:
		hash = crypto.SHA256
	case x509.SHA384WithRSA, x509.SHA384WithRSAPSS, x509.ECDSAWithSHA384:
		hash = crypto.SHA384
	case x509.SHA512WithRSA, x509.SHA512WithRSAPSS, x509.ECDSAWithSHA512:
		hash = crypto.SHA512
	default:
		return nil
	}
	h := hash.New()
	h.Write(c.Certificate[0])
	return h.Sum(nil)
}
