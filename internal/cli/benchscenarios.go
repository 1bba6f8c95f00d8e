// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
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
             allow_registration = true; c2s_require_encryption = false;
             allow_unencrypted_plain_auth is not needed; no "limits"; or make
             accounts with "prosodyctl register bench0 localhost PASSWORD"

Both keep what an account did not receive: use fresh ones, or run again.`

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
