// SPDX-License-Identifier: Apache-2.0

package cert

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"bavard/internal/datadir"
)

const (
	caCertName     = "ca.crt"
	caKeyName      = "ca.key"
	serverCertName = "server.crt"
	serverKeyName  = "server.key"

	caLife     = 10 * 365 * 24 * time.Hour
	serverLife = 365 * 24 * time.Hour
	// renewBefore is how long before its end the server's certificate is made
	// anew.
	renewBefore = 60 * 24 * time.Hour
	// backdate lets clients whose clock is behind take a new certificate.
	backdate = 24 * time.Hour
)

// checkSelfMade loads the self-made certificate, and makes what is missing,
// damaged, for another domain or near its end.
func (s *Store) checkSelfMade() error {
	if c := s.Current(); c != nil && s.good(c.Leaf) {
		return nil
	}
	if err := os.MkdirAll(s.o.Dir, 0o700); err != nil {
		return err
	}
	ca, err := s.authority()
	if err != nil {
		return err
	}
	certFile, keyFile := filepath.Join(s.o.Dir, serverCertName), filepath.Join(s.o.Dir, serverKeyName)
	if c, err := load(certFile, keyFile); err == nil && s.good(c.Leaf) && c.Leaf.CheckSignatureFrom(ca.Leaf) == nil {
		s.use(c, true)
		return nil
	}
	if err := s.issue(ca, certFile, keyFile); err != nil {
		return err
	}
	c, err := load(certFile, keyFile)
	if err != nil {
		return err
	}
	s.use(c, true)
	return nil
}

// good reports whether leaf is for the domain and not near its end.
func (s *Store) good(leaf *x509.Certificate) bool {
	return leaf.VerifyHostname(s.o.Domain) == nil && s.o.Now().Before(leaf.NotAfter.Add(-renewBefore))
}

// authority loads the authority, or makes one that can sign for the domain.
func (s *Store) authority() (*tls.Certificate, error) {
	certFile, keyFile := filepath.Join(s.o.Dir, caCertName), filepath.Join(s.o.Dir, caKeyName)
	if ca, err := load(certFile, keyFile); err == nil && s.signsFor(ca.Leaf) {
		return ca, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	names, ips := s.names()
	now := s.o.Now()
	template := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: "bavard authority for " + s.o.Domain},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(caLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
		// Who trusts this authority trusts it for these names only (RFC 5280
		// §4.2.1.10), whatever becomes of its key.
		PermittedDNSDomainsCritical: true,
		PermittedDNSDomains:         names,
		PermittedIPRanges:           ranges(ips),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	if err := write(certFile, keyFile, key, der); err != nil {
		return nil, err
	}
	s.o.Logger.Info("certificate authority made", "file", certFile)
	return load(certFile, keyFile)
}

// signsFor reports whether the authority ca may sign for the domain for the
// life of a new certificate.
func (s *Store) signsFor(ca *x509.Certificate) bool {
	if !ca.IsCA || s.o.Now().Add(serverLife).After(ca.NotAfter) {
		return false
	}
	names, ips := s.names()
	for _, n := range names {
		if !contains(ca.PermittedDNSDomains, n) {
			return false
		}
	}
	for _, ip := range ips {
		if !permitted(ca.PermittedIPRanges, ip) {
			return false
		}
	}
	return true
}

// issue makes the server's certificate.
func (s *Store) issue(ca *tls.Certificate, certFile, keyFile string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	names, ips := s.names()
	now := s.o.Now()
	template := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: s.o.Domain},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(serverLife),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		DNSNames:              names,
		IPAddresses:           ips,
	}
	if len(s.o.Domain) > 64 {
		template.Subject = pkix.Name{} // ub-common-name (RFC 5280 appendix A)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.Leaf, key.Public(), ca.PrivateKey)
	if err != nil {
		return err
	}
	return write(certFile, keyFile, key, der, ca.Leaf.Raw)
}

// names gives what the certificate is for: the domain, and this machine.
func (s *Store) names() ([]string, []net.IP) {
	names := []string{"localhost"}
	ips := []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	switch ip := net.ParseIP(s.o.Domain); {
	case ip != nil && !ip.IsLoopback():
		ips = append(ips, ip)
	case ip == nil && s.o.Domain != "localhost":
		names = append([]string{s.o.Domain}, names...)
	}
	return names, ips
}

// ranges gives each address as a range of one.
func ranges(ips []net.IP) []*net.IPNet {
	all := make([]*net.IPNet, 0, len(ips))
	for _, ip := range ips {
		bits := 128
		if four := ip.To4(); four != nil {
			ip, bits = four, 32
		}
		all = append(all, &net.IPNet{IP: ip, Mask: net.CIDRMask(bits, bits)})
	}
	return all
}

func permitted(all []*net.IPNet, ip net.IP) bool {
	for _, n := range all {
		if n.Contains(ip) {
			return true
		}
	}
	return false
}

func contains(all []string, name string) bool {
	for _, n := range all {
		if n == name {
			return true
		}
	}
	return false
}

func serial() *big.Int {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	b[0] &= 0x7f
	return new(big.Int).SetBytes(b)
}

// write writes the key, then the chain: if it stops in between they do not fit,
// and both are made anew.
func write(certFile, keyFile string, key *ecdsa.PrivateKey, chain ...[]byte) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if err := datadir.WriteFile(keyFile, text, 0o600); err != nil {
		return fmt.Errorf("write key: %w", err)
	}
	var all []byte
	for _, c := range chain {
		all = append(all, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c})...)
	}
	if err := datadir.WriteFile(certFile, all, 0o600); err != nil {
		return fmt.Errorf("write certificate: %w", err)
	}
	return nil
}
