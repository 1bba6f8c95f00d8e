// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

const (
	// queueBytes bounds what waits for a batch.
	queueBytes = 8 << 20
	// commandOverhead is charged to the queue beside a command's bytes, so that
	// many tiny commands are bounded too.
	commandOverhead = 64

	// An attempt that is not answered in attemptTimeout is followed by another one under the
	// same incarnation and counter: a proposal that a dead leader had taken is
	// lost, and waiting for it only delays. The first one goes on nevertheless, up to attemptMost, because a
	// network may take longer than that, and then the next one is no faster. After patientAfter attempts the
	// timeout doubles up to attemptMax, so that a stalled disk is not buried
	// under copies of one batch.
	attemptTimeout = 200 * time.Millisecond
	attemptMax     = 2 * time.Second
	attemptMost    = 5 * time.Second
	patientAfter   = 10
	// retryPause follows an attempt that failed at once.
	retryPause = 10 * time.Millisecond
	// warnUnsettled is when a batch without an outcome is logged.
	warnUnsettled = 2 * time.Second
)

// errNoSpace: the store refused a write for want of space.
var errNoSpace = errors.New("journal: the store has no space")

// store is the one operation that an engine offers a writer.
type store interface {
	// replace overwrites the writer's key with value if its revision is still
	// last (0: the key does not exist). It returns the key's revision then; if
	// the key had another revision, it returns that one and the value there.
	// An error leaves open whether value was or will be stored.
	replace(ctx context.Context, last uint64, value []byte) (outcome, error)
}

type outcome struct {
	replaced bool
	revision uint64
	current  []byte // if not replaced
}

type pending struct {
	cmd     []byte
	settled Settled
}

// appender batches what is submitted and appends batch after batch, one in
// flight. It owns its writer's key.
type appender struct {
	store       store
	writer      string
	incarnation uint64
	log         *slog.Logger
	linger      time.Duration // how long a batch waits for company
	noSpace     func()        // told when the store refuses for want of space; may be nil

	ctx    context.Context // ends with stop
	cancel context.CancelFunc
	done   chan struct{}  // closed when run has returned
	flying sync.WaitGroup // attempts that are under way
	wake   chan struct{}  // capacity 1

	// Owned by open, then by run.
	counter  uint64
	last     uint64 // revision of this writer's newest batch
	replaced uint64 // revision that this incarnation's first batch replaced
	spare    []pending

	mu      sync.Mutex
	queue   []pending // from head on
	head    int
	bytes   int64     // charged by what is queued or admitted
	waiters []*waiter // submitters without room, oldest first
	refuse  error     // answer to Submit for now: ErrFull
	ended   error     // why nothing will be appended any more
	stats   Stats     // Batches, Commands, Retries, Latest, Times
	begun   time.Time // of the batch in flight; zero when there is none
}

type waiter struct {
	cost int64
	room chan struct{} // closed when cost has been charged or the appender ended
}

func newAppender(s store, writer string, incarnation uint64, log *slog.Logger) *appender {
	ctx, cancel := context.WithCancel(context.Background())
	return &appender{
		store: s, writer: writer, incarnation: incarnation, log: log,
		ctx: ctx, cancel: cancel, done: make(chan struct{}), wake: make(chan struct{}, 1),
	}
}

// open takes the writer's key over with an empty batch, after which no earlier
// incarnation can append, and starts appending.
func (a *appender) open(ctx context.Context) error {
	for {
		b := batch{
			writer: a.writer, incarnation: a.incarnation, counter: 1,
			previous: a.last, replaced: a.last,
		}
		o, err := a.attempts(ctx, &b)
		if err != nil {
			return fmt.Errorf("journal: taking over as %s: %w", a.writer, err)
		}
		if o.replaced {
			a.counter, a.replaced, a.last = 1, a.last, o.revision
			a.stats.Latest = o.revision
			go a.run()
			return nil
		}
		a.last = o.revision
	}
}

// submit is Journal.Submit.
func (a *appender) submit(ctx context.Context, cmd []byte, settled Settled) error {
	if len(cmd) > MaxCommand {
		return ErrTooLarge
	}
	cost := int64(len(cmd) + commandOverhead)
	a.mu.Lock()
	if err := a.refusalLocked(); err != nil {
		a.mu.Unlock()
		return err
	}
	if a.bytes+cost > queueBytes || len(a.waiters) > 0 {
		w := &waiter{cost: cost, room: make(chan struct{})}
		a.waiters = append(a.waiters, w)
		a.mu.Unlock()
		if err := a.waitForRoom(ctx, w); err != nil {
			return err
		}
		a.mu.Lock()
		if err := a.refusalLocked(); err != nil {
			a.giveBackLocked(cost)
			a.mu.Unlock()
			return err
		}
	} else {
		a.bytes += cost
	}
	a.queue = append(a.queue, pending{cmd, settled})
	a.mu.Unlock()
	a.wakeUp()
	return nil
}

func (a *appender) refusalLocked() error {
	if a.ended != nil {
		return a.ended
	}
	return a.refuse
}

// waitForRoom returns nil once w's cost is charged or the appender has ended.
func (a *appender) waitForRoom(ctx context.Context, w *waiter) error {
	select {
	case <-w.room:
		return nil
	case <-ctx.Done():
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, other := range a.waiters {
		if other == w {
			a.waiters = append(a.waiters[:i], a.waiters[i+1:]...)
			a.admitLocked()
			return ctx.Err()
		}
	}
	a.giveBackLocked(w.cost) // room came at the same moment
	return ctx.Err()
}

func (a *appender) giveBackLocked(cost int64) {
	a.bytes -= cost
	a.admitLocked()
}

// admitLocked charges waiters in their order while there is room, and lets all
// of them go when there is no use in waiting.
func (a *appender) admitLocked() {
	for len(a.waiters) > 0 {
		w := a.waiters[0]
		if a.bytes+w.cost > queueBytes && a.refusalLocked() == nil {
			return
		}
		a.waiters[0] = nil
		a.waiters = a.waiters[1:]
		a.bytes += w.cost
		close(w.room)
	}
}

func (a *appender) wakeUp() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// setRefusal makes Submit answer err until it is set to nil again.
func (a *appender) setRefusal(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refuse = err
	a.admitLocked()
}

// run appends batches until stop or until fenced.
func (a *appender) run() {
	defer close(a.done)
	for a.awaitWork() {
		if a.linger > 0 && !sleep(a.ctx, a.linger) {
			break
		}
		if taken := a.take(); len(taken) > 0 && a.append(taken) != nil {
			return
		}
	}
	a.end(ErrClosed, nil, nil)
}

// awaitWork waits until something may be queued; it gives false after stop.
func (a *appender) awaitWork() bool {
	if a.ctx.Err() == nil && a.waiting() {
		return true
	}
	select {
	case <-a.wake:
		return a.ctx.Err() == nil
	case <-a.ctx.Done():
		return false
	}
}

func (a *appender) waiting() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.head < len(a.queue)
}

// take moves what fits into one batch out of the queue.
func (a *appender) take() []pending {
	a.mu.Lock()
	defer a.mu.Unlock()
	size, cost := batchOverhead, int64(0)
	taken := a.spare[:0]
	for ; a.head < len(a.queue); a.head++ {
		next := a.queue[a.head]
		size += commandCost(len(next.cmd))
		if size > MaxBatch {
			break
		}
		cost += int64(len(next.cmd) + commandOverhead)
		taken = append(taken, next)
		a.queue[a.head] = pending{}
	}
	if a.head > len(a.queue)/2 {
		rest := copy(a.queue, a.queue[a.head:])
		clear(a.queue[rest:])
		a.queue, a.head = a.queue[:rest], 0
	}
	if cost > 0 {
		a.giveBackLocked(cost)
	}
	return taken
}

// append settles taken as one batch. An error ends the appender, which has then
// settled all that was waiting.
func (a *appender) append(taken []pending) error {
	b := batch{
		writer: a.writer, incarnation: a.incarnation, counter: a.counter + 1,
		previous: a.last, replaced: a.replaced, commands: make([][]byte, len(taken)),
	}
	for i := range taken {
		b.commands[i] = taken[i].cmd
	}
	begun := time.Now()
	o, err := a.attempts(a.ctx, &b)
	if err == nil && !o.replaced {
		err = a.overtaken(o)
		a.log.Error("journal: another incarnation of this node appends", "writer", a.writer, "revision", o.revision)
		a.end(ErrFenced, taken, err)
		return err
	}
	if err != nil {
		a.end(ErrClosed, taken, ErrClosed)
		return err
	}
	a.counter, a.last = b.counter, o.revision
	a.mu.Lock()
	a.stats.Batches++
	a.stats.Commands += uint64(len(taken))
	a.stats.Latest = o.revision
	a.stats.Times.add(time.Since(begun))
	a.mu.Unlock()
	for i := range taken {
		taken[i].settled(o.revision, uint32(i), nil)
	}
	clear(taken)
	a.spare = taken
	return nil
}

// overtaken says what became of a batch when the key is in other hands: if the
// other incarnation replaced our last settled batch, ours was not committed; if
// it replaced another, that may have been ours.
func (a *appender) overtaken(o outcome) error {
	if other, err := decodeBatch(o.current); err == nil && other.replaced == a.last {
		return ErrFenced
	}
	return fmt.Errorf("%w: taken over by another incarnation while a batch was in flight", ErrClosed)
}

// attempts appends b, trying again until the outcome is known. outcome.replaced
// means that b is stored at outcome.revision. When ctx ends, attempts in
// flight may still finish; an error means that none has settled the matter.
func (a *appender) attempts(ctx context.Context, b *batch) (outcome, error) {
	begun, warned := time.Now(), false
	a.setBegun(begun)
	defer a.setBegun(time.Time{})
	tries := newTries(ctx, a, b)
	defer tries.end()
	for timeout := attemptTimeout; ; {
		o, err := tries.next(timeout)
		if err == nil {
			return o, nil
		}
		if ctx.Err() != nil {
			return outcome{}, ctx.Err()
		}
		a.mu.Lock()
		a.stats.Retries++
		a.mu.Unlock()
		if errors.Is(err, errNoSpace) && a.noSpace != nil {
			a.noSpace()
		}
		if !warned && time.Since(begun) > warnUnsettled {
			warned = true
			a.log.Warn("journal: a batch has no outcome yet", "after", time.Since(begun).Round(time.Millisecond), "error", err)
		}
		if tries.begun >= patientAfter {
			timeout = min(2*timeout, attemptMax)
		}
	}
}

func (a *appender) setBegun(t time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.begun = t
}

// sleep waits for d and reports whether ctx is still open.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// end refuses what comes with err, and settles what is in flight with its own
// error and what is queued with err.
func (a *appender) end(err error, inFlight []pending, unknown error) {
	a.mu.Lock()
	a.ended = err
	queue := a.queue[a.head:]
	a.queue, a.head = nil, 0
	for i := range queue {
		a.bytes -= int64(len(queue[i].cmd) + commandOverhead)
	}
	a.admitLocked()
	a.mu.Unlock()
	for i := range inFlight {
		inFlight[i].settled(0, 0, unknown)
	}
	for i := range queue {
		queue[i].settled(0, 0, err)
	}
}

// stop ends the appender and waits until all is settled.
func (a *appender) stop() {
	a.cancel()
	<-a.done
	a.flying.Wait()
	a.end(ErrClosed, nil, nil)
}

func (a *appender) fill(s *Stats) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s.Queued, s.QueuedBytes = len(a.queue)-a.head, a.bytes
	s.Batches, s.Commands, s.Retries = a.stats.Batches, a.stats.Commands, a.stats.Retries
	s.Latest, s.Times = a.stats.Latest, a.stats.Times
	if !a.begun.IsZero() {
		s.Unsettled = time.Since(a.begun)
	}
}
