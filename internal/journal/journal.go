// SPDX-License-Identifier: Apache-2.0

// Package journal is the durable, totally ordered log of a cell. What it
// acknowledges is fsynced on a majority of the cell's disks. It is the only
// package that imports etcd; everything it offers is in our own words, so that
// another engine can take etcd's place.
package journal

import (
	"context"
	"errors"
	"slices"
	"time"
)

// Errors that callers tell apart.
var (
	// ErrClosed: the journal was closed before the command was settled; it may
	// or may not have been committed.
	ErrClosed = errors.New("journal: closed")
	// ErrFenced: another incarnation of this writer has taken over; the command
	// was not committed and never will be.
	ErrFenced = errors.New("journal: fenced by a newer incarnation of this node")
	// ErrTooLarge: the command is larger than MaxCommand.
	ErrTooLarge = errors.New("journal: command too large")
	// ErrFull: the journal takes no more commands until space is found.
	ErrFull = errors.New("journal: no space")
	// ErrOwner: the journal is written by another data directory.
	ErrOwner = errors.New("journal: belongs to another data directory")
	// ErrCompacted: the history asked for is no longer kept; load a snapshot.
	ErrCompacted = errors.New("journal: history compacted")
)

const (
	// MaxBatch bounds the encoded size of one batch, in bytes.
	MaxBatch = 512 << 10
	// MaxCommand bounds one encoded command, in bytes: a stanza of 256 KiB and
	// what describes it.
	MaxCommand = 320 << 10
)

// Batch is one committed batch of commands.
type Batch struct {
	// Revision orders batches and never repeats within an epoch; it may skip.
	Revision uint64
	// Writer names the node, Incarnation its start (random per Open), Counter
	// is dense per incarnation and starts at 1. Batch 1 has no commands: it takes
	// the writer's key over and so fences earlier incarnations.
	Writer      string
	Incarnation uint64
	Counter     uint64
	// Commands in order; they stay valid until the next call of Next.
	Commands [][]byte
}

// Settled is told what became of a submitted command: its batch's revision
// and its index in it, or an error that means it was not committed and never
// will be (ErrClosed: unknown). It is called exactly once, in commit order,
// from one goroutine, and must not block.
type Settled func(revision uint64, index uint32, err error)

// Journal is the whole interface.
type Journal interface {
	// Submit queues one command; the journal batches what comes in while the
	// previous batch is in flight (group commit). Commands of one caller are
	// committed in the order of its calls. It blocks while the queue is full
	// (8 MiB) and until ctx ends; an error means that settled is not called.
	// cmd is owned by the journal from then on.
	Submit(ctx context.Context, cmd []byte, settled Settled) error

	// Tail reads committed batches with a revision above from, in order,
	// without a gap. There is one tailer per journal.
	Tail(ctx context.Context, from uint64) (Tailer, error)

	// TailNewest is Tail from what is newest now, which it gives, for a node that
	// gets its view from another one. Until Release has come to that revision, the
	// node does not count among those that have what may be dropped.
	TailNewest(ctx context.Context) (t Tailer, from uint64, err error)

	// Latest is a linearizable read: a revision at or above that of every batch
	// committed before the call. Concurrent calls share one read.
	Latest(ctx context.Context) (uint64, error)

	// Release says that batches up to revision are durable in this node's view,
	// so that the journal may drop them.
	Release(revision uint64)

	// MakeRoom gives up the room that is kept in reserve on the disk, for writes
	// that must not fail; it reports whether there was any. The reserve comes back
	// by itself when there is room again.
	MakeRoom() bool

	// Scrub reads what this node has of the journal on its disk, and errs with ErrRotten
	// where that is not what was written. between is called with the bytes read, to slow it
	// down, and ends it by an error. Of a journal elsewhere, and of one in memory, there is
	// nothing to read.
	Scrub(ctx context.Context, between func(bytes int) error) error

	// ID names the journal, in 16 bytes: a view belongs to one.
	ID() []byte

	// Incarnation of this writer, as its batches carry it.
	Incarnation() uint64

	// Stats for health and metrics.
	Stats() Stats

	// Close stops; queued commands are settled with ErrClosed.
	Close() error
}

// Tailer hands out batches one by one.
type Tailer interface {
	// Next blocks for the next batch. ErrCompacted, ErrClosed, ctx's error, or
	// a *Damage.
	Next(ctx context.Context) (Batch, error)
	Close() error
}

// Damage reports a batch that failed its checksum, a gap or a repeat.
type Damage struct {
	Revision uint64
	Reason   string
}

func (d *Damage) Error() string { return "journal: damaged: " + d.Reason }

// Stats of a journal.
type Stats struct {
	Queued       int    // commands waiting
	QueuedBytes  int64  // bytes waiting
	Batches      uint64 // committed by this writer
	Commands     uint64 // committed by this writer
	Retries      uint64 // append attempts beyond the first
	Latest       uint64 // newest revision seen
	Released     uint64 // what Release was last told
	WindowBytes  int64  // history kept
	HasLeader    bool
	DatabaseSize int64
	SpoolBytes   int64   // local copy of the journal's end; 0 in memory
	Host         Host    // what runs it; empty in memory
	Others       []Other // nodes of the cell besides this one; none while nothing is known of them
	// Unsettled is for how long the batch in flight has had no outcome; 0 without one.
	Unsettled time.Duration
	Times     Times  // of the batches that carried commands of this writer
	Full      string // why Submit answers ErrFull; "" when it does not
}

// Leads reports whether this node of several leads. While nothing is known of the others, and where it is none of the
// nodes that leads, it does not.
func (s Stats) Leads() bool {
	return s.HasLeader && len(s.Others) > 0 && len(s.Host.Endpoints) == 0 && !slices.ContainsFunc(s.Others, func(o Other) bool { return o.Leads })
}
