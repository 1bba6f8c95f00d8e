// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/spf13/cobra"

	"bavard/internal/admin"
	"bavard/internal/config"
	"bavard/internal/datadir"
	"bavard/internal/server"
)

// startWait is how long a command waits for a server that is just starting, or
// for another command that has the data.
const startWait = 5 * time.Second

// backend gives what works on the data that cmd's flags name: the running
// server, or the data itself while none runs; running says which.
func (p *Program) backend(cmd *cobra.Command) (b admin.Backend, running bool, done func() error, err error) {
	cfg, err := configure(cmd)
	if err != nil {
		return nil, false, nil, err
	}
	ctx := cmd.Context()
	deadline := time.Now().Add(startWait)
	for {
		client, err := admin.Dial(ctx, datadir.AdminSocket(cfg.Data))
		if err == nil {
			return client, true, client.Close, nil
		}
		if !errors.Is(err, admin.ErrNotRunning) {
			return nil, false, nil, fmt.Errorf("the server's admin socket: %w", err)
		}
		b, done, err := p.offline(cmd, cfg)
		var inUse *datadir.InUseError
		if !errors.As(err, &inUse) {
			return b, false, done, err
		}
		if now := time.Now(); now.After(deadline) {
			if starting, notStarting := datadir.ReadStarting(cfg.Data); notStarting == nil {
				err = fmt.Errorf("%s\n`bavard status` says when it is ready: try again then", describeStarting(starting, now))
			}
			return b, false, done, err
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return nil, false, nil, err
		}
	}
}

func (p *Program) offline(cmd *cobra.Command, cfg config.Config) (admin.Backend, func() error, error) {
	// Without a word about where the data is, a new empty directory is a
	// mistake rather than a wish.
	_, err := os.Stat(cfg.Data)
	if errors.Is(err, fs.ErrNotExist) && !cmd.Flags().Changed("data") && !cmd.Flags().Changed("config") {
		return nil, nil, fmt.Errorf("there is no data in %s: name the directory with --data, or start `bavard serve` here", cfg.Data)
	}
	if cfg.Log.Level != "error" {
		cfg.Log.Level = "warn"
	}
	log, err := p.logger(cfg)
	if err != nil {
		return nil, nil, err
	}
	return server.Offline(cmd.Context(), cfg, p.Version, log)
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
