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
	// departuresMost bounds how many accounts are remembered for that.
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
