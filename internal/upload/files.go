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
	"strings"

	"bavard/internal/state"
)

// files are those in the directory: what is arriving is in "arriving", what is whole and on
// the disk, but has no record yet, in "unrecorded", by its id and the SHA-256 of its content;
// the others are under two digits of their id, each by its id in hexadecimal. No name
// comes from outside.
type files struct{ dir string }

const (
	arrivingName   = "arriving"
	unrecordedName = "unrecorded"
	// ownEnding has what was put to this node; without it, it is kept for another one.
	ownEnding = ".own"
)

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
	return errors.Join(err, os.MkdirAll(filepath.Join(f.dir, unrecordedName), 0o700))
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
func (f *files) keep(arrived string, id state.UploadID) error { return f.move(arrived, f.path(id)) }

func (f *files) move(from, to string) error {
	arrived, err := os.Lstat(from)
	if err != nil {
		return err
	}
	if kept, err := os.Lstat(to); err == nil && os.SameFile(arrived, kept) {
		// A power cut came before it left its old place. To rename it would leave both (rename(2)).
		return errors.Join(syncDir(filepath.Dir(to)), os.Remove(from))
	}
	err = os.Rename(from, to)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.Mkdir(filepath.Dir(to), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if err = syncDir(f.dir); err != nil {
			return err
		}
		err = os.Rename(from, to)
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(to))
}

// unrecorded is the path of a file until it has its record.
func (f *files) unrecorded(id state.UploadID, sum [32]byte, own bool) string {
	name := hex.EncodeToString(id[:]) + "-" + hex.EncodeToString(sum[:])
	if own {
		name += ownEnding
	}
	return filepath.Join(f.dir, unrecordedName, name)
}

// await has a file that has arrived wait for its record; it is on the disk when that returns.
func (f *files) await(arrived string, id state.UploadID, sum [32]byte, own bool) error {
	return f.move(arrived, f.unrecorded(id, sum, own))
}

// claim gives a file whose record is there its place, if it waits for that.
func (f *files) claim(id state.UploadID, sum [32]byte) error {
	for _, own := range []bool{true, false} {
		if err := f.move(f.unrecorded(id, sum, own), f.path(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// copy opens a file, whether it has its record or waits for it.
func (f *files) copy(id state.UploadID, sum [32]byte) (*os.File, error) {
	file, err := f.open(id)
	for _, own := range []bool{true, false} {
		if errors.Is(err, fs.ErrNotExist) {
			file, err = os.Open(f.unrecorded(id, sum, own))
		}
	}
	if errors.Is(err, fs.ErrNotExist) { // it has got its record in between
		file, err = f.open(id)
	}
	return file, err
}

// waiting is a file in "unrecorded".
type waiting struct {
	id   state.UploadID
	sum  [32]byte
	own  bool
	path string
}

// waits visits the files that wait for their record.
func (f *files) waits(visit func(waiting) error) error {
	dir := filepath.Join(f.dir, unrecordedName)
	return names(dir, func(name string) error {
		w := waiting{path: filepath.Join(dir, name)}
		rest, own := strings.CutSuffix(name, ownEnding)
		id, sum, _ := strings.Cut(rest, "-")
		if w.own = own; !state.FromHex(w.id[:], id) || !state.FromHex(w.sum[:], sum) {
			return nil
		}
		return visit(w)
	})
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
	for i := range 256 {
		name := fmt.Sprintf("%02x", i)
		if err := f.under(name, visit); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func (f *files) under(name string, visit func(state.UploadID) error) error {
	return names(filepath.Join(f.dir, name), func(n string) error {
		var id state.UploadID
		if !state.FromHex(id[:], n) || n[:2] != name {
			return nil
		}
		return visit(id)
	})
}

// names visits what a directory has.
func names(dir string, visit func(name string) error) error {
	d, err := os.Open(dir)
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
			if err := visit(n); err != nil {
				return err
			}
		}
	}
}
