// SPDX-License-Identifier: Apache-2.0

package state

import (
	"encoding/hex"
	"time"

	"bavard/internal/command"
)

// What becomes of uploads.
const (
	// EventUploadRemoved: Upload is no more; its file is to be removed.
	EventUploadRemoved EventKind = 90
	// EventUploadStored: Upload has its record.
	EventUploadStored EventKind = 91
)

// Limits of uploads.
const (
	// UploadName and UploadType bound an upload's name and content type, in bytes.
	UploadName = 255
	UploadType = 127
	// UploadHolders bounds the nodes that have a file.
	UploadHolders = 8
)

// UploadID names an upload; random.
type UploadID [16]byte

// FromHex fills to, an id or a checksum, from its hexadecimal digits, and reports whether
// they are as many as it takes.
func FromHex(to []byte, text string) bool {
	b, err := hex.DecodeString(text)
	return err == nil && len(b) == len(to) && copy(to, b) == len(to)
}

// Upload is a file that somebody has uploaded, without its content.
type Upload struct {
	ID      UploadID
	Owner   uint64 // account id
	Time    time.Time
	Name    string
	Type    string // content type, as the owner gave it
	Size    int64  // bytes
	SHA256  [32]byte
	Purpose command.UploadPurpose
	Expires time.Time // of an ephemeral one: nobody gets it afterwards; else zero
	Holders []string  // nodes that have the file
}

// Usage counts uploads.
type Usage struct {
	Files, Bytes uint64
}
