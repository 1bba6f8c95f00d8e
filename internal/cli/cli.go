// SPDX-License-Identifier: Apache-2.0

// Package cli holds the commands of bavard, one file each. Results go to
// standard output, all else to standard error; errors say what to do.
package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"bavard/internal/config"
	"bavard/internal/health"
)

// Exit codes.
const (
	exitFailed     = 1 // it did not work
	exitUsage      = 2 // the command line is wrong
	exitNotRunning = 3 // status: no server runs
)

// Program is what the commands work with.
type Program struct {
	Version   string
	Annotated string // the text of bavard.toml
	Stdin     *os.File
	Stdout    *os.File
	Stderr    *os.File
}

// exitError ends the process with a code; without a cause it has been said
// already.
type exitError struct {
	code  int
	cause error
}

func (e *exitError) Error() string {
	if e.cause == nil {
		return ""
	}
	return e.cause.Error()
}

func (e *exitError) Unwrap() error { return e.cause }

// Main runs the command that args name and gives the exit code.
func Main(p *Program, args []string) int {
	p.Version = strings.TrimSpace(p.Version)
	root := p.root()
	root.SetArgs(args)
	root.SetIn(p.Stdin)
	root.SetOut(p.Stdout)
	root.SetErr(p.Stderr)
	err := root.ExecuteContext(context.Background())
	if err == nil {
		return 0
	}
	code := exitFailed
	var exit *exitError
	if errors.As(err, &exit) {
		code = exit.code
	}
	if text := err.Error(); text != "" {
		fmt.Fprintln(p.Stderr, "bavard: "+strings.ReplaceAll(text, "\n", "\n        "))
	}
	return code
}

func (p *Program) root() *cobra.Command {
	root := &cobra.Command{
		Use:               "bavard",
		Short:             "A messenger's server and app: what has a tick is not lost",
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
		Args:              cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_ = cmd.Help()
			return &exitError{code: exitUsage}
		},
	}
	flags := root.PersistentFlags()
	flags.String("config", "", "configuration `FILE`; without it, the defaults that `bavard config` prints")
	flags.String("data", "", "the `DIR` in which everything is kept")
	flags.String("domain", "", "`DOMAIN` of the addresses, like chat.example.org")
	root.AddCommand(p.serve(), p.user(), p.invite(), p.status(), p.config(), p.version())
	usage := func(cmd *cobra.Command, err error) error {
		return &exitError{exitUsage, fmt.Errorf("%w\n`%s --help` says more", err, cmd.CommandPath())}
	}
	root.SetFlagErrorFunc(usage)
	checkArgs(root, usage)
	return root
}

// checkArgs makes wrong arguments of cmd and what is under it usage errors.
func checkArgs(cmd *cobra.Command, usage func(*cobra.Command, error) error) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return usage(cmd, err)
			}
			return nil
		}
	}
	for _, c := range cmd.Commands() {
		checkArgs(c, usage)
	}
}

// configure reads the configuration that cmd's flags name and change, and
// validates it.
func configure(cmd *cobra.Command) (config.Config, error) {
	cfg := config.Default()
	flags := cmd.Flags()
	if path, _ := flags.GetString("config"); path != "" {
		var err error
		if cfg, err = config.Load(path); err != nil {
			return cfg, err
		}
	}
	for name, to := range map[string]*string{
		"data":    &cfg.Data,
		"domain":  &cfg.Domain,
		"c2s":     &cfg.Listen.C2S,
		"c2s-tls": &cfg.Listen.C2STLS,
		"http":    &cfg.Listen.HTTP,
	} {
		if flags.Changed(name) {
			*to, _ = flags.GetString(name)
		}
	}
	if flags.Changed("insecure-loopback") {
		cfg.InsecureLoopback, _ = flags.GetBool("insecure-loopback")
	}
	return cfg, cfg.Validate()
}

// logger logs to standard error.
func (p *Program) logger(cfg config.Config) (*slog.Logger, error) {
	return health.NewLogger(p.Stderr, cfg.Log.Level, cfg.Log.Format)
}

func (p *Program) version() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			text := "bavard " + p.Version
			if info, ok := debug.ReadBuildInfo(); ok {
				for _, s := range info.Settings {
					if s.Key == "vcs.revision" {
						text += " (" + s.Value[:min(len(s.Value), 12)] + ")"
					}
				}
				text += " " + info.GoVersion
			}
			_, err := fmt.Fprintln(p.Stdout, text)
			return err
		},
	}
}

func (p *Program) config() *cobra.Command {
	return &cobra.Command{
		Use:   "config",
		Short: "Print the annotated default configuration",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := p.Stdout.WriteString(p.Annotated)
			return err
		},
	}
}
