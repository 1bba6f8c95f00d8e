// SPDX-License-Identifier: Apache-2.0

package cert

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/crypto/acme"

	"bavard/internal/datadir"
)

// Challenges by which an authority checks who has a name.
const (
	// TLSALPN01 is answered within the handshakes of every TLS listener; the
	// authority comes to port 443 (RFC 8737 §3).
	TLSALPN01 = "tls-alpn-01"
	// HTTP01 is answered by Store.Challenge; the authority comes to port 80
	// (RFC 8555 §8.3).
	HTTP01 = "http-01"
)

const (
	accountKeyName = "account.key"
	acmeCertName   = datadir.ACMECertificate // the key and the chain, replaced as one

	// obtainTimeout bounds one attempt to obtain a certificate.
	obtainTimeout = 5 * time.Minute
	// requestTimeout bounds one request of it.
	requestTimeout = 30 * time.Second
	// requestRetries of a request that the authority could not answer.
	requestRetries = 3
)

// ACME says which authority issues the certificate, and how (RFC 8555). Whoever
// fills it in has agreed to the authority's terms of service.
type ACME struct {
	// Directory is the address of the authority's directory.
	Directory string
	// Email for the authority to write to; may be "".
	Email string
	// Challenge is TLSALPN01 or HTTP01.
	Challenge string
	// Names that the certificate is for, besides the domain; host names.
	Names []string
	// Roots is a PEM file of authorities to trust for the connection to
	// Directory; "" takes the system's.
	Roots string
	// UserAgent tells the authority who asks, like "bavard/1.0".
	UserAgent string
}

// issuer obtains certificates from one authority.
type issuer struct {
	o       ACME
	names   []string // A-labels, the domain first
	dir     string
	account string // its address, as CAA records name it (RFC 8657 §3)
	answers answers
}

// newIssuer keeps its account and certificate below dir.
func newIssuer(o ACME, domain, dir string) (*issuer, error) {
	dir, err := datadir.ACMEDir(dir, o.Directory)
	if err != nil {
		return nil, err
	}
	i := &issuer{o: o, dir: dir}
	for _, n := range append([]string{domain}, o.Names...) {
		if n = ascii(n); !contains(i.names, n) {
			i.names = append(i.names, n)
		}
	}
	return i, os.MkdirAll(i.dir, 0o700)
}

// stored loads what was obtained before. The error is fs.ErrNotExist when there
// is nothing.
func (i *issuer) stored() (*tls.Certificate, error) {
	file := filepath.Join(i.dir, acmeCertName)
	if _, err := os.Stat(file); err != nil {
		return nil, err
	}
	return load(file, file)
}

// obtain gets a certificate for all names and stores it. Errors that the
// authority answered with are among acme's types.
func (i *issuer) obtain(ctx context.Context) (*tls.Certificate, error) {
	ctx, cancel := context.WithTimeout(ctx, obtainTimeout)
	defer cancel()
	client, err := i.client()
	if err != nil {
		return nil, err
	}
	defer client.HTTPClient.CloseIdleConnections()
	if err := i.register(ctx, client); err != nil {
		return nil, fmt.Errorf("account: %w", err)
	}
	order, err := client.AuthorizeOrder(ctx, acme.DomainIDs(i.names...))
	if err != nil {
		return nil, fmt.Errorf("order: %w", err)
	}
	defer i.answers.forget()
	for _, address := range order.AuthzURLs {
		if err := i.prove(ctx, client, address); err != nil {
			return nil, err
		}
	}
	if order, err = client.WaitOrder(ctx, order.URI); err != nil {
		return nil, fmt.Errorf("order: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: i.names}, key)
	if err != nil {
		return nil, err
	}
	chain, _, err := client.CreateCertFromOrder(ctx, order, csr, true)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	return i.keep(key, chain)
}

// keep stores a certificate, once it is what was ordered.
func (i *issuer) keep(key *ecdsa.PrivateKey, chain [][]byte) (*tls.Certificate, error) {
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	if !key.PublicKey.Equal(leaf.PublicKey) {
		return nil, errors.New("certificate: it is for another key")
	}
	if !i.covers(leaf) {
		return nil, fmt.Errorf("certificate: it is for %v, not for %v", leaf.DNSNames, i.names)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	for _, c := range chain {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c})...)
	}
	if err := datadir.WriteFile(filepath.Join(i.dir, acmeCertName), text, 0o600); err != nil {
		return nil, fmt.Errorf("write certificate: %w", err)
	}
	return i.stored()
}

// covers reports whether leaf is for all names.
func (i *issuer) covers(leaf *x509.Certificate) bool {
	for _, n := range i.names {
		if leaf.VerifyHostname(n) != nil {
			return false
		}
	}
	return true
}

// client makes what speaks to the authority, with the account's key.
func (i *issuer) client() (*acme.Client, error) {
	key, err := i.accountKey()
	if err != nil {
		return nil, fmt.Errorf("account key: %w", err)
	}
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSHandshakeTimeout: requestTimeout, ResponseHeaderTimeout: requestTimeout,
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
	}
	if i.o.Roots != "" {
		text, err := os.ReadFile(i.o.Roots)
		if err != nil {
			return nil, err
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%s holds no certificate", i.o.Roots)
		}
		transport.TLSClientConfig.RootCAs = pool
	}
	return &acme.Client{
		Key: key, DirectoryURL: i.o.Directory, UserAgent: i.o.UserAgent,
		HTTPClient: &http.Client{Transport: transport, Timeout: requestTimeout},
		RetryBackoff: func(n int, _ *http.Request, _ *http.Response) time.Duration {
			if n > requestRetries {
				return 0
			}
			return time.Second << n
		},
	}, nil
}

// accountKey loads the key of the account with the authority, or makes one.
func (i *issuer) accountKey() (crypto.Signer, error) {
	file := filepath.Join(i.dir, accountKeyName)
	text, err := os.ReadFile(file)
	if err == nil {
		block, _ := pem.Decode(text)
		if block == nil {
			return nil, fmt.Errorf("%s holds no key: restore it, or delete it to begin a new account", file)
		}
		key, err := x509.ParseECPrivateKey(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w: restore it, or delete it to begin a new account", file, err)
		}
		return key, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, datadir.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600)
}

// register makes the account, or finds it (RFC 8555 §7.3, §7.3.1).
func (i *issuer) register(ctx context.Context, client *acme.Client) error {
	account := &acme.Account{}
	if i.o.Email != "" {
		account.Contact = []string{"mailto:" + i.o.Email}
	}
	if _, err := client.Register(ctx, account, acme.AcceptTOS); err != nil && !errors.Is(err, acme.ErrAccountAlreadyExists) {
		return err
	}
	i.account = string(client.KID)
	return nil
}

// prove answers the challenge for one name and waits until the authority has
// seen it (RFC 8555 §7.5).
func (i *issuer) prove(ctx context.Context, client *acme.Client, address string) error {
	authz, err := client.GetAuthorization(ctx, address)
	if err != nil {
		return fmt.Errorf("authorization: %w", err)
	}
	if authz.Status == acme.StatusValid { // from an earlier order
		return nil
	}
	name := authz.Identifier.Value
	var offered []string
	for _, c := range authz.Challenges {
		if offered = append(offered, c.Type); c.Type != i.o.Challenge {
			continue
		}
		if err := i.answers.prepare(client, c, name); err != nil {
			return fmt.Errorf("challenge for %s: %w", name, err)
		}
		if _, err := client.Accept(ctx, c); err != nil {
			return fmt.Errorf("challenge for %s: %w", name, err)
		}
		if _, err := client.WaitAuthorization(ctx, address); err != nil {
			return fmt.Errorf("the authority did not see that %s is this server: %w", name, err)
		}
		return nil
	}
	return fmt.Errorf("the authority offers no %s for %s, but %v", i.o.Challenge, name, offered)
}
