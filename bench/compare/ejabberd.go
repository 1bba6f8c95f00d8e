// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"bavard/drill"
	"bavard/drill/await"
	"bavard/drill/node"
)

//go:embed ejabberd.yml
var ejabberdTemplate string // immutable

// ejabberd is a cluster of ejabberd as Debian packages it, with Mnesia: each table is on both nodes. It implements
// drill.Peer.
type ejabberd struct {
	nodes  []string // names of the Erlang nodes
	port   string   // of the distribution, on an address for each node
	cookie string
	home   string // of the commands that talk to the nodes
}

// settings is the configuration of a node: that of side-by-side runs, without TLS.
func (e *ejabberd) settings(s *drill.PeerSeat) (string, error) {
	_, c2s, err := net.SplitHostPort(s.C2S)
	if err != nil {
		return "", err
	}
	_, http, err := net.SplitHostPort(s.HTTP)
	if err != nil {
		return "", err
	}
	var kept []string
	for line := range strings.Lines(ejabberdTemplate) {
		if !strings.HasPrefix(line, "certfiles:") && !strings.Contains(line, "starttls:") {
			kept = append(kept, line)
		}
	}
	return strings.NewReplacer("@PORT@", c2s, "@PORT1@", http).Replace(strings.Join(kept, "")), nil
}

// Found implements drill.Peer.
func (e *ejabberd) Found(_ context.Context, seats []drill.PeerSeat) ([]node.Options, error) {
	if _, err := exec.LookPath("erl"); err != nil {
		return nil, fmt.Errorf("%w: on Debian, apt-get install ejabberd", err)
	}
	e.cookie, e.home = rand.Text(), filepath.Dir(seats[0].Dir)
	var err error
	if _, e.port, err = net.SplitHostPort(seats[0].Peer); err != nil {
		return nil, err
	}
	var all []node.Options
	for i := range seats {
		s := &seats[i]
		spool, logs := filepath.Join(s.Dir, "spool"), filepath.Join(s.Dir, "log")
		for _, dir := range []string{spool, logs} {
			if err := os.MkdirAll(dir, 0o700); err != nil {
				return nil, err
			}
		}
		text, err := e.settings(s)
		if err != nil {
			return nil, err
		}
		config := filepath.Join(s.Dir, "ejabberd.yml")
		if err := errors.Join(os.WriteFile(config, []byte(text), 0o600), os.WriteFile(filepath.Join(spool, "ejabberd.schema"), []byte(schema()), 0o600)); err != nil {
			return nil, err
		}
		e.nodes = append(e.nodes, fmt.Sprintf("ejabberd@127.0.1.%d", i+1))
		all = append(all, node.Options{
			Env: append(e.environment(), "HOME="+spool, "EJABBERD_CONFIG_PATH="+config,
				"EJABBERD_LOG_PATH="+filepath.Join(logs, "ejabberd.log"), "EJABBERD_PID_PATH="+filepath.Join(logs, "pid"), "ERL_CRASH_DUMP_BYTES=0"),
			// As Debian's ejabberdctl does it, with the distribution on an address for each node instead of epmd.
			Line: append(e.erl(e.nodes[i]), "+K", "true", "+P", "250000", "-kernel", "inet_dist_use_interface", fmt.Sprintf("{127,0,1,%d}", i+1),
				"-mnesia", "dir", `"`+spool+`"`, "-mnesia", "dump_log_write_threshold", "50000", "-s", "ejabberd"),
		})
	}
	return all, nil
}

// environment is that of all that runs Erlang here.
func (e *ejabberd) environment() []string {
	return []string{"ERL_LIBS=/usr/lib/x86_64-linux-gnu", "ERL_MAX_PORTS=32000", "ERL_MAX_ETS_TABLES=1400", "ERL_DIST_PORT=" + e.port}
}

// erl begins a command line.
func (e *ejabberd) erl(name string) []string {
	return []string{"erl", "-noinput", "-name", name, "-setcookie", e.cookie, "-erl_epmd_port", e.port, "-start_epmd", "false"}
}

// control is ejabberdctl.
func (e *ejabberd) control(ctx context.Context, name string, args ...string) error {
	_, err := e.apart(ctx, append([]string{"-s", "ejabberd_ctl", "-extra", name}, args...)...)
	return err
}

// ask has a node call a function of Erlang, and gives what it answers.
func (e *ejabberd) ask(ctx context.Context, name, module, function, args string) (string, error) {
	return e.apart(ctx, "-eval", fmt.Sprintf("io:format(\"~0p\", [rpc:call('%s', %s, %s, [%s])]), halt().", name, module, function, args))
}

// apart runs Erlang beside the nodes, to its end.
func (e *ejabberd) apart(ctx context.Context, args ...string) (string, error) {
	line := slices.Concat(e.erl("control@127.0.1.250"), []string{"-hidden", "-dist_listen", "false"}, args)
	cmd := exec.CommandContext(ctx, line[0], line[1:]...)
	cmd.Env = slices.Concat(os.Environ(), e.environment(), []string{"HOME=" + e.home})
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("erl %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// kept are the tables that outlive a node.
const kept = "archive_msg archive_prefs offline_msg passwd roster roster_version"

// schema has the tables that are kept in the memory and on the disk of each node. By default they are on its disk
// alone, in files that a killed node has to repair.
func schema() string {
	var out strings.Builder
	for table := range strings.FieldsSeq(kept) {
		fmt.Fprintf(&out, "%s:\n  storage_type: disc_copies\n  local_content: false\n", table)
	}
	return out.String()
}

// joinTimeout bounds how long nodes may take until they are a cluster.
const joinTimeout = 90 * time.Second

// Join implements drill.Peer.
func (e *ejabberd) Join(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	for _, n := range e.nodes[1:] {
		if err := await.UntilEvery(ctx, time.Second, func(ctx context.Context) error { return e.control(ctx, n, "status") }); err != nil {
			return err
		}
		if err := e.control(ctx, n, "join_cluster", e.nodes[0]); err != nil {
			return err
		}
	}
	for _, n := range e.nodes {
		for table := range strings.FieldsSeq(kept) {
			if err := await.UntilEvery(ctx, time.Second, func(ctx context.Context) error { return e.copied(ctx, n, table) }); err != nil {
				return err
			}
		}
	}
	return nil
}

// copied has a node keep a copy of a table in its memory and on its disk: when it first started, it did not read
// the schema yet.
func (e *ejabberd) copied(ctx context.Context, name, table string) error {
	answer, err := e.ask(ctx, name, "mnesia", "change_table_copy_type", fmt.Sprintf("%s, '%s', disc_copies", table, name))
	if err == nil && answer != "{atomic,ok}" && !strings.Contains(answer, "already_exists") {
		err = fmt.Errorf("%s has no copy of %s: %s", name, table, answer)
	}
	return err
}
