// SPDX-License-Identifier: Apache-2.0

package upload

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"slices"
	"time"

	"bavard/internal/state"
)

// Others are the other nodes of a cell, as far as files go. A node that cannot be
// reached, or is too slow, is an error after a bounded time.
type Others interface {
	// Names gives all of them, first those that are likely to answer; none while this node is alone.
	Names() []string
	// Send returns nil when the node has the file on its disk. What is opened is closed.
	Send(ctx context.Context, node string, id state.UploadID, size int64, sum [32]byte, open func() (io.ReadCloser, error)) error
	// Get reads a file of the node from an offset. state.ErrNotFound: the node does not have
	// it, and says so.
	Get(ctx context.Context, node string, id state.UploadID, sum [32]byte, from int64) (io.ReadCloser, error)
}

const (
	// incomingMost files come from other nodes at the same time, and as many are waited for.
	incomingMost = 64
	// busyTime is when to try again while another node is needed and none is there.
	busyTime = 10 * time.Second
	// unrecordedTime is how long a file is kept for another node that did not have it
	// recorded. Its client was told to put it again long before.
	unrecordedTime = time.Hour
	// betweenNodes bytes a second are what nodes manage at least.
	betweenNodes = 1 << 20
)

var (
	errOther   = errors.New("something else was uploaded there")
	errArrived = errors.New("the file did not arrive as it was sent")
	errClosed  = errors.New("the server is stopping")
	errMany    = errors.New("too many files at once")
)

// patience is how long it may take to have a file of this size on another node.
func patience(size uint64) time.Duration {
	return settleTime + time.Duration(min(size/betweenNodes, uint64(24*time.Hour/time.Second)))*time.Second
}

// several reports whether there are other nodes.
func (s *Service) several() bool { return s.o.Others != nil }

// replicate has a file that is here on another node's disk, too, and says on which; "" when there
// is no other node.
func (s *Service) replicate(ctx context.Context, id state.UploadID, size int64, sum [32]byte) (node string, err error) {
	if !s.several() {
		return "", nil
	}
	names := s.o.Others.Names()
	if len(names) == 0 {
		return "", nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience(uint64(size)))
	defer cancel()
	open := func() (io.ReadCloser, error) { return s.files.copy(id, sum) }
	for _, name := range names {
		if err = s.o.Others.Send(ctx, name, id, size, sum, open); err == nil {
			s.count.replicated.Add(1)
			return name, nil
		}
		if ctx.Err() != nil {
			break
		}
		s.o.Logger.Warn("a node did not take a file", "node", name, "upload", idText(id), "err", err)
	}
	s.count.unreplicated.Add(1)
	no := busy("no second node can take the file now: put it again")
	no.after = busyTime
	return "", no
}

// secure has a file that is recorded on the disks of two nodes, this one among them.
func (s *Service) secure(ctx context.Context, u *state.Upload) error {
	if !s.several() {
		return nil
	}
	if err := s.obtain(ctx, u); err != nil {
		s.o.Logger.Warn("a file is not here, nor can it be had", "upload", idText(u.ID), "err", err)
		return busy("the file cannot be reached now: put it again")
	}
	_, err := s.replicate(ctx, u.ID, u.Size, u.SHA256)
	return err
}

// reserve counts in a file that another node sends, or is asked for. done counts it out.
func (s *Service) reserve(size uint64) (a *arrival, done func(), err error) {
	a = &arrival{left: size}
	s.mu.Lock()
	switch {
	case s.closed:
		err = errClosed
	case s.incoming >= incomingMost:
		err = errMany
	default:
		s.incoming++
		s.promised += size
	}
	s.mu.Unlock()
	if err != nil {
		return nil, nil, err
	}
	done = func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.incoming--
		s.promised -= a.left
	}
	if err := s.room(0); err != nil { // what it takes is promised already
		done()
		return nil, nil, err
	}
	return a, done, nil
}

// arrived writes what another node sends, and compares it with what it has to be.
func (s *Service) arrived(size uint64, sum [32]byte, body io.Reader) (path string, err error) {
	a, done, err := s.reserve(size)
	if err != nil {
		return "", err
	}
	defer done()
	path, got, err := s.store(a, func(to io.Writer) error {
		n, err := io.Copy(to, io.LimitReader(body, int64(min(size, math.MaxInt64-1))+1))
		if err == nil && uint64(n) != size {
			err = fmt.Errorf("%w: %d of %d bytes", errArrived, n, size)
		}
		return err
	})
	if err == nil && got != sum {
		err = errors.Join(fmt.Errorf("%w: it has another checksum", errArrived), os.Remove(path))
	}
	return path, err
}

// Take keeps a file for another node that will have it recorded. It is on the disk, as
// it has to be, when that returns nil; without its record it goes after an hour.
func (s *Service) Take(id state.UploadID, size int64, sum [32]byte, body io.Reader) error {
	if size <= 0 {
		return errArrived
	}
	switch u, err := s.o.View.Upload(id); {
	case err == nil && (u.SHA256 != sum || u.Size != size):
		return errOther
	case err == nil && s.files.whole(id, size):
		return nil
	case err != nil && !errors.Is(err, state.ErrNotFound):
		return err
	}
	path, err := s.arrived(uint64(size), sum, body)
	if err != nil {
		return err
	}
	if err := s.files.await(path, id, sum, false); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	if u, err := s.o.View.Upload(id); err == nil { // its record has come in between
		return s.claim(&u)
	}
	return nil
}

// Open gives another node a file that is here, whether it has its record or not;
// state.ErrNotFound if it is not.
func (s *Service) Open(id state.UploadID, sum [32]byte) (*os.File, error) {
	file, err := s.files.copy(id, sum)
	if errors.Is(err, fs.ErrNotExist) {
		err = errors.Join(state.ErrNotFound, err)
	}
	return file, err
}

// claim gives a recorded file its place, if it is here.
func (s *Service) claim(u *state.Upload) error {
	err := s.files.claim(u.ID, u.SHA256)
	if s.gone(u.ID) { // and has gone in between
		err = errors.Join(err, s.files.remove(u.ID))
	}
	return err
}

// fetch is a file on its way from another node.
type fetch struct {
	done chan struct{} // closed when it is over
	err  error         // then
}

// obtain has a recorded file in its place on this node: whoever wants the same file at
// the same time waits for the same fetch, which goes on when they do not wait.
// state.ErrNotFound: every other node says that it does not have it either.
func (s *Service) obtain(ctx context.Context, u *state.Upload) error {
	if s.files.whole(u.ID, u.Size) {
		return nil
	}
	s.mu.Lock()
	f := s.fetching[u.ID]
	if f == nil && s.closed {
		s.mu.Unlock()
		return errClosed
	}
	if f == nil {
		f = &fetch{done: make(chan struct{})}
		s.fetching[u.ID] = f
		s.wg.Go(func() {
			f.err = s.fetch(u)
			s.mu.Lock()
			delete(s.fetching, u.ID)
			s.mu.Unlock()
			close(f.done)
		})
	}
	s.mu.Unlock()
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// fetch is obtain, once.
func (s *Service) fetch(u *state.Upload) error {
	err := s.claim(u)
	if err != nil || s.files.whole(u.ID, u.Size) {
		return err
	}
	ctx, cancel := context.WithTimeout(s.ctx, patience(uint64(u.Size)))
	defer cancel()
	names := s.holders(u)
	lacking := 0
	for _, name := range names {
		err = s.fetchFrom(ctx, name, u)
		switch {
		case err == nil:
			s.count.fetched.Add(1)
			return nil
		case errors.Is(err, errDiskFull), errors.Is(err, errMany), ctx.Err() != nil, s.gone(u.ID):
			return err
		case errors.Is(err, state.ErrNotFound):
			lacking++
		default:
			s.o.Logger.Warn("a file was not got from another node", "node", name, "upload", idText(u.ID), "err", err)
		}
	}
	if lacking == len(names) {
		return state.ErrNotFound
	}
	return fmt.Errorf("no node that can be reached has it: %w", noneOf(err))
}

// noneOf hides that a node does not have a file: another one may.
func noneOf(err error) error {
	if errors.Is(err, state.ErrNotFound) {
		return errors.New("the last one does not have it")
	}
	return err
}

// holders are the other nodes, first those that the record names.
func (s *Service) holders(u *state.Upload) []string {
	names := s.o.Others.Names()
	rank := func(name string) int {
		if slices.Contains(u.Holders, name) {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(names, func(a, b string) int { return cmp.Compare(rank(a), rank(b)) })
	return names
}

func (s *Service) fetchFrom(ctx context.Context, node string, u *state.Upload) error {
	body, err := s.o.Others.Get(ctx, node, u.ID, u.SHA256, 0)
	if err != nil {
		return err
	}
	path, err := s.arrived(uint64(u.Size), u.SHA256, body)
	_ = body.Close()
	if err != nil {
		return fullDisk(err)
	}
	if err := s.files.keep(path, u.ID); err != nil {
		return errors.Join(fullDisk(err), os.Remove(path))
	}
	// What was removed meanwhile has been looked for already, and was not here.
	if s.gone(u.ID) {
		return errors.Join(state.ErrNotFound, s.files.remove(u.ID))
	}
	return nil
}

// fullDisk tells by one error that there is no room.
func fullDisk(err error) error {
	var no *refusal
	if noSpace(err) || errors.As(err, &no) {
		return errors.Join(errDiskFull, err)
	}
	return err
}

// afar reads a file of another node, for who gets it from this one, which has no room to
// keep it. It is an io.ReadSeeker: a range is asked for as such.
type afar struct {
	s    *Service
	ctx  context.Context
	u    *state.Upload
	at   int64
	body io.ReadCloser // at at; nil until it is read
}

// Seek goes to where the next Read begins.
func (r *afar) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.at
	case io.SeekEnd:
		offset += r.u.Size
	}
	if offset < 0 {
		return 0, fs.ErrInvalid
	}
	if offset != r.at {
		_ = r.Close()
	}
	r.at = offset
	return offset, nil
}

// Read opens what any node has.
func (r *afar) Read(b []byte) (int, error) {
	if r.at >= r.u.Size {
		return 0, io.EOF
	}
	var err error
	for _, name := range r.s.holders(r.u) {
		if r.body != nil {
			break
		}
		r.body, err = r.s.o.Others.Get(r.ctx, name, r.u.ID, r.u.SHA256, r.at)
	}
	if r.body == nil {
		return 0, errors.Join(errArrived, err)
	}
	n, err := r.body.Read(b[:min(int64(len(b)), r.u.Size-r.at)])
	r.at += int64(n)
	if n > 0 {
		err = nil // what it was comes again
	}
	return n, err
}

// Close ends what is open.
func (r *afar) Close() error {
	if r.body == nil {
		return nil
	}
	err := r.body.Close()
	r.body = nil
	return err
}
