// SPDX-License-Identifier: Apache-2.0

// Package webpushtest is a push service and its browsers, for tests: it checks
// who a push comes from (RFC 8292) and decrypts it (RFC 8291) by code of its own.
package webpushtest

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// Browser has subscribed to pushes.
type Browser struct {
	Endpoint     string // "" until it has
	P256dh, Auth []byte
	private      *ecdh.PrivateKey
	key          string // of who may push to it
}

// NewBrowser makes keys.
func NewBrowser(t testing.TB) *Browser {
	t.Helper()
	private, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	b := &Browser{private: private, P256dh: private.PublicKey().Bytes(), Auth: make([]byte, 16)}
	if _, err := rand.Read(b.Auth); err != nil {
		t.Fatal(err)
	}
	return b
}

// Decrypt reads a push message (RFC 8291 §4).
func (b *Browser) Decrypt(body []byte) ([]byte, error) {
	if len(body) < 21+65+17 || body[20] != 65 || binary.BigEndian.Uint32(body[16:20]) < 18 {
		return nil, errors.New("no header of aes128gcm")
	}
	salt, point := body[:16], body[21:86]
	peer, err := ecdh.P256().NewPublicKey(point)
	if err != nil {
		return nil, err
	}
	shared, err := b.private.ECDH(peer)
	if err != nil {
		return nil, err
	}
	extract, err := hkdf.Extract(sha256.New, shared, b.Auth)
	if err != nil {
		return nil, err
	}
	input, err := hkdf.Expand(sha256.New, extract, "WebPush: info\x00"+string(b.P256dh)+string(point), 32)
	if err != nil {
		return nil, err
	}
	prk, err := hkdf.Extract(sha256.New, input, salt)
	if err != nil {
		return nil, err
	}
	key, err := hkdf.Expand(sha256.New, prk, "Content-Encoding: aes128gcm\x00", 16)
	if err != nil {
		return nil, err
	}
	nonce, err := hkdf.Expand(sha256.New, prk, "Content-Encoding: nonce\x00", 12)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	text, err := gcm.Open(nil, nonce, body[86:], nil)
	if err != nil {
		return nil, err
	}
	for len(text) > 0 && text[len(text)-1] == 0 {
		text = text[:len(text)-1]
	}
	if len(text) == 0 || text[len(text)-1] != 2 {
		return nil, errors.New("no end of the last record")
	}
	return text[:len(text)-1], nil
}

// Push is one that has arrived.
type Push struct {
	Subscription        *Browser
	Text                []byte
	TTL, Urgency, Topic string
}

// Service is a push service over HTTPS on this machine.
type Service struct {
	t      testing.TB
	server *httptest.Server
	pushes chan Push
	hold   chan struct{} // closed when the service goes on

	mu       sync.Mutex
	browsers map[string]*Browser
	answers  []answer
	asked    int
}

type answer struct {
	status int
	after  string
}

// NewService starts one; it ends with the test.
func NewService(t testing.TB) *Service {
	s := &Service{t: t, pushes: make(chan Push, 1000), browsers: map[string]*Browser{}}
	s.server = httptest.NewTLSServer(http.HandlerFunc(s.serve))
	t.Cleanup(func() {
		s.Hang(false)
		s.server.Close()
	})
	return s
}

// Roots that sign its certificate.
func (s *Service) Roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(s.server.Certificate())
	return pool
}

// RootsFile is a PEM file of these.
func (s *Service) RootsFile() string {
	s.t.Helper()
	name := filepath.Join(s.t.TempDir(), "push.pem")
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.server.Certificate().Raw}), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return name
}

// Subscribe makes a browser that whoever has this key may push to.
func (s *Service) Subscribe(key string) *Browser {
	b := NewBrowser(s.t)
	b.key = key
	path := "/push/" + rand.Text()
	b.Endpoint = s.server.URL + path
	s.mu.Lock()
	defer s.mu.Unlock()
	s.browsers[path] = b
	return b
}

// Answer has the next push answered so, instead of taken; after is the
// Retry-After, "" for none.
func (s *Service) Answer(status int, after string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers = append(s.answers, answer{status, after})
}

// Hang has pushes wait for their answer, or go on.
func (s *Service) Hang(hang bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case hang && s.hold == nil:
		s.hold = make(chan struct{})
	case !hang && s.hold != nil:
		close(s.hold)
		s.hold = nil
	}
}

// Asked counts the requests.
func (s *Service) Asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// Next waits for the next push that was taken.
func (s *Service) Next(t testing.TB) Push {
	t.Helper()
	select {
	case p := <-s.pushes:
		return p
	case <-time.After(20 * time.Second):
		t.Fatal("no push has come")
		return Push{}
	}
}

// None fails when a push has come that Next did not give.
func (s *Service) None(t testing.TB) {
	t.Helper()
	select {
	case p := <-s.pushes:
		t.Errorf("a push too many: %s", p.Text)
	default:
	}
}

func (s *Service) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	b, hold := s.browsers[r.URL.Path], s.hold
	s.asked++
	var a answer
	if len(s.answers) > 0 {
		a, s.answers = s.answers[0], s.answers[1:]
	}
	s.mu.Unlock()
	if hold != nil {
		<-hold
	}
	if a.status != 0 {
		if a.after != "" {
			w.Header().Set("Retry-After", a.after)
		}
		w.Header().Set("Location", "https://127.0.0.1:1/")
		w.WriteHeader(a.status)
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, 4097))
	if b == nil {
		http.Error(w, "no such subscription", http.StatusGone)
		return
	}
	if err == nil {
		err = s.check(r, b)
	}
	var text []byte
	if err == nil {
		text, err = b.Decrypt(body)
	}
	if err != nil {
		s.t.Errorf("a push is not right: %v", err)
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.pushes <- Push{b, text, r.Header.Get("TTL"), r.Header.Get("Urgency"), r.Header.Get("Topic")}
	w.WriteHeader(http.StatusCreated)
}

// check looks at the headers of RFC 8030 and the signature of RFC 8292.
func (s *Service) check(r *http.Request, b *Browser) error {
	if r.Method != http.MethodPost || r.Header.Get("Content-Encoding") != "aes128gcm" || r.Header.Get("TTL") == "" {
		return fmt.Errorf("%s %v", r.Method, r.Header)
	}
	token, key, _ := strings.Cut(strings.TrimPrefix(r.Header.Get("Authorization"), "vapid t="), ", k=")
	parts := strings.Split(token, ".")
	if len(parts) != 3 || key != b.key {
		return errors.New("not signed by who may push")
	}
	point, err := base64.RawURLEncoding.DecodeString(key)
	if err != nil {
		return err
	}
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		return err
	}
	sig, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || len(sig) != 64 {
		return errors.New("no signature")
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if !ecdsa.Verify(public, sum[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])) {
		return errors.New("the signature is not good")
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return err
	}
	var claims struct {
		Aud, Sub string
		Exp      int64
	}
	if err := json.Unmarshal(text, &claims); err != nil {
		return err
	}
	left := time.Until(time.Unix(claims.Exp, 0))
	if claims.Aud != s.server.URL || left <= 0 || left > 24*time.Hour || !strings.HasPrefix(claims.Sub, "mailto:") && !strings.HasPrefix(claims.Sub, "https:") {
		return fmt.Errorf("claims %s", text)
	}
	return nil
}
