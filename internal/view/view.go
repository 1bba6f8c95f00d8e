// SPDX-License-Identifier: Apache-2.0

// Package view is what a node folds from the journal: accounts, rosters,
// archives. Applying is deterministic. It is the only package that imports
// Pebble. docs/formats/view.md documents each key and record.
package view

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"bavard/internal/command"
	"bavard/internal/state"
)

// Errors that callers tell apart.
var (
	// ErrUnknownCommand: the command needs a newer version; applying stops.
	ErrUnknownCommand = errors.New("view: command unknown to this version")
	// ErrCorrupt: stored data failed its checksum or does not decode.
	ErrCorrupt = errors.New("view: corrupt")
	// errRotten: with ErrCorrupt, that it is not a record that does not decode.
	errRotten = errors.New("not what was written")
	// ErrBadCommand: a command of a batch does not decode. The batch was
	// damaged on its way; nothing of it was applied and none may follow it.
	ErrBadCommand = errors.New("view: command does not decode")
	// ErrOrder: a batch was handed over that may not follow now, because an
	// earlier one failed to apply.
	ErrOrder = errors.New("view: batch out of order")
	// ErrDomain: the cell serves another domain than the configured one.
	ErrDomain = errors.New("view: cell serves another domain")
	// ErrFormat: the view was written by a newer version.
	ErrFormat = errors.New("view: written by a newer version")
	// ErrLevel: the cell has a higher feature level than this version knows.
	ErrLevel = errors.New("view: the cell has gone on to a newer version")
	// ErrLost: the view had been initialised and its database is gone.
	ErrLost = errors.New("view: database is gone")
	// ErrClosed: the view is closed.
	ErrClosed = errors.New("view: closed")
)

// Level is the highest feature level that this version knows. A change of how a command is
// applied raises it, and is made only where the cell's level (txn.level) has been raised as
// far, so that nodes of the version before apply alike:
//
//	1  the first release
//	2  the cell has a level (LevelRaise)
const Level = 2

// Options of a view. The zero value of each field means its default.
type Options struct {
	// Domain that this node is configured to serve. Open and Apply fail with
	// ErrDomain when the cell was initialised for another one. "" skips that.
	Domain string
	// Epoch of the journal that is applied; raised by each restore.
	Epoch uint16
	// Level is the highest feature level that the node claims to know; 0 means Level. A
	// lower one is for tests.
	Level uint32
	// Logger; nil discards.
	Logger *slog.Logger
	// FS holds the files; nil is the disk. For tests.
	FS vfs.FS
	// CacheBytes bounds the block cache and the up to four times FlushBytes of
	// writes that wait to be flushed, together; 0 means 128 MiB.
	CacheBytes int64
	// DedupeBytes bounds the filters that tell new messages from repeated ones
	// without a read; 0 means 64 MiB, good for 32 million messages.
	DedupeBytes int64
	// FlushBytes of applied writes after which a flush is forced; 0 means
	// 16 MiB.
	FlushBytes int64
	// OnDamage is told of data that failed its checksum, of a record that does
	// not decode and of background errors; it must not block and must not call
	// the view. nil ignores. The error wraps ErrCorrupt when data is damaged.
	OnDamage func(error)
	// OnDiskFull is asked, when a write finds the disk full, to make room at once;
	// it reports whether it did. The write is tried again. It must not call the
	// view. nil makes none.
	OnDiskFull func() bool
	// OnFlush is told that Durable may have moved; it must not block and must
	// not call the view. nil ignores.
	OnFlush func()
}

func (o *Options) defaults() {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.Level == 0 {
		o.Level = Level
	}
	if o.CacheBytes <= 0 {
		o.CacheBytes = 128 << 20
	}
	if o.DedupeBytes <= 0 {
		o.DedupeBytes = 64 << 20
	}
	if o.FlushBytes <= 0 {
		o.FlushBytes = 16 << 20
	}
}

// View of a cell on one node. Apply is called from one goroutine; all else may
// be called from any.
type View struct {
	opts Options
	dir  string
	log  *slog.Logger
	db   *pebble.DB

	closing chan struct{} // closed when Close begins
	once    sync.Once
	// life is held shared by every call and exclusively by Close.
	life   sync.RWMutex
	closed bool

	published atomic.Pointer[meta] // as of the last committed batch
	cell      atomic.Pointer[cellRecord]
	level     atomic.Pointer[levelRecord]
	blockers  kept[uint64] // the ids of accounts that block anybody: for all others no message costs a read
	avatars   kept[state.AvatarHash]
	hidden    kept[bool]             // accounts that nobody is to see the presence of
	removed   atomic.Uint64          // batches that took records of the archive away
	stuck     atomic.Pointer[string] // why the last write in the background failed; nil: it did not
	counters  counters
	points    points
	logged    atomic.Int64 // Unix second of the last report

	flushed struct {
		sync.Mutex
		stale    atomic.Bool
		position command.Position
	}

	apply applier // owned by Apply's goroutine
}

// counters since Open, for Stats.
type counters struct {
	batches, commands, duplicates, refused atomic.Uint64
	flushes, damages                       atomic.Uint64
	accounts                               atomic.Int64
}

// enter begins a call; leave must follow when it returns nil.
func (v *View) enter() error {
	v.life.RLock()
	if v.closed {
		v.life.RUnlock()
		return ErrClosed
	}
	return nil
}

func (v *View) leave() { v.life.RUnlock() }

// Close releases the files. What was not flushed is applied again from the
// journal; call Flush before for a quick next start.
func (v *View) Close() error {
	v.once.Do(func() { close(v.closing) })
	v.life.Lock()
	defer v.life.Unlock()
	if v.closed {
		return nil
	}
	v.closed = true
	v.apply.sieves.close()
	if err := v.db.Close(); err != nil {
		return fmt.Errorf("view: close: %w", err)
	}
	return nil
}

// Applied returns the position of the last command applied; the index is that
// of the last command of its batch.
func (v *View) Applied() command.Position { return v.published.Load().applied }

// ChainHash returns the applied position and a hash chained over the writes of
// every batch up to it: nodes that applied alike have equal ones.
func (v *View) ChainHash() (command.Position, uint64) {
	m := v.published.Load()
	return m.applied, m.chain
}

// Rotten reports whether err says that the files of a view are not those that were written: a
// checksum has failed, one is gone or of another size. That is the disk's doing, and another node's
// view is no worse for it, as it may be for a record that does not decode.
func Rotten(err error) bool { return errors.Is(err, ErrLost) || errors.Is(err, errRotten) }

// opening says what an error of opening the database means: the engine has no name for files that
// are gone or of another size.
func (v *View) opening(err error) error {
	var system syscall.Errno
	if !errors.As(err, &system) || system == syscall.ENOENT {
		err = fmt.Errorf("%w: %w: %w", ErrCorrupt, errRotten, err)
	}
	return v.damaged(fmt.Errorf("open: %w", err))
}

// damaged turns an error of the engine or of a decoder into what callers get.
// Damage is reported to the health hook; absence must be handled before.
func (v *View) damaged(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrCorrupt):
	case pebble.IsCorruptionError(err):
		err = fmt.Errorf("%w: %w: %w", ErrCorrupt, errRotten, err)
	default:
		return fmt.Errorf("view: %w", err)
	}
	v.report(err)
	return err
}

// inBackground notes that the engine could not write; it tries again by itself.
func (v *View) inBackground(err error) {
	err = fmt.Errorf("view: in the background: %w", err)
	if pebble.IsCorruptionError(err) {
		v.report(fmt.Errorf("%w: %w: %w", ErrCorrupt, errRotten, err))
		return
	}
	text := err.Error()
	v.stuck.Store(&text)
	if v.due() {
		v.log.Error("the view cannot be written, trying again", "error", err)
	}
}

// due holds back what would be logged more than once a second: a full disk is
// met again and again.
func (v *View) due() bool {
	now := time.Now().Unix()
	return v.logged.Swap(now) != now
}

// report counts and tells of damage.
func (v *View) report(err error) {
	v.counters.damages.Add(1)
	if v.due() {
		v.log.Error("view damaged", "error", err)
	}
	if v.opts.OnDamage != nil {
		v.opts.OnDamage(err)
	}
}
