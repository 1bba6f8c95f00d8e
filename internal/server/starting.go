// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"bavard/internal/datadir"
)

// saidMost bounds what is kept of a line of the log, in bytes.
const saidMost = 1000

// starting keeps what a server that is not ready yet has said last, for `bavard status`: a
// node waits for the others, or fetches a view, for as long as that takes.
type starting struct {
	since time.Time
	over  atomic.Bool

	mu  sync.Mutex // guards dir
	dir *datadir.Dir
}

// opened has it known where it is kept.
func (s *starting) opened(dir *datadir.Dir) {
	s.mu.Lock()
	s.dir = dir
	s.mu.Unlock()
	s.keep("", time.Time{})
}

// ended: it is ready.
func (s *starting) ended() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dir != nil && !s.over.Swap(true) {
		_ = s.dir.Started() // the next start, or the end, removes it
	}
}

// keep writes it down, if that can be done: nothing but a word to whoever asks depends on it.
func (s *starting) keep(said string, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dir != nil && !s.over.Load() {
		_ = s.dir.SetStarting(datadir.Starting{PID: os.Getpid(), Since: s.since, Said: said, At: at})
	}
}

// heard is a handler of logs that keeps what is said until the server is ready.
type heard struct {
	slog.Handler
	by *starting
}

// Handle is slog.Handler.Handle.
func (h heard) Handle(ctx context.Context, r slog.Record) error { //nolint:gocritic // of slog
	if r.Level >= slog.LevelInfo && !h.by.over.Load() {
		var said strings.Builder
		said.WriteString(r.Message)
		r.Attrs(func(a slog.Attr) bool {
			fmt.Fprintf(&said, ", %s %s", a.Key, a.Value)
			return said.Len() < saidMost
		})
		text := said.String()
		h.by.keep(strings.ToValidUTF8(text[:min(len(text), saidMost)], ""), r.Time)
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs is slog.Handler.WithAttrs.
func (h heard) WithAttrs(a []slog.Attr) slog.Handler { return heard{h.Handler.WithAttrs(a), h.by} }

// WithGroup is slog.Handler.WithGroup.
func (h heard) WithGroup(name string) slog.Handler { return heard{h.Handler.WithGroup(name), h.by} }
