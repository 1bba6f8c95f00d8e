// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// Scrub is Journal.Scrub. It reads the database that etcd uses, all pages of one state, and checks
// pages and values as a start does. The log is read when the process starts.
func (j *etcdJournal) Scrub(ctx context.Context, between func(bytes int) error) error {
	e, ok := j.host.(*embedded)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(j.ctx, cancel)()
	select {
	case j.scrubbing <- struct{}{}:
		defer func() { <-j.scrubbing }()
	case <-ctx.Done():
		return ctx.Err()
	}
	err := j.scrubDatabase(ctx, e, between)
	if !errors.Is(err, ErrRotten) {
		return err
	}
	// Once more: a leader may have sent another database meanwhile.
	j.log.Warn("journal: damage in etcd's database, which is read once more", "err", err)
	return j.scrubDatabase(ctx, e, between)
}

func (j *etcdJournal) scrubDatabase(ctx context.Context, e *embedded, between func(bytes int) error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if e.ending() || j.holding.held.Load() {
		return ErrClosed
	}
	f, err := os.Open(filepath.Join(j.opts.etcdDir(), "member", "snap", "db"))
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	defer f.Close()
	// As long as it is open, etcd writes to none of its pages.
	state := e.etcd.Server.Backend().Snapshot()
	defer state.Close()
	p := &pinned{ctx: ctx, file: f, between: between}
	if _, err := state.WriteTo(p); !errors.Is(err, errMetaOnly) {
		return fmt.Errorf("journal: reading the state of etcd's database: %w", err)
	}
	err = readPages(p, state.Size(), (&memberDatabase{}).check)
	switch {
	case p.stopped != nil:
		return p.stopped
	case err != nil:
		return rotten("etcd's database "+f.Name(), err)
	}
	return p.pause()
}

// paceBytes are read between two calls of between.
const paceBytes = 1 << 20

// errMetaOnly ends the writing of a state after its meta pages.
var errMetaOnly = errors.New("journal: no more than the meta pages")

// pinned reads one state of etcd's database: the meta pages as they were written to it, all others
// from the file.
type pinned struct {
	ctx     context.Context
	file    *os.File
	between func(bytes int) error
	meta    []byte
	pages   int
	read    int
	stopped error // why reading was ended
}

// Write takes the two meta pages, which bbolt writes one by one, and no more.
func (p *pinned) Write(b []byte) (int, error) {
	if p.pages == 2 {
		return 0, errMetaOnly
	}
	p.pages++
	p.meta = append(p.meta, b...)
	return len(b), nil
}

// ReadAt implements io.ReaderAt.
func (p *pinned) ReadAt(b []byte, offset int64) (int, error) {
	if offset < int64(len(p.meta)) {
		n := copy(b, p.meta[offset:])
		if n < len(b) {
			return n, io.EOF
		}
		return n, nil
	}
	if p.read += len(b); p.read >= paceBytes {
		if err := p.pause(); err != nil {
			return 0, err
		}
	}
	return p.file.ReadAt(b, offset)
}

func (p *pinned) pause() error {
	p.stopped = p.ctx.Err()
	if p.stopped == nil && p.between != nil {
		p.stopped = p.between(p.read)
	}
	p.read = 0
	return p.stopped
}

// awaitScrub waits until no scrub reads and none will, unless etcd is held: then it may hold up
// the scrub, too.
func (j *etcdJournal) awaitScrub() {
	tick := time.NewTicker(watchPause)
	defer tick.Stop()
	for {
		select {
		case j.scrubbing <- struct{}{}:
			return
		case <-tick.C:
			if j.holding.held.Load() {
				return
			}
		}
	}
}
