// SPDX-License-Identifier: Apache-2.0

package handover

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// A stream is a head, files with their parts, and an end.
const (
	head      = "bavard view 1\n"
	fileMark  = 'F' // length of the name (2 bytes), name, size (8 bytes)
	partMark  = 'P' // length (4 bytes), CRC-32C (4 bytes), content
	endMark   = 'E' // number of files (8 bytes), SHA-256 of all before the mark
	partMost  = 256 << 10
	nameMost  = 200
	filesMost = 1 << 20
)

var errStream = errors.New("the view did not arrive whole")

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// write sends all files of dir; after each part it calls sent.
func write(w io.Writer, dir fs.FS, sent func(n int) error) error {
	sum := sha256.New()
	out := io.MultiWriter(w, sum)
	if _, err := io.WriteString(out, head); err != nil {
		return err
	}
	files := uint64(0)
	err := fs.WalkDir(dir, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		return writeFile(out, dir, name, sent)
	})
	if err != nil {
		return err
	}
	end := binary.BigEndian.AppendUint64([]byte{endMark}, files)
	_, err = w.Write(sum.Sum(end))
	return err
}

func writeFile(w io.Writer, dir fs.FS, name string, sent func(n int) error) error {
	if !goodName(name) {
		return fmt.Errorf("a view has no file %q", name)
	}
	f, err := dir.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	b := binary.BigEndian.AppendUint16([]byte{fileMark}, uint16(len(name)))
	b = binary.BigEndian.AppendUint64(append(b, name...), uint64(info.Size()))
	if _, err := w.Write(b); err != nil {
		return err
	}
	part := make([]byte, partMost)
	for left := info.Size(); left > 0; {
		n := int(min(left, partMost))
		if _, err := io.ReadFull(f, part[:n]); err != nil {
			return err
		}
		b := binary.BigEndian.AppendUint32([]byte{partMark}, uint32(n))
		b = binary.BigEndian.AppendUint32(b, crc32.Checksum(part[:n], castagnoli()))
		if _, err := w.Write(append(b, part[:n]...)); err != nil {
			return err
		}
		if err := sent(n); err != nil {
			return err
		}
		left -= int64(n)
	}
	return nil
}

// goodName keeps files where they belong: one directory deep at most.
func goodName(name string) bool {
	if len(name) > nameMost || !fs.ValidPath(name) || path.Clean(name) != name || strings.Count(name, "/") > 1 || name == "." {
		return false
	}
	for _, c := range []byte(name) {
		ok := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("._-/", c) >= 0
		if !ok {
			return false
		}
	}
	return true
}

// reader takes a stream apart.
type reader struct {
	in    *bufio.Reader
	sum   hash.Hash
	dir   string
	got   func(n int)
	files uint64
}

// read writes what a stream has into dir and has it on the disk. It errs unless the
// stream is whole.
func read(in io.Reader, dir string, got func(n int)) error {
	r := &reader{in: bufio.NewReaderSize(in, 64<<10), sum: sha256.New(), dir: dir, got: got}
	if err := r.all(); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = errors.Join(errStream, err)
		}
		return err
	}
	return nil
}

// take reads n bytes into the sum.
func (r *reader) take(n int) ([]byte, error) {
	b := make([]byte, n)
	if _, err := io.ReadFull(r.in, b); err != nil {
		return nil, err
	}
	_, _ = r.sum.Write(b) // never fails (hash.Hash)
	return b, nil
}

func (r *reader) all() error {
	b, err := r.take(len(head))
	if err != nil {
		return err
	}
	if string(b) != head {
		return fmt.Errorf("%w: it begins with %q", errStream, b)
	}
	for {
		mark, err := r.in.ReadByte()
		if err != nil {
			return err
		}
		switch {
		case mark == endMark:
			return r.end()
		case mark != fileMark || r.files >= filesMost:
			return fmt.Errorf("%w: %q where a file or the end must be", errStream, mark)
		}
		_, _ = r.sum.Write([]byte{mark})
		r.files++
		if err := r.file(); err != nil {
			return err
		}
	}
}

func (r *reader) file() error {
	b, err := r.take(2)
	if err != nil {
		return err
	}
	n := int(binary.BigEndian.Uint16(b))
	if n > nameMost {
		return fmt.Errorf("%w: a name of %d bytes", errStream, n)
	}
	if b, err = r.take(n + 8); err != nil {
		return err
	}
	name, size := string(b[:n]), binary.BigEndian.Uint64(b[n:])
	if !goodName(name) {
		return fmt.Errorf("%w: a file called %q", errStream, name)
	}
	to := filepath.Join(r.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = r.parts(f, size)
	return errors.Join(err, f.Sync(), f.Close())
}

func (r *reader) parts(f io.Writer, size uint64) error {
	for size > 0 {
		b, err := r.take(9)
		if err != nil {
			return err
		}
		n := binary.BigEndian.Uint32(b[1:])
		if b[0] != partMark || n == 0 || n > partMost || uint64(n) > size {
			return fmt.Errorf("%w: no part where one must be", errStream)
		}
		sum := binary.BigEndian.Uint32(b[5:])
		content, err := r.take(int(n))
		if err != nil {
			return err
		}
		if crc32.Checksum(content, castagnoli()) != sum {
			return fmt.Errorf("%w: a part has another checksum", errStream)
		}
		if _, err := f.Write(content); err != nil {
			return err
		}
		size -= uint64(n)
		r.got(int(n))
	}
	return nil
}

// end compares the sum of all, and makes the names outlast a power cut.
func (r *reader) end() error {
	want := r.sum.Sum(nil)
	b, err := r.take(8 + sha256.Size)
	if err != nil {
		return err
	}
	if binary.BigEndian.Uint64(b) != r.files || !bytes.Equal(b[8:], want) {
		return fmt.Errorf("%w: the sum of all is another", errStream)
	}
	if _, err := r.in.ReadByte(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: there is something behind the end", errStream)
	}
	if r.files == 0 {
		return fmt.Errorf("%w: it has no files", errStream)
	}
	return filepath.WalkDir(r.dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		return errors.Join(f.Sync(), f.Close())
	})
}
