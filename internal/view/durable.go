// SPDX-License-Identifier: Apache-2.0

package view

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"bavard/internal/command"
)

// DurableIn gives the position that the view in dir has on the disk, without
// opening it: zero when there is none. Nothing is written. It is for what has to
// know before the journal is opened, without which a view is not.
func DurableIn(dir string, o Options) (p command.Position, err error) {
	o.defaults()
	v := &View{opts: o, dir: dir, log: o.Logger, closing: make(chan struct{})}
	initialised, err := readMarker(o.FS, dir)
	if err != nil || !initialised {
		return p, err
	}
	opts := v.pebbleOptions(true)
	opts.ReadOnly = true
	opts.FS = o.FS
	if v.db, err = pebble.Open(o.FS.PathJoin(dir, databaseDir), opts); err != nil {
		if errors.Is(err, pebble.ErrDBDoesNotExist) {
			return p, fmt.Errorf("%w: %w", ErrLost, err)
		}
		return p, v.opening(err)
	}
	defer func() { err = errors.Join(err, v.db.Close()) }()
	if p, err = v.readDurable(); err != nil {
		return p, v.damaged(err)
	}
	return p, v.loadLevel()
}
