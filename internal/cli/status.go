// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"bavard/internal/admin"
	"bavard/internal/datadir"
	"bavard/internal/health"
)

func (p *Program) status() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Say how the server is: exit code 0 if well, 1 if not ready, 3 if it does not run",
		Args:  cobra.NoArgs,
		RunE:  p.runStatus,
	}
	cmd.Flags().Bool("json", false, "print an object")
	return cmd
}

func (p *Program) runStatus(cmd *cobra.Command, _ []string) error {
	cfg, err := configure(cmd)
	if err != nil {
		return err
	}
	asJSON, _ := cmd.Flags().GetBool("json")
	client, err := admin.Dial(cmd.Context(), datadir.AdminSocket(cfg.Data))
	if errors.Is(err, admin.ErrNotRunning) {
		return p.statusOfNone(cfg.Data, asJSON)
	}
	if err != nil {
		return fmt.Errorf("the server's admin socket: %w", err)
	}
	defer client.Close()
	s, err := client.Status(cmd.Context())
	if err != nil {
		return err
	}
	if asJSON {
		err = p.printJSON(s)
	} else {
		_, err = p.Stdout.WriteString(describeStatus(s, time.Now()))
	}
	if err == nil && len(s.Failing) > 0 {
		err = &exitError{code: exitFailed}
	}
	return err
}

// statusOfNone is for a data directory on which no server answers; one may be starting.
func (p *Program) statusOfNone(data string, asJSON bool) error {
	starting, err := datadir.ReadStarting(data)
	code, text, object := exitNotRunning, "no server runs on "+data, map[string]any{"running": false}
	if err == nil {
		code, text = exitFailed, describeStarting(starting, time.Now())
		object["starting"] = starting
	}
	if asJSON {
		err = p.printJSON(object)
	} else {
		_, err = fmt.Fprintln(p.Stdout, text)
	}
	if err != nil {
		return err
	}
	return &exitError{code: code}
}

// describeStarting says how far a start is, for a person.
func describeStarting(s datadir.Starting, now time.Time) string {
	text := fmt.Sprintf("NOT READY: the server is starting: process %d, for %s", s.PID, now.Sub(s.Since).Round(time.Second))
	if s.Said != "" {
		text += fmt.Sprintf("; it said %s ago: %s", now.Sub(s.At).Round(time.Second), s.Said)
	}
	return text
}

// describeStatus writes a Status for a person.
func describeStatus(s admin.Status, now time.Time) string {
	var out strings.Builder
	line := func(label, format string, args ...any) {
		fmt.Fprintf(&out, "%-10s %s\n", label, fmt.Sprintf(format, args...))
	}
	ready := "ready"
	if len(s.Failing) > 0 {
		ready = "NOT READY: " + strings.Join(s.Failing, "; ")
	}
	line("server", "bavard %s serves %s, %s", s.Version, s.Domain, ready)
	line("process", "%d, for %s", s.PID, now.Sub(s.Started).Round(time.Second))
	line("app", "%s", s.App)
	line("accounts", "%d, %d sessions", s.Accounts, s.Sessions)
	if d := s.Drain; d != nil {
		line("drained", "%d of %d sessions are left: `bavard drain --undo` has it take people again", d.Left, d.Sessions)
	}
	if s.Reports > 0 {
		line("reports", "%d of abuse: `bavard user reports`", s.Reports)
	}
	leader := "has a leader"
	if !s.Journal.HasLeader {
		leader = "NO LEADER"
	}
	line("journal", "%s, revision %d, %d commands since the start, %d waiting, %d retries, %s on disk",
		leader, s.Journal.Latest, s.Journal.Commands, s.Journal.Queued, s.Journal.Retries, size(s.Journal.DatabaseBytes))
	if len(s.Journal.Endpoints) > 0 {
		line("etcd", "%s at %s", s.Journal.Version, strings.Join(s.Journal.Endpoints, ", "))
	}
	if s.Journal.Node != "" {
		line("node", "%s", describeNodes(s.Journal))
	}
	line("level", "%d", s.Level)
	view := fmt.Sprintf("applied %s, %s on disk", s.View.Applied, size(s.View.DiskBytes))
	if s.View.Compared > 0 {
		view += fmt.Sprintf(", the same as other nodes' at revision %d", s.View.Compared)
	}
	line("view", "%s", view)
	line("scrub", "%s", describeScrub(s.Scrub, now))
	for _, w := range s.Warnings {
		out.WriteString(describeWarning(w, now))
	}
	return out.String()
}

func describeScrub(s admin.ScrubStatus, now time.Time) string {
	text := "not yet since the start"
	if !s.Last.IsZero() {
		text = fmt.Sprintf("%d times since the start, last %s ago, damage found %d times", s.Passes, now.Sub(s.Last).Round(time.Second), s.Found)
	}
	return fmt.Sprintf("%s; %s read", text, size(int64(s.Bytes)))
}

// describeNodes says which node this is, who leads and who is not reached.
func describeNodes(j admin.JournalStatus) string {
	text, leads := j.Node, j.HasLeader && len(j.Endpoints) == 0 // else it is none of the nodes that leads
	var others []string
	for _, o := range j.Others {
		is := o.Node + " reached"
		switch {
		case o.Absent:
			is = o.Node + " not in the cell"
		case !o.Reached:
			is = o.Node + " NOT REACHED"
		}
		if o.Learner {
			is += ", learner: it joins"
		}
		if o.Version != "" {
			is += fmt.Sprintf(" (bavard %s, level %d)", o.Version, o.Level)
		}
		if o.Drained {
			is += ", drained"
		}
		if o.Diverged {
			is += ", DIVERGED: it takes nobody"
		}
		if o.Slow {
			is += ", slow"
		}
		if o.Leads {
			is, leads = is+", leads", false
		}
		others = append(others, is)
	}
	if leads && len(others) > 0 {
		text += ", leads"
	}
	return strings.Join(append([]string{text}, others...), "; ")
}

func describeWarning(w health.Active, now time.Time) string {
	text := fmt.Sprintf("%-10s %s: %s", w.Severity, w.ID, w.Text)
	if w.Detail != "" {
		text += " (" + w.Detail + ")"
	}
	return fmt.Sprintf("%s, for %s\n%-10s %s\n", text, now.Sub(w.Since).Round(time.Second), "", w.Hint)
}

func size(n int64) string {
	switch {
	case n < 1<<20:
		return fmt.Sprintf("%d KiB", (n+1023)>>10)
	case n < 1<<30:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	default:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	}
}
