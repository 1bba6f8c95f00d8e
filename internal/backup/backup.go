// SPDX-License-Identifier: Apache-2.0

// Package backup keeps states of a data directory in another directory: each
// file once, under the SHA-256 of its content, and a manifest for each state. The
// view's tables never change once written, so that a further backup copies what
// is new. See docs/formats/backup.md.
package backup

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"bavard/internal/datadir"
)

// Names in a directory of backups.
const (
	markerName   = "bavard-backup"
	markerText   = "bavard backup 1\n"
	lockName     = "lock"
	epochName    = "epoch"
	objectsName  = "objects"
	statesName   = "states"
	partPrefix   = ".part-"
	manifestMost = 1 << 30 // bytes
)

// Errors of a directory of backups.
var (
	// ErrNone: there is no backup.
	ErrNone = errors.New("there is no backup")
	// ErrDamaged: what is kept is not what was put there.
	ErrDamaged = errors.New("the backup is damaged")
	// ErrBusy: another process works in the directory.
	ErrBusy = errors.New("another process works with these backups: try again when it is done")
)

// Store is a directory of backups, held by this process until Close.
type Store struct {
	dir  string
	lock *os.File
}

// Create opens the directory of backups at dir, or makes it, readable by its owner
// only: the keys of a server are in it. A directory that holds other things is
// refused.
func Create(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	if len(entries) == 0 {
		if err := os.Chmod(dir, 0o700); err != nil {
			return nil, err
		}
		if err := datadir.WriteFile(filepath.Join(dir, markerName), []byte(markerText), 0o600); err != nil {
			return nil, err
		}
	}
	s, err := Open(dir)
	if errors.Is(err, ErrNone) {
		return nil, fmt.Errorf("%s holds other files: name an empty directory, or one of backups", dir)
	}
	if err != nil {
		return nil, err
	}
	for _, name := range []string{objectsName, statesName} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	return s, nil
}

// Open opens a directory of backups that is there; ErrNone if it is none. On a
// medium that cannot be written it can be read.
func Open(dir string) (*Store, error) {
	text, err := os.ReadFile(filepath.Join(dir, markerName))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w in %s", ErrNone, dir)
	case err != nil:
		return nil, err
	case string(text) != markerText:
		return nil, fmt.Errorf("%s: this version does not know backups of this kind (%q): install a newer version", dir, text)
	}
	lock, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if errors.Is(err, syscall.EROFS) || errors.Is(err, fs.ErrPermission) {
		return &Store{dir: dir}, nil
	}
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = ErrBusy
		}
		return nil, errors.Join(err, lock.Close())
	}
	return &Store{dir: dir, lock: lock}, nil
}

// Close lets go of the directory.
func (s *Store) Close() error {
	if s.lock == nil {
		return nil
	}
	return s.lock.Close()
}

// List gives the names of the states that are kept, oldest first.
func (s *Store) List() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(s.dir, statesName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

// Latest is the newest of List; ErrNone when there is none.
func (s *Store) Latest() (string, error) {
	names, err := s.List()
	if err != nil {
		return "", err
	}
	if len(names) == 0 {
		return "", ErrNone
	}
	return names[len(names)-1], nil
}

// Read reads the manifest of a state.
func (s *Store) Read(name string) (*Manifest, error) {
	if !filepath.IsLocal(name) || strings.ContainsRune(name, filepath.Separator) {
		return nil, fmt.Errorf("%w of the name %q", ErrNone, name)
	}
	f, err := os.Open(filepath.Join(s.dir, statesName, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w of the name %q", ErrNone, name)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	m, err := readManifest(io.LimitReader(f, manifestMost))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	m.Name = name
	return m, nil
}

// object is where content with that SHA-256, in hexadecimal digits, is kept.
func (s *Store) object(sum string) string {
	return filepath.Join(s.dir, objectsName, sum[:2], sum[2:])
}

// Keep removes all but the newest n states, and the files that only they have.
// It gives the names of those removed. n is at least 1.
func (s *Store) Keep(n int) ([]string, error) {
	names, err := s.List()
	if err != nil || len(names) <= max(n, 1) {
		return nil, err
	}
	old, kept := names[:len(names)-max(n, 1)], names[len(names)-max(n, 1):]
	wanted := map[string]bool{}
	for _, name := range kept { // before anything is removed: all have to be readable
		m, err := s.Read(name)
		if err != nil {
			return nil, err
		}
		for _, f := range m.Files {
			wanted[f.SHA256] = true
		}
	}
	for _, name := range old {
		if err := os.Remove(filepath.Join(s.dir, statesName, name)); err != nil {
			return nil, err
		}
	}
	if err := datadir.Sync(filepath.Join(s.dir, statesName)); err != nil {
		return nil, err
	}
	return old, s.prune(wanted)
}

// prune removes the files that nobody wants, and what was left half written.
func (s *Store) prune(wanted map[string]bool) error {
	return filepath.WalkDir(filepath.Join(s.dir, objectsName), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		if sum := filepath.Base(filepath.Dir(path)) + e.Name(); !wanted[sum] {
			return os.Remove(path)
		}
		return nil
	})
}
