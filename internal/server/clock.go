// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"fmt"
	"time"

	"bavard/internal/health"
)

const (
	// clockApart is by how much the clocks of a cell may differ: no more is corrected than what is over it.
	clockApart = time.Second
	// clockWrong is from when on it is told.
	clockWrong = 2 * time.Second
	// clockWithin bounds how long a start waits for the time of another node.
	clockWithin = 2 * time.Second
)

// ownClock is what this machine says.
func (n *node) ownClock() time.Time { return time.Now().Add(n.o.unsafeClock) }

// now is the time that commands are stamped with: this machine's, brought to within a second of that of
// most nodes. A stamp never goes back, so that one from a clock that is ahead would be that of all
// messages until that time has come.
func (n *node) now() time.Time {
	now := n.ownClock()
	if m := n.clock.Load(); m != nil {
		now = now.Add(correction(m.Apart()))
	}
	return now
}

// correction is what is added to a clock which that of most nodes is so much before.
func correction(apart time.Duration) time.Duration {
	switch {
	case apart > clockApart:
		return apart - clockApart
	case apart < -clockApart:
		return apart + clockApart
	}
	return 0
}

// awaitClock waits until another node has said what time it is, for a while: nobody is to be served by a
// clock that nobody has looked at.
func (s *server) awaitClock(ctx context.Context) {
	if s.mesh == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, clockWithin)
	defer cancel()
	s.mesh.AwaitClock(ctx)
}

// warnOfClock tells that this node's clock is not that of most.
func (s *server) warnOfClock() {
	if s.mesh == nil {
		return
	}
	apart := s.mesh.Apart()
	way := "behind"
	if apart < 0 {
		way = "ahead"
	}
	s.warn(health.ClockWrong, apart.Abs() > clockWrong, fmt.Sprintf("%s %s", apart.Abs().Round(time.Second), way))
}
