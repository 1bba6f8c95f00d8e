// SPDX-License-Identifier: Apache-2.0

package view

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"bavard/internal/command"
)

// Checkpoint makes dir, which must not be there yet, a view of its own: what this
// one has applied when it is called, and perhaps some of what comes while it works,
// up to the position that it gives. Tables are hard links where dir is on the same
// file system, so that it costs little, and nothing waits for it; what it keeps from
// being removed is dir's. It is on the disk when Checkpoint returns.
func (v *View) Checkpoint(dir string) (command.Position, error) {
	if err := v.enter(); err != nil {
		return command.Position{}, err
	}
	defer v.leave()
	fs := v.opts.FS
	if _, err := fs.Stat(dir); err == nil {
		return command.Position{}, fmt.Errorf("view: checkpoint: %s is there already", dir)
	}
	if err := v.db.Flush(); err != nil {
		return command.Position{}, fmt.Errorf("view: checkpoint: %w", err)
	}
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return command.Position{}, fmt.Errorf("view: checkpoint: %w", err)
	}
	if err := v.db.Checkpoint(fs.PathJoin(dir, databaseDir)); err != nil {
		return command.Position{}, fmt.Errorf("view: checkpoint: %w", err)
	}
	if err := writeMarker(fs, dir); err != nil {
		return command.Position{}, err
	}
	if err := syncDir(fs, fs.PathDir(dir)); err != nil {
		return command.Position{}, fmt.Errorf("view: checkpoint: %w", err)
	}
	return DurableIn(dir, Options{FS: fs, Logger: v.opts.Logger})
}

// LogOut ends, in the view in dir, which nobody has open, what lets devices in
// without the password: their tokens, and links for new ones. Recovery codes stay.
// It is on the disk when LogOut returns.
func LogOut(dir string, o Options) error {
	v, err := Open(dir, o)
	if err != nil {
		return err
	}
	for _, table := range []byte{tableClient, tableLink} {
		err = errors.Join(err, v.db.DeleteRange([]byte{table}, []byte{table + 1}, pebble.NoSync))
	}
	return errors.Join(err, v.db.Flush(), v.Close())
}
