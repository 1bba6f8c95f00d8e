// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// startingFile is there while etcd starts for the first time on a directory.
const startingFile = "starting"

// beginDir makes a first start that was cut short harmless. An etcd that ended
// between creating its log and writing its first entry never finds a leader
// again: it has no members. Nothing can have been committed by then, because
// commands are taken only after finished has returned; so the next start begins
// anew. A directory that finished a start is never cleared.
func beginDir(dir, etcdDir string) (finished func() error, err error) {
	path := filepath.Join(dir, startingFile)
	_, startingErr := os.Lstat(path)
	_, etcdErr := os.Lstat(etcdDir)
	for _, err := range []error{startingErr, etcdErr} {
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("journal: %w", err)
		}
	}
	switch {
	case startingErr != nil && etcdErr == nil: // a start was finished
		return func() error { return nil }, nil
	case startingErr == nil:
		if err := os.RemoveAll(etcdDir); err != nil {
			return nil, fmt.Errorf("journal: clearing a first start that was cut short: %w", err)
		}
	}
	return markStarting(dir)
}

// markStarting says on the disk that a first start is under way, until finished.
func markStarting(dir string) (finished func() error, err error) {
	path := filepath.Join(dir, startingFile)
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	if err := syncDir(dir); err != nil {
		return nil, err
	}
	return func() error {
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("journal: %w", err)
		}
		return syncDir(dir)
	}, nil
}

// syncDir makes what was created and removed in dir survive a power cut.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	return nil
}

// replaceFile writes a file that is there whole, or as before, after any crash.
func replaceFile(path string, content []byte) error {
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}
