// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"bavard/internal/admin"
)

func (p *Program) invite() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "invite",
		Short: "Make invite links, list them, take them back: who opens one can make an account",
		Long: `Make invite links. Who opens one can make an account.

--list shows the invites that can be used, one a line: id, how many accounts are
left, its end, who made it, the room it is to, its circle; separated by tabs.
Their links are not shown again: they are not stored.`,
		Args: cobra.NoArgs,
		RunE: p.runInvite,
	}
	flags := cmd.Flags()
	flags.Int("uses", 1, "how many accounts can be made with each invite")
	flags.String("expires", "7d", "how long it is valid: 30m, 12h, 7d, or never")
	flags.Int("count", 1, "how many invites to make")
	flags.String("group", "", "who comes becomes a member of the `ROOM`, a name or an address; who has an account can use the link, too")
	flags.String("circle", "", "people who come with invites of the same `CIRCLE` become each other's contacts")
	flags.Bool("list", false, "list the invites that can be used, whoever made them")
	flags.String("revoke", "", "take back the invite with the `ID` that --list shows")
	flags.Bool("json", false, "print an array of objects; with --list one object a line")
	cmd.MarkFlagsMutuallyExclusive("list", "revoke")
	for _, made := range []string{"uses", "expires", "count", "group", "circle"} {
		cmd.MarkFlagsMutuallyExclusive("list", made)
		cmd.MarkFlagsMutuallyExclusive("revoke", made)
	}
	return cmd
}

func (p *Program) runInvite(cmd *cobra.Command, _ []string) error {
	flags := cmd.Flags()
	if list, _ := flags.GetBool("list"); list || flags.Changed("revoke") {
		return p.runInvites(cmd, list)
	}
	text, _ := flags.GetString("expires")
	expires, err := parseExpires(text)
	if err != nil {
		return &exitError{exitUsage, err}
	}
	o := admin.InviteOptions{Expires: expires}
	o.Uses, _ = flags.GetInt("uses")
	o.Count, _ = flags.GetInt("count")
	o.Circle, _ = flags.GetString("circle")
	o.Room, _ = flags.GetString("group")
	backend, running, done, err := p.backend(cmd)
	if err != nil {
		return err
	}
	invites, err := backend.NewInvites(cmd.Context(), o)
	if err = errors.Join(err, done()); err != nil {
		return err
	}
	if asJSON, _ := flags.GetBool("json"); asJSON {
		return p.printJSON(invites)
	}
	for _, inv := range invites {
		if _, err := fmt.Fprintln(p.Stdout, inv.Link); err != nil {
			return err
		}
	}
	fmt.Fprintln(p.Stderr, describe(invites[0]))
	if len(invites) == 1 {
		fmt.Fprintln(p.Stderr, "In an XMPP client: "+invites[0].URI)
	}
	if !running {
		fmt.Fprintln(p.Stderr, "The server is not running: the link works once it is.")
	}
	return nil
}

// runInvites lists invites or takes one back.
func (p *Program) runInvites(cmd *cobra.Command, list bool) error {
	backend, _, done, err := p.backend(cmd)
	if err != nil {
		return err
	}
	asJSON, _ := cmd.Flags().GetBool("json")
	if list {
		return errors.Join(p.listInvites(cmd, backend, asJSON), done())
	}
	id, _ := cmd.Flags().GetString("revoke")
	i, err := backend.RevokeInvite(cmd.Context(), id)
	if err != nil {
		err = fmt.Errorf("%s: %w", id, err)
	} else {
		err = p.printInvite(&i, asJSON)
	}
	return errors.Join(err, done())
}

func (p *Program) listInvites(cmd *cobra.Command, b admin.Backend, asJSON bool) error {
	for from := ""; ; {
		l, err := b.ListInvites(cmd.Context(), from)
		if err != nil {
			return err
		}
		for i := range l.Invites {
			if err := p.printInvite(&l.Invites[i], asJSON); err != nil {
				return err
			}
		}
		if from = l.Next; from == "" {
			return nil
		}
	}
}

// printInvite prints an invite: id, uses that are left, its end, who made it,
// its room, its circle; separated by tabs.
func (p *Program) printInvite(i *admin.ListedInvite, asJSON bool) error {
	if asJSON {
		b, err := json.Marshal(i)
		if err == nil {
			_, err = fmt.Fprintf(p.Stdout, "%s\n", b)
		}
		return err
	}
	expires, by := "never", "operator"
	if !i.Expires.IsZero() {
		expires = i.Expires.Local().Format("2006-01-02 15:04")
	}
	if i.By != "" {
		by = i.By
	}
	_, err := fmt.Fprintf(p.Stdout, "%s\t%d\t%s\t%s\t%s\t%s\n", i.ID, i.Uses, expires, by, i.Room, i.Circle)
	return err
}

// describe says what an invite is good for.
func describe(inv admin.Invite) string {
	text := "Good for one account"
	if inv.Uses > 1 {
		text = fmt.Sprintf("Good for %d accounts", inv.Uses)
	}
	if inv.Expires.IsZero() {
		return text + ", for ever."
	}
	return text + ", until " + inv.Expires.Local().Format("2 January 2006 15:04") + "."
}

// parseExpires reads a duration, with d for days, or "never", which is 0.
func parseExpires(text string) (time.Duration, error) {
	if text == "never" {
		return 0, nil
	}
	var d time.Duration
	var err error
	if days, ok := strings.CutSuffix(text, "d"); ok {
		var n uint64
		n, err = strconv.ParseUint(days, 10, 14) // 16383 days: 44 years
		d = time.Duration(n) * 24 * time.Hour
	} else {
		d, err = time.ParseDuration(text)
	}
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("--expires %q: write it like 30m, 12h, 7d, or never", text)
	}
	return d, nil
}

func (p *Program) printJSON(v any) error {
	e := json.NewEncoder(p.Stdout)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
