// SPDX-License-Identifier: Apache-2.0

// Package archive is the message archive that clients see (XEP-0313): archive
// ids, queries, pages. What is archived lives in the view.
package archive

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"fmt"

	"bavard/internal/command"
)

// KeySize is the length of a cell's archive key in bytes.
const KeySize = 16

// IDs turns positions into archive ids and back. An id is the position and
// four zero bytes, encrypted as one AES-128 block with the cell's key: unique
// and unpredictable (XEP-0313 §archives_id @1.1.3), and reversible without an
// index. The zero bytes expose an id that was made up.
type IDs struct{ block cipher.Block }

// NewIDs takes the cell's archive key of KeySize bytes.
func NewIDs(key []byte) (*IDs, error) {
	if len(key) != KeySize {
		return nil, fmt.Errorf("archive: key of %d bytes, want %d", len(key), KeySize)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("archive: %w", err)
	}
	return &IDs{block}, nil
}

// AppendID appends the 22 characters of the id of a position.
func (i *IDs) AppendID(dst []byte, p command.Position) []byte {
	var plain [aes.BlockSize]byte
	p.AppendTo(plain[:0])
	i.block.Encrypt(plain[:], plain[:])
	return base64.RawURLEncoding.AppendEncode(dst, plain[:])
}

// ID of a position.
func (i *IDs) ID(p command.Position) string { return string(i.AppendID(nil, p)) }

// Position of an id; false when this cell never gave it out.
func (i *IDs) Position(id string) (command.Position, bool) {
	var plain [aes.BlockSize + 2]byte
	if base64.RawURLEncoding.DecodedLen(len(id)) != aes.BlockSize {
		return command.Position{}, false
	}
	n, err := base64.RawURLEncoding.Strict().Decode(plain[:], []byte(id))
	if err != nil || n != aes.BlockSize {
		return command.Position{}, false
	}
	i.block.Decrypt(plain[:aes.BlockSize], plain[:aes.BlockSize])
	if plain[12]|plain[13]|plain[14]|plain[15] != 0 {
		return command.Position{}, false
	}
	p, err := command.ParsePosition(plain[:command.PositionSize])
	return p, err == nil
}
