// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"bavard/drill"
)

func (p *Program) demo() *cobra.Command {
	cmd := &cobra.Command{
		Use: "demo", Short: "Show three nodes in a browser, and take them away", Args: cobra.NoArgs, Hidden: true,
		Long: `Start a cell of three nodes in a directory that is removed afterwards, two bots that
chat, and a page on this machine on which one kills the nodes, freezes them, cuts them
off and brings them back, beside two windows of the app. Ctrl-C ends all of it.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.runDemo(cmd) },
	}
	cmd.Flags().String("listen", "127.0.0.1:0", "`ADDR`ess of the page, loopback; port 0 takes a free one")
	return cmd
}

func (p *Program) runDemo(cmd *cobra.Command) (err error) {
	cfg := drill.DemoConfig{Ready: func(url string) {
		fmt.Fprintf(p.Stdout, "\nOpen %s\nCtrl-C ends it.\n", url)
	}}
	cfg.Listen, _ = cmd.Flags().GetString("listen")
	if cfg.Binary, err = os.Executable(); err != nil {
		return err
	}
	if cfg.Dir, err = os.MkdirTemp("", "bavard-demo-*"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(cfg.Dir)) }()
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return drill.Demo(ctx, cfg)
}
