// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"bavard/internal/config"
	"bavard/internal/server"
)

// stopWithin is how long a server may take to stop before it is ended.
const stopWithin = 5 * time.Second

// These are for drills alone. Set to 1, the first three show that a drill would find duplicates, and files and
// messages that are lost, if there were any. They are no flags so that nobody tries them.
const (
	noDedupeVariable     = "BAVARD_UNSAFE_NO_DEDUPE"
	earlyUploadsVariable = "BAVARD_UNSAFE_EARLY_UPLOADS"
	noFsyncVariable      = "BAVARD_UNSAFE_NO_FSYNC"
	clockVariable        = "BAVARD_UNSAFE_CLOCK" // a duration
	levelVariable        = "BAVARD_UNSAFE_LEVEL" // a number
)

func (p *Program) serve() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the server until Ctrl-C",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := configure(cmd)
			if err != nil {
				return err
			}
			demo, _ := cmd.Flags().GetBool("demo-invites")
			return p.runServer(cmd.Context(), cfg, demo)
		},
	}
	flags := cmd.Flags()
	flags.String("c2s", "", "`ADDR`ess for XMPP clients with STARTTLS, like :5222; \"\" switches it off")
	flags.String("c2s-tls", "", "`ADDR`ess for XMPP clients with direct TLS, like :5223")
	flags.String("http", "", "`ADDR`ess of the app and the WebSocket, loopback or behind a proxy")
	flags.String("node", "", "`NAME` of this node, if there are several")
	flags.String("cell", "", "all `NODES`, like a=host1,b=host2,c=host3, the same on each: see `bavard cell`")
	flags.Bool("insecure-loopback", false, "allow passwords over unencrypted connections; on loopback addresses only")
	flags.Bool("demo-invites", false, "as long as there is no account, make two invites to try both sides")
	return cmd
}

func (p *Program) runServer(ctx context.Context, cfg config.Config, demo bool) error {
	log, err := p.logger(cfg)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := p.stopOnSignal(cancel)
	defer stop()
	go notifyAlive(ctx) // also while it starts, perhaps for the second time in this process, and waits for others

	o := server.Options{
		Config: cfg, Logger: log, Version: p.Version,
		Ready: func(r server.Running) {
			if err := p.banner(ctx, cfg, r, demo); err != nil {
				log.Warn("start message", "err", err)
			}
			if err := notify(ctx, "READY=1"); err != nil {
				log.Warn("service manager not told", "err", err)
			}
		},
	}
	if err := unsafely(&o); err != nil {
		return err
	}
	err = server.Run(ctx, o)
	if p.Again != nil && errors.Is(err, server.ErrStartAgain) && !errors.Is(context.Cause(ctx), errSignal) {
		return errors.Join(err, p.Again())
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	if errors.Is(context.Cause(ctx), errSignal) {
		fmt.Fprintln(p.Stderr, "bavard: stopped; everything is in "+cfg.Data)
	}
	return nil
}

// unsafely takes what a drill has set, and says so in the log.
func unsafely(o *server.Options) (err error) {
	if o.UnsafeNoDedupe = os.Getenv(noDedupeVariable) == "1"; o.UnsafeNoDedupe {
		o.Logger.Error("messages that are sent again are stored again: this server is for a drill's negative control")
	}
	if o.UnsafeEarlyUploads = os.Getenv(earlyUploadsVariable) == "1"; o.UnsafeEarlyUploads {
		o.Logger.Error("files are told to be stored before they are: this server is for a drill's negative control")
	}
	if o.UnsafeNoFsync = os.Getenv(noFsyncVariable) == "1"; o.UnsafeNoFsync {
		o.Logger.Error("the journal is not synced, and a power cut loses messages: this server is for a drill's negative control")
	}
	if o.UnsafeClock, err = time.ParseDuration(cmp.Or(os.Getenv(clockVariable), "0")); err != nil {
		return fmt.Errorf("%s: %w", clockVariable, err)
	}
	if o.UnsafeClock != 0 {
		o.Logger.Warn("the clock is made to be wrong: this server is for a drill", "by", o.UnsafeClock)
	}
	level, err := strconv.ParseUint(cmp.Or(os.Getenv(levelVariable), "0"), 10, 32)
	if err != nil {
		return fmt.Errorf("%s: %w", levelVariable, err)
	}
	if o.UnsafeLevel = uint32(level); level != 0 {
		o.Logger.Warn("this server takes part in a cell as an older version would: it is for a drill", "level", level)
	}
	return nil
}

var errSignal = errors.New("stopped by a signal")

// stopOnSignal cancels on the first signal. On the second, or when stopping
// takes longer than stopWithin, it ends the process: what was ticked is safe.
func (p *Program) stopOnSignal(cancel context.CancelCauseFunc) (stop func()) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	done := make(chan struct{})
	go func() {
		select {
		case <-done:
			return
		case <-signals:
		}
		cancel(errSignal)
		_ = notify(context.Background(), "STOPPING=1") // it waits for the exit in any case
		timer := time.NewTimer(stopWithin)
		defer timer.Stop()
		select {
		case <-done:
			return
		case s := <-signals:
			if s, ok := s.(syscall.Signal); ok {
				os.Exit(128 + int(s))
			}
		case <-timer.C:
			fmt.Fprintln(p.Stderr, "bavard: not stopped in time; ended")
		}
		os.Exit(exitFailed)
	}()
	return func() {
		signal.Stop(signals)
		close(done)
	}
}
