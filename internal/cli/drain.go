// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"bavard/internal/admin"
	"bavard/internal/datadir"
)

// endsWithin is how long a node that was drained may take to end.
const endsWithin = 30 * time.Second

func (p *Program) drain() *cobra.Command {
	cmd := &cobra.Command{
		Use: "drain", Short: "Send the people of this node of a cell to the others, then end it", Args: cobra.NoArgs,
		Long: `Have the node that runs here take nobody any more, send those who are connected to the
other nodes, a few at a time, hand leadership over, and end. Nothing is lost by it, and
nobody is away for longer than it takes to connect again. It is refused when the others
are not enough without this node. A supervisor starts the node again when it has ended, as
for a new version; with --stay it goes on without people, until --undo or until it ends.`,
		RunE: p.runDrain,
	}
	flags := cmd.Flags()
	flags.Duration("within", 30*time.Second, "the `TIME` over which sessions end, evenly")
	flags.Bool("stay", false, "do not end: stay without people")
	flags.Bool("undo", false, "take people again")
	return cmd
}

func (p *Program) runDrain(cmd *cobra.Command, _ []string) error {
	flags := cmd.Flags()
	o := admin.DrainOptions{}
	o.Within, _ = flags.GetDuration("within")
	o.Stay, _ = flags.GetBool("stay")
	undo, _ := flags.GetBool("undo")
	if o.Within < 0 || o.Within > admin.DrainMost {
		return usage(cmd, fmt.Errorf("--within: use 0s to %v", admin.DrainMost))
	}
	if undo && (o.Stay || flags.Changed("within")) {
		return usage(cmd, errors.New("--undo takes neither --stay nor --within"))
	}
	cfg, err := configure(cmd)
	if err != nil {
		return err
	}
	socket := datadir.AdminSocket(cfg.Data)
	client, err := admin.Dial(cmd.Context(), socket)
	if err != nil {
		return err
	}
	defer client.Close()
	if undo {
		if err := client.Undrain(cmd.Context()); err != nil {
			return err
		}
		_, err := fmt.Fprintln(p.Stdout, "this node takes people again")
		return err
	}
	status, err := client.Status(cmd.Context())
	if err != nil {
		return err
	}
	if err := client.Drain(cmd.Context(), o, p.drainReport()); err != nil {
		return err
	}
	if o.Stay {
		_, err := fmt.Fprintln(p.Stdout, "drained; `bavard drain --undo` has it take people again, and so has a new start")
		return err
	}
	if err := awaitEnd(cmd.Context(), socket, status.PID); err != nil {
		return err
	}
	_, err = fmt.Fprintln(p.Stdout, "drained, and ended")
	return err
}

// drainReport prints what has changed, once a second.
func (p *Program) drainReport() func(admin.DrainProgress) {
	var at time.Time
	left, leader := -1, ""
	return func(d admin.DrainProgress) {
		if d.Leader != leader {
			leader = d.Leader
			fmt.Fprintf(p.Stdout, "node %s leads now\n", leader)
		}
		if d.Left != left && (d.Left == 0 || time.Since(at) >= time.Second) {
			left, at = d.Left, time.Now()
			fmt.Fprintf(p.Stdout, "%d of %d sessions are left\n", d.Left, d.Sessions)
		}
	}
}

// awaitEnd waits until the process pid does not answer at the socket any more.
func awaitEnd(ctx context.Context, socket string, pid int) error {
	ctx, cancel := context.WithTimeout(ctx, endsWithin)
	defer cancel()
	for {
		client, err := admin.Dial(ctx, socket)
		if errors.Is(err, admin.ErrNotRunning) {
			return nil
		}
		if err == nil {
			status, err := client.Status(ctx)
			if client.Close(); err == nil && status.PID != pid {
				return nil // it was started again
			}
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return fmt.Errorf("it is drained, but has not ended within %v: look at its log", endsWithin)
		}
	}
}
