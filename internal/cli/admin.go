// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

func (p *Program) admin() *cobra.Command {
	cmd := &cobra.Command{
		Use: "admin", Short: "Print a link to the admin page of the server that runs here", Args: cobra.NoArgs,
		Long: `Print a link to the admin page of the server that runs here: charts of the last 15 minutes,
and warnings, of this server or of all nodes of the cell. The page changes nothing. The
link can be opened once, within 5 minutes. The configuration says where the page is
([admin] listen); docs/operations.md says how to reach it from another machine.`,
		RunE: p.runAdmin,
	}
	cmd.Flags().Bool("json", false, "print an object")
	return cmd
}

func (p *Program) runAdmin(cmd *cobra.Command, _ []string) error {
	client, err := dialServer(cmd)
	if err != nil {
		return err
	}
	defer client.Close()
	l, err := client.PageLink(cmd.Context())
	if err != nil {
		return err
	}
	if asJSON, _ := cmd.Flags().GetBool("json"); asJSON {
		return p.printJSON(l)
	}
	fmt.Fprintf(p.Stderr, "Open it once, until %s:\n", l.Expires.Local().Format(time.TimeOnly))
	_, err = fmt.Fprintln(p.Stdout, l.Link)
	return err
}
