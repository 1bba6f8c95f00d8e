// SPDX-License-Identifier: Apache-2.0

// Command cmd runs a benchmark scenario against an XMPP server: one that runs
// already, or one of ours that it starts for the purpose.
//
//	go run ./bench/cmd -serve bin/bavard
//	go run ./bench/cmd -addr 127.0.0.1:5222 -domain localhost -user bench%d -password ...
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"bavard/bench"
	"bavard/drill/node"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type flags struct {
	serve, cpu, user, password string
	cfg                        bench.PairsConfig
}

func run(ctx context.Context) error {
	var f flags
	flag.StringVar(&f.serve, "serve", "", "start this `binary` of ours with fresh data")
	flag.StringVar(&f.cpu, "cpu", "", "with -serve: the `list` of CPUs that the server may use, as taskset takes it")
	flag.StringVar(&f.cfg.Addr, "addr", "127.0.0.1:5222", "the server's `host:port`, plaintext")
	flag.StringVar(&f.cfg.Domain, "domain", "localhost", "its XMPP `domain`")
	flag.StringVar(&f.user, "user", "bench%d", "localpart of the nth account, from 0")
	flag.StringVar(&f.password, "password", "correct horse", "password of all accounts")
	flag.StringVar(&f.cfg.Mechanism, "mechanism", "SCRAM-SHA-1", "SASL mechanism")
	flag.IntVar(&f.cfg.Pairs, "pairs", 50, "pairs of people")
	flag.IntVar(&f.cfg.Window, "window", 8, "messages under way per pair")
	flag.IntVar(&f.cfg.Body, "body", 100, "bytes of a body")
	flag.DurationVar(&f.cfg.Warmup, "warmup", 2*time.Second, "time before the measurement")
	flag.DurationVar(&f.cfg.Duration, "duration", 10*time.Second, "time of the measurement")
	flag.Parse()
	f.cfg.User = func(n int) (string, string) { return fmt.Sprintf(f.user, n), f.password }
	if f.serve != "" {
		stop, err := f.start(ctx)
		if err != nil {
			return err
		}
		defer stop()
	}
	report, err := bench.Pairs(ctx, f.cfg)
	if err != nil {
		return err
	}
	fmt.Println(report)
	return nil
}

// start runs a server with an account for each member of each pair.
func (f *flags) start(ctx context.Context) (stop func(), err error) {
	dir, err := os.MkdirTemp("", "bavard-bench-*")
	if err != nil {
		return nil, err
	}
	stop = func() { os.RemoveAll(dir) }
	var users []node.User
	for n := range 2 * f.cfg.Pairs {
		local, password := f.cfg.User(n)
		users = append(users, node.User{Local: local, Password: password})
	}
	data := filepath.Join(dir, "data")
	if err := node.Import(ctx, f.serve, data, users); err != nil {
		stop()
		return nil, err
	}
	o := node.Options{Binary: f.serve, Data: data, Plain: true, Log: os.Stderr}
	if f.cpu != "" {
		o.Wrap = []string{"taskset", "-c", f.cpu}
	}
	server, err := node.Start(o)
	if err != nil {
		stop()
		return nil, err
	}
	stop = func() {
		server.Kill()
		os.RemoveAll(dir)
	}
	addresses, err := server.Ready(ctx)
	if err != nil {
		stop()
		return nil, err
	}
	f.cfg.Addr = addresses.C2S
	f.cfg.Cost = func() bench.Cost { return cost(server.PID()) }
	return stop, nil
}

// cost reads what a process has used from /proc; zero where there is none.
func cost(pid int) bench.Cost {
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return bench.Cost{}
	}
	_, rest, _ := strings.Cut(string(data), ") ")
	fields := strings.Fields(rest) // from the third field on, as proc(5) counts
	number := func(field int) int64 {
		if field-3 >= len(fields) {
			return 0
		}
		n, _ := strconv.ParseInt(fields[field-3], 10, 64) // a field that is no number counts nothing
		return n
	}
	const tick = time.Second / 100 // USER_HZ on Linux
	return bench.Cost{CPU: time.Duration(number(14)+number(15)) * tick, Memory: number(24) * int64(os.Getpagesize())}
}
