// SPDX-License-Identifier: Apache-2.0

package client

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"strconv"
	"strings"
	"sync"
)

// Keys caches the keys that SCRAM derives from one account's password (RFC 5802
// §5.1), so that the hundredth login costs no more than a few hashes. The zero
// value is ready.
type Keys struct {
	mu             sync.Mutex
	password       string
	mechanism      string
	salt           string
	iterations     int
	client, server []byte
	derived        int
}

// Derivations is how often keys had to be derived: 1 after the first login, and
// more when the server changes the salt.
func (k *Keys) Derivations() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.derived
}

const (
	scramSHA1   = "SCRAM-SHA-1"
	scramSHA256 = "SCRAM-SHA-256"
	plusSuffix  = "-PLUS"

	// maxIterations bounds what a hostile server can make us compute.
	maxIterations = 1 << 20
)

// binding is what a -PLUS mechanism binds to: its type, and its data as the
// client's side of TLS knows it.
type binding struct {
	typ  string
	data []byte
}

// bindingOf computes a binding (RFC 9266 §4, RFC 5929 §4.1) for the
// certificates that tests have: their signatures hash with SHA-256.
func bindingOf(typ string, state tls.ConnectionState) (binding, error) {
	b := binding{typ: typ}
	var err error
	switch typ {
	case "tls-exporter":
		b.data, err = state.ExportKeyingMaterial("EXPORTER-Channel-Binding", []byte{}, 32)
	case "tls-server-end-point":
		sum := sha256.Sum256(state.PeerCertificates[0].Raw)
		b.data = sum[:]
	default:
		err = fmt.Errorf("client: channel binding %q is not known", typ)
	}
	return b, err
}

// scram is the client's half of RFC 5802. Passwords are taken as they are: they
// must be ASCII or already prepared.
type scram struct {
	gs2            string  // "n,,", "y,," or "p=…,,"
	binding        binding // with -PLUS
	offered        string  // the offer as XEP-0474 §hash @0.5.0 hashes it; "" does not check
	mechanism      string  // without -PLUS
	hash           func() hash.Hash
	user, password string
	keys           *Keys
	nonce          string
	first          string // client-first-message-bare
	signature      []byte // of the server, expected
}

func newScram(mechanism, user, password string, keys *Keys) (*scram, error) {
	c := &scram{gs2: "n,,", mechanism: strings.TrimSuffix(mechanism, plusSuffix), user: user, password: password, keys: keys}
	switch c.mechanism {
	case scramSHA1:
		c.hash = sha1.New
	case scramSHA256:
		c.hash = sha256.New
	default:
		return nil, fmt.Errorf("client: mechanism %s is not known", mechanism)
	}
	c.nonce = rand.Text()
	if c.keys == nil {
		c.keys = &Keys{}
	}
	return c, nil
}

// start makes the client-first-message.
func (c *scram) start() []byte {
	name := strings.NewReplacer("=", "=3D", ",", "=2C").Replace(c.user)
	c.first = "n=" + name + ",r=" + c.nonce
	return []byte(c.gs2 + c.first)
}

// answer takes the server-first-message and makes the client-final-message.
func (c *scram) answer(serverFirst []byte) ([]byte, error) {
	attrs := map[byte]string{}
	for field := range strings.SplitSeq(string(serverFirst), ",") {
		if len(field) < 2 || field[1] != '=' {
			return nil, fmt.Errorf("%w: SCRAM field %q", ErrProtocol, field)
		}
		if _, ok := attrs[field[0]]; !ok {
			attrs[field[0]] = field[2:]
		}
	}
	if _, ok := attrs['m']; ok {
		return nil, fmt.Errorf("%w: SCRAM extension that must be understood", ErrProtocol)
	}
	if h, ok := attrs['h']; ok && c.offered != "" {
		sum := c.hash()
		sum.Write([]byte(c.offered))
		if h != base64.StdEncoding.EncodeToString(sum.Sum(nil)) {
			return nil, fmt.Errorf("%w: SCRAM: the offer was changed on the way", ErrAuth)
		}
	}
	nonce := attrs['r']
	if !strings.HasPrefix(nonce, c.nonce) || len(nonce) == len(c.nonce) {
		return nil, fmt.Errorf("%w: SCRAM nonce is not an extension of ours", ErrProtocol)
	}
	salt, err := base64.StdEncoding.DecodeString(attrs['s'])
	if err != nil || len(salt) == 0 {
		return nil, fmt.Errorf("%w: SCRAM salt", ErrProtocol)
	}
	iterations, err := strconv.Atoi(attrs['i'])
	if err != nil || iterations < 1 || iterations > maxIterations {
		return nil, fmt.Errorf("%w: SCRAM iteration count %q", ErrProtocol, attrs['i'])
	}
	clientKey, serverKey, err := c.derive(string(salt), iterations)
	if err != nil {
		return nil, err
	}
	final := "c=" + base64.StdEncoding.EncodeToString(append([]byte(c.gs2), c.binding.data...)) + ",r=" + nonce
	message := []byte(c.first + "," + string(serverFirst) + "," + final)
	stored := c.hash()
	stored.Write(clientKey)
	proof := c.mac(stored.Sum(nil), message)
	subtle.XORBytes(proof, proof, clientKey)
	c.signature = c.mac(serverKey, message)
	return []byte(final + ",p=" + base64.StdEncoding.EncodeToString(proof)), nil
}

// derive gives ClientKey and ServerKey, from the cache when nothing changed.
func (c *scram) derive(salt string, iterations int) (client, server []byte, err error) {
	k := c.keys
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.password == c.password && k.mechanism == c.mechanism && k.salt == salt && k.iterations == iterations {
		return k.client, k.server, nil
	}
	salted, err := pbkdf2.Key(c.hash, c.password, []byte(salt), iterations, c.hash().Size())
	if err != nil {
		return nil, nil, fmt.Errorf("client: SCRAM: %w", err)
	}
	k.derived++
	k.password, k.mechanism, k.salt, k.iterations = c.password, c.mechanism, salt, iterations
	k.client, k.server = c.mac(salted, []byte("Client Key")), c.mac(salted, []byte("Server Key"))
	return k.client, k.server, nil
}

// finish checks the server-final-message: the server proves that it knows the
// account's keys.
func (c *scram) finish(serverFinal []byte) error {
	verifier, ok := strings.CutPrefix(string(serverFinal), "v=")
	if !ok {
		return fmt.Errorf("%w: SCRAM: no server signature", ErrProtocol)
	}
	verifier, _, _ = strings.Cut(verifier, ",")
	got, err := base64.StdEncoding.DecodeString(verifier)
	if err != nil || c.signature == nil || !hmac.Equal(got, c.signature) {
		return errors.New("client: SCRAM: the server does not know the password")
	}
	return nil
}

func (c *scram) mac(key, message []byte) []byte {
	m := hmac.New(c.hash, key)
	m.Write(message)
	return m.Sum(nil)
}
