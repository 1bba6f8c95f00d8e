// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"bavard/bench"
)

func (p *Program) bench() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Load an XMPP server, this one or another, and measure it",
		Long:  benchHelp,
		Args:  group,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_ = cmd.Help()
			return &exitError{code: exitUsage}
		},
	}
	cmd.AddCommand(p.benchPairs(), p.benchRoom(), p.benchLogins(), p.benchIdle(), p.benchArchive(), p.benchStorm())
	return cmd
}

// load is what all scenarios have in common: the flags, and what comes of them.
type load struct {
	p       *Program
	cmd     *cobra.Command
	target  bench.Target
	watch   bench.Watch
	server  *bench.Server // nil unless --serve
	asJSON  bool
	verbose bool

	ca, user, password, usersFile, cpu, binary string
	addrs, urls, pids                          []string
	nodes                                      int
	insecure, register, serve                  bool
}

// scenario makes a command of a scenario. accounts says how many it needs and
// connections how many it opens; both are asked for once the flags are read.
func (p *Program) scenario(cmd *cobra.Command, accounts, connections func() int, run func(context.Context, *load) (bench.Report, error)) *cobra.Command {
	l := &load{p: p, cmd: cmd}
	cmd.Args = cobra.NoArgs
	l.flags()
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		context.AfterFunc(ctx, stop) // a second signal ends the process
		debug.SetGCPercent(400)      // the load shares the machine with the server
		progress := newProgress(p.Stderr)
		l.watch.Progress = progress.tell
		report, err := l.run(ctx, accounts(), connections(), run)
		progress.end()
		if report == nil {
			if ctx.Err() != nil && cmd.Context().Err() == nil {
				err = errors.New("interrupted before anything was measured")
			}
			return err
		}
		return errors.Join(err, l.print(report))
	}
	return cmd
}

func (l *load) flags() {
	f := l.cmd.Flags()
	f.StringSliceVar(&l.addrs, "addr", nil, "`HOST:PORT` of a running server; of several nodes all, with commas between them")
	f.StringVar(&l.target.Transport, "transport", bench.Plain, "`how` to connect: "+strings.Join(bench.Transports(), ", "))
	f.StringSliceVar(&l.urls, "url", nil, "`URL` for --transport websocket, like ws://127.0.0.1:5280/xmpp-websocket; several likewise")
	f.StringVar(&l.ca, "ca", "", "`FILE` of the certificate authorities to trust; without it, the system's")
	f.BoolVar(&l.insecure, "insecure", false, "trust every certificate")
	f.StringVar(&l.target.Mechanism, "mechanism", "SCRAM-SHA-1", "SASL `mechanism`: SCRAM-SHA-1, SCRAM-SHA-256 or PLAIN")
	f.StringVar(&l.user, "user", "bench%d", "`localpart` of the accounts, %d counts from 0")
	f.StringVar(&l.password, "password", "correct horse", "`password` of all of them")
	f.StringVar(&l.usersFile, "users-file", "", "`FILE` of other accounts, lines of localpart<TAB>password")
	f.BoolVar(&l.register, "register", false, "make the accounts that are not there, by open registration (XEP-0077)")
	f.IntVar(&l.target.Logins, "logins", 32, "how many log in at the same time before the measurement")
	f.StringSliceVar(&l.pids, "pids", nil, "process `ids` of the server and its database, or files that hold them; descendants count too")
	f.BoolVar(&l.serve, "serve", false, "start a bavard with fresh data for this")
	f.IntVar(&l.nodes, "nodes", 1, "with --serve: `NUMBER` of nodes, "+anyOf(servedNodes())+", among which accounts are dealt out in turn")
	f.StringVar(&l.binary, "binary", "", "with --serve: another `PROGRAM` than this one")
	f.StringVar(&l.cpu, "cpu", "", "with --serve: the `LIST` of processors for the server, as taskset(1) takes it")
	f.BoolVar(&l.verbose, "verbose", false, "with --serve: show the server's log")
	f.BoolVar(&l.asJSON, "json", false, "print the report as one line of JSON")
}

func (l *load) run(ctx context.Context, accounts, connections int, run func(context.Context, *load) (bench.Report, error)) (bench.Report, error) {
	if err := l.check(); err != nil {
		return nil, usage(l.cmd, err)
	}
	var err error
	if l.target.Accounts, err = l.accounts(); err != nil {
		return nil, err
	}
	if l.serve {
		if err := l.start(ctx, accounts, connections); err != nil {
			return nil, fmt.Errorf("the server for this: %w", err)
		}
		defer l.server.Stop()
	} else if err := l.reach(); err != nil {
		return nil, err
	}
	if l.register {
		if err := l.target.Register(ctx, accounts, &l.watch); err != nil {
			return nil, err
		}
	}
	report, err := run(ctx, l)
	if err == nil && l.serve {
		bench.Note(report, "fsync takes %v where the data is", l.server.Sync.Round(10*time.Microsecond))
	}
	return report, err
}

// check finds flags that contradict each other.
func (l *load) check() error {
	changed := l.cmd.Flags().Changed
	switch {
	case changed("config"):
		return errors.New("--config is not for bench: --serve starts with the defaults")
	case !slices.Contains(bench.Transports(), l.target.Transport):
		return fmt.Errorf("--transport %s: there are %s", l.target.Transport, strings.Join(bench.Transports(), ", "))
	case l.serve && (len(l.addrs)+len(l.urls) > 0 || l.register || len(l.pids) > 0):
		return errors.New("--serve starts a server: --addr, --url, --register and --pids are for one that runs already")
	case !l.serve && (changed("cpu") || changed("binary") || changed("data") || changed("nodes")):
		return errors.New("--cpu, --binary, --data and --nodes are for --serve")
	case !slices.Contains(servedNodes(), l.nodes):
		return fmt.Errorf("--nodes: %d is not %s", l.nodes, anyOf(servedNodes()))
	case !l.serve && l.target.Transport == bench.WebSocket && len(l.urls) == 0:
		return errors.New("--transport websocket needs --url")
	case !l.serve && l.target.Transport != bench.WebSocket && len(l.addrs) == 0:
		return errors.New("name a server with --addr HOST:PORT, or start one with --serve")
	}
	return nil
}

// servedNodes are how many nodes a server of ours may have.
func servedNodes() []int { return []int{1, 3, 5, 7} }

func (l *load) accounts() (*bench.Accounts, error) {
	if l.usersFile == "" {
		return bench.Numbered(l.user, l.password)
	}
	f, err := os.Open(l.usersFile)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	a, err := bench.ReadAccounts(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", l.usersFile, err)
	}
	return a, nil
}

// reach points the target at a server that runs.
func (l *load) reach() (err error) {
	for _, addr := range l.addrs {
		l.target.Places = append(l.target.Places, bench.Place{Addr: addr})
	}
	if l.target.Transport == bench.WebSocket {
		l.target.Places = nil
		for _, url := range l.urls {
			l.target.Places = append(l.target.Places, bench.Place{Addr: url, URL: url})
		}
	}
	if l.target.Domain, _ = l.cmd.Flags().GetString("domain"); l.target.Domain == "" {
		l.target.Domain = "localhost"
	}
	if l.target.TLS, err = bench.Trust(l.target.Domain, l.ca, l.insecure); err != nil {
		return err
	}
	if len(l.pids) > 0 {
		if l.watch.Server, err = bench.Watched(l.pids...); err != nil {
			return fmt.Errorf("--pids: %w", err)
		}
	}
	return nil
}

// start starts a server of ours and points the target at it.
func (l *load) start(ctx context.Context, accounts, connections int) (err error) {
	o := bench.ServeOptions{Binary: l.binary, CPU: l.cpu, Nodes: l.nodes, Users: accounts, Connections: connections, Accounts: l.target.Accounts}
	flags := l.cmd.Flags()
	o.Data, _ = flags.GetString("data")
	o.Domain, _ = flags.GetString("domain")
	if l.verbose {
		o.Log = l.p.Stderr
	}
	if o.Binary == "" {
		if o.Binary, err = os.Executable(); err != nil {
			return err
		}
	}
	if l.server, err = bench.Serve(ctx, o, &l.watch); err != nil {
		return err
	}
	l.watch.Server = l.server.Processes()
	if err = l.server.Target(&l.target); err != nil {
		l.server.Stop()
	}
	return err
}

// print prints the report. That the server did not keep its word is a failure.
func (l *load) print(r bench.Report) error {
	var err error
	if l.asJSON {
		err = bench.WriteJSON(l.p.Stdout, r)
	} else {
		err = bench.Write(l.p.Stdout, r)
	}
	if v, ok := r.(interface{ Correct() bool }); err == nil && ok && !v.Correct() {
		err = &exitError{exitFailed, errors.New("messages were lost, doubled or out of order: see the verdict")}
	}
	return err
}

// progress tells what goes on: in place on a terminal, else now and then a line.
type progress struct {
	to   *os.File
	live bool
	last time.Time
}

// quiet is how long no line is written where there is no terminal.
const quiet = 10 * time.Second

func newProgress(to *os.File) *progress {
	return &progress{to: to, live: isTerminal(to), last: time.Now()}
}

func (b *progress) tell(text string) {
	switch {
	case b.live:
		fmt.Fprintf(b.to, "\r\x1b[K%s", text)
	case time.Since(b.last) > quiet:
		fmt.Fprintln(b.to, text)
		b.last = time.Now()
	}
}

func (b *progress) end() {
	if b.live {
		fmt.Fprint(b.to, "\r\x1b[K")
	}
}
