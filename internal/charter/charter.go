// SPDX-License-Identifier: Apache-2.0

// Package charter makes the nodes of a cell known to each other: an authority
// of the cell's own signs a certificate for each, and whoever shows one is a
// member. What a node needs, it gets in a bundle: its certificate and key, the
// authority's certificate, and the secrets that all nodes have to have in common.
// A bundle begins a node, once.
package charter

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"time"
)

const (
	// life of authority and certificates. They are for the nodes among themselves;
	// what ends them is that the authority's key is not kept.
	life = 10 * 365 * 24 * time.Hour
	// backdate lets a node whose clock is behind take them.
	backdate = 24 * time.Hour
	// idBytes name a cell.
	idBytes = 16
	// Most bounds the nodes of a cell, NameMost the bytes of a node's name.
	Most     = 7
	NameMost = 32
)

// ServerName is in each node's certificate and what a node asks of another: it
// stands for "a node of this cell", wherever that runs.
const ServerName = "node.cell.bavard"

// CheckNames errs unless nodes with these names make a cell: an odd number from
// three on, so that one, or more, can be lost.
func CheckNames(names []string) error {
	if len(names) < 3 || len(names) > Most || len(names)%2 == 0 {
		return fmt.Errorf("a cell has three, five or seven nodes, not %d", len(names))
	}
	seen := map[string]bool{}
	for _, n := range names {
		switch {
		case !goodName(n):
			return fmt.Errorf("%q cannot name a node: use 1 to %d small letters, digits and hyphens", n, NameMost)
		case seen[n]:
			return fmt.Errorf("two nodes are called %q", n)
		}
		seen[n] = true
	}
	return nil
}

func goodName(name string) bool {
	ok := name != "" && len(name) <= NameMost && name[0] != '-'
	for _, c := range []byte(name) {
		ok = ok && (c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-')
	}
	return ok
}

// Found makes a cell that serves a domain, of nodes with these names: a bundle for
// each, in the order of their names, good until the time given. common are the files that all nodes have
// in common, by their path in the data directory: those of Common. The authority's
// key is forgotten: nobody can make another node.
func Found(domain string, names []string, common map[string][]byte, now, until time.Time) ([]*Bundle, error) {
	return found(Bundle{Domain: domain, Until: until}, names, common, now)
}

// Grow is Found for a cell that one server begins, with what it has, as the node first; the others
// are let in by it. epoch is what datadir.Dir.Epoch of it says.
func Grow(domain string, names []string, first string, epoch uint16, common map[string][]byte, now, until time.Time) ([]*Bundle, error) {
	if !slices.Contains(names, first) {
		return nil, fmt.Errorf("%q is none of the nodes %s", first, strings.Join(names, ", "))
	}
	return found(Bundle{Domain: domain, Until: until, First: first, Epoch: epoch}, names, common, now)
}

// found makes a bundle for each node from what all have in common.
func found(all Bundle, names []string, common map[string][]byte, now time.Time) ([]*Bundle, error) {
	if err := CheckNames(names); err != nil {
		return nil, err
	}
	if err := checkCommon(common); err != nil {
		return nil, err
	}
	names = slices.Sorted(slices.Values(names))
	var id [idBytes]byte
	if _, err := rand.Read(id[:]); err != nil {
		return nil, fmt.Errorf("found a cell: %w", err)
	}
	a, err := newAuthority(hex.EncodeToString(id[:]), now)
	if err != nil {
		return nil, fmt.Errorf("found a cell: %w", err)
	}
	var bundles []*Bundle
	for _, name := range names {
		b := &Bundle{
			Cell: hex.EncodeToString(id[:]), Domain: all.Domain, Node: name, Nodes: names, Until: all.Until.UTC().Truncate(time.Second),
			First: all.First, Epoch: all.Epoch, authority: a.certificate, common: maps.Clone(common),
		}
		if b.certificate, b.key, err = a.issue(name, now); err != nil {
			return nil, fmt.Errorf("found a cell: %w", err)
		}
		bundles = append(bundles, b)
	}
	return bundles, nil
}

// authority signs the nodes' certificates.
type authority struct {
	parsed      *x509.Certificate
	certificate []byte // DER
	key         *ecdsa.PrivateKey
}

func newAuthority(cell string, now time.Time) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{CommonName: "bavard cell " + cell},
		NotBefore:    now.Add(-backdate), NotAfter: now.Add(life),
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true,
		PermittedDNSDomainsCritical: true, PermittedDNSDomains: []string{ServerName},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParseCertificate(der)
	return &authority{parsed, der, key}, err
}

// issue makes a node's certificate, DER, and its key, PKCS #8.
func (a *authority) issue(node string, now time.Time) (certificate, key []byte, err error) {
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{CommonName: node},
		NotBefore:    now.Add(-backdate), NotAfter: a.parsed.NotAfter,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
		DNSNames:              []string{ServerName, node + "." + ServerName},
	}
	if certificate, err = x509.CreateCertificate(rand.Reader, template, a.parsed, own.Public(), a.key); err != nil {
		return nil, nil, err
	}
	key, err = x509.MarshalPKCS8PrivateKey(own)
	return certificate, key, err
}

func serial() *big.Int {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	b[0] &= 0x7f
	return new(big.Int).SetBytes(b)
}

// Common are the paths, in the data directory, of what all nodes have in common:
// how strangers' logins are answered, what browsers know the server's pushes by,
// and the self-made authority that clients trust.
func Common() []string {
	return []string{"keys/login.key", "keys/vapid.key", "tls/ca.crt", "tls/ca.key"}
}

func checkCommon(common map[string][]byte) error {
	for _, path := range Common() {
		if len(common[path]) == 0 {
			return fmt.Errorf("%s is missing", path)
		}
	}
	if len(common) != len(Common()) {
		return errors.New("it has more files than a node needs: " + strings.Join(slices.Sorted(maps.Keys(common)), ", "))
	}
	return nil
}

func encodePEM(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
