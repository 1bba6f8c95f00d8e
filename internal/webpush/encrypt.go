// SPDX-License-Identifier: Apache-2.0

// Package webpush wakes browsers: it encrypts a note for one of them
// (RFC 8291), signs who it comes from (RFC 8292) and posts it to the browser's
// push service (RFC 8030), again and again if it must, without ever holding up
// who asked for it.
package webpush

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
)

// Lengths of RFC 8291 and RFC 8188, in bytes.
const (
	authSize   = 16
	saltSize   = 16
	pointSize  = 65
	recordSize = 4096
)

// ErrKeys: the keys of a subscription are not what RFC 8291 §3.1 and §3.2 ask for.
var ErrKeys = errors.New("webpush: the keys are not a point of P-256 and 16 bytes")

// CheckKeys looks at the keys of a subscription; the error is ErrKeys.
func CheckKeys(p256dh, auth []byte) error {
	if len(auth) != authSize || len(p256dh) != pointSize {
		return ErrKeys
	}
	if _, err := ecdh.P256().NewPublicKey(p256dh); err != nil {
		return ErrKeys
	}
	return nil
}

// encrypt makes the body of a push message (RFC 8291 §3.4, RFC 8188 §2) that is as
// long for every text up to padded bytes.
func encrypt(p256dh, auth, text []byte, padded int) ([]byte, error) {
	own, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("webpush: make a key: %w", err)
	}
	salt := make([]byte, saltSize)
	if _, err := rand.Read(salt); err != nil {
		return nil, fmt.Errorf("webpush: make a salt: %w", err)
	}
	return encryptWith(own, salt, p256dh, auth, text, max(0, padded-len(text)))
}

func encryptWith(own *ecdh.PrivateKey, salt, p256dh, auth, text []byte, padding int) ([]byte, error) {
	peer, err := ecdh.P256().NewPublicKey(p256dh)
	if err != nil || len(auth) != authSize {
		return nil, ErrKeys
	}
	shared, err := own.ECDH(peer)
	if err != nil {
		return nil, ErrKeys
	}
	public := own.PublicKey().Bytes()
	input, err := hkdf.Key(sha256.New, shared, auth, "WebPush: info\x00"+string(p256dh)+string(public), 32)
	if err != nil {
		return nil, fmt.Errorf("webpush: derive: %w", err)
	}
	key, err := hkdf.Key(sha256.New, input, salt, "Content-Encoding: aes128gcm\x00", 16)
	if err != nil {
		return nil, fmt.Errorf("webpush: derive: %w", err)
	}
	nonce, err := hkdf.Key(sha256.New, input, salt, "Content-Encoding: nonce\x00", 12)
	if err != nil {
		return nil, fmt.Errorf("webpush: derive: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("webpush: %w", err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("webpush: %w", err)
	}
	if len(text)+padding+1+gcm.Overhead() > recordSize {
		return nil, errors.New("webpush: the note is too long")
	}
	record := append(append(make([]byte, 0, len(text)+1+padding), text...), 2) // the last record (RFC 8188 §2)
	record = append(record, make([]byte, padding)...)
	out := binary.BigEndian.AppendUint32(append([]byte(nil), salt...), recordSize)
	out = append(append(out, byte(len(public))), public...)
	return gcm.Seal(out, nonce, record, nil), nil
}
