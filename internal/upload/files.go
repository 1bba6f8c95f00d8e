// SPDX-License-Identifier: Apache-2.0

package upload

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"bavard/internal/state"
)

// files are those in the directory: what is arriving is in "arriving", the others are
// under two digits of their id, each by its id in hexadecimal. No name comes from
// outside.
type files struct{ dir string }

const arrivingName = "arriving"

// prepare makes the directory and removes what has not arrived.
func (f *files) prepare() error {
	arriving := filepath.Join(f.dir, arrivingName)
	if err := os.MkdirAll(arriving, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(arriving)
	for _, e := range entries {
		err = errors.Join(err, os.Remove(filepath.Join(arriving, e.Name())))
	}
	return err
}

// create opens a new file for what arrives.
func (f *files) create() (*os.File, error) {
	arriving := filepath.Join(f.dir, arrivingName)
	file, err := os.CreateTemp(arriving, "")
	if errors.Is(err, fs.ErrNotExist) { // the start found no room for it
		if err := os.MkdirAll(arriving, 0o700); err != nil {
			return nil, err
		}
		file, err = os.CreateTemp(arriving, "")
	}
	return file, err
}

func (f *files) path(id state.UploadID) string {
	name := hex.EncodeToString(id[:])
	return filepath.Join(f.dir, name[:2], name)
}

// keep gives a file that has arrived, and is on the disk, its place; that is on the disk
// when it returns.
func (f *files) keep(arrived string, id state.UploadID) error {
	path := f.path(id)
	err := os.Rename(arrived, path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.Mkdir(filepath.Dir(path), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if err = syncDir(f.dir); err != nil {
			return err
		}
		err = os.Rename(arrived, path)
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (f *files) open(id state.UploadID) (*os.File, error) { return os.Open(f.path(id)) }

// remove is done when there is no such file.
func (f *files) remove(id state.UploadID) error {
	err := os.Remove(f.path(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// whole reports whether the file is there, with all its bytes.
func (f *files) whole(id state.UploadID, size int64) bool {
	info, err := os.Stat(f.path(id))
	return err == nil && info.Mode().IsRegular() && info.Size() == size
}

// each visits the ids of all files. Other people's files are left alone.
func (f *files) each(visit func(state.UploadID) error) error {
	const digits = "0123456789abcdef"
	for i := range 256 {
		name := string([]byte{digits[i>>4], digits[i&15]})
		if err := f.under(name, visit); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func (f *files) under(name string, visit func(state.UploadID) error) error {
	d, err := os.Open(filepath.Join(f.dir, name))
	if err != nil {
		return err
	}
	defer d.Close()
	for {
		names, err := d.Readdirnames(1024)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, n := range names {
			var id state.UploadID
			if b, err := hex.DecodeString(n); err != nil || copy(id[:], b) != len(b) || len(b) != len(id) || n[:2] != name {
				continue
			}
			if err := visit(id); err != nil {
				return err
			}
		}
	}
}
