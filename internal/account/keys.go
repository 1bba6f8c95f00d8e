// SPDX-License-Identifier: Apache-2.0

package account

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha1" // SCRAM-SHA-1 is mandatory (RFC 6120 §13.8.1)
	"crypto/sha256"
	"crypto/subtle"
	"hash"
	"unicode/utf8"

	"golang.org/x/text/secure/precis"
	"golang.org/x/text/unicode/norm"

	"bavard/internal/command"
	"bavard/internal/stanza"
)

// Iterations of the key derivation: what RFC 5802 §5.1 and RFC 7677 §4 call
// the minimum, and what clients on phones bear at each login.
const Iterations = 4096

const (
	saltSize = 16
	// MinPassword is the least number of characters of a new password.
	MinPassword = 8
	// maxPassword bounds what is normalised and hashed, in bytes.
	maxPassword = 1024
)

// mechanism is a SCRAM mechanism, without or with channel binding.
type mechanism struct {
	name string
	hash func() hash.Hash
	keys func(*command.Credentials) *command.ScramKeys
}

// The mechanisms; immutable.
var (
	scramSHA1   = mechanism{"SCRAM-SHA-1", sha1.New, (*command.Credentials).GetScramSha1}
	scramSHA256 = mechanism{"SCRAM-SHA-256", sha256.New, (*command.Credentials).GetScramSha256}
)

// Derive makes the keys to store for a password, with fresh salts. It takes
// some milliseconds of processor time. The error is a *stanza.Error that says
// why the password cannot be used.
func Derive(password string) (*command.Credentials, error) {
	p, err := preparePassword(password)
	if err != nil {
		return nil, err
	}
	a, err := scramSHA1.derive(p, randomBytes(saltSize), Iterations)
	if err != nil {
		return nil, err
	}
	b, err := scramSHA256.derive(p, randomBytes(saltSize), Iterations)
	if err != nil {
		return nil, err
	}
	return &command.Credentials{ScramSha1: a, ScramSha256: b}, nil
}

// derive follows RFC 5802 §3: SaltedPassword, ClientKey, StoredKey, ServerKey.
func (m mechanism) derive(prepared string, salt []byte, iterations int) (*command.ScramKeys, error) {
	salted, err := pbkdf2.Key(m.hash, prepared, salt, iterations, m.hash().Size())
	if err != nil {
		return nil, err
	}
	clientKey := m.hmac(salted, []byte("Client Key"))
	return &command.ScramKeys{
		Salt: salt, Iterations: uint32(iterations),
		StoredKey: m.sum(clientKey), ServerKey: m.hmac(salted, []byte("Server Key")),
	}, nil
}

// matches reports whether a prepared password has these keys.
func (m mechanism) matches(k *command.ScramKeys, prepared string) (bool, error) {
	got, err := m.derive(prepared, k.GetSalt(), max(int(k.GetIterations()), 1))
	if err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare(got.GetStoredKey(), k.GetStoredKey()) == 1, nil
}

func (m mechanism) hmac(key, data []byte) []byte {
	mac := hmac.New(m.hash, key)
	mac.Write(data)
	return mac.Sum(nil)
}

func (m mechanism) sum(data []byte) []byte {
	h := m.hash()
	h.Write(data)
	return h.Sum(nil)
}

// preparePassword normalises a password with the OpaqueString profile (RFC
// 8265 §4) and refuses one that SASLprep (RFC 4013), which clients still use,
// would turn into something else: its owner could not log in with them.
func preparePassword(password string) (string, error) {
	if len(password) > maxPassword {
		return "", notAcceptable("The password is too long.")
	}
	p, err := precis.OpaqueString.String(password)
	if err != nil || !utf8.ValidString(password) {
		return "", notAcceptable("The password has characters that cannot be used.")
	}
	if norm.NFKC.String(p) != p {
		return "", notAcceptable("The password has characters that some programs change; choose others.")
	}
	return p, nil
}

// checkPassword says whether a password may be chosen.
func checkPassword(password string) error {
	p, err := preparePassword(password)
	if err != nil {
		return err
	}
	if utf8.RuneCountInString(p) < MinPassword {
		return notAcceptable("The password needs at least 8 characters.")
	}
	return nil
}

func notAcceptable(text string) *stanza.Error {
	return stanza.Err(stanza.Modify, stanza.NotAcceptable, text)
}
