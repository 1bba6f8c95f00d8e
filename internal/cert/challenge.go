// SPDX-License-Identifier: Apache-2.0

package cert

import (
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"

	"golang.org/x/crypto/acme"
)

// ChallengePath is below which Store.Challenge answers.
const ChallengePath = "/.well-known/acme-challenge/"

// answers to the challenges of the order under way: at most one for each name.
type answers struct {
	mu    sync.Mutex
	certs map[string]*tls.Certificate // by name, for tls-alpn-01
	texts map[string]string           // by path, for http-01
}

// prepare puts the answer where the authority will look.
func (a *answers) prepare(client *acme.Client, c *acme.Challenge, name string) error {
	switch c.Type {
	case TLSALPN01:
		cert, err := client.TLSALPN01ChallengeCert(c.Token, name)
		if err != nil {
			return err
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.certs == nil {
			a.certs = make(map[string]*tls.Certificate)
		}
		a.certs[name] = &cert
	case HTTP01:
		text, err := client.HTTP01ChallengeResponse(c.Token)
		if err != nil {
			return err
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.texts == nil {
			a.texts = make(map[string]string)
		}
		a.texts[client.HTTP01ChallengePath(c.Token)] = text
	}
	return nil
}

func (a *answers) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.certs)
	clear(a.texts)
}

// configFor answers the handshake of an authority, which offers acme-tls/1 and
// nothing else (RFC 8737 §3); nil for all others.
func (a *answers) configFor(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	if len(hello.SupportedProtos) != 1 || hello.SupportedProtos[0] != acme.ALPNProto {
		return nil, nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	cert := a.certs[strings.ToLower(hello.ServerName)]
	if cert == nil {
		return nil, errors.New("no challenge is under way for this name")
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{acme.ALPNProto},
		Certificates: []tls.Certificate{*cert}, SessionTicketsDisabled: true,
	}, nil
}

// Challenge answers the requests of an authority below ChallengePath (RFC 8555
// §8.3), while one is under way; else it answers 404.
func (s *Store) Challenge() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text := ""
		if s.issuer != nil {
			a := &s.issuer.answers
			a.mu.Lock()
			text = a.texts[r.URL.Path]
			a.mu.Unlock()
		}
		if text == "" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Cache-Control", "no-store")
		_, _ = io.WriteString(w, text) // the authority asks again, if need be
	})
}
