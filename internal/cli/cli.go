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
	"github.com/spf13/pflag"

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
	// Again puts a new process in this one's place; it returns only when it cannot.
	Again func() error
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
		Args:              group,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_ = cmd.Help()
			return &exitError{code: exitUsage}
		},
	}
	flags := root.PersistentFlags()
	flags.String("config", "", "configuration `FILE`; without it, the defaults that `bavard config` prints")
	flags.String("data", "", "the `DIR` in which everything is kept")
	flags.String("domain", "", "`DOMAIN` of the addresses, like chat.example.org")
	root.AddCommand(p.serve(), p.user(), p.invite(), p.status(), p.admin(), p.doctor(), p.quickstart(), p.config(), p.backup(), p.restore(), p.cell(), p.drain(), p.bench(), p.drill(), p.demo(), p.version())
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usage(cmd, nearFlag(cmd, err)) })
	strict(root)
	return root
}

// usage makes err one of the command line.
func usage(cmd *cobra.Command, err error) error {
	return &exitError{exitUsage, fmt.Errorf("%w\n`%s --help` says more", err, cmd.CommandPath())}
}

// group is for a command that only has others under it.
func group(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	cmd.SuggestionsMinimumDistance = 2 // edits
	err := fmt.Errorf("unknown command %q for %q", args[0], cmd.CommandPath())
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		err = fmt.Errorf("%w: did you mean `%s %s`?", err, cmd.CommandPath(), near[0])
	}
	return err
}

// nearFlag names the flag that was probably meant.
func nearFlag(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return err
	}
	var known []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { known = append(known, f.Name) })
	if near := config.Nearest(unknown.GetSpecifiedName(), known); near != "" && unknown.GetSpecifiedShortnames() == "" {
		return fmt.Errorf("%w: did you mean --%s?", err, near)
	}
	return err
}

// strict makes wrong arguments of cmd and what is under it usage errors, and a
// flag that is given twice, of which one would be ignored.
func strict(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return usage(cmd, err)
			}
			return nil
		}
	}
	for _, flags := range []*pflag.FlagSet{cmd.Flags(), cmd.PersistentFlags()} {
		flags.VisitAll(func(f *pflag.Flag) { f.Value = &once{Value: f.Value} })
	}
	for _, c := range cmd.Commands() {
		strict(c)
	}
}

// once is a flag that may be given once.
type once struct {
	pflag.Value
	given bool
}

func (o *once) Set(text string) error {
	if o.given {
		return errors.New("it is given twice")
	}
	o.given = true
	return o.Value.Set(text)
}

// configure reads the configuration that cmd's flags name and change, and
// validates it; the error has all that is wrong.
func configure(cmd *cobra.Command) (config.Config, error) {
	cfg := config.Default()
	flags := cmd.Flags()
	var mistakes error
	if path, _ := flags.GetString("config"); path != "" {
		cfg, mistakes = config.Load(path)
	}
	for name, to := range map[string]*string{
		"data":    &cfg.Data,
		"domain":  &cfg.Domain,
		"c2s":     &cfg.Listen.C2S,
		"c2s-tls": &cfg.Listen.C2STLS,
		"http":    &cfg.Listen.HTTP,
		"node":    &cfg.Cell.Node,
	} {
		if flags.Changed(name) {
			*to, _ = flags.GetString(name)
		}
	}
	if flags.Changed("cell") {
		nodes, _ := flags.GetString("cell")
		cfg.Cell.Nodes = strings.Split(nodes, ",")
	}
	if flags.Changed("insecure-loopback") {
		cfg.InsecureLoopback, _ = flags.GetBool("insecure-loopback")
	}
	return cfg, errors.Join(mistakes, cfg.Validate())
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
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Print the annotated default configuration, or check a file",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			file, _ := cmd.Flags().GetString("check")
			if !cmd.Flags().Changed("check") {
				_, err := p.Stdout.WriteString(p.Annotated)
				return err
			}
			cfg, err := config.Load(file)
			if err = errors.Join(err, cfg.Validate()); err != nil {
				return err
			}
			_, err = fmt.Fprintf(p.Stdout, "%s is a good configuration\n", file)
			return err
		},
	}
	cmd.Flags().String("check", "", "say what is wrong with `FILE` instead")
	return cmd
}
