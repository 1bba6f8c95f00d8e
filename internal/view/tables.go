// SPDX-License-Identifier: Apache-2.0

package view

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/cockroachdb/pebble/v2/sstable"
)

// scrubTables compares each block of the tables with its checksum, as it is in the file: what is
// read through the engine may come from its cache. between is as in Scrub.
func (v *View) scrubTables(ctx context.Context, between func(bytes int) error) error {
	if err := v.enter(); err != nil {
		return err
	}
	names, err := v.tables()
	v.leave()
	if err != nil {
		return err
	}
	for name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		size, err := v.scrubTable(ctx, name)
		if err != nil {
			return err
		}
		if between != nil {
			if err := between(size); err != nil {
				return err
			}
		}
	}
	return nil
}

// tables gives the names of the files that are the database now.
func (v *View) tables() (map[string]bool, error) {
	levels, err := v.db.SSTables()
	if err != nil {
		return nil, v.damaged(err)
	}
	names := map[string]bool{}
	for _, level := range levels {
		for i := range level {
			names[level[i].BackingSSTNum.String()+".sst"] = true
		}
	}
	return names, nil
}

// scrubTable looks at one table, unless it is none any more.
func (v *View) scrubTable(ctx context.Context, name string) (size int, err error) {
	if err := v.enter(); err != nil {
		return 0, err
	}
	defer v.leave()
	size, err = v.readTable(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		names, listErr := v.tables()
		switch {
		case listErr != nil:
			return 0, listErr
		case names[name]:
			return 0, v.damaged(fmt.Errorf("%w: %w: %s is gone", ErrCorrupt, errRotten, name))
		}
		return 0, nil // compacted meanwhile
	}
	if err != nil {
		return 0, v.damaged(fmt.Errorf("%s: %w", name, err))
	}
	return size, nil
}

func (v *View) readTable(ctx context.Context, name string) (size int, err error) {
	f, err := v.opts.FS.Open(v.opts.FS.PathJoin(v.dir, databaseDir, name))
	if err != nil {
		return 0, err
	}
	readable, err := sstable.NewSimpleReadable(f)
	if err != nil {
		return 0, errors.Join(err, f.Close())
	}
	o := v.pebbleOptions(true)
	o.EnsureDefaults()
	r, err := sstable.NewReader(ctx, readable, o.MakeReaderOptions()) // without a cache
	if err != nil {
		return 0, errors.Join(err, readable.Close())
	}
	return int(readable.Size()), errors.Join(r.ValidateBlockChecksums(), r.Close())
}
