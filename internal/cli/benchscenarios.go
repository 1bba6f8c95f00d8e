// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"bavard/bench"
)

const benchHelp = `Load an XMPP server over its clients' protocol and measure what it does. The server
is one that runs (--addr) or a bavard that is started for it, with fresh data (--serve).

For figures that can be compared, give server and load processors of their own:

    taskset -c 1 bavard bench pairs --serve --cpu 0

or, with another server that is pinned to processor 0:

    taskset -c 1 bavard bench pairs --addr 127.0.0.1:5222 --domain localhost \
        --register --pids /run/prosody/prosody.pid

The load says what it used itself, and warns when it was the bottleneck.

Accounts on other servers: bench0, bench1 … with one password, made by --register
where open registration is on; or any others, in a --users-file. To prepare

  ejabberd   modules: mod_register, mod_mam (default: always), mod_stream_mgmt,
             mod_carboncopy, mod_roster; auth_password_format: scram;
             registration_timeout: infinity; access_rules: register: allow;
             no shaper and no starttls_required on the listener; or make accounts
             with "ejabberdctl register bench0 localhost PASSWORD"
  Prosody    modules_enabled: register, mam, carbons, smacks, roster, saslauth,
             tls, disco, ping, version; authentication = "internal_hashed";
             allow_registration = true; c2s_require_encryption = false; no "limits"; or make
             accounts with "prosodyctl register bench0 localhost PASSWORD"
  bavard     insecure_loopback = true for --transport plain; accounts with
             "bavard user import", and the same file as --users-file

bench/compare in the sources has configurations, and runs them side by side. Servers
keep what an account did not receive: use fresh ones, or run again.`

func (p *Program) benchPairs() *cobra.Command {
	var c bench.PairsConfig
	cmd := &cobra.Command{
		Use:   "pairs",
		Short: "Pairs of people, of whom one writes to the other as fast as it goes",
		Long: `Pairs of people, of whom one writes to the other: the next message goes when an
earlier one was acknowledged and has been delivered, with so many under way. Stream
management with an acknowledgement asked for after each message, carbons, no receipts.

All that was acknowledged has to arrive, once and in order: if not, the exit code is 1.`,
	}
	f := cmd.Flags()
	f.IntVar(&c.Pairs, "pairs", 50, "pairs of people")
	f.IntVar(&c.Window, "window", 8, "messages under way per pair")
	f.IntVar(&c.Body, "body", 100, "`bytes` of a body")
	f.DurationVar(&c.Warmup, "warmup", 2*time.Second, "time before the measurement")
	f.DurationVar(&c.Duration, "duration", 10*time.Second, "time of the measurement")
	people := func() int { return 2 * c.Pairs }
	return p.scenario(cmd, people, people, func(ctx context.Context, l *load) (bench.Report, error) {
		return report(bench.Pairs(ctx, &l.target, c, &l.watch))
	})
}

func (p *Program) benchRoom() *cobra.Command {
	var c bench.RoomConfig
	cmd := &cobra.Command{
		Use:   "room",
		Short: "A room in which some speak and everybody listens",
		Long: `A room that is made for it, and removed when all have left. Some of its occupants speak:
each says the next thing when the server has acknowledged an earlier one and everybody in
the room has got it. A delivery is one thing said reaching one occupant.

Everybody has to get all that was acknowledged, once and in the same order: if not, the exit
code is 1. Other servers call their service of rooms conference.DOMAIN: see --service.

With --beside N, pairs of people write to each other besides, N messages per second, and
what is measured is how much longer theirs take while the room speaks. It speaks in every
other slice of time, so that what else the machine does hits both alike; its load is a
process of its own, which gives way to theirs.

    taskset -c 1 bavard bench room --serve --cpu 0 --occupants 1024 --rate 10 --beside 400`,
	}
	f := cmd.Flags()
	f.IntVar(&c.Occupants, "occupants", 100, "people in the room")
	f.IntVar(&c.Speakers, "speakers", 10, "how many of them speak")
	f.IntVar(&c.Window, "window", 1, "messages under way per speaker")
	f.IntVar(&c.Body, "body", 100, "`bytes` of a body")
	f.IntVar(&c.Rate, "rate", 0, "at most so much is said per second in all; 0: as fast as it goes")
	f.StringVar(&c.Service, "service", "", "`domain` of the rooms (default rooms. and the domain)")
	f.DurationVar(&c.Warmup, "warmup", 2*time.Second, "time before the measurement")
	f.DurationVar(&c.Duration, "duration", 10*time.Second, "time of the measurement")
	var beside bench.BesideConfig
	var told bool
	f.IntVar(&beside.Rate, "beside", 0, "messages per second between two people, beside the room")
	f.IntVar(&beside.Pairs, "pairs", 20, "with --beside: pairs of people")
	f.IntVar(&beside.Rounds, "rounds", 5, "with --beside: how often the room is silent, and then speaks")
	f.DurationVar(&beside.Slice, "slice", 2*time.Second, "with --beside: how long, each time")
	f.BoolVar(&told, "told", false, "speak when standard input says so")
	_ = f.MarkHidden("told") // it is there
	people := func() int {
		if beside.Rate > 0 {
			return c.Occupants + 2*beside.Pairs
		}
		return c.Occupants
	}
	return p.scenario(cmd, people, people, func(ctx context.Context, l *load) (bench.Report, error) {
		switch {
		case told:
			c.Told, c.Ready = p.Stdin, func() { fmt.Fprintln(p.Stdout, "ready") }
		case beside.Rate > 0:
			beside.Occupants, beside.Body = c.Occupants, c.Body
			crowd, err := l.crowd(&c)
			if err != nil {
				return nil, err
			}
			beside.Crowd = crowd
			return report(bench.Beside(ctx, &l.target, beside, &l.watch))
		}
		return report(bench.Room(ctx, &l.target, c, &l.watch))
	})
}

// crowd is the command that loads a room where l has its target, as a process
// that gives way to this one.
func (l *load) crowd(c *bench.RoomConfig) ([]string, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	t := &l.target
	// A processor that both are on goes to whoever is not idle by policy at once;
	// nice lets it wait for some milliseconds, which are then measured.
	args := []string{"chrt", "--idle", "0"}
	if _, err := exec.LookPath(args[0]); err != nil {
		args = []string{"nice", "-n", "19"}
	}
	args = append(args,
		program, "bench", "room", "--told", "--json", "--warmup", "0s",
		"--addr", t.Addresses(), "--domain", t.Domain, "--transport", t.Transport, "--url", t.URLs(), "--mechanism", t.Mechanism,
		"--user", l.user, "--password", l.password, "--users-file", l.usersFile, "--ca", l.ca, "--service", c.Service)
	for name, n := range map[string]int{"occupants": c.Occupants, "speakers": c.Speakers, "window": c.Window, "body": c.Body, "rate": c.Rate, "logins": t.Logins} {
		args = append(args, "--"+name, strconv.Itoa(n))
	}
	if l.insecure || l.serve {
		args = append(args, "--insecure") // it was verified here
	}
	return args, nil
}

func (p *Program) benchLogins() *cobra.Command {
	var c bench.LoginsConfig
	cmd := &cobra.Command{
		Use:   "logins",
		Short: "Full logins per second",
		Long: `Devices that connect, log in with SCRAM, bind, ask for their contacts, say that they
are there, and leave; over and over. What SCRAM derives from a password is derived once
per account, before the measurement, as devices do.`,
	}
	f := cmd.Flags()
	f.IntVar(&c.Concurrency, "concurrency", 16, "logins at the same time")
	f.IntVar(&c.Accounts, "accounts", 200, "accounts that log in, in turn")
	f.DurationVar(&c.Duration, "duration", 10*time.Second, "time of the measurement")
	f.BoolVar(&c.Managed, "managed", false, "enable stream management and carbons, too")
	f.BoolVar(&c.FAST, "fast", false, "log in by a token, in one request (SASL2, Bind 2, FAST), which the first login gets")
	accounts := func() int { return c.Accounts }
	return p.scenario(cmd, accounts, func() int { return c.Concurrency }, func(ctx context.Context, l *load) (bench.Report, error) {
		return report(bench.Logins(ctx, &l.target, c, &l.watch))
	})
}

func (p *Program) benchIdle() *cobra.Command {
	var c bench.IdleConfig
	cmd := &cobra.Command{
		Use:   "idle",
		Short: "What a connection costs that says nothing",
		Long: `Devices that log in, each to an account of its own, and say nothing. The server's memory
is read before, and again when it holds still. Other servers: start them anew after their
accounts were made, so that what that took does not count as there before.

Server and load need a descriptor for each connection: see ` + "`ulimit -n`" + `.`,
	}
	f := cmd.Flags()
	f.IntVar(&c.Connections, "connections", 1000, "how many connect")
	f.DurationVar(&c.Still, "still", 5*time.Second, "how long the server's memory has to hold still")
	f.DurationVar(&c.Patience, "patience", 2*time.Minute, "how long that is waited for")
	f.DurationVar(&c.Quiet, "quiet", 5*time.Second, "how long the connections are then left alone, to see what they cost")
	connections := func() int { return c.Connections }
	return p.scenario(cmd, connections, connections, func(ctx context.Context, l *load) (bench.Report, error) {
		return report(bench.Idle(ctx, &l.target, c, &l.watch))
	})
}

func (p *Program) benchArchive() *cobra.Command {
	var c bench.ArchiveConfig
	cmd := &cobra.Command{
		Use:   "archive",
		Short: "Pages of archives per second (XEP-0313)",
		Long: `Devices that ask for the last messages of their archives, over and over. The archives
are filled first, by writing to each other; what the pages hold is compared with it, and
when it is not right, the exit code is 1.`,
	}
	f := cmd.Flags()
	f.IntVar(&c.Clients, "clients", 10, "how many ask at the same time; twice as many accounts are needed")
	f.IntVar(&c.Messages, "messages", 200, "messages in each archive")
	f.BoolVar(&c.Filled, "filled", false, "they hold that many from an earlier run: do not fill them")
	f.IntVar(&c.Page, "page", 50, "messages per page")
	f.BoolVar(&c.Depth, "depth", false, "ask for pages at random places instead of the last one")
	f.IntVar(&c.Body, "body", 100, "`bytes` of a body")
	f.DurationVar(&c.Duration, "duration", 10*time.Second, "time of the measurement")
	people := func() int { return 2 * c.Clients }
	return p.scenario(cmd, people, people, func(ctx context.Context, l *load) (bench.Report, error) {
		return report(bench.Archive(ctx, &l.target, c, &l.watch))
	})
}

func (p *Program) benchStorm() *cobra.Command {
	var c bench.StormConfig
	var kill bool
	var pid, start string
	cmd := &cobra.Command{
		Use:   "storm",
		Short: "All connections are cut, and all come back at once",
		Long: `Devices that are connected, lose their connection all at once, and come back all at once.
They are cut from their side, as by a network that fails, and resume their streams where
the server lets them; or the server is killed (SIGKILL) and started again.`,
	}
	f := cmd.Flags()
	f.IntVar(&c.Clients, "clients", 1000, "how many connect")
	f.BoolVar(&c.Fresh, "fresh", false, "log in anew instead of resuming")
	f.IntVar(&c.FAST, "fast", 0, "`percent` of the clients that come back by a token, in one request (SASL2, Bind 2, FAST); the others log in with their password")
	f.BoolVar(&kill, "kill", false, "with --serve: kill the server and start it again")
	f.StringVar(&pid, "kill-pid", "", "with --addr: kill this process `id`, or the one in this file")
	f.StringVar(&start, "start", "", "with --kill-pid: the shell `command` that starts the server again; it has to return")
	f.DurationVar(&c.GiveUp, "give-up", 5*time.Minute, "how long the last one is waited for")
	f.DurationVar(&c.Still, "still", 3*time.Second, "how long the server's memory has to hold still before")
	clients := func() int { return c.Clients }
	return p.scenario(cmd, clients, clients, func(ctx context.Context, l *load) (bench.Report, error) {
		switch {
		case kill && !l.serve || pid != "" && l.serve || start != "" && pid == "":
			return nil, usage(l.cmd, errors.New("--kill is for --serve, --kill-pid for --addr, and --start for --kill-pid"))
		case c.FAST < 0 || c.FAST > 100:
			return nil, usage(l.cmd, errors.New("--fast is a percentage"))
		case kill:
			c.Kill = func() error { l.server.Kill(); return nil }
			c.Start = l.server.Start
		case pid != "":
			c.Kill = bench.KillProcess(pid)
			if start != "" {
				c.Start = bench.StartCommand(start)
			}
		}
		return report(bench.Storm(ctx, &l.target, c, &l.watch))
	})
}

// report keeps a nil *T from becoming a Report that is not nil.
func report[T any, R interface {
	*T
	bench.Report
}](r R, err error) (bench.Report, error) {
	if r == nil {
		return nil, err
	}
	return r, err
}
