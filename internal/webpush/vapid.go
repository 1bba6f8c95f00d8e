// SPDX-License-Identifier: Apache-2.0

package webpush

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"sync"
	"time"
)

// Key signs who a push comes from (RFC 8292 §2). Browsers are subscribed to it:
// with another key each has to subscribe anew.
type Key struct {
	private *ecdsa.PrivateKey
	public  []byte // uncompressed point
}

// NewKey makes a key.
func NewKey() (*Key, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("webpush: make a key: %w", err)
	}
	return keyOf(private)
}

func keyOf(private *ecdsa.PrivateKey) (*Key, error) {
	public, err := private.PublicKey.ECDH()
	if err != nil || private.Curve != elliptic.P256() {
		return nil, errors.New("webpush: the key is not one of P-256")
	}
	return &Key{private, public.Bytes()}, nil
}

// ParseKey reads what PEM writes.
func ParseKey(text []byte) (*Key, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, errors.New("webpush: no private key in PEM")
	}
	k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("webpush: read the key: %w", err)
	}
	private, ok := k.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errors.New("webpush: the key is not one of P-256")
	}
	return keyOf(private)
}

// PEM writes the key, private as it is.
func (k *Key) PEM() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k.private)
	if err != nil {
		return nil, fmt.Errorf("webpush: write the key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// Public is what browsers subscribe with: the point in base64url (RFC 8292 §3.2).
func (k *Key) Public() string { return base64.RawURLEncoding.EncodeToString(k.public) }

// Lifetimes of signatures: RFC 8292 §2 allows 24 hours at most.
const (
	tokenLife  = 12 * time.Hour
	tokenReuse = tokenLife / 2
	// tokensMost bounds the signatures that are kept, one for each push service.
	tokensMost = 256
)

// signer gives the Authorization of pushes. One signature serves all of an origin
// for hours: it costs more than all the rest of a push.
type signer struct {
	key     *Key
	subject string
	now     func() time.Time

	mu     sync.Mutex
	tokens map[string]token // by origin
}

type token struct {
	value string
	made  time.Time
}

// authorization is RFC 8292 §3 for an endpoint.
func (s *signer) authorization(endpoint *url.URL) (string, error) {
	origin := endpoint.Scheme + "://" + endpoint.Host
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if t, ok := s.tokens[origin]; ok && now.Sub(t.made) < tokenReuse {
		return t.value, nil
	}
	value, err := s.sign(origin, now.Add(tokenLife))
	if err != nil {
		return "", err
	}
	if len(s.tokens) >= tokensMost {
		clear(s.tokens)
	}
	if s.tokens == nil {
		s.tokens = map[string]token{}
	}
	s.tokens[origin] = token{value, now}
	return value, nil
}

// sign makes the JWT (RFC 7515, ES256 of RFC 7518 §3.4).
func (s *signer) sign(audience string, expires time.Time) (string, error) {
	claims, err := json.Marshal(map[string]any{"aud": audience, "exp": expires.Unix(), "sub": s.subject})
	if err != nil {
		return "", fmt.Errorf("webpush: %w", err)
	}
	b64 := base64.RawURLEncoding
	text := b64.EncodeToString([]byte(`{"typ":"JWT","alg":"ES256"}`)) + "." + b64.EncodeToString(claims)
	sum := sha256.Sum256([]byte(text))
	r, v, err := ecdsa.Sign(rand.Reader, s.key.private, sum[:])
	if err != nil {
		return "", fmt.Errorf("webpush: sign: %w", err)
	}
	signature := make([]byte, 64)
	fill(signature[:32], r)
	fill(signature[32:], v)
	return "vapid t=" + text + "." + b64.EncodeToString(signature) + ", k=" + s.key.Public(), nil
}

func fill(dst []byte, n *big.Int) { n.FillBytes(dst) }
