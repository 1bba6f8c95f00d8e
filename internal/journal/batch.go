// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/bits"

	"google.golang.org/protobuf/encoding/protowire"
)

// The bytes are those of batchpb.Record and batchpb.Payload; docs/formats/journal.md.
const (
	recordFormat = 1

	fieldFormat  = 1
	fieldCRC     = 2
	fieldPayload = 3

	fieldWriter      = 1
	fieldIncarnation = 2
	fieldCounter     = 3
	fieldPrevious    = 4
	fieldReplaced    = 5
	fieldCommand     = 6

	// maxWriter bounds a writer's name in bytes.
	maxWriter = 64
	// batchOverhead bounds what a record holds beside its commands, in bytes:
	// tags and lengths of both messages, the name and five numbers.
	batchOverhead = 2 + 5 + 1 + 5 + 2 + maxWriter + 9 + 3*11
)

// batch is one decoded record.
type batch struct {
	writer      string
	incarnation uint64
	counter     uint64
	previous    uint64 // revision of this writer's batch before this one
	replaced    uint64 // revision that this incarnation's first batch replaced
	commands    [][]byte
}

// commandCost is what a command of n bytes adds to a record, in bytes.
func commandCost(n int) int { return 1 + varintSize(uint64(n)) + n }

func varintSize(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// encode gives the record of b.
func (b *batch) encode() []byte {
	size := 2 + len(b.writer) + 9 + 1 + varintSize(b.counter)
	if b.previous != 0 {
		size += 1 + varintSize(b.previous)
	}
	if b.replaced != 0 {
		size += 1 + varintSize(b.replaced)
	}
	for _, c := range b.commands {
		size += commandCost(len(c))
	}
	out := make([]byte, 0, 2+5+1+varintSize(uint64(size))+size)
	out = protowire.AppendTag(out, fieldFormat, protowire.VarintType)
	out = protowire.AppendVarint(out, recordFormat)
	out = protowire.AppendTag(out, fieldCRC, protowire.Fixed32Type)
	crcAt := len(out)
	out = protowire.AppendFixed32(out, 0)
	out = protowire.AppendTag(out, fieldPayload, protowire.BytesType)
	out = protowire.AppendVarint(out, uint64(size))
	start := len(out)
	out = protowire.AppendTag(out, fieldWriter, protowire.BytesType)
	out = protowire.AppendString(out, b.writer)
	out = protowire.AppendTag(out, fieldIncarnation, protowire.Fixed64Type)
	out = protowire.AppendFixed64(out, b.incarnation)
	out = protowire.AppendTag(out, fieldCounter, protowire.VarintType)
	out = protowire.AppendVarint(out, b.counter)
	if b.previous != 0 {
		out = protowire.AppendTag(out, fieldPrevious, protowire.VarintType)
		out = protowire.AppendVarint(out, b.previous)
	}
	if b.replaced != 0 {
		out = protowire.AppendTag(out, fieldReplaced, protowire.VarintType)
		out = protowire.AppendVarint(out, b.replaced)
	}
	for _, c := range b.commands {
		out = protowire.AppendTag(out, fieldCommand, protowire.BytesType)
		out = protowire.AppendBytes(out, c)
	}
	binary.LittleEndian.PutUint32(out[crcAt:], crc32.Checksum(out[start:], castagnoli()))
	return out
}

var (
	errMalformed = errors.New("malformed record")
	errChecksum  = errors.New("checksum does not match")
	errFormat    = errors.New("record format")
)

// decodeBatch checks and decodes a record. The commands share value's memory.
func decodeBatch(value []byte) (batch, error) {
	var (
		format, crc uint64
		payload     []byte
	)
	err := fields(value, func(num protowire.Number, v uint64, b []byte) {
		switch num {
		case fieldFormat:
			format = v
		case fieldCRC:
			crc = v
		case fieldPayload:
			payload = b
		}
	})
	if err != nil {
		return batch{}, err
	}
	if uint64(crc32.Checksum(payload, castagnoli())) != crc {
		return batch{}, errChecksum
	}
	if format == 0 {
		return batch{}, errors.New("it has no format")
	}
	if format != recordFormat {
		return batch{}, fmt.Errorf("%w %d, this version reads %d", errFormat, format, recordFormat)
	}
	return decodePayload(payload)
}

func decodePayload(payload []byte) (batch, error) {
	var out batch
	err := fields(payload, func(num protowire.Number, v uint64, b []byte) {
		switch num {
		case fieldWriter:
			out.writer = string(b)
		case fieldIncarnation:
			out.incarnation = v
		case fieldCounter:
			out.counter = v
		case fieldPrevious:
			out.previous = v
		case fieldReplaced:
			out.replaced = v
		case fieldCommand:
			out.commands = append(out.commands, b)
		}
	})
	if err != nil {
		return batch{}, err
	}
	if out.writer == "" || len(out.writer) > maxWriter || out.incarnation == 0 || out.counter == 0 {
		return batch{}, errMalformed
	}
	return out, nil
}

// fields visits the fields of a message: v holds a number, bytes what is
// length-delimited. A field of an unexpected wire type leaves the reader with a
// zero value, which it refuses.
func fields(b []byte, visit func(num protowire.Number, v uint64, bytes []byte)) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return errMalformed
		}
		b = b[n:]
		var (
			v    uint64
			data []byte
		)
		switch typ {
		case protowire.VarintType:
			v, n = protowire.ConsumeVarint(b)
		case protowire.Fixed32Type:
			var v32 uint32
			v32, n = protowire.ConsumeFixed32(b)
			v = uint64(v32)
		case protowire.Fixed64Type:
			v, n = protowire.ConsumeFixed64(b)
		case protowire.BytesType:
			data, n = protowire.ConsumeBytes(b)
		default:
			return errMalformed
		}
		if n < 0 {
			return errMalformed
		}
		visit(num, v, data)
		b = b[n:]
	}
	return nil
}
