// SPDX-License-Identifier: Apache-2.0

package upload

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"syscall"
	"time"
)

// arrival is a file on its way here.
type arrival struct {
	control *http.ResponseController
	left    uint64        // bytes that are promised; guarded by Service.mu
	done    chan struct{} // closed when it is over

	mu      sync.Mutex
	stopped bool
}

// extend lets the client have until then, unless the arrival was stopped.
func (a *arrival) extend(until time.Time) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stopped {
		return errBroken
	}
	_ = a.control.SetReadDeadline(until) // without deadlines the server's own hold
	return nil
}

// stop has reading end at once. What is read whole goes on.
func (a *arrival) stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.stopped {
		a.stopped = true
		_ = a.control.SetReadDeadline(time.Unix(1, 0))
	}
}

// over gives the connection back: what comes now is the next request.
func (a *arrival) over() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.stopped {
		a.stopped = true
		_ = a.control.SetReadDeadline(time.Time{})
	}
}

// arrive counts a file in, and waits for a place if there is none. A client that puts
// the same once more has lost its connection: the new one takes the place of the old.
func (s *Service) arrive(ctx context.Context, l *slot, control *http.ResponseController) (*arrival, error) {
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	a := &arrival{control: control, left: l.size, done: make(chan struct{})}
	for {
		over, err := s.enter(l, a)
		if over == nil {
			return a, err
		}
		select {
		case <-over:
		case <-ctx.Done():
			err = busy("too many uploads at once: put it again")
		}
		s.mu.Lock()
		s.waiting--
		s.mu.Unlock()
		if err != nil {
			return nil, err
		}
	}
}

// enter counts a file in, or gives what it has to wait for.
func (s *Service) enter(l *slot, a *arrival) (over <-chan struct{}, err error) {
	s.mu.Lock()
	old := s.arriving[l.id]
	switch {
	case s.closed:
		err = busy("the server is stopping")
	case old == nil && len(s.arriving) < openUploads && s.accounts[l.account] < ofAccount:
		s.arriving[l.id] = a
		s.accounts[l.account]++
		s.promised += l.size
	case s.waiting >= waitingUploads:
		err = busy("too many uploads at once: put it again")
	case old != nil:
		s.waiting++
		over = old.done
	default:
		s.waiting++
		over = s.left
	}
	s.mu.Unlock()
	if over != nil && old != nil {
		old.stop()
	}
	return over, err
}

// leave counts it out.
func (s *Service) leave(l *slot, a *arrival) {
	a.over()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.promised -= a.left
	delete(s.arriving, l.id)
	if s.accounts[l.account]--; s.accounts[l.account] == 0 {
		delete(s.accounts, l.account)
	}
	close(a.done)
	close(s.left)
	s.left = make(chan struct{})
}

// written keeps the promise in part.
func (s *Service) written(a *arrival, n uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n = min(n, a.left)
	a.left -= n
	s.promised -= n
}

// goes runs do in the background, unless the service is closed.
func (s *Service) goes(do func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.wg.Go(do)
	return true
}

func noSpace(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }
