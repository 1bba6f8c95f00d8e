// SPDX-License-Identifier: Apache-2.0

// Package command holds what the journal carries: commands, which are requests
// decided upon when they are applied, and their positions. It is a package of
// words: it imports nothing of ours.
package command

import (
	"cmp"
	"encoding/binary"
	"fmt"
)

// PositionSize is the length of an encoded position in bytes.
const PositionSize = 12

// Position says where a command stands in the total order of a cell: the epoch
// (raised by each restore of a backup), the revision of its batch in the
// journal and its index in that batch. The zero Position stands before all.
type Position struct {
	Epoch    uint16
	Revision uint64 // 48 bits
	Index    uint32
}

// Compare orders positions: -1, 0 or +1.
func (p Position) Compare(q Position) int {
	if c := cmp.Compare(p.Epoch, q.Epoch); c != 0 {
		return c
	}
	if c := cmp.Compare(p.Revision, q.Revision); c != 0 {
		return c
	}
	return cmp.Compare(p.Index, q.Index)
}

// Before reports whether p stands before q.
func (p Position) Before(q Position) bool { return p.Compare(q) < 0 }

// IsZero reports whether p is the zero Position.
func (p Position) IsZero() bool { return p == Position{} }

// AppendTo appends the 12-byte big-endian encoding, which sorts as positions do.
func (p Position) AppendTo(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, p.Epoch)
	dst = append(dst, byte(p.Revision>>40), byte(p.Revision>>32), byte(p.Revision>>24),
		byte(p.Revision>>16), byte(p.Revision>>8), byte(p.Revision))
	return binary.BigEndian.AppendUint32(dst, p.Index)
}

// ParsePosition decodes what AppendTo wrote. It errs when b is not 12 bytes.
func ParsePosition(b []byte) (Position, error) {
	if len(b) != PositionSize {
		return Position{}, fmt.Errorf("position of %d bytes, want %d", len(b), PositionSize)
	}
	return Position{
		Epoch: binary.BigEndian.Uint16(b),
		Revision: uint64(b[2])<<40 | uint64(b[3])<<32 | uint64(b[4])<<24 |
			uint64(b[5])<<16 | uint64(b[6])<<8 | uint64(b[7]),
		Index: binary.BigEndian.Uint32(b[8:]),
	}, nil
}

// String gives epoch/revision/index, for logs.
func (p Position) String() string {
	return fmt.Sprintf("%d/%d/%d", p.Epoch, p.Revision, p.Index)
}
