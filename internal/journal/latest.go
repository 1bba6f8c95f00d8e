// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"sync"
	"time"
)

// readTimeout bounds one attempt of a linearizable read; it is tried again for
// as long as someone waits, and each time it may take twice as long, up to readMost: where a network is slow,
// no attempt would ever be answered within the first.
const (
	readTimeout = time.Second
	readMost    = 4 * time.Second
)

// latestReads shares linearizable reads between callers. A caller joins the
// round that has not begun, never the one under way: what that one reads may be
// older than the call.
type latestReads struct {
	read    func(ctx context.Context) (uint64, error)
	timeout time.Duration // of the next attempt; only run's

	mu      sync.Mutex
	next    *round // the round that callers join
	running bool
	closed  bool
	cancel  context.CancelFunc
	ctx     context.Context
	wg      sync.WaitGroup
}

type round struct {
	done     chan struct{}
	revision uint64
	err      error
}

func newLatestReads(read func(context.Context) (uint64, error)) *latestReads {
	ctx, cancel := context.WithCancel(context.Background())
	return &latestReads{read: read, timeout: readTimeout, ctx: ctx, cancel: cancel}
}

// get is Journal.Latest.
func (l *latestReads) get(ctx context.Context) (uint64, error) {
	for {
		r, err := l.join()
		if err != nil {
			return 0, err
		}
		select {
		case <-r.done:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
		if r.err == nil {
			return r.revision, nil
		}
		// The round failed, for want of a leader say: join the next one.
		select {
		case <-time.After(retryPause):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

func (l *latestReads) join() (*round, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, ErrClosed
	}
	if l.next == nil {
		l.next = &round{done: make(chan struct{})}
	}
	if !l.running {
		l.running = true
		l.wg.Go(l.run)
	}
	return l.next, nil
}

// run reads round after round until nobody waits.
func (l *latestReads) run() {
	for {
		l.mu.Lock()
		r := l.next
		l.next = nil
		if r == nil {
			l.running = false
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()
		ctx, cancel := context.WithTimeout(l.ctx, l.timeout)
		begun := time.Now()
		r.revision, r.err = l.read(ctx)
		switch {
		case r.err == nil:
			l.timeout = min(max(readTimeout, 4*time.Since(begun)), readMost)
		case ctx.Err() != nil:
			l.timeout = min(2*l.timeout, readMost)
		}
		cancel()
		close(r.done)
	}
}

// stop makes all callers return ErrClosed.
func (l *latestReads) stop() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.cancel()
	l.wg.Wait()
}
