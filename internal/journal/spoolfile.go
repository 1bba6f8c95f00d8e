// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
)

// Sizes of the spool's formats in bytes; docs/formats/journal.md. All numbers
// are little-endian.
const (
	segmentHeader = 40
	recordHeader  = 16
	// maxRecord bounds a record's value: a batch, with room for later formats.
	maxRecord = 2 * MaxBatch

	spoolVersion = 1
)

const segmentMagic = "bavspool"

// errSpool: bytes in the spool are not what was written. The journal has them.
var errSpool = errors.New("journal: spool damaged")

// journalID tells one journal from another, so that a spool is never read with
// a journal that it does not belong to.
type journalID [16]byte

// appendSegmentHeader encodes the head of a segment whose records all come after
// revision base.
func appendSegmentHeader(dst []byte, id journalID, base uint64) []byte {
	start := len(dst)
	dst = append(dst, segmentMagic...)
	dst = binary.LittleEndian.AppendUint32(dst, spoolVersion)
	dst = append(dst, id[:]...)
	dst = binary.LittleEndian.AppendUint64(dst, base)
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli()))
}

// parseSegmentHeader gives errSpool for anything but an intact header.
func parseSegmentHeader(b []byte) (id journalID, base uint64, err error) {
	if len(b) < segmentHeader || string(b[:8]) != segmentMagic ||
		binary.LittleEndian.Uint32(b[8:]) != spoolVersion ||
		binary.LittleEndian.Uint32(b[36:]) != crc32.Checksum(b[:36], castagnoli()) {
		return id, 0, errSpool
	}
	copy(id[:], b[12:])
	return id, binary.LittleEndian.Uint64(b[28:]), nil
}

// appendRecord encodes one record: length of the value, CRC-32C over what
// follows it and the length, revision, value.
func appendRecord(dst []byte, revision uint64, value []byte) []byte {
	start := len(dst)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(value)))
	dst = binary.LittleEndian.AppendUint32(dst, 0)
	dst = binary.LittleEndian.AppendUint64(dst, revision)
	dst = append(dst, value...)
	binary.LittleEndian.PutUint32(dst[start+4:], recordCRC(dst[start:]))
	return dst
}

func recordCRC(record []byte) uint32 {
	crc := crc32.Update(0, castagnoli(), record[:4])
	return crc32.Update(crc, castagnoli(), record[8:])
}

// readRecord reads the record at offset of r, into buf if that is large enough.
// The value shares the returned buffer. io.EOF: r ends at offset; errSpool: what
// is there is not a whole record.
func readRecord(r io.ReaderAt, offset int64, buf []byte) (revision uint64, value, grown []byte, err error) {
	buf = resize(buf, recordHeader)
	if n, err := r.ReadAt(buf, offset); n < recordHeader {
		if n == 0 && errors.Is(err, io.EOF) {
			return 0, nil, buf, io.EOF
		}
		return 0, nil, buf, errSpool
	}
	length := binary.LittleEndian.Uint32(buf)
	if length == 0 || length > maxRecord {
		return 0, nil, buf, errSpool
	}
	buf = resize(buf, recordHeader+int(length))
	if n, _ := r.ReadAt(buf[recordHeader:], offset+recordHeader); n < int(length) {
		return 0, nil, buf, errSpool
	}
	if binary.LittleEndian.Uint32(buf[4:]) != recordCRC(buf) {
		return 0, nil, buf, errSpool
	}
	return binary.LittleEndian.Uint64(buf[8:]), buf[recordHeader:], buf, nil
}

// resize keeps the first bytes of b.
func resize(b []byte, n int) []byte {
	if cap(b) >= n {
		return b[:n]
	}
	grown := make([]byte, n)
	copy(grown, b)
	return grown
}
