// SPDX-License-Identifier: Apache-2.0

// Package cell joins a node's journal and view: commands go into the journal,
// committed batches are applied to the view in order, outcomes find their way
// back to who submitted the command, and events go to dispatch.
package cell

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"bavard/internal/command"
	"bavard/internal/journal"
	"bavard/internal/state"
	"bavard/internal/view"
)

// MaxInFlight bounds the commands of this node that are submitted and not yet
// applied. It is what pushes back on sessions when the disk or the view lags.
const MaxInFlight = 8192

// ErrStopped: the cell has stopped; the command may or may not take effect.
var ErrStopped = errors.New("cell: stopped")

// Options of a cell.
type Options struct {
	// Journal is handed over: Close closes it, and so does a failed Open.
	Journal journal.Journal
	// Alone: no other node appends to the journal.
	Alone bool
	// ViewDir and View say where and how the view is kept. View.OnFlush is taken
	// by the cell.
	ViewDir string
	View    view.Options
	Logger  *slog.Logger
	// Events is called by the applier after each batch, before the outcomes of
	// its commands are handed out. It must not block.
	Events func([]state.Event)
	// Own is called after Events with those of the batches that this node has
	// appended: for what one node of several is to do. It must not block.
	Own func([]state.Event)
	// Fetch brings a view of at least a revision into ViewDir, in place of what is
	// there, which is closed. It is asked when the journal has no more what the view
	// lacks; nil: that is an error (journal.ErrCompacted).
	Fetch func(ctx context.Context, after uint64) error
	// OnJournalDamage is told when a scrub has found that what the journal has on the disk is
	// not what was written (journal.ErrRotten). It must not block. nil ignores.
	OnJournalDamage func(error)
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// JournalStats gives the figures of the cell's journal.
func (c *Cell) JournalStats() journal.Stats { return c.o.Journal.Stats() }

// Done is told the outcome of a command, or an error when it will never be
// known here (ErrStopped) or was never committed. It must not block.
type Done func(command.Outcome, error)

// Cell of one node. Its journal and view are closed by Close.
type Cell struct {
	*view.View // for its readers

	o      Options
	slots  chan struct{} // one for each command in flight
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{} // closed when the applier has ended

	mu sync.Mutex // guards all below
	// The journal settles a command and the view applies it, in either order;
	// whoever comes second completes it. Bounded by MaxInFlight.
	waiting  map[key]Done
	outcomes map[key]command.Outcome
	err      error         // why the applier ended
	changed  chan struct{} // closed and replaced whenever applied moves

	applied atomic.Uint64 // revision
	flushed chan struct{} // the view has made more durable
	scrubs  scrubbing
}

type key struct {
	revision uint64
	index    uint32
}

// Open opens the view, starts the applier at its position and waits until the
// view has what the journal has. A new cell gets its first command.
func Open(ctx context.Context, o Options) (*Cell, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Events == nil {
		o.Events = func([]state.Event) {}
	}
	if o.Own == nil {
		o.Own = func([]state.Event) {}
	}
	run, cancel := context.WithCancel(context.Background())
	c := &Cell{
		o: o, slots: make(chan struct{}, MaxInFlight), ctx: run, cancel: cancel, done: make(chan struct{}),
		waiting: map[key]Done{}, outcomes: map[key]command.Outcome{}, changed: make(chan struct{}),
		flushed: make(chan struct{}, 1), scrubs: scrubbing{now: make(chan struct{}, 1)},
	}
	o.View.OnFlush = func() {
		select {
		case c.flushed <- struct{}{}:
		default:
		}
	}
	o.View.OnDiskFull = o.Journal.MakeRoom
	c.o = o
	tail, err := c.start(ctx)
	if err != nil {
		cancel()
		if c.View != nil {
			err = errors.Join(err, c.View.Close())
		}
		return nil, errors.Join(err, o.Journal.Close())
	}
	c.applied.Store(c.revision(c.Applied()))
	go c.apply(tail)
	go c.release()
	go c.scrub()
	go c.sweep()
	go c.blank()
	if err := c.begin(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// fullEvery is how often release looks whether the journal is full.
const fullEvery = 250 * time.Millisecond

// release tells the journal what it may drop, whenever the view has made more
// durable. When the journal takes no more, the view is flushed once, while there
// is room for it: from then on nothing has to be written until there is more.
func (c *Cell) release() {
	tick := time.NewTicker(fullEvery)
	defer tick.Stop()
	full := false
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-tick.C:
			was := full
			if full = c.o.Journal.Stats().Full != ""; full && !was {
				go c.flush()
			}
		case <-c.flushed:
			durable, err := c.Durable()
			if err != nil {
				c.o.Logger.Error("read how far the view is durable", "err", err)
				continue
			}
			c.o.Journal.Release(c.revision(durable))
		}
	}
}

func (c *Cell) flush() {
	if err := c.View.Flush(); err != nil && c.ctx.Err() == nil {
		c.o.Logger.Warn("flush the view", "err", err)
	}
}

// Archives of deleted accounts are removed a slice at a time, with pauses in which
// the applier does other things.
const (
	sweepEvery = time.Second
	sweepPause = 10 * time.Millisecond
)

// sweep asks for slices as long as there are any.
func (c *Cell) sweep() {
	pause := time.NewTimer(sweepEvery)
	defer pause.Stop()
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-pause.C:
		}
		sweeping, err := c.Sweeping()
		if err == nil && sweeping {
			_, err = c.Do(c.ctx, &command.Command{Request: &command.Command_ArchiveSweep{ArchiveSweep: &command.ArchiveSweep{}}})
		}
		if err == nil && sweeping {
			pause.Reset(sweepPause)
		} else {
			pause.Reset(sweepEvery)
		}
	}
}

// Submit stamps the command and appends it to the journal. done is called
// exactly once unless an error is returned. Commands of one caller are applied
// in the order of its calls. It blocks while too much is in flight.
func (c *Cell) Submit(ctx context.Context, cmd *command.Command, done func(command.Outcome, error)) error {
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	case <-c.ctx.Done():
		return ErrStopped
	}
	cmd.TimeMs = c.o.Now().UnixMilli()
	b, err := proto.Marshal(cmd)
	if err != nil {
		<-c.slots
		return fmt.Errorf("cell: encode command: %w", err)
	}
	err = c.o.Journal.Submit(ctx, b, func(revision uint64, index uint32, err error) {
		c.settled(key{revision, index}, done, err)
	})
	if err != nil {
		<-c.slots
	}
	return err
}

// settled is the journal's word on a command.
func (c *Cell) settled(k key, done Done, err error) {
	if err == nil {
		c.mu.Lock()
		out, ok := c.outcomes[k]
		if !ok && c.err == nil {
			c.waiting[k] = done
			c.mu.Unlock()
			return
		}
		delete(c.outcomes, k)
		err = c.err
		c.mu.Unlock()
		if ok {
			<-c.slots
			done(out, nil)
			return
		}
	}
	<-c.slots
	done(command.Outcome{}, err)
}

// Do submits a command and waits for its outcome.
func (c *Cell) Do(ctx context.Context, cmd *command.Command) (command.Outcome, error) {
	type answer struct {
		out command.Outcome
		err error
	}
	ch := make(chan answer, 1)
	if err := c.Submit(ctx, cmd, func(out command.Outcome, err error) { ch <- answer{out, err} }); err != nil {
		return command.Outcome{}, err
	}
	select {
	case a := <-ch:
		return a.out, a.err
	case <-ctx.Done():
		return command.Outcome{}, ctx.Err()
	}
}

// Current waits until the view has applied all that was answered anywhere in the
// cell before the call. Alone that is so at any time: what is answered here has
// been applied, and a start catches up with what was answered before it. So people
// can read while the journal waits for room on the disk.
func (c *Cell) Current(ctx context.Context) error {
	if c.o.Alone {
		return nil
	}
	return c.catchUp(ctx)
}

// catchUp waits until the view has all that was committed before the call.
func (c *Cell) catchUp(ctx context.Context) error {
	latest, err := c.o.Journal.Latest(ctx)
	if err != nil {
		return err
	}
	return c.wait(ctx, latest)
}

// Heard waits until the journal has answered a linearizable read: until this node has been heard by most of the cell.
func (c *Cell) Heard(ctx context.Context) error {
	_, err := c.o.Journal.Latest(ctx)
	return err
}

func (c *Cell) wait(ctx context.Context, revision uint64) error {
	for c.applied.Load() < revision {
		c.mu.Lock()
		changed, err := c.changed, c.err
		c.mu.Unlock()
		if c.applied.Load() >= revision {
			return nil
		}
		if err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// apply is the applier: the only goroutine that writes to the view.
func (c *Cell) apply(tail journal.Tailer) {
	defer close(c.done)
	defer tail.Close()
	for {
		batch, err := tail.Next(c.ctx)
		if err != nil {
			c.stop(err)
			return
		}
		result, err := c.View.Apply(view.Batch{Revision: batch.Revision, Commands: batch.Commands})
		if err != nil {
			c.stop(fmt.Errorf("cell: apply revision %d: %w", batch.Revision, err))
			return
		}
		if len(result.Events) > 0 {
			c.o.Events(result.Events)
			if c.owns(batch) {
				c.o.Own(result.Events)
			}
		}
		c.finish(batch, result.Outcomes)
	}
}

// owns reports whether this node has appended the batch, since its start.
func (c *Cell) owns(batch journal.Batch) bool { return batch.Incarnation == c.o.Journal.Incarnation() }

// finish hands out the outcomes of a batch, if it is this node's own.
func (c *Cell) finish(batch journal.Batch, outcomes []command.Outcome) {
	var ready []Done
	own := c.owns(batch)
	if own {
		ready = make([]Done, len(outcomes))
	}
	c.mu.Lock()
	c.applied.Store(batch.Revision)
	close(c.changed)
	c.changed = make(chan struct{})
	if own {
		for i, out := range outcomes {
			k := key{batch.Revision, uint32(i)}
			if done, ok := c.waiting[k]; ok {
				delete(c.waiting, k)
				ready[i] = done
			} else {
				c.outcomes[k] = out
			}
		}
	}
	c.mu.Unlock()
	for i, done := range ready {
		if done != nil {
			<-c.slots
			done(outcomes[i], nil)
		}
	}
}

// stop ends the applier: whoever waits is told.
func (c *Cell) stop(err error) {
	if c.ctx.Err() != nil {
		err = ErrStopped
	} else {
		c.o.Logger.Error("the applier has stopped; this node needs a restart", "err", err)
	}
	c.mu.Lock()
	c.err = err
	waiting := c.waiting
	c.waiting = map[key]Done{}
	close(c.changed)
	c.changed = make(chan struct{})
	c.mu.Unlock()
	for _, done := range waiting {
		<-c.slots
		done(command.Outcome{}, err)
	}
}

// Stopped is closed when the applier has ended; Err says why.
func (c *Cell) Stopped() <-chan struct{} { return c.done }

// Err of the applier; nil while it runs.
func (c *Cell) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// InFlight commands of this node.
func (c *Cell) InFlight() int { return len(c.slots) }

// Lag is how many revisions the view is behind what the journal has seen.
func (c *Cell) Lag() uint64 {
	latest, applied := c.o.Journal.Stats().Latest, c.applied.Load()
	if latest < applied {
		return 0
	}
	return latest - applied
}

// Close stops the applier, makes the view durable and closes view and journal.
func (c *Cell) Close() error {
	c.cancel()
	<-c.done
	err := c.View.Flush()
	return errors.Join(err, c.View.Close(), c.o.Journal.Close())
}
