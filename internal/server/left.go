// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"sync"
	"time"

	"bavard/internal/command"
)

const (
	// leftEvery bounds how often it is noted that an account has gone.
	leftEvery = time.Minute
	// departuresMost bounds how many accounts are remembered for that, and how many of a
	// node that died wait for it.
	departuresMost = 1 << 14
)

// departures remembers when it was last noted that an account has gone.
type departures struct {
	mu sync.Mutex
	at map[string]time.Time
}

// note reports whether to note it again.
func (d *departures) note(account string, now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if at, ok := d.at[account]; ok && now.Sub(at) < leftEvery {
		return false
	}
	if d.at == nil || len(d.at) >= departuresMost {
		d.at = map[string]time.Time{}
	}
	d.at[account] = now
	return true
}

// left notes that an account's last device has gone, for XEP-0012. A note that
// is lost leaves the one before.
func (s *server) left(account string) {
	if !s.leaving.note(account, time.Now()) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	cmd := &command.Command{Request: &command.Command_Left{Left: &command.Left{Account: account}}}
	if err := s.cell.Submit(ctx, cmd, func(command.Outcome, error) {}); err != nil {
		s.log.Debug("it was not noted that an account has gone", "err", err)
	}
}

// lost has it noted that an account's last device was on a node that is not heard any more.
// Of more than can wait the note before stays.
func (s *server) lost(account string) {
	select {
	case s.missing <- account:
	default:
		s.log.Debug("it is not noted that an account has gone with its node: too many have")
	}
}

// noteLost does that, one after the other. A node that has no majority has lost sight of
// everybody on the others: it notes nothing.
func (s *server) noteLost(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case account := <-s.missing:
			if s.cell.JournalStats().HasLeader && len(s.hub.Attending(account)) == 0 {
				s.left(account)
			}
		}
	}
}
