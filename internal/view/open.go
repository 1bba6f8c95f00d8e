// SPDX-License-Identifier: Apache-2.0

package view

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// format of the database as a whole: which tables there are and what their
// keys and records look like. Raised by a change that an older version could
// not read.
const format = 1

const (
	databaseDir = "db"
	// markerFile stands beside the database and says that it was initialised:
	// Pebble opens a directory that lost its own marker as an empty database.
	markerFile = "initialised"
	markerText = "bavard view\n"
)

// Open opens the view in dir, or makes an empty one. After a start, batches
// above Applied must be applied from the journal.
func Open(dir string, o Options) (*View, error) {
	o.defaults()
	v := &View{opts: o, dir: dir, log: o.Logger, closing: make(chan struct{})}
	if err := makeDirs(o.FS, dir); err != nil {
		return nil, fmt.Errorf("view: %w", err)
	}
	initialised, err := readMarker(o.FS, dir)
	if err != nil {
		return nil, err
	}
	if v.db, err = pebble.Open(o.FS.PathJoin(dir, databaseDir), v.pebbleOptions(initialised)); err != nil {
		if errors.Is(err, pebble.ErrDBDoesNotExist) {
			return nil, fmt.Errorf("%w: %s says that there was one; restore a backup, or rejoin the cell with an empty data directory: %w",
				ErrLost, o.FS.PathJoin(dir, markerFile), err)
		}
		return nil, v.opening(err)
	}
	if err := v.start(dir, initialised); err != nil {
		return nil, errors.Join(err, v.Close())
	}
	return v, nil
}

// start reads what applying needs in memory.
func (v *View) start(dir string, initialised bool) error {
	if err := v.checkFormat(initialised); err != nil {
		return err
	}
	if !initialised {
		if err := writeMarker(v.opts.FS, dir); err != nil {
			return err
		}
	}
	if err := v.loadMeta(); err != nil {
		return err
	}
	if err := errors.Join(v.loadCell(), v.loadLevel()); err != nil {
		return err
	}
	v.apply.init(v)
	if err := errors.Join(v.apply.loadAccounts(), v.apply.loadKept(), v.apply.loadExpiring()); err != nil {
		return err
	}
	bucket := v.published.Load().bucket
	if err := v.apply.sieves.load(v, max(bucket, liveBuckets-1)-(liveBuckets-1)); err != nil {
		return err
	}
	v.flushed.stale.Store(true)
	return nil
}

func (v *View) pebbleOptions(initialised bool) *pebble.Options {
	opts := &pebble.Options{
		FS:                 vfs.OnDiskFull(v.opts.FS, v.diskFull),
		Logger:             engineLog{v},
		EventListener:      v.listener(),
		DisableWAL:         true, // the journal is the log
		ErrorIfNotExists:   initialised,
		FormatMajorVersion: pebble.FormatTableFormatV6, // checksummed footers
		CacheSize:          v.opts.CacheBytes,
		// A memtable that is full is flushed at once, so its size is what
		// bounds the work of replaying after a crash.
		MemTableSize:                uint64(v.opts.FlushBytes),
		MemTableStopWritesThreshold: 4,
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       32,
		MaxOpenFiles:                1000,
		CompactionConcurrencyRange:  func() (int, int) { return 1, 2 },
	}
	opts.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return pebble.DBCompressionFastest })
	for i := range opts.Levels {
		opts.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		opts.Levels[i].BlockSize = 16 << 10
	}
	return opts
}

// checkFormat refuses a newer format and writes ours to a new view.
func (v *View) checkFormat(initialised bool) error {
	b, err := v.get(v.db, []byte{tableFormat})
	switch {
	case err == nil:
		f, n := binary.Uvarint(b)
		if n <= 0 {
			return v.damaged(corruptf("format record"))
		}
		if f > format {
			return fmt.Errorf("%w: it has format %d, this version reads up to %d; install a newer version", ErrFormat, f, format)
		}
		return nil
	case !errors.Is(err, pebble.ErrNotFound):
		return v.damaged(err)
	case initialised:
		// A MANIFEST that has lost its end is an older database for the engine, and one that has lost
		// all but its beginning an empty one.
		return v.damaged(fmt.Errorf("%w: %w: the format record is missing", ErrCorrupt, errRotten))
	}
	if err := v.db.Set([]byte{tableFormat}, binary.AppendUvarint(nil, format), pebble.NoSync); err != nil {
		return fmt.Errorf("view: %w", err)
	}
	if err := v.db.Flush(); err != nil {
		return fmt.Errorf("view: %w", err)
	}
	return nil
}

func (v *View) loadMeta() error {
	m := meta{nextID: 1}
	b, err := v.get(v.db, []byte{tableMeta})
	switch {
	case err == nil:
		if m, err = parseMeta(b); err != nil {
			return v.damaged(err)
		}
	case !errors.Is(err, pebble.ErrNotFound):
		return v.damaged(err)
	}
	if m.applied.Epoch > v.opts.Epoch {
		return fmt.Errorf("view: holds epoch %d, which is newer than the journal's %d: the data directory's parts are of different restores",
			m.applied.Epoch, v.opts.Epoch)
	}
	v.published.Store(&m)
	return nil
}

func (v *View) loadCell() error {
	b, err := v.get(v.db, []byte{tableCell})
	if errors.Is(err, pebble.ErrNotFound) {
		return nil
	}
	if err != nil {
		return v.damaged(err)
	}
	c, err := parseCell(b)
	if err != nil {
		return v.damaged(err)
	}
	if err := v.checkDomain(c.domain); err != nil {
		return err
	}
	v.cell.Store(&c)
	return nil
}

func (v *View) checkDomain(domain string) error {
	if v.opts.Domain == "" || v.opts.Domain == domain {
		return nil
	}
	return fmt.Errorf("%w: the data directory belongs to %q, the configuration says %q; set the domain to %q, or use another data directory",
		ErrDomain, domain, v.opts.Domain, domain)
}

// makeDirs makes the directories such that they outlast a crash of the
// machine: what is synced inside a directory is lost when its own name is not.
func makeDirs(fs vfs.FS, dir string) error {
	if err := fs.MkdirAll(fs.PathJoin(dir, databaseDir), 0o700); err != nil {
		return err
	}
	if err := syncDir(fs, fs.PathDir(dir)); err != nil {
		return err
	}
	return syncDir(fs, dir)
}

func syncDir(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// readMarker tells whether the view was initialised.
func readMarker(fs vfs.FS, dir string) (bool, error) {
	f, err := fs.Open(fs.PathJoin(dir, markerFile))
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return false, nil
		}
		return false, fmt.Errorf("view: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(f, 1<<10))
	if err = errors.Join(err, f.Close()); err != nil {
		return false, fmt.Errorf("view: %w", err)
	}
	if string(text) != markerText {
		return false, fmt.Errorf("view: %s is not ours", fs.PathJoin(dir, markerFile))
	}
	return true, nil
}

func writeMarker(fs vfs.FS, dir string) error {
	err := func() error {
		path, part := fs.PathJoin(dir, markerFile), fs.PathJoin(dir, markerFile+".part")
		f, err := fs.Create(part, vfs.WriteCategoryUnspecified)
		if err != nil {
			return err
		}
		_, err = f.Write([]byte(markerText))
		if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
			return err
		}
		if err := fs.Rename(part, path); err != nil {
			return err
		}
		return syncDir(fs, dir)
	}()
	if err != nil {
		return fmt.Errorf("view: %w", err)
	}
	return nil
}

// listener hears of flushes and damage. The default one for damage would end
// the process.
func (v *View) listener() *pebble.EventListener {
	l := &pebble.EventListener{
		BackgroundError: v.inBackground,
		DataCorruption: func(i pebble.DataCorruptionInfo) {
			v.report(fmt.Errorf("%w: %w: %s: %w", ErrCorrupt, errRotten, i.Path, i.Details))
		},
		// A failed flush is tried again and is reported as a background error.
		FlushEnd: func(i pebble.FlushInfo) {
			if len(i.Output) > 0 {
				v.counters.flushes.Add(1)
			}
			if i.Err == nil {
				v.stuck.Store(nil)
			}
			v.flushed.stale.Store(true)
			if v.opts.OnFlush != nil {
				v.opts.OnFlush()
			}
		},
		WriteStallBegin: func(i pebble.WriteStallBeginInfo) {
			v.log.Warn("view: writes wait for the disk", "reason", i.Reason)
		},
	}
	l.EnsureDefaults(nil)
	return l
}

const (
	// fullPause keeps the engine, which tries again at once, from spinning while
	// the disk is full.
	fullPause = 250 * time.Millisecond
	// fullRoom is what a write that is tried again shall find: the engine tries once,
	// and cannot go on when it is its MANIFEST that cannot be written.
	fullRoom = 4 << 20
)

// diskFull is called while the engine's writes wait, as they do until there is
// room or the view is closed. Reading goes on.
func (v *View) diskFull() {
	if v.opts.OnDiskFull != nil && v.opts.OnDiskFull() && v.hasRoom() {
		return
	}
	v.log.Error("view: the disk is full, writes wait until there is room")
	tick := time.NewTicker(fullPause)
	defer tick.Stop()
	for {
		<-tick.C
		select {
		case <-v.closing:
			return
		default:
		}
		if v.hasRoom() {
			return
		}
	}
}

// hasRoom is true, too, where a file system does not tell.
func (v *View) hasRoom() bool {
	usage, err := v.opts.FS.GetDiskUsage(v.dir)
	return err != nil || usage.AvailBytes >= fullRoom
}

// engineLog hands Pebble's log on.
type engineLog struct{ v *View }

func (l engineLog) Infof(format string, args ...any) {
	l.v.log.Debug(fmt.Sprintf(format, args...), slog.String("from", "pebble"))
}

func (l engineLog) Errorf(format string, args ...any) {
	l.v.log.Error(fmt.Sprintf(format, args...), slog.String("from", "pebble"))
}

// Fatalf is called when Pebble cannot go on, as when its MANIFEST cannot be
// written. It must not return; the supervisor starts the process again.
func (l engineLog) Fatalf(format string, args ...any) {
	err := fmt.Errorf("view: "+format, args...)
	l.v.report(err)
	panic(err)
}
