// SPDX-License-Identifier: Apache-2.0

package view

import (
	"context"
	"errors"
	"fmt"

	"bavard/internal/command"
)

// Verify reads all of the view in dir, which nobody has open, and compares its archive
// with the count and the sum that are kept of it. It gives the position that the view has.
func Verify(ctx context.Context, dir string, o Options) (p command.Position, err error) {
	o.defaults()
	// Else it would make an empty one.
	if ok, err := readMarker(o.FS, dir); err != nil || !ok {
		return p, errors.Join(fmt.Errorf("%w: there is no view in %s", ErrLost, dir), err)
	}
	o.OnFlush, o.OnDiskFull = nil, nil
	v, err := Open(dir, o)
	if err != nil {
		return p, err
	}
	defer func() { err = errors.Join(err, v.Close()) }()
	return v.Applied(), v.scrubRecords(ctx, nil) // through an engine that has nothing in memory
}
