// SPDX-License-Identifier: Apache-2.0

package backup

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"bavard/internal/datadir"
)

// Source is a directory, or a file, of which a state is made.
type Source struct {
	Path string // on the disk
	As   string // its path in the state, with slashes
	// Skip names, below Path, what is not taken; may be nil.
	Skip func(path string) bool
	// Moving: files may be removed meanwhile, which takes them out of the state.
	Moving bool
}

// Progress says how far the copying is.
type Progress struct {
	Files, AllFiles int
	Bytes, AllBytes int64
	// Of what is done, what had to be copied.
	NewFiles int
	NewBytes int64
}

// Add puts a state into the store: it is there whole, on the disk, or not at
// all. report is told of progress after each file.
func (s *Store) Add(ctx context.Context, about About, sources []Source, report func(Progress)) (*Manifest, error) {
	name, known, err := s.next(about.Made)
	if err != nil {
		return nil, err
	}
	var p Progress
	var all []found
	for _, source := range sources {
		files, err := source.list()
		if err != nil {
			return nil, err
		}
		all = append(all, files...)
	}
	for _, f := range all {
		p.AllFiles++
		p.AllBytes += f.Size
	}
	m := &Manifest{Name: name, About: about}
	made := map[string]bool{}
	for _, f := range all {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		copied, err := s.keep(&f, known, made)
		if f.moving && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("copy %s: %w", f.from, err)
		}
		m.Files = append(m.Files, f.File)
		p.Files++
		p.Bytes += f.Size
		if copied {
			p.NewFiles++
			p.NewBytes += f.Size
		}
		report(p)
	}
	// The files before the list that names them.
	for _, dir := range append(slices.Sorted(maps.Keys(made)), filepath.Join(s.dir, objectsName)) {
		if err := datadir.Sync(dir); err != nil {
			return nil, err
		}
	}
	var text bytes.Buffer
	if err := m.write(&text); err != nil {
		return nil, err
	}
	return m, datadir.WriteFile(filepath.Join(s.dir, statesName, name), text.Bytes(), 0o600)
}

// nameLayout of a state: its time, in UTC.
const nameLayout = "20060102T150405.000Z"

// next gives the name of a new state, and the files of the last one.
func (s *Store) next(made time.Time) (name string, known map[string]File, err error) {
	known = map[string]File{}
	name = made.UTC().Format(nameLayout)
	latest, err := s.Latest()
	if errors.Is(err, ErrNone) {
		return name, known, nil
	}
	if err != nil {
		return "", nil, err
	}
	if latest >= name {
		return "", nil, fmt.Errorf("there is a backup of %s already: is the clock right?", latest)
	}
	m, err := s.Read(latest)
	if err != nil {
		return name, known, nil //nolint:nilerr // it helps nobody that a new one is not made because an old one is damaged
	}
	for _, f := range m.Files {
		known[f.Path] = f
	}
	return name, known, nil
}

// found is a file that is to be kept.
type found struct {
	File
	from   string
	moving bool
}

func (s *Source) list() ([]found, error) {
	var all []found
	err := filepath.WalkDir(s.Path, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && (s.Moving || path == s.Path) {
			return nil
		}
		if err != nil {
			return err
		}
		below, err := filepath.Rel(s.Path, path)
		if err != nil {
			return err
		}
		if below != "." && s.Skip != nil && s.Skip(below) {
			if e.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		if !e.Type().IsRegular() {
			return nil
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) && s.Moving {
			return nil
		}
		if err != nil {
			return err
		}
		as := s.As
		if below != "." {
			as += "/" + filepath.ToSlash(below)
		}
		all = append(all, found{File: File{Path: as, Size: info.Size(), Modified: info.ModTime().UnixNano()}, from: path, moving: s.Moving})
		return nil
	})
	return all, err
}

// keep has a file in the store, and reports whether it had to be copied.
func (s *Store) keep(f *found, known map[string]File, made map[string]bool) (bool, error) {
	if k, ok := known[f.Path]; ok && k.Size == f.Size && k.Modified == f.Modified {
		if info, err := os.Stat(s.object(k.SHA256)); err == nil && info.Size() == f.Size {
			f.SHA256 = k.SHA256
			return false, nil
		}
	}
	in, err := os.Open(f.from)
	if err != nil {
		return false, err
	}
	defer in.Close()
	out, err := os.CreateTemp(filepath.Join(s.dir, objectsName), partPrefix)
	if err != nil {
		return false, err
	}
	defer os.Remove(out.Name()) // fails once it is renamed
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(out, sum), in)
	if err := errors.Join(err, out.Sync(), out.Close()); err != nil {
		return false, err
	}
	f.Size, f.SHA256 = n, hex.EncodeToString(sum.Sum(nil))
	path := s.object(f.SHA256)
	if info, err := os.Stat(path); err == nil && info.Size() == n {
		return false, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return false, err
	}
	made[filepath.Dir(path)] = true
	return true, os.Rename(out.Name(), path)
}

// Extract writes the files of a state into dir, each compared with what was put
// into the store: ErrDamaged when it is something else. All are on the disk when
// it returns.
func (s *Store) Extract(ctx context.Context, m *Manifest, dir string, report func(Progress)) error {
	p := Progress{AllFiles: len(m.Files)}
	for _, f := range m.Files {
		p.AllBytes += f.Size
	}
	dirs := map[string]bool{dir: true}
	for _, f := range m.Files {
		if err := ctx.Err(); err != nil {
			return err
		}
		to := filepath.Join(dir, filepath.FromSlash(f.Path))
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return err
		}
		for d := filepath.Dir(to); len(d) > len(dir); d = filepath.Dir(d) {
			dirs[d] = true
		}
		if err := s.extract(&f, to); err != nil {
			return fmt.Errorf("%s: %w", f.Path, err)
		}
		p.Files++
		p.Bytes += f.Size
		report(p)
	}
	for _, d := range slices.Sorted(maps.Keys(dirs)) {
		if err := datadir.Sync(d); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) extract(f *File, to string) error {
	in, err := os.Open(s.object(f.SHA256))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: it is missing", ErrDamaged)
	}
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(out, sum), in)
	if err := errors.Join(err, out.Sync(), out.Close()); err != nil {
		return err
	}
	if n != f.Size || hex.EncodeToString(sum.Sum(nil)) != f.SHA256 {
		return fmt.Errorf("%w: its content has changed", ErrDamaged)
	}
	return nil
}

// NextEpoch gives the epoch of a server that is restored from m, and keeps it in
// the store: two that are restored from one state must not give the same names to
// different messages. It errs where nothing can be written.
func (s *Store) NextEpoch(m *Manifest) (uint16, error) {
	path := filepath.Join(s.dir, epochName)
	last := uint64(m.Epoch)
	text, err := os.ReadFile(path)
	switch {
	case err == nil:
		n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 16)
		if err != nil {
			return 0, fmt.Errorf("%w: %s has %.40q", ErrDamaged, path, text)
		}
		last = max(last, n)
	case !errors.Is(err, fs.ErrNotExist):
		return 0, err
	}
	if last >= 1<<16-1 {
		return 0, errors.New("it was restored as often as it can be")
	}
	epoch := uint16(last + 1)
	return epoch, datadir.WriteFile(path, []byte(strconv.Itoa(int(epoch))+"\n"), 0o600)
}
