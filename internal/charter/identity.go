// SPDX-License-Identifier: Apache-2.0

package charter

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"time"
)

// Identity is what a node shows to the others, and knows them by.
type Identity struct {
	own       tls.Certificate
	authority *x509.CertPool
}

// Identity reads the certificates of the member.
func (m *Member) Identity() (*Identity, error) {
	own, err := tls.LoadX509KeyPair(m.Certificate(), m.Key())
	if err != nil {
		return nil, fmt.Errorf("the node's certificate: %w", err)
	}
	text, err := os.ReadFile(m.CA())
	if err != nil {
		return nil, fmt.Errorf("the cell's authority: %w", err)
	}
	authority := x509.NewCertPool()
	if !authority.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("the cell's authority: %s holds no certificate", m.CA())
	}
	return &Identity{own, authority}, nil
}

// Serving is for listeners that nodes of the cell alone come to; which one it is
// stands in the certificate, as its common name.
func (i *Identity) Serving() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{i.own}, ClientCAs: i.authority, ClientAuth: tls.RequireAndVerifyClientCert}
}

// Calling is for connections to that node of the cell, and no other.
func (i *Identity) Calling(node string) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{i.own}, RootCAs: i.authority, ServerName: node + "." + ServerName}
}

// Until is when the node's certificate ends.
func (i *Identity) Until() (time.Time, error) {
	leaf, err := x509.ParseCertificate(i.own.Certificate[0])
	if err != nil {
		return time.Time{}, fmt.Errorf("the node's certificate: %w", err)
	}
	return leaf.NotAfter, nil
}
