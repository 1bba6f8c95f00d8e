// SPDX-License-Identifier: Apache-2.0

package upload

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"strings"
	"time"

	"bavard/internal/command"
	"bavard/internal/state"
)

// slot is what a device was given to upload one file. It travels in the address,
// sealed: who has not been given it cannot make one, and no node has to
// remember it.
type slot struct {
	id      state.UploadID
	until   time.Time // to begin with
	account string    // bare JID
	owner   uint64    // the account's id
	size    uint64
	typ     string // "": whatever comes
	purpose command.UploadPurpose
	expires time.Time // of an ephemeral one
	name    string    // stands beside it in the address
}

const slotVersion = 1

// seal gives the first part of the address that the file is put to.
func (s *Service) seal(l *slot) string {
	b := append([]byte{slotVersion}, l.id[:]...)
	b = binary.AppendUvarint(b, uint64(l.until.Unix()))
	b = binary.AppendUvarint(append(binary.AppendUvarint(b, l.owner), byte(l.purpose)), l.size)
	var expires uint64
	if !l.expires.IsZero() {
		expires = uint64(l.expires.UnixMilli())
	}
	b = binary.AppendUvarint(b, expires)
	b = append(binary.AppendUvarint(b, uint64(len(l.typ))), l.typ...)
	b = append(b, l.account...)
	return base64.RawURLEncoding.EncodeToString(s.sealer.Seal(nil, nil, b, []byte(l.name)))
}

// sealedMost bounds what can be a slot.
const sealedMost = 4 << 10

// open reads a slot that was sealed for a name.
func (s *Service) open(sealed, name string) (*slot, bool) {
	if len(sealed) > sealedMost || strings.ContainsAny(sealed, "\r\n") {
		return nil, false
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(sealed)
	if err != nil {
		return nil, false
	}
	b, err := s.sealer.Open(nil, nil, raw, []byte(name))
	l := &slot{name: name}
	if err != nil || len(b) < 1+len(l.id) || b[0] != slotVersion {
		return nil, false
	}
	copy(l.id[:], b[1:])
	b = b[1+len(l.id):]
	ok := true
	number := func() uint64 {
		x, n := binary.Uvarint(b)
		if n <= 0 || x > math.MaxInt64 {
			ok = false
			return 0
		}
		b = b[n:]
		return x
	}
	l.until = time.Unix(int64(number()), 0)
	l.owner = number()
	if len(b) == 0 {
		return nil, false
	}
	l.purpose, b = command.UploadPurpose(b[0]), b[1:]
	l.size = number()
	if ms := number(); ms > 0 {
		l.expires = time.UnixMilli(int64(ms))
	}
	n := number()
	if !ok || n > uint64(len(b)) {
		return nil, false
	}
	l.typ, l.account = string(b[:n]), string(b[n:])
	return l, true
}
