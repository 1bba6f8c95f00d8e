// SPDX-License-Identifier: Apache-2.0

package backup

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"path/filepath"
	"regexp"
	"time"
)

// format of a manifest. Raised by a change that an older version could not read.
const format = 1

// Manifest describes one state.
type Manifest struct {
	Name  string `json:"-"`
	About `json:"about"`
	Files []File `json:"-"`
}

// About says which state it is.
type About struct {
	Made     time.Time `json:"made"` // when the view was as it is kept
	Version  string    `json:"version"`
	Domain   string    `json:"domain"`
	Node     string    `json:"node,omitempty"` // of several
	Epoch    uint16    `json:"epoch"`
	Position string    `json:"position"` // as command.Position writes it
	Accounts int64     `json:"accounts"`
}

// File is one of a state.
type File struct {
	Path     string `json:"path"` // in the data directory, with slashes
	Size     int64  `json:"size"`
	SHA256   string `json:"sha256"`
	Modified int64  `json:"modified"` // Unix nanoseconds: what has not changed is not read again
}

// A manifest is lines of JSON: the head, one for each file, and the end, which has
// the SHA-256 of all before it. A manifest that was cut short has no end.
type (
	head struct {
		Format int `json:"format"`
		About
	}
	end struct {
		Files  *int   `json:"files"`
		SHA256 string `json:"sha256"`
	}
)

func (m *Manifest) write(to io.Writer) error {
	buffered := bufio.NewWriter(to)
	sum := sha256.New()
	out := json.NewEncoder(io.MultiWriter(buffered, sum))
	if err := out.Encode(head{format, m.About}); err != nil {
		return err
	}
	for i := range m.Files {
		if err := out.Encode(&m.Files[i]); err != nil {
			return err
		}
	}
	n := len(m.Files)
	if err := out.Encode(end{&n, hex.EncodeToString(sum.Sum(nil))}); err != nil {
		return err
	}
	return buffered.Flush()
}

var sumPattern = regexp.MustCompile(`^[0-9a-f]{64}$`) // immutable

// lineMost bounds a line of a manifest, in bytes.
const lineMost = 64 << 10

func readManifest(from io.Reader) (*Manifest, error) {
	in := bufio.NewReaderSize(from, lineMost)
	sum := sha256.New()
	var h head
	if err := readLine(in, sum, &h); err != nil {
		return nil, err
	}
	if h.Format != format {
		return nil, fmt.Errorf("it has format %d, this version reads %d: install a newer version", h.Format, format)
	}
	m := &Manifest{About: h.About}
	for {
		before := hex.EncodeToString(sum.Sum(nil))
		var line struct {
			File
			Files *int `json:"files"`
		}
		if err := readLine(in, sum, &line); err != nil {
			return nil, err
		}
		f := line.File
		switch {
		case line.Files != nil && (*line.Files != len(m.Files) || f.SHA256 != before):
			return nil, fmt.Errorf("%w: its list of files has changed", ErrDamaged)
		case line.Files != nil:
			return m, nil
		case !filepath.IsLocal(filepath.FromSlash(f.Path)) || f.Size < 0 || !sumPattern.MatchString(f.SHA256):
			return nil, fmt.Errorf("%w: its list names no file: %.200q", ErrDamaged, f.Path)
		}
		m.Files = append(m.Files, f)
	}
}

func readLine(in *bufio.Reader, sum hash.Hash, to any) error {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return fmt.Errorf("%w: its list of files is cut short or has a line that is too long", ErrDamaged)
	}
	_, _ = sum.Write(line)
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		return fmt.Errorf("%w: its list of files: %w", ErrDamaged, err)
	}
	return nil
}

// Bytes of all files.
func (m *Manifest) Bytes() int64 {
	var n int64
	for i := range m.Files {
		n += m.Files[i].Size
	}
	return n
}

// Has reports whether there is a file of that path.
func (m *Manifest) Has(path string) bool {
	for i := range m.Files {
		if m.Files[i].Path == path {
			return true
		}
	}
	return false
}
